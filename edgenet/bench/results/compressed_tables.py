"""What decides whether a small network is worth it: answers without one, from a table or from neighbours."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet import ops
from edgenet.bench.results.compressed_problems import Problem
from edgenet.graph import Graph
from edgenet.gso import symmetric

_SHARE, _STEPS = 0.9, 50  # of the neighbours' scores, and how often: Zhou et al. 2004
KINDS = ("classes", "most_frequent", "labels_spread", "classes_spread")


def answers(problem: Problem, kind: str) -> tuple[Tensor, float]:
    """(nodes, classes) scores without a network, and the bytes that they are made of.

    ``classes``: a table of the teacher's class of every node, test nodes included: what is not withheld here is in no
    other row. ``most_frequent``: one class for all. ``labels_spread``: the labels of the training nodes, spread over
    the graph. ``classes_spread``: the teacher's classes of all but the test nodes, spread likewise.
    """
    data, number = problem.first, problem.dataset.num_outputs
    bits, index_bits = math.ceil(math.log2(number)), math.ceil(math.log2(data.num_nodes))
    with torch.no_grad():
        told = problem.model(data.x, data.edge_index).argmax(1)
    if kind == "classes":
        return F.one_hot(told, number).float(), data.num_nodes * bits / 8
    if kind == "most_frequent":
        most = data.y[data.train_mask].bincount(minlength=number).argmax()
        return F.one_hot(most.expand(data.num_nodes), number).float(), 1.0
    if kind == "labels_spread":
        start = F.one_hot(data.y, number).float() * data.train_mask.unsqueeze(1)
        return _spread(data, start), int(data.train_mask.sum()) * (bits + index_bits) / 8
    start = F.one_hot(told, number).float() * (~data.test_mask).unsqueeze(1)
    # which nodes are known takes a bit a node, and their classes follow in order
    return _spread(data, start), (data.num_nodes + int((~data.test_mask).sum()) * bits) / 8


def _spread(data: Any, start: Tensor) -> Tensor:
    """share S f + (1 - share) start, again and again, with S the normalised adjacency."""
    graph = Graph(data.edge_index, data.num_nodes)
    weight = symmetric(graph).unsqueeze(1)
    scores = start
    for _ in range(_STEPS):
        scores = _SHARE * ops.spmm(graph, weight, scores.unsqueeze(1)).squeeze(1) + (1 - _SHARE) * start
    return scores
