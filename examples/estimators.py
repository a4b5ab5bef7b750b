"""Sparse estimators: which features, hops and edges matter

Three estimators in the manner of scikit-learn: an additive model of few features, the whole path of a quantile
regression, and intervals that cover. And what they do for graph networks: a layer loses the hops it does not need.
"""

import numpy as np
import torch

from edgenet.estimators import ConformalInterval, QuantilePath, SpAM, coverage_range
from edgenet.nn import specializations as nets
from edgenet.selection import fill_, remove_, tap_features

samples, columns = 200, 30

# ## Which features, and how: SpAM
#
# A sum of smooth functions of one feature each, most of them zero.

rng = np.random.default_rng(0)
X = rng.uniform(-2.5, 2.5, (samples, columns))
y = -2 * np.sin(2 * X[:, 0]) + X[:, 1] ** 2 + 0.5 * rng.normal(size=samples)
model = SpAM(criterion="gcv").fit(X, y)
print("features that are used:", list(map(int, model.support_)))
model.plot().savefig("functions.png")

# ## All penalties at once: QuantilePath
#
# A quantile regression whose penalty keeps or drops whole groups of columns. One fit gives the solution at every
# penalty.

groups = np.arange(columns) // 3
response = X[:, :3].sum(1) + rng.standard_t(3, samples)
path = QuantilePath(tau=0.5, groups=groups).fit(X, response)
print("the order in which groups enter:", list(map(int, path.entry_order()[:4])))
print("groups that are kept:", list(map(int, path.selected_groups_)))

# ## Intervals that cover: ConformalInterval
#
# Two quantiles, widened by what held-out samples ask for.

third = samples // 3
interval = ConformalInterval(coverage=0.9, calibration=None)
interval.fit(X[:third], response[:third]).calibrate(X[third : 2 * third], response[third : 2 * third])
low, high = interval.predict(X[2 * third :]).T
inside = ((low <= response[2 * third :]) & (response[2 * third :] <= high)).mean()
expected = coverage_range(third, 0.9)
print(f"covered {inside:.2f}; to be expected from {expected[0]:.2f} to {expected[1]:.2f}")

# ## A layer without the hops it does not need
#
# A graph filter combines five hops, and only one is in the data. Its features are the columns of a regression; the
# choice of the regression is carried out on the layer.

torch.manual_seed(0)
nodes = torch.randn(200, 3)
edges = torch.randint(0, 200, (2, 800))
layer = nets.gcnn(3, 1, order=4)
features = tap_features(layer, nodes, edges).scaled()
wanted = features.values[:, 6:9].sum(1) + 0.1 * rng.normal(size=200)
chosen = QuantilePath(0.5, groups=features.groups(by=("hop",)), max_groups=1).fit(features.values, wanted)
fill_(layer, features, chosen)
print(*remove_(layer, features.plan(chosen)))
print("hops that are left:", layer.hops)

# [Sparse estimators](../estimators.md) has classes, weights of samples, pipelines, and readable edge weights.
