"""EdgeFactored: every form is the layer of its whole tensor, which is built here only."""

import pytest
import torch
from factors import GRAPH, agrees, forms, layer, slow
from oracles import assert_near

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv, specializations
from edgenet.phi.corrections import Corrections
from edgenet.phi.rows import community_rank
from edgenet.phi.whole_tensor import fit_, whole_tensor
from edgenet.testing import GRAPHS, random_graph

widths = pytest.mark.parametrize("widths", [(7, 3), (3, 7), (4, 4), (1, 1)], ids=str)
LARGE = {"tensor_train", "hashed"}  # need matrices of some size


# --- the definition ---------------------------------------------------------------------------------------------------
@forms
@widths
def test_one_hop_multiplies_by_the_matrix_of_every_edge_and_node(options, widths):
    if options["form"] in LARGE and min(widths) == 1:
        pytest.skip("one number cannot be compressed")
    conv = layer(options, widths)
    agrees(conv, torch.randn(13, widths[0]), GRAPH, whole_tensor(conv.phi, GRAPH))


@forms
@pytest.mark.parametrize("bank", ["mimo", "siso"])
@pytest.mark.parametrize("widths", [(5, 3), (3, 4)], ids=str)
def test_every_further_hop_has_matrices_of_its_own_or_scalars_of_its_own(options, bank, widths):
    conv = layer(options, widths, order=3, bank=bank)
    theta = whole_tensor(conv.phi, GRAPH)
    assert not torch.equal(theta[1], theta[2])
    agrees(conv, torch.randn(13, widths[0]), GRAPH, theta)


@forms
def test_the_banks_are_one_for_a_single_hop(options):
    mimo, siso = (layer(options, bank=bank) for bank in ("mimo", "siso"))
    siso.load_state_dict(mimo.state_dict())
    x = torch.randn(13, 5)
    assert torch.equal(mimo(x, GRAPH), siso(x, GRAPH))


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
@pytest.mark.parametrize("form", ["cp", "node_bilinear", "kronecker", "tensor_train", "shared", "doped"])
def test_any_graph_will_do(graph, form):
    conv = layer({"form": form, "edge_rank": 1, "channel_rank": 2}, graph=graph)
    x = torch.randn(graph.num_nodes, 5)
    if graph.num_nodes == 0:
        assert conv(x, graph).shape == (0, 4)
        return
    assert_near(conv(x, graph), slow(conv, x, graph, whole_tensor(conv.phi, graph)))


def by_rows(phi, graph, table, nodes):
    """(E + N, columns): what two tables hold for edges and loops, found by (target, source) with a dictionary."""
    pairs = sorted({(i, j) for j, i in graph.edge_index.t().tolist() if i != j})
    rows = [
        table[pairs.index((i, j))] if i != j else torch.zeros(table.shape[1]) for j, i in graph.edge_index.t().tolist()
    ]
    return torch.cat([torch.stack(rows), nodes])


def test_the_tensor_of_cp_is_coefficients_times_channels():
    phi = layer({"form": "cp", "rank": 3}, (5, 4)).phi
    a = by_rows(phi, GRAPH, phi.coefficients.edge_table.to_dense(), phi.coefficients.node_table.to_dense())
    c = phi.maps[0].table.to_dense().view(3, 4, 5)
    assert_near(whole_tensor(phi, GRAPH)[0], sum(a[:, r, None, None] * c[r] for r in range(3)))


def test_the_tensor_of_node_bilinear_scales_receivers_and_senders():
    phi = layer({"form": "node_bilinear", "rank": 2}, (3, 4)).phi
    s = by_rows(phi, GRAPH, phi.coefficients.edge_table.to_dense(), phi.coefficients.node_table.to_dense())
    u, v = phi.receivers.to_dense(), phi.senders.to_dense()
    c = phi.maps[0].table.to_dense()  # side by side
    for e, (j, i) in enumerate([*GRAPH.edge_index.t().tolist(), *([i, i] for i in range(13))]):
        wanted = s[e] * (u[i, 0] * v[j, 0] * c[:, :3] + u[i, 1] * v[j, 1] * c[:, 3:])
        assert_near(whole_tensor(phi, GRAPH)[0][e], wanted)


def test_the_channels_of_kronecker_are_cropped_products():
    phi = layer({"form": "kronecker", "rank": 2}, (5, 4)).phi
    part = phi.maps[0]
    (f1, f2), (g1, g2) = part.out_modes, part.in_modes
    assert f1 * f2 >= 4 and g1 * g2 > 5  # 5 is prime
    outer, inner = part.outer.to_dense().view(2, f1, g1), part.inner.to_dense().view(2, f2, g2)
    for r in range(2):
        assert_near(part.matrices()[r], torch.kron(outer[r], inner[r])[:4, :5])


