"""Matrices on edges in factors: binding, the start, files, and what is refused."""

import copy

import pytest
import torch
from factors import GRAPH, agrees, forms, layer
from oracles import assert_near

from edgenet import gso
from edgenet.errors import RankError, ShapeError, SupportError
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv, specializations
from edgenet.phi import EdgeFactored
from edgenet.phi.whole_tensor import whole_tensor
from edgenet.structured import Dense, Hashed, LowRank, TensorTrain, structure
from edgenet.testing import GRAPHS, random_graph


# --- life -------------------------------------------------------------------------------------------------------------
@forms
@pytest.mark.parametrize("order, bank", [(1, "mimo"), (2, "siso")])
def test_a_checkpoint_fills_a_new_layer_that_has_met_no_graph(options, order, bank):
    conv = layer(options, order=order, bank=bank)
    twin = EdgeNetConv(5, 4, order, phi="edge_factored", bank=bank, **options)
    twin.load_state_dict(conv.state_dict())
    x = torch.randn(13, 5)
    assert_near(twin(x, GRAPH), conv(x, GRAPH), tolerance=1e-13)
    twin.bind(GRAPH)  # the same graph: nothing changes
    assert_near(twin(x, GRAPH), conv(x, GRAPH), tolerance=1e-13)
    other = copy.deepcopy(conv)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    assert_near(twin(x, GRAPH), conv(x, GRAPH), tolerance=1e-13)


@forms
def test_binding_again_keeps_the_weights_and_another_graph_is_refused(options):
    conv = layer(options)
    x = torch.randn(13, 5)
    before = conv(x, GRAPH)
    conv.bind(Graph(GRAPH.edge_index.clone(), 13))
    assert torch.equal(conv(x, GRAPH), before)
    if options.get("share") == "hash" or options.get("form") == "shared" or "weights" in options:
        return
    with pytest.raises(SupportError):
        conv.bind(GRAPHS["path"])
    if options.get("share") != "node":
        with pytest.raises(SupportError, match="outside the support"):
            conv(x, torch.tensor([[12], [0]]))


@forms
def test_the_layer_starts_as_a_graph_convolution_of_the_scale_of_a_dense_one(options):
    graph = random_graph(200, 1500)
    torch.manual_seed(1)
    conv = EdgeNetConv(30, 20, phi="edge_factored", **options).bind(graph)
    if options["form"] in ("hashed", "tensor_train") or "nodes" in options:
        assert conv(torch.randn(200, 30), graph).isfinite().all()
        return
    matrices = conv.phi.maps[0].matrices()
    share = 1 if conv.phi.base == "shared" else conv.phi.rank * 13 / 12
    assert 0.5 < matrices.square().mean() * share / (2 / 50) < 2  # Glorot's variance
    if conv.phi.base in ("cp", "kronecker") and conv.phi.self_loops and options.get("share", "edge") == "edge":
        theta, looped = whole_tensor(conv.phi, graph)[0], graph.with_self_loops()[0]
        weight = gso.symmetric(looped)  # repeated edges share one start, that of the last
        assert_near(theta[graph.num_edges :], theta[-1] / weight[-1] * weight[-200:, None, None])


@forms
def test_fresh_matrices_have_both_signs_at_every_hop(options):
    """Else every filter would start low-pass, as walks of positive weights are."""
    graph = random_graph(60, 400)
    conv = EdgeNetConv(6, 5, 3, phi="edge_factored", **options).bind(graph)
    for theta in whole_tensor(conv.phi, graph):
        entries = theta[: graph.num_edges].mean(0)
        assert (entries > 0).any() and (entries < 0).any()


@pytest.mark.parametrize("bank", ["siso", "mimo"])
def test_hashed_tables_of_few_channels_bind_at_their_defaults_and_have_fewer_numbers_than_entries(bank):
    graph = random_graph(100, 600)
    conv = specializations.edge_varying(1, 5, order=4, form="hashed", bank=bank).bind(graph)
    assert isinstance(conv.phi.maps[0].table, Dense)  # 40 entries: no hash is as small as an eighth
    assert isinstance(conv.phi.coefficients.edge_table, Hashed)
    x = torch.randn(3, 100, 1)
    assert conv(x, graph).isfinite().all()
    rows = conv.phi.coefficients.edge_table.shape[0] + 100
    assert sum(p.numel() for p in conv.phi.coefficients.parameters()) <= rows * 4 * 8 / 8


@pytest.mark.parametrize("form", ["cp", "doped", "node_bilinear", "kronecker"])
def test_an_optimizer_made_before_binding_trains_the_tables(form):
    conv = EdgeNetConv(5, 4, phi="edge_factored", form=form, density=0.2)
    optimizer = torch.optim.SGD(conv.parameters(), lr=0.1)
    x = torch.randn(13, 5)
    conv(x, GRAPH).square().sum().backward()
    before = {name: p.detach().clone() for name, p in conv.named_parameters()}
    optimizer.step()
    assert all(not torch.equal(p, before[name]) for name, p in conv.named_parameters())


