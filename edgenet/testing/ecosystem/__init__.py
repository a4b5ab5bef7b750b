"""The contract with other people's tools: explainers, trainers, and what changes weights."""

from edgenet.testing.ecosystem import explaining, training, processes, adapting  # noqa: I001  the order in which they run
from edgenet.testing.ecosystem.checks import check_ecosystem
from edgenet.testing.ecosystem.tools import JOBS, versions

__all__ = ["JOBS", "adapting", "check_ecosystem", "explaining", "processes", "training", "versions"]
