"""Linear estimators become the taps of a layer."""

import numpy as np
import pytest
import torch
from selection.filters import EDGES, GRAPH, NODES, near, random_, recovered
from sklearn.linear_model import LinearRegression
from torch import nn
from torch.nn.utils import parametrize, prune

from edgenet.errors import ConfigError, PlanError
from edgenet.estimators import QuantilePath, SpAM
from edgenet.nn import EdgeNetConv, specializations
from edgenet.nn.lift import Identity
from edgenet.nn.taps import Linear
from edgenet.phi import EdgeVarying
from edgenet.selection import fill_, remove_, tap_features
from edgenet.structured import StructuredLinear


def test_quantiles_fill_a_channel_each():
    layer, x, edges, features, _ = recovered(0.5)
    y = np.random.default_rng(0).normal(size=len(features.values)) + features.values[:, 0]
    paths = [QuantilePath(tau, groups=features.groups(("hop",))).fit(features.values, y) for tau in (0.1, 0.9)]
    two = fill_(specializations.gcnn(3, 2, order=5, normalize="rw"), features, *paths)
    near(two(x, edges).detach(), np.stack([path.predict(features.values) for path in paths], 1))
    with pytest.raises(ConfigError, match="1 output channels, and 2"):
        fill_(layer, features, *paths)


def test_copies_of_the_input_are_filled_once():
    layer, x, weight = (
        specializations.gcnn(3, 1, 2, shifts=2, normalize=None),
        torch.randn(NODES, 3),
        torch.rand(EDGES, 2),
    )
    features = tap_features(layer, x, GRAPH, weight)
    path = QuantilePath(0.5).fit(features.values, features.values.sum(1) + torch.randn(NODES).numpy())
    near(fill_(layer, features, path)(x, GRAPH, weight)[:, 0].detach(), path.predict(features.values))


def test_what_cannot_be_filled_is_refused():
    layer, x, edges, features, path = recovered(0.5)
    with pytest.raises(PlanError, match="Sum taps"):
        fill_(specializations.gat(3, 1), features, path)
    with pytest.raises(PlanError, match="bias=True"):
        fill_(specializations.gcnn(3, 1, 5, bias=False), features, path)
    in_blocks = tap_features(layer, x, edges, blocks=[0] * edges.shape[1])
    with pytest.raises(PlanError, match="blocks of edges"):
        fill_(layer, in_blocks, path)
    with pytest.raises(ConfigError, match="no coef_"):
        fill_(layer, features, SpAM())
    with pytest.raises(ConfigError, match="of another"):
        fill_(specializations.gcnn(3, 1, order=2), features, path)
    smaller = specializations.gcnn(3, 1, order=5)
    remove_(smaller, features.plan(path))
    if len(smaller.hops) < 6:
        with pytest.raises(ConfigError, match="fill first"):
            fill_(smaller, features, path)


class Silent(nn.Module):
    """Calls what it wraps, and says nothing of it."""

    def __init__(self, wrapped):
        super().__init__()
        self.inside = wrapped

    def forward(self, *args):
        return self.inside(*args)


@pytest.mark.parametrize("path", ["taps", "taps.linear", "taps.linear.weight"])
@pytest.mark.parametrize("how", ["hook", "pruning", "parametrization", "wrapper"])
def test_what_would_change_what_is_filled_in_is_refused(path, how):
    layer, x, edges, features, estimator = recovered(0.5)
    module = layer.get_submodule(path)
    if how == "hook":
        module.register_forward_hook(lambda _m, _i, y: 2 * y)
    elif how == "pruning":
        prune.random_unstructured(layer.taps.linear.weight, "weight", amount=0.5)
    elif how == "parametrization":
        parametrize.register_parametrization(layer, "bias", nn.Tanh())
    else:
        parent, _, name = path.rpartition(".")
        setattr(layer.get_submodule(parent), name, Silent(module))
    before = layer(x, edges)
    with pytest.raises(PlanError):
        fill_(layer, features, estimator)
    torch.testing.assert_close(layer(x, edges), before)


def linear_(coefficients, intercept):
    model = LinearRegression()
    model.coef_, model.intercept_ = np.asarray(coefficients), intercept
    return model


def test_several_targets_of_one_regression_fill_a_channel_each():
    _, x, edges, features, _ = recovered(0.5)
    y = np.random.default_rng(0).normal(size=(len(features.values), 2))
    model, layer = LinearRegression().fit(features.values, y), specializations.gcnn(-1, 2, order=5, normalize="rw")
    near(fill_(layer, features, model)(x, edges).detach(), model.predict(features.values))


@pytest.mark.float32
def test_a_layer_takes_coefficients_in_its_own_precision():
    layer, features = (
        specializations.gcnn(3, 1, order=1).double(),
        tap_features(specializations.gcnn(3, 1, order=1), torch.randn(NODES, 3), GRAPH),
    )
    fill_(layer, features, linear_(np.full(6, 0.1), 0.1))
    assert layer.bias.item() == 0.1 and (layer.taps.linear.weight.weight == 0.1).all()


@pytest.mark.parametrize(
    ("layer", "estimator", "text"),
    [
        (lambda: specializations.gcnn(3, 1, order=5), linear_(np.ones(18), np.zeros(2)), "an intercept each"),
        (lambda: specializations.gcnn(3, 1, order=5), linear_(np.ones((2, 18)), 0.0), r"coefficients for \[2\]"),
        (lambda: specializations.gcnn(3, 1, order=5), linear_(np.ones(17), 0.0), r"coefficients \(17,\)"),
        (lambda: specializations.gcnn(4, 1, order=5), linear_(np.ones(18), 0.0), "4 channels a tap"),
        (lambda: specializations.gcnn(-1, 2, order=5), linear_(np.ones(18), 0.0), "2 output channels"),
    ],
)
def test_coefficients_that_do_not_fit_change_nothing(layer, estimator, text):
    _, _, _, features, _ = recovered(0.5)
    layer = layer()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with pytest.raises(ConfigError, match=text):
        fill_(layer, features, estimator)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_inputs_that_are_scaled_head_by_head_are_features_of_their_own():
    phi, taps = EdgeVarying(1, 2, initial=True), Linear(StructuredLinear.dense(12, 2))
    layer, x = EdgeNetConv(3, 2, phi=phi, lift=Identity(2), taps=taps), torch.randn(NODES, 3)
    layer(x, GRAPH)
    random_(layer)
    features = tap_features(layer, x, GRAPH)
    weight, bias = taps.linear.weight.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()
    want = layer(x, GRAPH).detach()
    near(features.values @ weight.T + bias, want)
    random_(taps)
    near(fill_(layer, features, linear_(weight, bias))(x, GRAPH).detach(), want)
