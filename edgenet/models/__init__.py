"""Whole models."""

from edgenet.models.graph_classifier import GraphClassifier
from edgenet.models.node_classifier import NodeClassifier

__all__ = ["GraphClassifier", "NodeClassifier"]
