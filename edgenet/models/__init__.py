"""Whole models."""

from torch import nn

from edgenet.models.graph_classifier import GraphClassifier
from edgenet.models.node_classifier import NodeClassifier

#: The models, by the name that configurations use.
MODELS: dict[str, type[nn.Module]] = {"NodeClassifier": NodeClassifier, "GraphClassifier": GraphClassifier}

__all__ = ["MODELS", "GraphClassifier", "NodeClassifier"]
