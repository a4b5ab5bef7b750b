"""What is measured beside each other computes the same: values and gradients, against float64."""

import dataclasses

import pytest
import torch
from torch import nn

from edgenet.bench.harness import peers, timing
from edgenet.bench.harness.graphs import Size, power_law
from edgenet.bench.speed import compiling
from edgenet.bench.speed.aggregation import ways
from edgenet.bench.speed.dense_filter import FilterProblem
from edgenet.bench.speed.epoch import NETWORKS, StepProblem, sparse_features
from edgenet.bench.speed.hop import Problem
from edgenet.bench.speed.layer_problem import LayerProblem, peer_implementation
from edgenet.bench.speed.networks import dropped
from edgenet.bench.speed.peer_edges import Edges
from edgenet.bench.speed.peer_layers import peer_forms
from edgenet.bench.speed.pyg_layers import COMPILED, FORMS, PLAIN, pyg_layer
from edgenet.bench.speed.reference import LayerShape
from edgenet.graph import Graph

pytestmark = pytest.mark.float32  # as they are measured


@pytest.fixture(autouse=True)
def uncompiled(request, monkeypatch):
    """Compiled forms run as they are, for compiling takes seconds; tests marked slow do compile."""
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr(compiling, "compiled", lambda function, whole=True: function)


def directed(shuffle=True):
    """A graph with nodes that nothing enters, and hubs; in- and out-degrees differ."""
    edges = torch.from_numpy(power_law(Size(40, 90, 20)))
    graph = Graph(edges[:, torch.randperm(90)] if shuffle else edges, 40)
    assert int((graph.in_degree == 0).sum()) > 3
    return graph


def need(*names):
    for name in names:
        reason = peers.missing(name)
        if reason is not None:
            pytest.skip(f"{name} is not here: {reason}")


def check(implementations, reference):
    wanted = reference()
    for implementation in implementations:
        for call in implementation.calls.values():
            call()
        errors = timing.errors(implementation.results(), wanted, every=len(implementation.calls) > 1)
        assert max(errors.values()) <= timing.LIMIT, (implementation.name, errors)


SHAPES = [
    LayerShape("gat", 5, 3, 2),
    LayerShape("gatv2", 5, 3, 2),
    LayerShape("gcn", 5, 7),
    LayerShape("gcn", 7, 4),
    LayerShape("tag", 5, 7),
    LayerShape("tag", 7, 4),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.layer} {shape}")
@pytest.mark.parametrize("peer", ["pyg", "dgl", "sparse"])
def test_the_layers_of_a_peer_are_ours_in_every_form(shape, peer):
    need(peer)
    problem = LayerProblem(shape, directed())
    here = ["pyg", peer]
    found = problem.implementations(here)
    assert len(found) == {"pyg": 5, "dgl": 6, "sparse": 6}[peer]
    check(found, problem.reference)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES[::2], ids=lambda shape: f"{shape.layer} {shape}")
def test_pygs_compiled_layers_are_ours(shape):
    problem = LayerProblem(shape, directed())
    compiled = problem.peer(pyg_layer(COMPILED, shape, Edges(problem.graph)))
    check([compiled], problem.reference)


def test_a_form_whose_package_is_not_here_is_left_out():
    here = [form.build(SHAPES[0], Edges(directed())).name for form in peer_forms("gat", ["pyg"])]
    assert here == [f"PyG `GATConv`, {form}" for form in (PLAIN, *FORMS) if form != "SparseTensor"]
    assert peer_forms("gat", ["sparse"]) == [] and len(peer_forms("gat", ["pyg", "sparse"])) == 1 + len(FORMS)


