"""The contract of edge weights."""

from edgenet.testing.phi.case import PhiCase
from edgenet.testing.phi.checks import CHECKS, check_phi

__all__ = ["CHECKS", "PhiCase", "check_phi"]
