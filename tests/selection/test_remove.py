"""Hops, heads and blocks of edges leave layers and models."""

import copy

import pytest
import torch
from selection.filters import EDGES, GRAPH, NODES, near, random_
from torch import nn
from torch.nn.utils import prune
from torch_geometric.nn import GATConv

from edgenet.compress import GroupLasso
from edgenet.convert import to_edgenet
from edgenet.errors import PlanError
from edgenet.models import NodeClassifier
from edgenet.nn import EdgeNetConv, specializations
from edgenet.nn.keep import combined
from edgenet.phi import EdgeMatrix, EdgeVarying
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.selection import Kept, RemovalPlan, remove_, tap_features, zeros_of

from compress.steps import Steps  # isort: skip


def test_blocks_leave_a_table_and_its_edges_weigh_nothing():
    layer = specializations.edge_varying(3, 2, order=1, bank="heads", heads=2)
    x, labels = torch.randn(NODES, 3), ["near" if e % 3 else "far" for e in range(EDGES)]
    layer(x, GRAPH)
    random_(layer)
    whole = copy.deepcopy(layer)
    plan = RemovalPlan({"": Kept(((0, 0), (0, 1), (1, 0), (1, 1)), ("near",))})
    with pytest.raises(PlanError, match="pass edge_index and the labels"):
        remove_(layer, plan)
    with pytest.raises(PlanError, match="labels for"):
        remove_(layer, plan, edge_index=GRAPH, blocks=labels[1:])
    (report,) = remove_(layer, plan, edge_index=GRAPH, blocks=labels)
    assert report.edges[1] < report.edges[0] == whole.phi.edge_table.shape[0] and report.taps == (4, 4)
    stay = plan.kept.edges(labels)
    pairs = GRAPH.target * NODES + GRAPH.source
    stay = torch.isin(pairs, pairs[stay])  # repeated edges share a weight
    near(layer(x, GRAPH).detach(), whole(x, GRAPH.edge_index[:, stay]).detach())
    assert f"edges {report.edges[0]} -> {report.edges[1]}" in str(report)


def test_edges_of_a_shift_operator_are_filtered_by_the_plan():
    kept = Kept(((1, 0),), ("1",))
    assert kept.edges([0, 1, 1]).tolist() == [False, True, True]
    assert Kept(((1, 0),)).edges(["a", "b"]).tolist() == [True, True]
    assert Kept(((1, 0),)).edges([]).tolist() == Kept(((1, 0),), ()).edges([]).tolist() == []
    with pytest.raises(PlanError, match="'1' of a block"):
        kept.edges(["a", "b"])


@pytest.mark.parametrize("skip", [False, True])
def test_heads_leave_a_classifier_and_the_next_layer_reads_the_rest(skip, tmp_path):
    model = random_(NodeClassifier(3, 2, layer="gat", hidden_channels=4, heads=3, num_layers=2, dropout=0.0))
    if skip:
        model = random_(NodeClassifier(3, 2, layer="gat", hidden_channels=4, heads=3, dropout=0.0, skip=True))
    model.eval()
    x, plan = torch.randn(NODES, 3), RemovalPlan({"convs.0": Kept(((1, 0), (1, 2)))})
    if skip:
        with pytest.raises(PlanError, match="skip connection"):
            remove_(model, plan)
        return
    whole = copy.deepcopy(model)
    gone = slice(4, 8)
    with torch.no_grad():
        whole.convs[1].lift.linear.weight.weight[:, gone] = 0
    before = sum(p.numel() for p in model.parameters())
    (report,) = remove_(model, plan)
    near(model(x, GRAPH).detach(), whole(x, GRAPH).detach())
    assert report.heads == (3, 2) and model.convs[1].in_channels == 8
    assert before - sum(p.numel() for p in model.parameters()) == 3 * 4 + 2 * 4 + 4 + 2 * 4
    save_pretrained(model, tmp_path)
    near(from_pretrained(tmp_path)(x, GRAPH).detach(), model(x, GRAPH).detach())


