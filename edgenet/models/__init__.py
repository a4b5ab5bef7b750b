"""Whole models."""

from torch import nn

from edgenet.models.aggregation_network import AggregationNetwork
from edgenet.models.edge_classifier import EdgeClassifier
from edgenet.models.foreign_readout import READOUTS
from edgenet.models.graph_classifier import GraphClassifier
from edgenet.models.graph_recurrent import GraphRecurrent
from edgenet.models.node_choice import NodeChoice
from edgenet.models.node_classifier import NodeClassifier
from edgenet.models.readout import Readout
from edgenet.models.sequence import Sequence
from edgenet.models.stack import Stack

#: The models, by the name that configurations use.
MODELS: dict[str, type[nn.Module]] = {
    "NodeClassifier": NodeClassifier,
    "GraphClassifier": GraphClassifier,
    "EdgeClassifier": EdgeClassifier,
    "NodeChoice": NodeChoice,
    "AggregationNetwork": AggregationNetwork,
    "GraphRecurrent": GraphRecurrent,
    "Sequence": Sequence,
}

__all__ = [
    "MODELS",
    "READOUTS",
    "AggregationNetwork",
    "EdgeClassifier",
    "GraphClassifier",
    "GraphRecurrent",
    "NodeChoice",
    "NodeClassifier",
    "Readout",
    "Sequence",
    "Stack",
]
