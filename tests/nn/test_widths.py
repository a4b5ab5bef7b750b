"""A walk goes in the narrower of two widths."""

import pytest
import torch
from convs import close, graphs, redraw_, undirected

from edgenet import ops
from edgenet.nn import specializations, taps
from edgenet.nn.shortcuts import Route


@pytest.fixture
def walked(monkeypatch) -> list[int]:
    """The numbers a node that pass through each hop."""
    widths, spmm = [], ops.spmm

    def counted(graph, weight, x):
        widths.append(x.shape[1] * x.shape[2])
        return spmm(graph, weight, x)

    monkeypatch.setattr(ops, "spmm", counted)
    return widths


@graphs
@pytest.mark.parametrize("batched", [False, True])
def test_taps_walk_in_the_output_where_it_is_narrower(graph, batched, walked, monkeypatch):
    conv = redraw_(specializations.gcnn(5, 2, 3))
    x = torch.randn(*((4,) if batched else ()), graph.num_nodes, 5, requires_grad=True)
    narrow = conv(x, graph)
    grads = torch.autograd.grad(narrow.pow(2).sum(), [x, *conv.parameters()])
    wide = 4 if batched else 1
    assert walked == [2 * wide] * 3
    walked.clear()
    monkeypatch.setattr(taps.Linear, "walk", taps.Taps.walk)
    y = conv(x, graph)
    assert walked == [5 * wide] * 3
    close(narrow, y)
    for a, b in zip(grads, torch.autograd.grad(y.pow(2).sum(), [x, *conv.parameters()]), strict=True):
        close(a, b)


@graphs
@pytest.mark.parametrize("batched", [False, True])
def test_taps_of_few_groups_of_nodes_walk_in_all_their_outputs_where_those_are_narrower(
    graph, batched, walked, monkeypatch
):
    """One output for each of two groups, against five inputs."""
    groups = torch.arange(graph.num_nodes) % 2
    conv = redraw_(specializations.node_varying(5, 1, 3, groups).bind(graph))
    x = torch.randn(*((4,) if batched else ()), graph.num_nodes, 5, requires_grad=True)
    narrow = conv(x, graph)
    grads = torch.autograd.grad(narrow.pow(2).sum(), [x, *conv.parameters()])
    wide, kinds = 4 if batched else 1, len(groups.unique())
    assert walked == [kinds * wide] * 3
    walked.clear()
    monkeypatch.setattr(taps.NodeVarying, "walk", taps.Taps.walk)
    y = conv(x, graph)
    assert walked == [5 * wide] * 3
    close(narrow, y)
    for a, b in zip(grads, torch.autograd.grad(y.pow(2).sum(), [x, *conv.parameters()]), strict=True):
        close(a, b)


def test_taps_of_every_node_walk_in_the_input(walked):
    specializations.node_varying(5, 1, 3)(torch.randn(7, 5), undirected())
    assert walked == [5] * 3


def test_taps_walk_in_the_input_where_that_is_narrower(walked):
    specializations.gcnn(2, 5, 3)(torch.randn(7, 2), undirected())
    assert walked == [2] * 3


@graphs
@pytest.mark.parametrize("layer", [specializations.gcn, specializations.sgc])
def test_a_lift_comes_after_the_walk_where_it_widens(graph, layer, walked, monkeypatch):
    conv = redraw_(layer(2, 5))
    x = torch.randn(graph.num_nodes, 2, requires_grad=True)
    narrow = conv(x, graph)
    grads = torch.autograd.grad(narrow.pow(2).sum(), [x, *conv.parameters()])
    assert set(walked) == {2}
    walked.clear()
    monkeypatch.setattr("edgenet.nn.conv.route", lambda *parts, **options: Route())
    y = conv(x, graph)
    assert set(walked) == {5}
    close(narrow, y)
    for a, b in zip(grads, torch.autograd.grad(y.pow(2).sum(), [x, *conv.parameters()]), strict=True):
        close(a, b)


@pytest.mark.parametrize("layer", [specializations.gcn, specializations.sgc])
def test_a_lift_comes_before_the_walk_where_it_narrows(layer, walked):
    layer(5, 2)(torch.randn(7, 5), undirected())
    assert set(walked) == {2}