def test_shared_taps_are_a_graph_convolution_of_order_one():
    conv = layer({"form": "shared"}, (5, 4))
    gcnn = specializations.gcnn(5, 4, order=1)
    x = torch.randn(13, 5)
    gcnn(x, GRAPH)
    c = conv.phi.maps[0].matrices()
    with torch.no_grad():
        gcnn.taps.linear.weight.weight.copy_(torch.cat([c[1], c[0]], 1))
        gcnn.bias.copy_(conv.bias)
    assert_near(conv(x, GRAPH), gcnn(x, GRAPH))


def test_corrections_start_at_nothing_and_change_single_entries():
    conv = EdgeNetConv(5, 4, phi="edge_factored", form="doped", density=0.1).bind(GRAPH)
    plain = EdgeNetConv(5, 4, phi="edge_factored", form="shared").bind(GRAPH)
    plain.load_state_dict(conv.state_dict(), strict=False)
    x = torch.randn(13, 5)
    assert_near(conv(x, GRAPH), plain(x, GRAPH))
    part, rows = conv.phi.corrections[0], conv.phi.corrected
    assert len(part.values) == round(0.1 * (rows.edge_rows + 13) * 20) == len(part.position.unique())
    part.place_(torch.tensor([(rows.edge_rows + 2) * 20 + 3 * 5 + 1]), torch.tensor([7.0]))  # loop of 2, 1 -> 3
    wanted = plain(x, GRAPH)
    wanted[2, 3] += 7 * x[2, 1]
    assert_near(EdgeNetConv.forward(conv, x, Graph(GRAPH.edge_index, 13)), wanted)


def test_frozen_attention_is_cp_with_a_rank_for_every_head():
    gat = specializations.gat(5, 4, heads=3)
    x = torch.randn(13, 5)
    looped = GRAPH.with_self_loops()[0]
    y, (edges, alpha) = gat(x, GRAPH, return_attention_weights=True)
    bare = Graph(torch.unique(looped.edge_index, dim=1), 13)
    conv = EdgeNetConv(5, 12, phi="edge_factored", form="cp", rank=3).bind(bare)
    phi = conv.phi
    with torch.no_grad():
        pairs = sorted({(i, j) for j, i in edges.t().tolist() if i != j})
        table = torch.zeros(len(pairs), 3)
        for (j, i), weight in zip(edges.t().tolist(), alpha, strict=True):
            if i == j:
                phi.coefficients.node_table.weight[i] = weight
            else:  # repeated edges share a row: their weights are of one size, and count together
                table[pairs.index((i, j))] += weight
        phi.coefficients.edge_table.weight.copy_(table)
        weight = gat.lift.linear.weight.to_dense().view(3, 4, 5)
        matrices = torch.zeros(3, 12, 5)
        for h in range(3):
            matrices[h, 4 * h : 4 * h + 4] = weight[h]
        phi.maps[0].set_(matrices)
        conv.bias.copy_(gat.bias)
    assert_near(conv(x, bare), y)


# --- inputs -----------------------------------------------------------------------------------------------------------
@forms
@pytest.mark.parametrize("bank", ["mimo", "siso"])
@pytest.mark.parametrize("widths", [(7, 3), (3, 7)], ids=str)
def test_a_batch_of_signals_is_many_signals(options, bank, widths):
    conv = layer(options, widths, order=2, bank=bank)
    x = torch.randn(3, 13, widths[0])
    assert_near(conv(x, GRAPH), torch.stack([conv(one, GRAPH) for one in x]))


@forms
@pytest.mark.parametrize("order, bank", [(1, "mimo"), (2, "mimo"), (2, "siso")])
@pytest.mark.parametrize("widths", [(7, 3), (3, 7)], ids=str)
def test_sparse_features_are_read_as_they_are(options, order, bank, widths):
    conv = layer(options, widths, order, bank)
    x = torch.randn(13, widths[0]) * (torch.rand(13, widths[0]) < 0.3)
    parameters = list(conv.parameters())
    direction = torch.randn(13, widths[1])
    results = []
    for features in (x.to_sparse_csr(), x):
        y = conv(features, GRAPH)
        results.append((y, torch.autograd.grad((y * direction).sum(), parameters, allow_unused=True)))
    assert_near(results[0][0], results[1][0])
    for a, b in zip(results[0][1], results[1][1], strict=True):
        assert (a is None) == (b is None) and (a is None or torch.allclose(a, b, rtol=1e-9, atol=1e-11))


