"""DelayedConv: every hop takes a step of time, over the edges of that step."""

import copy

import pytest
import torch
from oracles import matrix, normalised

from edgenet import from_pretrained, save_pretrained
from edgenet.compress import compress_
from edgenet.errors import ConfigError, ShapeError
from edgenet.nn import EdgeNetConv
from edgenet.nn.graph_signal import DelayedConv
from edgenet.structured import LowRank
from edgenet.testing import GRAPHS

GRAPH, STEPS = GRAPHS["directed"], 5
EDGES = GRAPH.num_edges


def by_loops(conv, shifts, x):
    """The formula, step by step and hop by hop; shifts (T, N, N)."""
    taps = conv.linear.weight.to_dense().view(conv.out_channels, conv.order + 1, conv.in_channels)
    rows = []
    for t in range(len(x)):
        y = conv.linear.bias if conv.linear.bias is not None else 0
        for k in range(min(t, conv.order) + 1):
            z = x[t - k]
            for step in range(t - k + 1, t + 1):
                z = shifts[step] @ z
            y = y + z @ taps[:, k].T
        rows.append(y)
    return torch.stack(rows)


def dense(weight, normalize=None):
    return torch.from_numpy(normalised(matrix(GRAPH, weight), normalize))


@pytest.mark.parametrize("normalize", [None, "sym", "rw"])
def test_one_operator_for_all_steps(normalize):
    conv, weight = DelayedConv(3, 4, 2, normalize), torch.rand(EDGES) + 0.5
    x = torch.randn(2, STEPS, 13, 3, requires_grad=True)
    with torch.no_grad():
        conv.linear.bias.uniform_()
    y = conv(x, GRAPH, weight)
    wanted = torch.stack([by_loops(conv, [dense(weight, normalize)] * STEPS, one) for one in x])
    torch.testing.assert_close(y, wanted, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(conv(x[1], GRAPH, weight), wanted[1], rtol=1e-10, atol=1e-10)
    r, inputs = torch.randn_like(y), [x, *conv.parameters()]
    for got, want in zip(torch.autograd.grad(y, inputs, r), torch.autograd.grad(wanted, inputs, r), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def test_operators_of_every_step_and_of_every_signal():
    conv, x = DelayedConv(3, 4, 3, None, bias=False), torch.randn(2, STEPS, 13, 3)
    own = torch.rand(2, STEPS, EDGES)
    wanted = torch.stack([by_loops(conv, [dense(w) for w in own[b]], x[b]) for b in range(2)])
    torch.testing.assert_close(conv(x, GRAPH, own), wanted, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(conv(x[1], GRAPH, own[1]), wanted[1], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(conv(x, GRAPH, own[0].expand(2, -1, -1)), conv(x, GRAPH, own[0]))
    whole = torch.randint(0, 2, (STEPS, EDGES))  # edges that come and go
    torch.testing.assert_close(conv(x, GRAPH, whole), conv(x, GRAPH, whole.double()))


def test_gradients_reach_the_operators():
    conv, graph = DelayedConv(1, 2, 2, None), GRAPHS["self_loops"]
    weight, x = torch.rand(3, 5, requires_grad=True), torch.randn(3, 4, 1, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: conv(x, graph, w), (x, weight))


def test_a_signal_that_stays_is_filtered_as_without_delay():
    conv, plain = DelayedConv(3, 4, 2), EdgeNetConv(3, 4, 2, phi="shift", normalize="sym")
    plain.taps.linear.weight.load_state_dict(conv.linear.weight.state_dict())
    x = torch.randn(13, 3)
    torch.testing.assert_close(conv(x.expand(4, -1, -1), GRAPH)[2], plain(x, GRAPH), rtol=1e-10, atol=1e-10)


def test_no_steps_no_hops_and_graphs_without_edges_are_fine():
    conv = DelayedConv(3, 4)
    assert conv(torch.randn(2, 0, 13, 3), GRAPH).shape == (2, 0, 13, 4)
    assert conv(torch.randn(0, 2, 13, 3), GRAPH).shape == (0, 2, 13, 4)
    varying = DelayedConv(3, 4, normalize=None)
    for batch, steps in ((0, 2), (2, 0)):
        x = torch.randn(batch, steps, 13, 3)
        for weight in (torch.ones(steps, EDGES), torch.ones(batch, steps, EDGES)):
            assert varying(x, GRAPH, weight).shape == (batch, steps, 13, 4)
    assert conv(torch.randn(2, 3, 3), GRAPHS["no_edges"]).isfinite().all()
    x = torch.randn(2, 13, 3)
    torch.testing.assert_close(DelayedConv(3, 3, 0)(x, GRAPH).shape, x.shape)


def test_it_lasts_and_its_matrix_is_a_slot(tmp_path):
    conv, x = DelayedConv(3, 4, 2, "rw"), torch.randn(STEPS, 13, 3)
    y = conv(x, GRAPH)
    save_pretrained(conv, tmp_path)
    for again in (copy.deepcopy(conv), from_pretrained(tmp_path)):
        torch.testing.assert_close(again(x, GRAPH), y, rtol=0, atol=0)
    assert conv.float()(x.float(), GRAPH).dtype == torch.float32
    for weight in (torch.ones(EDGES), torch.ones(STEPS, EDGES)):  # float64
        assert DelayedConv(3, 4, 2, None).float()(x.float(), GRAPH, weight).dtype == torch.float32
    conv.double().reset_parameters()
    assert not conv(x, GRAPH).allclose(y)
    compress_(conv, {r"linear\.": lambda w: LowRank.from_dense(w, rank=4)})
    assert isinstance(conv.linear.weight, LowRank) and conv(x, GRAPH).shape == y.shape


def test_what_does_not_fit_is_refused():
    for sizes in ((0, 1, 1), (1, 0, 1), (1, 1, -1)):
        with pytest.raises(ConfigError, match="are wanted, got"):
            DelayedConv(*sizes)
    conv, x = DelayedConv(3, 4), torch.randn(2, STEPS, 13, 3)
    for wrong in (x[0, 0], x[..., :2]):
        with pytest.raises(ShapeError, match=r"made for \(time, nodes, 3\)"):
            conv(wrong, GRAPH)
    for shape in ((4, EDGES), (2, STEPS, EDGES - 1), (1, 1, STEPS, EDGES)):
        with pytest.raises(ShapeError, match="edge weights are"):
            conv(x, GRAPH, torch.ones(shape))
    with pytest.raises(ShapeError, match="are real"):
        DelayedConv(3, 4, normalize=None)(x, GRAPH, torch.ones(STEPS, EDGES) * 1j)
    with pytest.raises(ShapeError, match="normalise those of the steps beforehand"):
        conv(x, GRAPH, torch.ones(STEPS, EDGES))
    with pytest.raises(ShapeError, match="the graph has 13 nodes"):
        conv(x[:, :, :5], GRAPH)
