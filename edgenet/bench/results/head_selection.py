"""Heads that a quantile path keeps of the published GAT for Cora."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from edgenet.bench.results.published_gat import published
from edgenet.estimators import QuantilePath
from edgenet.nn import EdgeNetConv
from edgenet.selection import Kept, RemovalPlan, remove_, tap_features


def by_heads(data_root: Path | None) -> Iterator[tuple[object, ...]]:
    """The published GAT for Cora with the first 1, 2, ... heads of its first layer that a path enters."""
    problem = published(data_root)
    model, data = problem.model.double(), problem.data
    x, edges, first, second = data.x.double(), data.edge_index, model.convs[0], model.convs[1]
    heads, channels = first.heads, first.out_channels
    with torch.no_grad():
        hidden = model.activation(first(x, edges))
        scores, (walked, attention) = second(hidden, edges, return_attention_weights=True)
    walk = EdgeNetConv(heads * channels, 1, 1, phi="shift", hops=[1])  # the second layer, its attention given
    features = tap_features(walk.double(), hidden, walked, attention[:, 0]).values
    labelled = data.train_mask.numpy()
    # the scores of all classes are one response, so that a head is a group over all of them
    wanted = scores[labelled].numpy() - np.median(scores[labelled].numpy(), 0)
    design = np.kron(np.eye(wanted.shape[1]), features[labelled] - features[labelled].mean(0))
    groups = np.tile(np.repeat(np.arange(heads), channels), wanted.shape[1])
    order = QuantilePath(0.5, groups=groups).fit(design, wanted.T.reshape(-1)).entry_order()
    known = (data.train_mask | data.val_mask).numpy()

    def refitted(kept: list[int]) -> float:
        columns = np.isin(np.repeat(np.arange(heads), channels), kept)
        design = np.c_[features[:, columns], np.ones(len(features))]
        mix = np.linalg.lstsq(design[known], scores[known].numpy(), rcond=None)[0]
        return _accuracy(torch.as_tensor(design @ mix), data)

    for count in range(1, heads + 1):
        smaller = copy.deepcopy(model)
        kept = sorted(int(head) for head in order[:count])
        before = sum(p.numel() for p in smaller.parameters())
        remove_(smaller, RemovalPlan({"convs.0": Kept(tuple((1, head) for head in kept))}))
        after = sum(p.numel() for p in smaller.parameters())
        with torch.no_grad():
            untouched = _accuracy(smaller(x, edges), data)
        others = [refitted(list(some)) for some in itertools.combinations(range(heads), count)]
        yield count, order[count - 1], before / after, untouched, refitted(kept), np.mean(others), len(others)


def _accuracy(scores: Tensor, data: Data) -> float:
    return float((scores.argmax(1) == data.y)[data.test_mask].double().mean())
