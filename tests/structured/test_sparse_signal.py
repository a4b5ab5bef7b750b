"""Sparse features give the numbers of the same features stored densely."""

import oracles
import pytest
import torch

from edgenet import EdgeNetConv, NodeClassifier, ops
from edgenet.errors import ConfigError, ShapeError
from edgenet.nn import SPECIALIZATIONS
from edgenet.nn import specializations as nets
from edgenet.structured import LowRank, SparseSignal, StructuredLinear, drop_rows, sparse_features
from edgenet.testing import random_graph


def bag_of_words(nodes=13, words=40, density=0.1):
    x = torch.randn(nodes, words) * (torch.rand(nodes, words) < density)
    x[3] = 0  # a node without words
    return x


@pytest.mark.parametrize("layout", ["to_sparse_csr", "to_sparse_coo", "to_sparse_csc"])
def test_a_linear_layer_of_sparse_features_is_that_of_dense_ones(layout):
    x, linear = bag_of_words(), StructuredLinear.dense(40, 6, bias=True)
    signal = SparseSignal.of(getattr(x, layout)())
    assert signal.shape == x.shape and torch.equal(signal.to_dense(), x)

    def of_weight(features):
        return lambda w: features.times(w) if isinstance(features, SparseSignal) else features @ w.t()

    oracles.assert_same_function(of_weight(signal), of_weight(x), [linear.weight.to_dense()])
    torch.testing.assert_close(linear(signal), linear(x))


def test_the_features_get_a_gradient_if_they_want_one():
    x = bag_of_words().to_sparse_csr()
    weight = torch.randn(6, 40)
    values = x.values().clone().requires_grad_()
    signal = SparseSignal(SparseSignal.of(x).graph, values)
    signal.times(weight).square().sum().backward()
    dense = x.to_dense().requires_grad_()
    (dense @ weight.t()).square().sum().backward()
    torch.testing.assert_close(values.grad, dense.grad[dense != 0])


@pytest.mark.parametrize("name", [name for name in SPECIALIZATIONS if name != "spectral"])
@pytest.mark.parametrize("lazy", [False, True])
def test_every_layer_takes_sparse_features(name, lazy):
    graph, x = random_graph(13, 47), bag_of_words()
    layer = SPECIALIZATIONS[name](-1 if lazy else 40, 3)
    got = layer(x.to_sparse_csr(), graph)
    torch.testing.assert_close(got, layer(x, graph))
    got.sum().backward()


def low_rank_gcnn():
    layer = nets.gcnn(40, 3)
    layer.taps.linear.weight = LowRank.from_dense(layer.taps.linear.weight.to_dense(), rank=2)
    return layer


MIX_FIRST = {
    "gcnn": lambda: nets.gcnn(40, 3),
    "gcnn, lazy": lambda: nets.gcnn(-1, 3),
    "gcnn, some hops": lambda: EdgeNetConv(40, 3, 3, phi="shift", normalize="rw", hops=[1, 3]),
    "gcnn, two operators": lambda: nets.gcnn(40, 3, shifts=2, normalize=None),
    "gcnn, low rank": low_rank_gcnn,
    "gcnn, dropped edges": lambda: EdgeNetConv(40, 3, 2, phi="shift", normalize="sym", edge_dropout=0.5),
    "tag": lambda: nets.tag(40, 3),
    "node_varying": lambda: nets.node_varying(40, 3, groups=2),
    "hybrid": lambda: nets.hybrid(40, 4, bank="heads", heads=2),
}


@pytest.mark.parametrize("name", MIX_FIRST)
def test_layers_that_mix_before_they_walk_read_sparse_features_as_they_are(name, monkeypatch):
    graph, x = random_graph(13, 47), bag_of_words()
    layer = MIX_FIRST[name]().bind(graph) if "lazy" not in name else MIX_FIRST[name]()
    given = {"edge_weight": torch.rand(47, 2)} if "two" in name else {}
    sparse, direction = x.to_sparse_csr(), torch.randn(13, layer.out_channels)

    def results(features):
        torch.manual_seed(0)
        y = layer(features, graph, **given)
        return [y, *torch.autograd.grad(y, list(layer.parameters()), direction)]

    def refuse(self):
        raise AssertionError("sparse features are filled up")

    monkeypatch.setattr(SparseSignal, "to_dense", refuse)
    got = results(sparse)
    monkeypatch.undo()
    for ours, wanted in zip(got, results(x), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-10, atol=1e-10)


def test_features_that_want_a_gradient_get_it_through_taps():
    graph, x, layer = random_graph(13, 47), bag_of_words(), nets.gcnn(40, 3)
    sparse = SparseSignal.of(x.to_sparse_csr())
    values, dense = sparse.values.clone().requires_grad_(), x.clone().requires_grad_()
    layer(SparseSignal(sparse.graph, values), graph).square().sum().backward()
    layer(dense, graph).square().sum().backward()
    torch.testing.assert_close(values.grad, dense.grad[x != 0])


