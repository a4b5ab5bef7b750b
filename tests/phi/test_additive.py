"""Additive: edge weights that are sums of functions one can read."""

import io

import numpy as np
import pytest
import torch

from edgenet.errors import ShapeError
from edgenet.estimators import SpAM
from edgenet.estimators.basis import SplineBasis
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv
from edgenet.phi import Additive
from edgenet.phi.spline_functions import SplineFunctions
from edgenet.testing import GRAPHS

GRAPH = GRAPHS["directed"]  # 13 nodes, 47 edges
LINK = {"identity": lambda s: s, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "softplus": lambda s: s.exp().log1p()}


def near(got, want):
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def drawn(phi, *inputs):
    """The phi after its first data, with functions at random."""
    phi(*inputs)
    with torch.no_grad():
        for parameter in phi.parameters():
            parameter.normal_()
    return phi


def signals(edge_dim=3):
    return torch.randn(13, 5), None, GRAPH, None, torch.randn(47, edge_dim)


@pytest.mark.parametrize("link", LINK)
def test_the_weight_of_an_edge_is_a_link_of_a_sum_of_splines_of_its_features(link):
    x, _, _, _, attr = inputs = signals()
    phi = drawn(Additive(2, 2, 5, edge_dim=3, link=link, share_hops=False), *inputs)
    parts = {"edge": attr, "source": x[GRAPH.source], "target": x[GRAPH.target]}
    want = phi.intercept.detach().unsqueeze(1).repeat(1, 47, 1)
    for part, values in parts.items():
        u = torch.tensor(SplineBasis.fit(values.numpy())(values.numpy()))  # (E, D, v)
        for k in range(2):
            for e in range(47):
                for h in range(2):
                    want[k, e, h] += (phi.functions[part].coefficients[k, h] * u[e]).sum().detach()
    near(phi(*inputs), LINK[link](want))


def test_a_softmax_is_over_the_edges_that_enter_a_node():
    inputs = signals()
    phi = drawn(Additive(1, 2, 5, edge_dim=3, endpoints="source", link="softmax"), *inputs)
    weight, score = phi(*inputs)[0], phi.explain(inputs[0], GRAPH, inputs[4]).values[0].sum(-1)
    for node in range(13):
        at = GRAPH.target == node
        near(weight[at], score[at].softmax(0))


def test_it_starts_as_the_shift_operator():
    x, edges, weight = torch.randn(13, 5), torch.rand(47), torch.rand(47)
    phi = Additive(2, 2, 5)
    near(phi(x, None, GRAPH, weight), weight.view(1, 47, 1).expand(2, 47, 2))
    layer = EdgeNetConv(5, 4, order=2, phi="additive", normalize="sym", edge_dim=1, add_self_loops=False)
    shift = EdgeNetConv(5, 4, order=2, phi=_shift(), lift=layer.lift, taps=layer.taps, self_tap=layer.self_tap)
    near(layer(x, GRAPH, edge_attr=edges), shift(x, GRAPH))


def _shift():
    from edgenet.phi import ShiftOperator

    return ShiftOperator(2, normalize="sym")


@pytest.mark.parametrize("endpoints", ["both", "target", "none"])
def test_a_batch_of_signals_is_each_of_them_alone(endpoints):
    layer = EdgeNetConv(5, 4, order=2, heads=2, phi="additive", edge_dim=3, endpoints=endpoints, share_hops=False)
    x, attr = torch.randn(3, 13, 5), torch.randn(47, 3)
    layer(x, GRAPH, edge_attr=attr)
    with torch.no_grad():
        for functions in layer.phi.functions.values():
            functions.coefficients.normal_()
    near(layer(x, GRAPH, edge_attr=attr), torch.stack([layer(one, GRAPH, edge_attr=attr) for one in x]))


def test_it_walks_a_bipartite_graph_and_reads_sparse_features():
    graph = Graph(torch.tensor([[0, 1, 2, 2], [0, 0, 1, 0]]), 2, num_sources=3)
    x = torch.randn(3, 5), torch.randn(2, 4)
    layer = EdgeNetConv((5, 4), 6, phi="additive", add_self_loops=False)
    assert layer(x, graph).shape == (2, 6)
    assert [f.features for f in layer.phi.functions.values()] == [5, 4]
    one = EdgeNetConv(5, 4, phi="additive")
    x = torch.randn(13, 5).relu()
    near(one(x.to_sparse_csr(), GRAPH), one(x, GRAPH))