@pytest.mark.parametrize("form", ["tensor_train", "hashed"])
def test_tables_that_are_structured_from_the_start_want_to_be_bound_first(form):
    conv = EdgeNetConv(5, 4, phi="edge_factored", form=form, rank=3, ratio=1.3)
    with pytest.raises(SupportError, match=r"bind.*optimizer"):
        conv(torch.zeros(13, 5), GRAPH)
    with pytest.raises(SupportError, match=r"bind.*optimizer"):
        conv.phi.coefficients(None, torch.zeros(13, 1, 1), GRAPH)


@forms
def test_resetting_draws_the_same_from_the_same_seed(options):
    conv = layer(options)
    x, drawn = torch.randn(13, 5), []
    for _ in range(2):
        torch.manual_seed(3)
        conv.reset_parameters()
        drawn.append(conv(x, GRAPH))
    assert torch.equal(*drawn) and drawn[0].isfinite().all()


def test_large_slots_hold_other_structures():
    conv = layer({"form": "cp", "rank": 6}, (7, 9))
    phi = conv.phi
    x, wanted = torch.randn(13, 7), conv(torch.ones(13, 7), GRAPH)
    for holder, name, options in (
        (phi.coefficients, "edge_table", {"name": "low_rank", "rank": 6}),
        (phi.coefficients, "node_table", {"name": "tensor_train"}),
        (phi.maps[0], "table", {"name": "low_rank", "rank": 9}),
    ):
        setattr(holder, name, structure(**options)(getattr(holder, name).to_dense()))
    assert_near(conv(torch.ones(13, 7), GRAPH), wanted)
    assert isinstance(phi.maps[0].table, LowRank) and isinstance(phi.coefficients.node_table, TensorTrain)
    agrees(conv, x, GRAPH, whole_tensor(phi, GRAPH))


def test_the_layer_of_one_billion_weights_is_small():
    graph = random_graph(3000, 12_000)
    conv = specializations.edge_varying(1433, 48, order=1, bank="siso", form="cp", rank=2).bind(graph)
    assert conv.phi.virtual_weights > 1e9
    assert sum(p.numel() for p in conv.parameters()) < 200_000
    x = (torch.rand(3000, 1433) < 0.01).double().to_sparse_csr()
    conv(x, graph).sum().backward()


def test_virtual_weights_count_every_edge_row_node_and_hop():
    conv = layer({"form": "cp"}, (5, 4), order=2)
    rows = conv.phi.coefficients.where.edge_rows + 13
    assert conv.phi.virtual_weights == rows * (20 + 16)
    assert layer({"form": "cp"}, (5, 4), order=2, bank="siso").phi.virtual_weights == rows * 40
    with pytest.raises(SupportError, match="bound"):
        _ = EdgeNetConv(5, 4, phi="edge_factored").phi.virtual_weights


def test_a_bipartite_graph_is_refused():
    conv = EdgeNetConv(5, 4, phi="edge_factored")
    with pytest.raises(SupportError, match="from 5 to 2"):
        conv.phi.bind(Graph(torch.tensor([[0], [1]]), 2, 5))


@pytest.mark.parametrize(
    "options, error, says",
    [
        ({"form": "tucker"}, ShapeError, "cp, node_bilinear.*'tucker'"),
        ({"bank": "heads"}, ShapeError, "'siso' or 'mimo'.*'heads'"),
        ({"form": "doped", "base": "doped"}, ShapeError, "base"),
        ({"rank": 0}, ShapeError, "rank=0"),
        ({"weights": "sym"}, ShapeError, "does not go with.*'cp'"),
        ({"form": "shared", "weights": "learned"}, ShapeError, "does not go with.*'shared'"),
        ({"form": "doped", "density": 0.0}, RankError, r"\(0, 1\].*0.0"),
        ({"form": "cp", "density": 0.1, "share": "hash", "buckets": 4}, ShapeError, "one graph"),
        ({"form": "tensor_train", "share": "hash", "buckets": 4}, ShapeError, "communities"),
        ({"in_channels": -1}, ShapeError, "-1 to 4"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, error, says):
    with pytest.raises(error, match=says):
        EdgeFactored(**({"in_channels": 5, "out_channels": 4} | options))


def test_a_layer_takes_no_lift_or_self_tap_of_other_sizes():
    with pytest.raises(ShapeError, match=r"from 5 to 4 channels.*self_tap=True"):
        EdgeNetConv(5, 4, phi="edge_factored", self_tap=True)
    with pytest.raises(ShapeError, match=r"from 3 to 4 channels.*got 5 to 4"):
        EdgeNetConv(5, 4, phi=EdgeFactored(1, 3, 4))
    with pytest.raises(ShapeError, match="form='full'"):
        specializations.edge_varying(5, 4, density=0.1)
    with pytest.raises(ShapeError, match="bank='heads'"):
        specializations.edge_varying(5, 4, form="cp", bank="heads")
