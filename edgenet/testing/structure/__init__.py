"""The contract of structured matrices."""

from edgenet.testing.structure.case import StructureCase
from edgenet.testing.structure.checks import CHECKS, check_structure
from edgenet.testing.structure.family import check_family

__all__ = ["CHECKS", "StructureCase", "check_family", "check_structure"]