# ------------------------------------------------------------------- sparsity
def test_the_size_of_a_function_is_its_root_mean_square_over_the_edges():
    inputs = signals()
    phi = drawn(Additive(2, 2, 5, edge_dim=3, share_hops=False), *inputs)
    parts = phi.explain(inputs[0], GRAPH, inputs[4]).values
    want = torch.cat(list(phi.norms().values()), -1)
    near(parts.square().mean(1).sqrt(), want)
    near(parts.mean(1), torch.zeros_like(want))
    near(phi.penalty(), want.sum())


def test_the_soft_threshold_shortens_every_function_and_drops_the_short_ones():
    inputs = signals()
    phi = drawn(Additive(1, 2, 5, edge_dim=3), *inputs)
    before = phi.explain(inputs[0], GRAPH, inputs[4]).values
    size = before.square().mean(1).sqrt()
    amount = float(size.flatten().sort().values[12:14].mean())  # between the two in the middle, far from both
    assert phi.num_functions() == 2 * 13
    phi.soft_threshold_(amount)
    near(phi.explain(inputs[0], GRAPH, inputs[4]).values, before * (1 - amount / size).clamp(min=0).unsqueeze(1))
    assert phi.num_functions() == 13
    with torch.no_grad():
        phi.functions["edge"].coefficients.zero_()
    assert phi.soft_threshold_(0.0).norms()["edge"].isfinite().all()
    with torch.no_grad():
        phi.functions["edge"].coefficients[0, 0, 1, 2] = float("nan")
    assert phi.soft_threshold_(0.1).norms()["edge"].isnan().sum() == 1  # a loss is not hidden by a zero


def test_gradient_steps_with_the_soft_threshold_reach_the_fit_of_the_sparse_additive_model():
    rng = np.random.default_rng(0)
    nodes = torch.arange(300)
    graph = Graph(torch.stack([nodes, (nodes * 7 + 1) % 300]), 300)
    attr = rng.uniform(-1, 1, (300, 6))
    y = np.sin(3 * attr[:, 0]) + attr[:, 2] ** 2 + 0.3 * rng.normal(size=300)
    wanted = SpAM(penalty=0.1, tol=1e-10).fit(attr, y)
    phi, attr, y = Additive(1, 1, edge_dim=6, endpoints="none"), torch.tensor(attr), torch.tensor(y)
    optimizer = torch.optim.SGD(phi.parameters(), lr=0.7)
    for _ in range(150):
        optimizer.zero_grad()
        loss = (y - phi(None, torch.zeros(300, 1, 1), graph, None, attr)[0, :, 0]).square().mean() / 2
        loss.backward()
        optimizer.step()
        phi.soft_threshold_(0.7 * 0.1)
    parts = phi.explain(None, graph, attr)
    np.testing.assert_allclose(parts.values[0, :, 0].numpy(), wanted.components_, atol=1e-8)
    assert abs(float(parts.intercept) - wanted.intercept_) < 1e-8
    assert wanted.support_.tolist() == [0, 2] == phi.norms()["edge"].flatten().nonzero().flatten().tolist()


# ------------------------------------------------------------------- explanation
def test_contributions_sum_to_the_score_and_are_told_by_name():
    x, _, _, _, attr = inputs = signals()
    phi = drawn(Additive(2, 2, 5, edge_dim=3, link="tanh"), *inputs)
    phi.soft_threshold_(2.5)
    told = phi.explain(x, GRAPH, attr, edge_names=["length", "age", "kind"])
    near((told.values.sum(-1) + told.intercept.unsqueeze(1)).tanh()[0], phi(*inputs)[1])
    assert told.names[:4] == ["edge length", "edge age", "edge kind", "source 0"] and len(told.names) == 13
    parts = told.of_edge(5, head=1)
    assert 0 < len(parts) < 13 and parts == sorted(parts, key=lambda part: -abs(part[1]))
    for name, value in parts:
        assert value == told.values[0, 5, 1, told.names.index(name)]