@pytest.mark.parametrize("heads, channels", [(1, 5), (3, 2)])
@pytest.mark.parametrize("peer", ["scatter", "dgl"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_all_ways_over_one_hop_are_one_function(heads, channels, peer, shuffle, monkeypatch):
    need(peer)
    monkeypatch.setattr("edgenet.bench.speed.hop.SLICE", 180)  # two channels at a time
    graph = directed(shuffle)
    problem = Problem(graph.edge_index, graph.num_nodes, heads, channels)
    here = ["pyg", peer]
    entries = ways(problem.graph, {"peers": here, "heads": heads, "channels": channels, "shuffle": shuffle})
    assert len(entries) == 4 + (peer == "scatter" and not shuffle) + 2 * (heads == 1 and not shuffle)
    check([problem.implementation(*entry) for entry in entries], problem.reference)


@pytest.mark.parametrize("shape", SHAPES[:3], ids=lambda shape: shape.layer)
def test_a_part_of_the_output_can_be_checked_alone(shape, monkeypatch):
    monkeypatch.setattr("edgenet.bench.speed.reference.SLICE", 100)
    whole = LayerProblem(shape, directed())
    check([whole.ours()], whole.reference)  # made part by part
    problem = LayerProblem(shape, whole.graph, parts=1)
    check([problem.ours()], problem.reference)
    assert problem.reference()["value"][:, shape.part(90).width :].count_nonzero() == 0
    with torch.no_grad():
        next(problem.layer.parameters())[0] += 1
    with pytest.raises(AssertionError):
        check([problem.ours()], problem.reference)


def test_a_peer_with_another_weight_fails_the_check():
    problem = LayerProblem(SHAPES[0], directed())
    layer = pyg_layer(PLAIN, SHAPES[0], Edges(problem.graph))
    wrong = problem.peer(layer)
    with torch.no_grad():
        layer.module.att_dst[0, 0, 0] += 1e-3
    with pytest.raises(AssertionError):
        check([wrong], problem.reference)


def test_a_mapping_that_leaves_out_a_parameter_raises():
    problem = LayerProblem(SHAPES[0], directed())
    layer = pyg_layer(PLAIN, SHAPES[0], Edges(problem.graph))
    half = dataclasses.replace(layer, mapping=lambda ours: {"bias": ours["bias"]})
    with pytest.raises(KeyError, match="att_dst"):
        peer_implementation(half, problem.parameters, problem.x, problem.direction)


def test_the_dense_filters_are_the_edge_varying_one():
    problem = FilterProblem(directed(), features=2, order=3, batch=3)
    found = problem.implementations()
    assert len(found) == 4
    check(found, problem.reference)
    dense = problem.dense_parameters(problem.parameters)["weight"]
    assert dense.shape == (2, 2, 4, 40, 40) and int(dense.count_nonzero()) <= 4 * (4 * 40 + 3 * 90)


@pytest.mark.parametrize("graph", NETWORKS)
@pytest.mark.parametrize("peer", ["pyg", "dgl", "sparse"])
def test_a_peers_network_is_ours_before_a_step_and_after_it(graph, peer):
    need(peer)
    problem = step_problem(graph)
    found = problem.implementations(["pyg", peer])
    inputs = [one.name.rpartition(", ")[2] for one in found]
    forms = {"pyg": 5, "dgl": 6, "sparse": 6}[peer]
    assert inputs == ["sparse features"] * forms + ["dense features"] * forms  # the same for all
    check(found, problem.reference)  # with a step before it
    dense = StepProblem(problem.network, problem.graph, problem.x + 1, problem.loss)
    assert len(dense.implementations(["pyg", peer])) == forms


@pytest.mark.slow
@pytest.mark.parametrize("graph", NETWORKS)
def test_pygs_compiled_networks_are_ours(graph):
    problem = step_problem(graph)
    compiled = [one for one in problem.implementations(["pyg"]) if COMPILED in one.name]
    assert len(compiled) == 2
    check(compiled, problem.reference)


def step_problem(graph):
    network = dataclasses.replace(NETWORKS[graph], features=20, hidden=3)
    x = torch.randn(40, 20) * (torch.rand(40, 20) < 0.05)
    assert sparse_features(x).layout != torch.strided
    return StepProblem(network, directed(), x, lambda logits: nn.functional.softplus(logits).mean())


def test_dropout_of_sparse_features_drops_what_is_not_0_and_scales_the_rest():
    x = torch.ones(50, 40).tril().to_sparse_csr()
    y = dropped(x, 0.25, training=True).to_dense()
    assert y.unique().tolist() == pytest.approx([0, 1 / 0.75]) and y.triu(1).count_nonzero() == 0
    assert y.count_nonzero() / x.values().numel() == pytest.approx(0.75, abs=0.05)
    assert dropped(x, 0.25, training=False) is x


def test_the_bytes_of_the_floor_are_those_of_every_array_once():
    graph = directed()
    sizes = Problem(graph.edge_index, 40, heads=3, channels=2).compulsory_bytes()
    weight, signal = 90 * 3, 40 * 3 * 2
    assert sizes["forward"] == 4 * (weight + signal + signal + 90 + 41)
    assert sizes["backward"] == 4 * (weight + weight + signal + signal + signal + 90 + 90)


def test_a_package_that_fails_to_import_is_missing_with_its_reason(monkeypatch):
    def broken():
        raise OSError("libdgl.so: undefined symbol\nmore")

    monkeypatch.setitem(peers.PEERS, "dgl", ("dgl", broken))
    assert peers.missing("dgl") == "OSError: libdgl.so: undefined symbol"
    assert peers.measure({"peers": ["pyg", "dgl"]})["missing"] == {"dgl": "OSError: libdgl.so: undefined symbol"}


def test_ways_that_hold_messages_are_left_out_where_those_would_not_fit(monkeypatch):
    graph = directed(False)
    job = {"peers": [], "heads": 1, "channels": 5, "shuffle": True}
    adding = "torch `index_add`"
    assert [name for name, *_ in ways(graph, job)] == ["edgenet `ops.spmm`", adding, f"{adding}, torch.compile"]
    monkeypatch.setattr("edgenet.bench.speed.aggregation.MESSAGES", 5 * graph.num_edges - 1)
    assert [name for name, *_ in ways(graph, job)] == ["edgenet `ops.spmm`"]
