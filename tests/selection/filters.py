"""Layers and data that the tests of selection share."""

import numpy as np
import torch

from edgenet.estimators import QuantilePath
from edgenet.nn import specializations
from edgenet.selection import tap_features
from edgenet.testing import GRAPHS

GRAPH = GRAPHS["directed"]
NODES, EDGES = GRAPH.num_nodes, GRAPH.num_edges


def near(got, want):
    torch.testing.assert_close(torch.as_tensor(got), torch.as_tensor(want), rtol=1e-10, atol=1e-10)


def random_(layer):
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer


def recovered(tau, seed=0):
    """A path that was fitted to a filter with taps at hops 0 and 2 alone, on a ring with chords."""
    torch.manual_seed(seed)
    n = 120
    ring = torch.arange(n)
    edges = torch.stack([torch.cat([ring, ring, ring]), torch.cat([(ring + 1) % n, (ring + 5) % n, (ring - 3) % n])])
    layer, x = specializations.gcnn(3, 1, order=5, normalize="rw"), torch.randn(n, 3)
    features = tap_features(layer, x, edges).scaled()
    y = features.values[:, :3] @ [1.0, -1.0, 1.0] + features.values[:, 6:9] @ [2.0, 1.0, -1.0]
    y = y + 0.1 * np.random.default_rng(seed).standard_t(4, n)
    path = QuantilePath(tau, groups=features.groups(("hop",)), cv=5).fit(features.values, y)
    return layer, x, edges, features, path