def test_the_picture_has_an_axis_for_every_feature_with_a_function():
    inputs = signals()
    attr = inputs[4]
    phi = Additive(1, 2, 5, edge_dim=3)
    with pytest.raises(ShapeError, match="no basis yet"):
        phi.plot()
    phi(*inputs)
    assert phi.plot().axes == []
    with torch.no_grad():
        phi.functions["edge"].coefficients[0, 1, 2] = 1.0
        phi.functions["target"].coefficients[0, 0, 4] = 2.0
    axes = phi.plot(node_names=list("abcde")).axes
    assert [axis.get_xlabel() for axis in axes] == ["target e", "edge 2"]
    at, curve = axes[1].lines[1].get_data()
    assert at[0] == attr[:, 2].min() and at[-1] == attr[:, 2].max()
    basis = SplineBasis.fit(attr.numpy()).column(2)
    np.testing.assert_allclose(curve, basis(at[:, None])[:, 0].sum(1), atol=1e-10)
    assert len(phi.plot(largest=1).axes) == 1


# ------------------------------------------------------------------- the basis
def test_the_basis_is_that_of_the_first_data_and_functions_stay_level_outside():
    inputs = signals()
    phi = drawn(Additive(1, 1, edge_dim=3, endpoints="none"), *inputs)
    far = inputs[4] * 100
    near(phi(*inputs[:4], far), phi(*inputs[:4], far.clamp(inputs[4].amin(0), inputs[4].amax(0))))
    low = phi.functions["edge"].low.clone()
    phi.fit_basis(None, GRAPH, far)
    near(phi.functions["edge"].low, low * 100)
    assert phi.num_functions() == 0


def test_a_constant_feature_has_no_function_and_few_edges_few():
    functions = SplineFunctions(2, 1, 1)
    values = torch.stack([torch.full((4,), 3.0), torch.arange(4.0)], 1)
    functions.fit(values)
    torch.nn.init.ones_(functions.coefficients)
    parts = functions.each(values)[:, 0, 0]
    assert parts.isfinite().all() and (parts[:, 0] == 0).all() and (parts[:, 1] != 0).all()


def test_a_graph_without_edges_fits_nothing():
    phi = Additive(1, 2, edge_dim=-1)
    assert phi(torch.randn(3, 5), None, GRAPHS["no_edges"], None, torch.randn(0, 4)).shape == (1, 0, 2)
    assert not any(functions.is_fitted for functions in phi.functions.values())
    phi(*signals(4))
    assert all(functions.is_fitted for functions in phi.functions.values())


def test_many_edges_are_sampled():
    functions, values = SplineFunctions(1, 1, 1), torch.rand(50_000, 1)
    functions.fit(values)
    u = functions.forward(values)
    assert u.shape == (50_000, 1, 1)
    torch.nn.init.ones_(functions.coefficients)
    assert (
        abs(float(functions(values).detach().square().mean()) - 6) < 0.2
    )  # six orthonormal functions, but for the sampling


def test_a_checkpoint_from_before_the_first_data_waits_for_them():
    file = io.BytesIO()
    torch.save(Additive(1, 2, 5).state_dict(), file)
    file.seek(0)
    phi = drawn(Additive(1, 2, 5), torch.randn(13, 5), None, GRAPH)
    phi.load_state_dict(torch.load(file, weights_only=True))
    assert not any(functions.is_fitted for functions in phi.functions.values())


def test_a_checkpoint_from_before_the_sizes_are_known_waits_for_them():
    file = io.BytesIO()
    layer = EdgeNetConv(-1, 4, phi="additive", edge_dim=-1)
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = EdgeNetConv(-1, 4, phi="additive", edge_dim=-1)
    other.load_state_dict(torch.load(file, weights_only=True))
    x, attr = torch.randn(13, 5), torch.randn(47, 3)
    assert other(x, GRAPH, edge_attr=attr).shape == (13, 4)
    layer.load_state_dict(other.state_dict())
    near(layer(x, GRAPH, edge_attr=attr), other(x, GRAPH, edge_attr=attr))
    with pytest.raises(RuntimeError, match=r"Missing key.*functions\.source\.coefficients"):
        Additive(1, 1).load_state_dict({"intercept": torch.ones(1, 1)})


