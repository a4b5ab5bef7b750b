"""Signals with a time axis, (B, T, N, F) on one graph: every layer and model gives what it gives step by step."""

import pytest
import torch
from layers import LAYERS
from torch_geometric.data import Data

from edgenet import fit
from edgenet.data import Dataset
from edgenet.errors import ShapeError
from edgenet.models import READOUTS, GraphClassifier, NodeClassifier
from edgenet.nn import SPECIALIZATIONS, EdgeNetConv, SpectralConv
from edgenet.testing import GRAPHS

from train.small_data import ring  # isort: skip

TAKEN = [name for name, case in LAYERS.items() if case.batches and not case.pair]


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", TAKEN)
def test_a_layer_gives_what_it_gives_step_by_step_and_so_do_gradients(name):
    layer, x, more = LAYERS[name].ready()
    signals = torch.stack([torch.stack([x, -x, x.flip(0)]), torch.stack([2 * x, x.sin(), x.cos()])]).requires_grad_()
    y = layer(signals, **more)
    steps = torch.stack([layer(signals[:, t], **more) for t in range(3)], 1)
    close(y, steps)
    r = torch.randn_like(y)
    for got, want in zip(gradients(layer, signals, y, r), gradients(layer, signals, steps, r), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)  # sums over signals in another order


def gradients(layer, x, y, r):
    found = torch.autograd.grad(y, [x, *layer.parameters()], r, allow_unused=True)
    return [grad for grad in found if grad is not None]


def test_every_specialization_is_among_them():
    assert {name.split(",")[0] for name in TAKEN} >= set(SPECIALIZATIONS)


def test_attention_weights_are_those_of_all_signals():
    conv = EdgeNetConv(3, 4, heads=2, phi="attention")
    x, edges = torch.randn(2, 3, 13, 3), GRAPHS["directed"].edge_index
    y, (of, alpha) = conv(x, edges, return_attention_weights=True)
    flat, (_, same) = conv(x.flatten(0, 1), edges, return_attention_weights=True)
    close(y, flat.view(2, 3, 13, 8))
    assert alpha.shape == (of.shape[1], 2 * 3 * 2)
    close(alpha, same)


@pytest.mark.parametrize("lead", [(0, 3), (2, 0), (1, 1)])
def test_no_signals_and_no_times_are_fine(lead):
    for layer in (EdgeNetConv(3, 4, 2, phi="shift"), SpectralConv(3, 4).bind(ring(6), 6)):
        assert layer(torch.randn(*lead, 6, 3), ring(6)).shape == (*lead, 6, 4)


@pytest.mark.parametrize("layer", SPECIALIZATIONS)
def test_models_give_what_they_give_step_by_step(layer):
    x, edges = torch.randn(2, 3, 6, 4), ring(6)
    nodes = NodeClassifier(4, 2, layer=layer, hidden_channels=6, skip=True).eval().bind(edges, 6)
    y = nodes(x, edges)
    assert y.shape == (2, 3, 6, 2)
    close(y, torch.stack([nodes(x[:, t], edges) for t in range(3)], 1))


@pytest.mark.parametrize("readout", [*READOUTS, "median", ["mean", "max"]], ids=str)
def test_every_readout_scores_every_time(readout):
    x, edges = torch.randn(2, 3, 6, 4), ring(6)
    model = GraphClassifier(4, 5, hidden_channels=6, readout=readout, num_nodes=6, target_node=2)
    y = model(x, edges)
    assert y.shape == (2, 3, 5)
    close(y, torch.stack([model(x[:, t], edges) for t in range(3)], 1))


def test_more_axes_are_refused():
    x = torch.randn(1, 2, 3, 6, 4)
    for layer in (EdgeNetConv(4, 2, phi="shift"), SpectralConv(4, 2), NodeClassifier(4, 2, layer="gcnn")):
        with pytest.raises(ShapeError, match=r"\(batch, time, nodes, features\)"):
            layer(x, ring(6))
    with pytest.raises(ShapeError, match="batch is the graph of every node"):
        GraphClassifier(4, 2)(x[0], ring(6), batch=torch.zeros(6, dtype=torch.long))


@pytest.mark.parametrize("layer", ["gcnn", "edge_varying"])
def test_they_are_trained_by_fit(layer):
    """The class of each time, and the next number at each node, from signals of several steps."""

    def split(seed, of):
        torch.manual_seed(seed)
        x = torch.randn(24, 3, 6, 1)
        y = {"class": (x[:, :, 1, 0] > 0).long(), "value": x.roll(1, dims=2)}[of]
        return [Data(x=x, y=y, edge_index=ring(6), num_nodes=6)]

    times = Dataset(
        "times", "signal", "class", "accuracy", 1, 2, split(0, "class"), split(1, "class"), split(2, "class")
    )
    model = GraphClassifier(1, 2, layer=layer, hidden_channels=8, readout="flatten", num_nodes=6)
    result = fit(model, times, epochs=20, lr=0.05, batch_size=8, progress=False)
    assert result.test > 0.9
    nodes = Dataset("nodes", "signal", "value", "rmse", 1, 1, split(0, "value"), split(1, "value"), split(2, "value"))
    model = NodeClassifier(1, 1, layer=layer, hidden_channels=8, dropout=0.0)
    untrained = model.eval()(nodes.test[0].x, ring(6)).sub(nodes.test[0].y).square().mean().sqrt()
    result = fit(model, nodes, epochs=5, lr=0.05, batch_size=8, progress=False)
    assert result.test < untrained
