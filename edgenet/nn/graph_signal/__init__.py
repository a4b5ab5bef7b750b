"""Modules of graph signals that are no convolutions: local activations, local pooling, aggregation, orderings."""

from edgenet.nn.graph_signal.aggregation import Aggregation
from edgenet.nn.graph_signal.aggregation_conv import AggregationConv
from edgenet.nn.graph_signal.delayed_conv import DelayedConv
from edgenet.nn.graph_signal.local_activation import LocalActivation, MaxLocalActivation, MedianLocalActivation
from edgenet.nn.graph_signal.local_pool import LocalPool, MaxPoolLocal, MeanPoolLocal, MedianPoolLocal
from edgenet.nn.graph_signal.neighbours import Neighbourhoods, neighbourhoods
from edgenet.nn.graph_signal.orderings import ORDERINGS, as_numbered, by_degree, designed_sampling, spectral_proxies

__all__ = [
    "ORDERINGS",
    "Aggregation",
    "AggregationConv",
    "DelayedConv",
    "LocalActivation",
    "LocalPool",
    "MaxLocalActivation",
    "MaxPoolLocal",
    "MeanPoolLocal",
    "MedianLocalActivation",
    "MedianPoolLocal",
    "Neighbourhoods",
    "as_numbered",
    "by_degree",
    "designed_sampling",
    "neighbourhoods",
    "spectral_proxies",
]