def test_a_part_of_a_checkpoint_leaves_the_basis_and_a_basis_without_a_size_is_refused():
    phi = drawn(Additive(1, 2, 5), torch.randn(13, 5), None, GRAPH)
    phi.load_state_dict({"intercept": torch.zeros(1, 2)}, strict=False)
    assert all(functions.is_fitted for functions in phi.functions.values())
    with pytest.raises(RuntimeError, match="size mismatch"):
        phi.load_state_dict(Additive(1, 2).state_dict())


def test_a_basis_met_in_inference_serves_training():
    phi = Additive(1, 2, edge_dim=-1)
    inputs = signals()
    with torch.inference_mode():
        phi(*inputs)
    phi(*inputs).sum().backward()
    assert all(parameter.grad is not None for parameter in phi.parameters())


def test_before_sizes_are_known_nothing_is_said_of_functions():
    phi = Additive(1, 2)
    for ask in (phi.penalty, phi.norms, phi.num_functions, lambda: phi.soft_threshold_(0.1)):
        with pytest.raises(ShapeError, match="not known yet: run the layer"):
            ask()
    graph = GRAPHS["no_edges"]
    assert phi.explain(torch.randn(graph.num_nodes, 5), graph).values.shape == (1, 0, 2, 10)
    phi(torch.randn(13, 5), None, GRAPH)
    for names in (["a"], list("abcdef")):
        with pytest.raises(ShapeError, match=f"{len(names)} names came for 5 node features"):
            phi.plot(node_names=names)


def test_features_that_came_through_a_layer_get_gradients():
    x = torch.randn(13, 5, requires_grad=True)
    phi = drawn(Additive(1, 2, 5), x, None, GRAPH)
    inner = torch.rand(13, 5) * 0.8 * 2 - 0.8  # off the ends, where a clamp has a kink
    assert torch.autograd.gradcheck(lambda t: phi(t, None, GRAPH), inner.requires_grad_())


# ------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    "options, says",
    [
        ({"link": "relu"}, "link is one of.*'relu'"),
        ({"endpoints": "left"}, "endpoints is one of.*'left'"),
        ({"normalize": "l2"}, "normalize is one of.*'l2'"),
        ({"endpoints": "none"}, "no feature to read"),
        ({"edge_dim": 0}, "edge_dim is how many"),
        ({"link": "softmax"}, "cancels"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, says):
    with pytest.raises(ShapeError, match=says):
        Additive(1, 1, 5, **options)


@pytest.mark.parametrize(
    "options, weight, attr, says",
    [
        ({}, None, torch.zeros(47, 2), r"edge_dim=None, and edge_attr \(47, 2\) came"),
        ({"edge_dim": 3}, None, None, "edge_dim=3, and none came"),
        ({"edge_dim": 3}, None, torch.zeros(47, 2), r"edge_dim=3 features, got \(47, 2\)"),
        ({"edge_dim": 1}, None, torch.full((47,), float("nan")), "column 0 has NaN"),
        ({}, torch.ones(47, 3), None, r"2 heads take \(E,\) or \(E, 2\)"),
        ({"normalize": "rw"}, torch.ones(47, 2), None, "one column"),
    ],
)
def test_features_that_were_not_announced_are_refused(options, weight, attr, says):
    with pytest.raises(ShapeError, match=says):
        Additive(1, 2, 5, **options)(torch.randn(13, 5), None, GRAPH, weight, attr)


def test_signals_of_other_widths_and_missing_ones_are_refused():
    phi = drawn(Additive(1, 1, 5), torch.randn(13, 5), None, GRAPH)
    with pytest.raises(ShapeError, match=r"5 features, got \(13, 4\)"):
        phi(torch.randn(13, 4), None, GRAPH)
    with pytest.raises(ShapeError, match="target's features"):
        phi((torch.randn(13, 5), None), None, GRAPH)
    with pytest.raises(ShapeError, match="one signal at a time"):
        phi.explain(torch.randn(13, 2, 5), GRAPH)
