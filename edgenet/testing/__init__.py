"""Contracts for parts of your own: what a structure, a phi, a layer or a model must keep, as functions to call in tests.

Each ``check_*`` raises a ``ContractError``, an AssertionError, that names the part, the check, what differs and what was
asked. pytest is not needed.
"""

from edgenet.errors import ContractError
from edgenet.testing.graphs import GRAPHS, random_graph
from edgenet.testing.phi import PhiCase, check_phi
from edgenet.testing.structure import StructureCase, check_structure

__all__ = ["GRAPHS", "ContractError", "PhiCase", "StructureCase", "check_phi", "check_structure", "random_graph"]