@pytest.mark.parametrize("make", [lambda: nets.gcnn(40, 50), lambda: nets.gcnn((40, 40), 3, 1, normalize="rw")])
def test_layers_that_widen_the_signal_or_walk_pairs_fill_sparse_features_up(make):
    graph, x, layer = random_graph(13, 47), bag_of_words(), make()
    torch.testing.assert_close(layer(x.to_sparse_csr(), graph), layer(x, graph))


@pytest.mark.parametrize("skip", [False, True])
def test_a_classifier_takes_sparse_features_and_drops_them_out(skip):
    graph, x = random_graph(13, 47), bag_of_words()
    model = NodeClassifier(40, 3, heads=2, dropout=0.5, skip=skip).bind(graph)
    sparse = x.to_sparse_csr()
    torch.testing.assert_close(model.eval()(sparse, graph), model(x, graph))
    assert not torch.equal(model.train()(sparse, graph), model(sparse, graph))
    with pytest.raises(ShapeError, match="40 input channels"):
        model(bag_of_words(words=41).to_sparse_csr(), graph)


def test_dropout_keeps_the_expectation_and_never_makes_a_zero_a_number():
    x = bag_of_words()
    signal = SparseSignal.of(x.to_sparse_csr())
    draws = torch.stack([signal.dropout(0.25, True).to_dense() for _ in range(4000)])
    spread = draws.std(0) / 4000**0.5
    assert ((draws.mean(0) - x).abs() <= 5 * spread + 1e-9).all()  # five standard errors
    assert not draws[:, x == 0].any()
    assert signal.dropout(0.25, False) is signal and signal.dropout(0.0, True) is signal


# ---------------------------------------------------------------- nodes that are left out
def forms(x):
    return {"sparse": SparseSignal.of(x.to_sparse_csr()), "dense": x, "batch": x.expand(2, 3, *x.shape)}


@pytest.mark.parametrize("form", ["sparse", "dense", "batch"])
def test_whole_rows_are_left_out_and_the_mean_stays(form):
    x = 2.0 ** torch.randint(4, (13, 40))  # by which division is exact
    signal = forms(x)[form]

    def draw():
        left = drop_rows(signal, 0.25, True)
        return left.to_dense() if form == "sparse" else left

    factors = torch.stack([draw() / x for _ in range(2000)])
    assert (factors == factors[..., :1]).all()  # a row as a whole
    assert factors.unique().tolist() == [0.0, 1 / 0.75]
    assert ((factors.mean(0) - 1).abs() < 5 * (0.25 / 0.75 / 2000) ** 0.5).all()  # five standard errors
    assert not torch.equal(factors[0, ..., 0], factors[1, ..., 0])
    if form == "batch":
        assert not torch.equal(factors[:, 0, 0], factors[:, 1, 2])  # every signal for itself


@pytest.mark.parametrize("form", ["sparse", "dense"])
def test_no_row_is_left_out_in_eval_mode_or_of_no_chance_and_all_are_of_chance_one(form):
    signal = forms(bag_of_words())[form]
    assert drop_rows(signal, 0.5, False) is signal and drop_rows(signal, 0.0, True) is signal
    none = drop_rows(signal, 1.0, True)
    assert not (none.to_dense() if form == "sparse" else none).any()
    with pytest.raises(ConfigError, match=r"in \[0, 1\], got 1.5"):
        drop_rows(signal, 1.5, True)


def test_rows_that_stay_have_the_gradient():
    x = (torch.rand(13, 4) + 1).requires_grad_()
    left = drop_rows(x, 0.5, True)
    left.sum().backward()
    torch.testing.assert_close(x.grad, (left / x).detach())


def test_features_are_sorted_once_however_often_they_are_dropped_out():
    sparse = bag_of_words().to_sparse_csr()
    first, second = SparseSignal.of(sparse), SparseSignal.of(sparse)
    assert first.graph.memo("x", object) is second.dropout(0.5, True).graph.memo("x", object)


def test_only_sparse_features_are_made_sparse():
    x = bag_of_words(density=0.05)
    assert sparse_features(x).layout == torch.sparse_csr
    assert sparse_features(x, density=0.001) is x
    assert sparse_features(torch.randn(4, 3)).layout == torch.strided
    wanted = x.clone().requires_grad_()
    assert sparse_features(wanted) is wanted
    with pytest.raises(ShapeError, match=r"\(2, 3, 4\)"):
        SparseSignal.of(torch.randn(2, 3, 4).to_sparse_coo())


@pytest.mark.parametrize("backend", ops.available("spmm"))
def test_every_backend_reads_sparse_features(backend):
    x, weight = bag_of_words(), torch.randn(6, 40)
    with ops.use(backend):
        torch.testing.assert_close(SparseSignal.of(x.to_sparse_csr()).times(weight), x @ weight.t())
