"""Sparse estimators in the manner of scikit-learn: numpy and scipy, ``fit`` and ``predict``."""

from edgenet.estimators.spam import SpAM, SpAMPath

__all__ = ["SpAM", "SpAMPath"]