@forms
@pytest.mark.parametrize("order, bank", [(1, "mimo"), (2, "siso")])
def test_the_order_of_the_edge_list_does_not_matter(options, order, bank):
    conv = layer(options, order=order, bank=bank)
    x = torch.randn(13, 5)
    shuffled = Graph(GRAPH.edge_index[:, torch.randperm(GRAPH.num_edges)], 13)
    assert_near(conv(x, shuffled), conv(x, GRAPH))


@forms
def test_a_sampled_piece_has_the_matrices_of_the_full_graph(options):
    conv = layer(options)
    if options.get("weights") == "rw" or conv.phi.base == "shared":
        pytest.skip("the degrees of a piece are others")
    if options.get("share", "edge") != "edge":
        conv.phi.coefficients.normalize = None
    nodes = torch.tensor([7, 0, 12, 3, 9, 4])
    local = torch.full((13,), -1)
    local[nodes] = torch.arange(6)
    ends = local[GRAPH.edge_index]
    kept = (ends >= 0).all(0).nonzero().squeeze(1).flip(0)
    x = torch.randn(6, 5)
    whole = whole_tensor(conv.phi, GRAPH)[0]
    wanted = whole[torch.cat([kept, GRAPH.num_edges + nodes])] if conv.phi.self_loops else whole[kept]
    part = Graph(ends[:, kept], 6)
    for ids in ({"n_id": nodes}, {"n_id": nodes, "e_id": kept}):
        assert_near(conv(x, ends[:, kept], **ids), slow(conv, x, part, [wanted]))


@pytest.mark.parametrize("form", ["cp", "node_bilinear", "kronecker", "tensor_train", "shared"])
@pytest.mark.parametrize("widths", [(7, 3), (3, 7)], ids=str)
def test_messages_go_through_propagate_while_an_explainer_watches(form, widths):
    graph = random_graph(13, 40, seed=2)
    conv = layer({"form": form, "edge_rank": 4, "channel_rank": 3}, widths, graph=graph)
    x, theta = torch.randn(13, widths[0]), whole_tensor(conv.phi, graph)
    conv.explain = True
    conv._edge_mask, conv._apply_sigmoid = torch.ones(graph.num_edges), False
    conv._loop_mask = torch.ones(graph.num_edges, dtype=torch.bool)
    assert_near(conv(x, graph.edge_index), slow(conv, x, graph, theta))
    half = torch.arange(graph.num_edges) % 2
    conv._edge_mask = half.double()
    masked = torch.cat([half, torch.ones(13)])[:, None, None] * theta[0]
    assert_near(conv(x, graph.edge_index), slow(conv, x, graph, [masked]))


def test_corrections_are_not_explained():
    conv = layer({"form": "doped", "density": 0.1})
    conv.explain, conv._apply_sigmoid, conv._loop_mask = True, False, torch.ones(GRAPH.num_edges, dtype=torch.bool)
    conv._edge_mask = torch.ones(GRAPH.num_edges)
    with pytest.raises(ShapeError, match="no messages"):
        conv(torch.randn(13, 5), GRAPH.edge_index)


# --- fits -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("widths", [(5, 4), (4, 5)], ids=str)
@pytest.mark.parametrize("options", [{}, {"self_loops": False}, {"nodes": 0.4}], ids=str)
def test_cp_of_full_rank_is_any_tensor(widths, options):
    phi = layer({"form": "cp", "rank": 20, **options}, widths, order=1).phi
    theta = torch.randn_like(whole_tensor(phi, GRAPH)[0])
    first = {}
    for e, pair in enumerate(map(tuple, GRAPH.edge_index.t().tolist())):  # repeated edges share a matrix
        theta[e] = theta[first.setdefault(pair, e)]
    row = phi.coefficients.edge_rows(GRAPH, None)
    theta[: GRAPH.num_edges][row < 0] = 0  # loops are nodes', and others are not learned
    if phi.self_loops:
        theta[GRAPH.num_edges :][phi.coefficients.where.of_nodes(GRAPH) < 0] = 0
    fit_(phi, GRAPH, [theta])
    assert_near(whole_tensor(phi, GRAPH)[0], theta)