def test_a_compiled_model_is_made_smaller_as_the_model_in_it():
    model = random_(NodeClassifier(3, 2, layer="gat", hidden_channels=4, heads=3, dropout=0.0)).eval()
    compiled, x = torch.compile(model, backend="eager"), torch.randn(NODES, 3)
    compiled(x, GRAPH.edge_index)
    remove_(compiled, RemovalPlan({"convs.0": Kept(((1, 0), (1, 2)))}))
    near(compiled(x, GRAPH.edge_index).detach(), model(x, GRAPH.edge_index).detach())
    assert model.convs[0].heads == 2


def test_readers_of_other_models_are_named():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = specializations.gat(3, 4, heads=2), nn.Linear(8, 2)

        def forward(self, x, graph):
            return self.head(self.first(x, graph).relu())

    model, x = random_(Two()), torch.randn(NODES, 3)
    plan = RemovalPlan({"first": Kept(((1, 1),))})
    with pytest.raises(PlanError, match="readers="):
        remove_(model, plan)
    whole = copy.deepcopy(model)
    with torch.no_grad():
        whole.head.weight[:, :4] = 0
    remove_(model, plan, readers={"first": "head"})
    near(model(x, GRAPH).detach(), whole(x, GRAPH).detach())


def test_a_plan_that_fails_at_its_second_layer_changes_nothing():
    model = random_(NodeClassifier(3, 2, layer="gat", hidden_channels=4, heads=3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plan = RemovalPlan({"convs.0": Kept(((1, 0),)), "convs.1": Kept(((3, 0),))})
    with pytest.raises(PlanError, match=r"convs\.1: no .hop, head"):
        remove_(model, plan)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for name, text in (("convs.7", "no module"), ("convs", "layers with taps are 'convs.0'")):
        with pytest.raises(PlanError, match=text):
            remove_(model, RemovalPlan({name: Kept(((1, 0),))}))


def test_what_a_penalty_leaves_of_a_trained_layer_is_a_plan():
    torch.manual_seed(0)
    layer, x = specializations.gcnn(3, 1, order=3, normalize="rw"), torch.randn(NODES, 3)
    features = torch.as_tensor(tap_features(layer, x, GRAPH).values)
    y = features[:, 6:9].sum(1)  # hop 2
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    loop = Steps(layer, optimizer, [GroupLasso({r"taps\.linear": ("columns", 4)}, 0.05)])
    for _ in range(600):
        loop.step_on((layer(x, GRAPH)[:, 0] - y).square().mean())
    plan = zeros_of(layer)
    assert plan.kept.hops == [2]
    before = layer(x, GRAPH)
    remove_(layer, plan)
    near(layer(x, GRAPH).detach(), before.detach())


def test_zero_heads_and_zero_weights_of_hops_are_seen():
    gat, gcat = random_(specializations.gat(3, 4, heads=3)), random_(specializations.gcat(3, 4, order=2, heads=2))
    with torch.no_grad():
        gat.lift.linear.weight.weight[4:8] = 0
        gcat.taps.weight[1] = 0
    assert zeros_of(gat).kept.taps == ((1, 0), (1, 2))
    assert zeros_of(gcat, "a").layers["a"].hops == [0, 2]
    with torch.no_grad():
        gat.lift.linear.weight.weight.zero_()
    with pytest.raises(PlanError, match="all taps"):
        zeros_of(gat)


@pytest.mark.parametrize("share", [{"share": "hash", "buckets": 5}, {"share": "node"}])
def test_weights_that_edges_share_stay_and_edges_are_filtered(share):
    layer, x = EdgeNetConv(3, 2, phi=EdgeVarying(1, 1, **share)), torch.randn(NODES, 3)
    before = layer(x, GRAPH)
    labels = ["near", "far"] * (EDGES // 2) + ["near"] * (EDGES % 2)
    (report,) = remove_(layer, RemovalPlan({"": Kept(((0, 0), (1, 0)), ("near",))}), edge_index=GRAPH, blocks=labels)
    assert report.edges[0] == report.edges[1] and torch.equal(layer(x, GRAPH), before)


@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
@pytest.mark.parametrize(
    "make",
    [
        lambda **options: EdgeNetConv(3, 2, phi=EdgeVarying(1, 1, self_loops=False), add_self_loops=True, **options),
        lambda **options: EdgeNetConv(3, 2, phi=EdgeMatrix(1, 2), **options),
    ],
    ids=["added loops", "matrices"],
)
def test_a_table_without_blocks_is_the_layer_on_the_other_edges(make, flow):
    layer, x, labels = make(flow=flow), torch.randn(NODES, 3), ["near" if e % 3 else "far" for e in range(EDGES)]
    edges = torch.cat([GRAPH.edge_index, torch.arange(3).expand(2, -1)], 1)  # loops that have a label
    labels += ["far"] * 3
    layer(x, edges)
    random_(layer)
    whole, plan = copy.deepcopy(layer), RemovalPlan({"": Kept(tuple(combined(layer)), ("near",))})
    (report,) = remove_(layer, plan, edge_index=edges, blocks=labels)
    assert report.edges[1] < report.edges[0]
    pairs, stay = edges[0] * NODES + edges[1], plan.kept.edges(labels)
    near(layer(x, edges).detach(), whole(x, edges[:, torch.isin(pairs, pairs[stay])]).detach())


def test_what_is_added_to_heads_stops_their_removal():
    hybrid = NodeClassifier(
        3, 2, layer="hybrid", bank="heads", hidden_channels=6, heads=3, out_heads=1, order=1, nodes=3
    )
    hybrid(torch.randn(NODES, 3), GRAPH)
    with pytest.raises(PlanError, match="other layers are added"):
        remove_(hybrid, RemovalPlan({"convs.0.convs.1": Kept(((1, 0),))}))
    model = to_edgenet(nn.ModuleDict({"conv": GATConv(3, 4, heads=2, residual=True)}))
    with pytest.raises(PlanError, match="map of the input is added"):
        remove_(model, RemovalPlan({"conv": Kept(((1, 0),))}), readers={"conv": None})
    model = to_edgenet(nn.ModuleDict({"conv": GATConv(3, 4, heads=2)}))
    x = torch.randn(NODES, 3)
    want = model["conv"](x, GRAPH.edge_index)[:, 4:]
    remove_(model, RemovalPlan({"conv": Kept(((1, 1),))}), readers={"conv": None})
    near(model["conv"](x, GRAPH.edge_index).detach(), want.detach())


def test_layers_of_two_names_of_no_size_and_of_no_reader_are_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = specializations.gat(3, 4, heads=2)
            self.b, self.head = self.a, nn.Linear(6, 2)

    kept = Kept(((1, 1),))
    with pytest.raises(PlanError, match="'a' and 'b' are one layer"):
        remove_(Twice(), RemovalPlan({"a": kept, "b": kept}))
    for reader, text in (("nowhere", "'nowhere', which reads 'a'"), ("head", "'head', which reads 'a'.*0 to 5")):
        with pytest.raises(PlanError, match=text):
            remove_(Twice(), RemovalPlan({"a": kept}), readers={"a": reader})
    for layer in (specializations.gat(-1, 4, heads=2), specializations.edge_varying(3, 2, bank="heads", heads=2)):
        with pytest.raises(PlanError, match="run the model once"):
            remove_(layer, RemovalPlan({"": kept}))
        with pytest.raises(PlanError, match="run the model once"):
            zeros_of(layer)
    pruned = specializations.gcnn(3, 2)
    prune.l1_unstructured(pruned.taps.linear.weight, "weight", 0.5)
    with pytest.raises(PlanError, match=r"prune\.remove"):
        remove_(pruned, RemovalPlan({"": Kept(((1, 0),))}))


@pytest.mark.parametrize(
    "make",
    [
        lambda: specializations.gat(3, 4, heads=3, concat=False),
        lambda: specializations.gat(3, 4, heads=3),
        lambda: specializations.edge_varying(3, 4, order=1, bank="mimo"),
    ],
    ids=["averaged", "side by side", "mixed"],
)
def test_without_its_zeros_a_layer_computes_what_it_did(make):
    layer, x = make(), torch.randn(NODES, 3)
    layer(x, GRAPH)
    with torch.no_grad():
        rows = layer.lift.linear.weight.weight.unflatten(0, (layer.heads, -1))
        rows[1] = 0
    before = layer(x, GRAPH)
    remove_(layer, zeros_of(layer))
    after = layer(x, GRAPH)
    near(after.detach(), (before if after.shape == before.shape else before[:, [0, 1, 2, 3, 8, 9, 10, 11]]).detach())
