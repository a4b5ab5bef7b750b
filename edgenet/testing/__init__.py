"""Contracts for parts of your own: what structures, phis, layers and models must keep, and what other people's tools do
with them, as functions for tests.

Each ``check_*`` raises a ``ContractError``, an AssertionError, that names the part, the check, what differs and what
was asked. pytest is not needed.
"""

from edgenet.errors import ContractError
from edgenet.testing.ecosystem import check_ecosystem
from edgenet.testing.graphs import GRAPHS, random_graph
from edgenet.testing.layer import LayerCase, check_layer
from edgenet.testing.model import ModelCase, check_model
from edgenet.testing.phi import PhiCase, check_phi
from edgenet.testing.structure import StructureCase, check_structure

__all__ = [
    "GRAPHS",
    "ContractError",
    "LayerCase",
    "ModelCase",
    "PhiCase",
    "StructureCase",
    "check_ecosystem",
    "check_layer",
    "check_model",
    "check_phi",
    "check_structure",
    "random_graph",
]