def test_cp_of_low_rank_is_the_nearest():
    phi = layer({"form": "cp", "rank": 2}, (5, 4)).phi
    bare = Graph(GRAPH.without_self_loops()[0].edge_index.unique(dim=1), 13)
    theta = torch.randn(bare.num_edges + 13, 4, 5)
    phi = layer({"form": "cp", "rank": 2}, (5, 4), graph=bare).phi
    fit_(phi, bare, [theta])
    singular = torch.linalg.svdvals(theta.flatten(1))
    error = (whole_tensor(phi, bare)[0] - theta).norm()
    torch.testing.assert_close(error, singular[2:].norm(), rtol=1e-9, atol=0)


def test_every_hop_is_fitted_to_its_own_tensor():
    bare = Graph(GRAPH.without_self_loops()[0].edge_index.unique(dim=1), 13)
    phi = layer({"form": "cp", "rank": 16}, (3, 4), order=2, graph=bare).phi
    theta = [torch.randn(bare.num_edges + 13, 4, 3), torch.randn(bare.num_edges + 13, 4, 4)]
    fit_(phi, bare, theta)
    for got, want in zip(whole_tensor(phi, bare), theta, strict=True):
        assert_near(got, want)


def test_kronecker_and_shared_and_doped_find_what_is_theirs():
    bare = Graph(GRAPH.without_self_loops()[0].edge_index.unique(dim=1), 13)
    for options in ({"form": "kronecker", "rank": 1}, {"form": "shared"}, {"form": "doped", "density": 0.05}):
        theta = whole_tensor(layer(options, (6, 4), graph=bare).phi, bare)
        phi = layer(options, (6, 4), graph=bare).phi
        fit_(phi, bare, theta)
        if options["form"] == "doped":  # least squares see the corrections too
            plain = layer({"form": "shared"}, (6, 4), graph=bare).phi
            fit_(plain, bare, theta)
            before, after = ((whole_tensor(p, bare)[0] - theta[0]) for p in (plain, phi))
            left = before.flatten().abs().sort().values[: -len(phi.corrections[0].values)].norm()
            torch.testing.assert_close(after.norm(), left, rtol=1e-9, atol=0)
        else:
            assert_near(whole_tensor(phi, bare)[0], theta[0])


def test_node_bilinear_weights_are_not_fitted():
    phi = layer({"form": "node_bilinear"}).phi
    with pytest.raises(ShapeError, match="no node-bilinear ones"):
        fit_(phi, GRAPH, whole_tensor(phi, GRAPH))


# --- parts ------------------------------------------------------------------------------------------------------------
def test_communities_are_numbered_together():
    left, right = torch.combinations(torch.tensor([0, 2, 4, 6])).t(), torch.combinations(torch.tensor([1, 3, 5, 7])).t()
    bridge = torch.tensor([[6], [1]])
    graph = Graph(torch.cat([left, right, bridge], 1), 8)
    rank = community_rank(graph)
    assert sorted(rank.tolist()) == list(range(8))
    assert sorted(rank[[0, 2, 4, 6]].tolist()) in ([0, 1, 2, 3], [4, 5, 6, 7])
    assert community_rank(GRAPHS["no_edges"]).tolist() == [0, 1, 2]


@pytest.mark.parametrize("density, total", [(0.9, 40), (0.1, 40), (0.25, 4000), (1e-6, 10)])
def test_corrections_are_as_many_as_asked_at_different_places(density, total):
    part = Corrections(2, 5, density)
    part.bind(total // 10)
    assert len(part.position) == round(density * total) and part.position.diff().gt(0).all()
    assert len(part.position) == 0 or 0 <= part.position[0] <= part.position[-1] < total
    assert not part.values.any()


def test_the_narrow_side_is_walked(monkeypatch):
    widest = []
    real = ops.spmm
    monkeypatch.setattr(ops, "spmm", lambda graph, weight, x: widest.append(x.shape[2]) or real(graph, weight, x))
    for widths in ((50, 3), (3, 50)):
        conv = layer({"form": "cp"}, widths)
        conv(torch.randn(13, widths[0]), GRAPH)
    assert widest == [3, 3]


@forms
@pytest.mark.parametrize("bank", ["mimo", "siso"])
def test_a_saved_layer_is_made_again_from_its_file(options, bank, tmp_path):
    conv = layer(options, order=2, bank=bank)
    conv.save_pretrained(tmp_path)
    x = torch.randn(13, 5)
    assert_near(EdgeNetConv.from_pretrained(tmp_path)(x, GRAPH), conv(x, GRAPH), tolerance=1e-13)
