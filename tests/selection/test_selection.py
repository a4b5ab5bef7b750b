"""Taps, heads and blocks of edges chosen by estimators, and removed from layers and models."""

import copy

import numpy as np
import pytest
import torch
from cases import GRAPHS
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.linear_model import Lasso, LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVR
from torch import nn
from torch.nn.utils import prune
from torch_geometric.nn import GATConv

from edgenet.compress import GroupLasso, Loop
from edgenet.convert import to_edgenet
from edgenet.errors import ConfigError, PlanError, ShapeError
from edgenet.estimators import QuantilePath, SpAM
from edgenet.models import NodeClassifier
from edgenet.nn import EdgeNetConv, specializations
from edgenet.nn.keep import combined
from edgenet.nn.lift import Identity
from edgenet.nn.taps import Chebyshev, Linear
from edgenet.phi import EdgeMatrix, EdgeVarying
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.selection import Kept, RemovalPlan, edge_blocks, fill_, remove_, tap_features, zeros_of
from edgenet.structured import StructuredLinear

GRAPH = GRAPHS["directed"]
NODES, EDGES = GRAPH.num_nodes, GRAPH.num_edges


def near(got, want):
    torch.testing.assert_close(torch.as_tensor(got), torch.as_tensor(want), rtol=1e-10, atol=1e-10)


def random_(layer):
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer


# --- features ---------------------------------------------------------------------------------------------------------
def test_features_of_a_shift_operator_are_its_powers():
    layer, x = specializations.gcnn(3, 2, order=2, normalize="rw"), torch.randn(NODES, 3)
    features = tap_features(layer, x, GRAPH)
    shift = torch.zeros(NODES, NODES).index_put((GRAPH.target, GRAPH.source), torch.ones(EDGES), accumulate=True)
    shift = shift / shift.sum(1, keepdim=True).clamp(min=1)
    near(features.values, torch.cat([x, shift @ x, shift @ shift @ x], 1))
    assert features.groups(("hop",)) == ["hop 0"] * 3 + ["hop 1"] * 3 + ["hop 2"] * 3
    assert [tap.head for tap in features.taps] == [0] * 9


@pytest.mark.parametrize("edge_weight", [None, "two"])
def test_the_taps_of_a_layer_are_linear_in_its_features(edge_weight):
    heads = 1 if edge_weight is None else 2
    layer = random_(specializations.gcnn(3, 2, order=2, shifts=heads, normalize=None))
    weight = None if edge_weight is None else torch.rand(EDGES, 2)
    x = torch.randn(NODES, 3)
    features = tap_features(layer, x, GRAPH, weight)
    assert features.values.shape[1] == 3 * (1 + 2 * heads)  # the input comes once
    mix = layer.taps.linear.weight.weight.detach().unflatten(1, (3, heads, 3))
    taps = torch.cat([mix[:, 0].sum(1), mix[:, 1:].flatten(1)], 1)
    near(torch.as_tensor(features.values) @ taps.t() + layer.bias.detach(), layer(x, GRAPH, weight).detach())


def test_a_batch_gives_a_row_for_every_signal_and_node():
    layer, x = specializations.gcnn(3, 2, order=1), torch.randn(4, NODES, 3)
    features = tap_features(layer, x, GRAPH)
    near(features.values, np.concatenate([tap_features(layer, signal, GRAPH).values for signal in x]))


def test_features_of_attention_are_its_heads_in_eval_mode():
    layer, x = random_(specializations.gat(3, 4, heads=2, dropout=0.5)).train(), torch.randn(NODES, 3)
    features = tap_features(layer, x, GRAPH)
    assert layer.training and layer.phi.training
    near(features.values, (layer.eval()(x, GRAPH) - layer.bias).detach())
    assert features.groups(("head",)) == ["head 0"] * 4 + ["head 1"] * 4


@pytest.mark.parametrize("kind", ["shift", "loops", "table", "attention"])
def test_blocks_of_edges_add_up_to_the_signal(kind):
    layer = {
        "shift": lambda: specializations.gcnn(3, 2, order=2),
        "loops": lambda: EdgeNetConv(3, 2, 2, phi="shift", add_self_loops=True),
        "table": lambda: specializations.edge_varying(3, 2, order=2, bank="heads", heads=2),
        "attention": lambda: specializations.gat(3, 2, heads=2),
    }[kind]()
    x = torch.randn(NODES, 3)
    layer(x, GRAPH)
    random_(layer)
    labels = ["near" if e % 3 else "far" for e in range(EDGES)]
    whole, parts = tap_features(layer, x, GRAPH), tap_features(layer, x, GRAPH, blocks=labels)
    own = {"own"} if kind != "shift" else set()
    assert {tap.block for tap in parts.taps if tap.hop} == {"near", "far"} | own
    for tap in dict.fromkeys(whole.taps):
        mine = [j for j, other in enumerate(parts.taps) if other[:2] == tap[:2]]
        summed = parts.values[:, mine].reshape(NODES, -1, whole.taps.count(tap)).sum(1)
        near(summed, whole.values[:, [j for j, other in enumerate(whole.taps) if other == tap]])
    assert parts.blocks == ("far", "near")


def test_a_block_of_a_shift_operator_is_the_graph_with_its_edges_alone():
    layer, x = specializations.gcnn(3, 2, order=1, normalize=None), torch.randn(NODES, 3)
    weight, labels = torch.rand(EDGES), torch.arange(EDGES) % 2
    features = tap_features(layer, x, GRAPH, weight, blocks=labels)
    for block in ("0", "1"):
        mine = [j for j, tap in enumerate(features.taps) if tap.block == block]
        stay = labels == int(block)
        alone = tap_features(layer, x, GRAPH.edge_index[:, stay], weight[stay])
        near(features.values[:, mine], alone.values[:, 3:])


def test_looking_at_a_layer_leaves_it_as_it_is():
    layer, x = random_(specializations.gcnn(3, 2, order=2)), torch.randn(NODES, 3)
    outputs = []
    layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    before, state = layer(x, GRAPH), {name: value.clone() for name, value in layer.state_dict().items()}
    taps, bias = layer.taps, layer.bias
    tap_features(layer, x, GRAPH, blocks=[0] * EDGES)
    assert layer.taps is taps and layer.bias is bias and list(layer.state_dict()) == list(state)
    assert len(outputs) == 1  # nobody is shown what is no output
    assert torch.equal(layer(x, GRAPH), before)


@pytest.mark.parametrize(
    ("make", "blocks", "text"),
    [
        (lambda: specializations.gat((3, 3), 2), None, "bipartite"),
        (lambda: specializations.edge_varying(3, 2, bank="mimo", order=1), None, "mixes channels"),
        (lambda: specializations.gcnn(3, 2), [0, 1], "label for each of"),
        (lambda: specializations.hybrid(3, 2), None, "got a Parallel"),
        (lambda: specializations.arma(3, 2).convs[1], None, "Jacobi taps"),
        (lambda: EdgeNetConv(3, 2, phi="shift", taps=Chebyshev(StructuredLinear.dense(6, 2))), None, "Chebyshev taps"),
        (lambda: specializations.gcnn(3, 2), ["own"] * EDGES, "another name"),
        (lambda: specializations.gcnn(3, 2), [0.5] * EDGES, "texts or whole numbers"),
    ],
)
def test_what_has_no_features_is_refused(make, blocks, text):
    with pytest.raises(ShapeError, match=text):
        tap_features(make(), torch.randn(NODES, 3), GRAPH, blocks=blocks)


def test_blocks_by_a_number_are_of_equal_size():
    labels = edge_blocks(np.arange(100.0), 4)
    assert sorted(labels.count(label) for label in set(labels)) == [25] * 4 and labels[0] == "0 to 24.75"
    assert edge_blocks([1.0, 1.0, 1.0], 4) == ["1 to 1"] * 3
    assert set(edge_blocks(torch.tensor([0.0, 0.0, 0.0, 5.0]), 2)) == {"0 to 5"}
    with pytest.raises(ShapeError, match="1 that are not finite"):
        edge_blocks([1.0, np.nan])
    with pytest.raises(ShapeError, match=r"2\.5 of them"):
        edge_blocks([1.0, 2.0], 2.5)


@pytest.mark.parametrize("values", [np.linspace(0.999991, 0.999999, 40), np.linspace(10_000.0, 10_001.0, 40)])
def test_blocks_of_numbers_that_are_near_each_other_stay_apart(values):
    labels = edge_blocks(values, 4)
    assert sorted(labels.count(label) for label in set(labels)) == [10] * 4


# --- plans ------------------------------------------------------------------------------------------------------------
def recovered(tau, seed=0):
    """A path that was fitted to a filter with taps at hops 0 and 2 alone, on a ring with chords."""
    torch.manual_seed(seed)
    n = 120
    ring = torch.arange(n)
    edges = torch.stack([torch.cat([ring, ring, ring]), torch.cat([(ring + 1) % n, (ring + 5) % n, (ring - 3) % n])])
    layer, x = specializations.gcnn(3, 1, order=5, normalize="rw"), torch.randn(n, 3)
    features = tap_features(layer, x, edges).scaled()
    y = features.values[:, :3] @ [1.0, -1.0, 1.0] + features.values[:, 6:9] @ [2.0, 1.0, -1.0]
    y = y + 0.1 * np.random.default_rng(seed).standard_t(4, n)
    path = QuantilePath(tau, groups=features.groups(("hop",)), cv=5).fit(features.values, y)
    return layer, x, edges, features, path


def test_a_quantile_path_finds_the_hops_and_the_layer_without_the_rest_predicts_as_it_does(tmp_path):
    layer, x, edges, features, path = recovered(0.5)
    assert path.entry_order()[:2] in (["hop 0", "hop 2"], ["hop 2", "hop 0"])
    two = QuantilePath(0.5, groups=features.groups(("hop",)), max_groups=2, penalty=None)
    y = path.predict(features.values)
    two.fit(features.values, y)
    plan = features.plan(two)
    assert plan.kept.hops == [0, 2]
    (tmp_path / "plan.toml").write_text(plan.to_toml())
    assert RemovalPlan.from_toml(tmp_path / "plan.toml") == plan
    fill_(layer, features, two)
    near(layer(x, edges)[:, 0].detach(), two.predict(features.values))
    (report,) = remove_(layer, plan)
    assert (report.hops, report.taps, report.parameters) == ((6, 2), (6, 2), (19, 7)) and layer.order == 2
    assert report.edges is None and str(report) == "layer: hops 6 -> 2, heads 1 -> 1, taps 6 -> 2, parameters 19 -> 7"
    near(layer(x, edges)[:, 0].detach(), two.predict(features.values))


def test_a_sparse_additive_model_names_the_taps_that_matter():
    layer, _, _, features, _ = recovered(0.5)
    y = np.sin(2 * features.values[:, 0]) + features.values[:, 10] ** 2
    model = SpAM(criterion="cv", random_state=1).fit(features.values, y)
    kept = features.plan(model).kept
    assert {(0, 0), (3, 0)} <= set(kept.taps)
    masked = features.plan(np.isin(np.arange(18), [0, 10])).kept
    assert masked == Kept(((0, 0), (3, 0)))
    remove_(layer, features.plan(model))
    assert set(layer.hops) == set(kept.hops)


def test_several_estimators_keep_what_any_of_them_uses():
    _, _, _, features, _ = recovered(0.5)
    one, other = np.zeros(18, bool), np.zeros(18, bool)
    one[4], other[16] = True, True
    assert features.plan(one, other).kept.hops == [1, 5]
    assert (features.plan(one) | features.plan(other)) == features.plan(one, other)
    assert features.plan(one).kept.hops == [1]


@pytest.mark.parametrize(
    "estimator",
    [Lasso(0.1), RFE(LinearRegression(), n_features_to_select=6), SelectFromModel(Lasso(0.1)), SVR(kernel="linear")],
    ids=lambda estimator: type(estimator).__name__,
)
def test_estimators_of_scikit_learn_make_plans(estimator):
    _, _, _, features, _ = recovered(0.5)
    y = features.values[:, :3].sum(1) + 2 * features.values[:, 6:9].sum(1)
    hops = features.plan(estimator.fit(features.values, y)).kept.hops
    assert hops == (list(range(6)) if isinstance(estimator, SVR) else [0, 2])


@pytest.mark.float32
def test_columns_that_are_constant_but_for_rounding_are_not_blown_up():
    layer = specializations.gcnn(1, 1, order=2, normalize="rw")
    n, some = 50, torch.randint(50, (2, 400))
    edges = torch.cat([some, torch.arange(n).expand(2, -1)], 1)
    features = tap_features(layer, torch.full((n, 1), 0.1), edges)
    assert features.values.std(0).max() > 0 and (features.scaled().scale == 1).all()
    varied = tap_features(layer, torch.randn(n, 1), edges).scaled()
    np.testing.assert_allclose(varied.values.std(0), 1)


def test_the_heads_of_a_bank_are_known_after_a_signal():
    layer, x = specializations.edge_varying(-1, 2, order=1), torch.randn(NODES, 3)
    features = tap_features(layer, x, GRAPH)
    assert features.groups(("hop", "head"))[-1] == "hop 1, head 5" and features.values.shape == (NODES, 12)


@pytest.mark.parametrize(
    ("estimator", "text"),
    [
        (Lasso, "Lasso is a class"),
        (make_pipeline(Lasso()), "pass the estimator in it"),
        ([0, 10], "True or False for each of 18"),
        (np.arange(18), "True or False for each of 18"),
        (np.zeros(18, bool), "nothing would be left"),
        (np.ones(17, bool), "18 columns"),
        (object(), "no support_ and no coef_"),
    ],
)
def test_estimators_that_make_no_plan_are_refused(estimator, text):
    _, _, _, features, _ = recovered(0.5)
    with pytest.raises(ConfigError, match=text):
        features.plan(estimator)
    with pytest.raises(ConfigError, match="told apart"):
        features.groups(("channel",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = [", "cannot be read"),
        ("other = 1", "layer.*tables"),
        ("layer = 3", "layer.*tables"),
        ('[[layer]]\nname = "a"\ntaps = [[0, 0]]\nhops = [1]', "unknown key 'hops'"),
        ("[[layer]]\ntaps = [[0, 0]]", "no name"),
        ('[[layer]]\nname = "a"', "taps"),
        ('[[layer]]\nname = "a"\ntaps = [[0, -1]]', "pairs"),
        ('[[layer]]\nname = "a"\ntaps = []', "pairs"),
        ('[[layer]]\nname = "a"\ntaps = 3', "pairs"),
        ('[[layer]]\nname = "a"\ntaps = [0, 0]', "pairs"),
        ('[[layer]]\nname = "a"\ntaps = [[0, true]]', "pairs"),
        ('[[layer]]\nname = "a"\ntaps = [[0, 0]]\nblocks = "near"', "list of names, got 'near'"),
        ("layer = []", "layer.*tables"),
    ],
)
def test_files_that_hold_no_plan_say_so(tmp_path, text, message):
    file = tmp_path / "plan.toml"
    file.write_text(text)
    with pytest.raises(PlanError, match=message) as error:
        RemovalPlan.from_toml(file)
    assert str(file) in str(error.value)


def test_a_plan_is_written_and_read_with_names_of_any_kind(tmp_path):
    names = ("near", "0 to 1", "größer", 'x"]\ny = "\x7f\t')
    plan = RemovalPlan({'a "b" \U0001f600': Kept(((2, 1), (0, 0)), names), "": Kept(((1, 0),))})
    (tmp_path / "plan.toml").write_text(plan.to_toml(), encoding="utf-8")
    assert RemovalPlan.from_toml(tmp_path / "plan.toml") == plan
    assert "größer" in str(plan) and "hops [0, 2]" in str(plan)
    with pytest.raises(PlanError, match="2 layers"):
        plan.kept  # noqa: B018
    with pytest.raises(PlanError, match="removes nothing"):
        RemovalPlan({})


def test_what_is_kept_is_said_in_numbers_and_names():
    assert Kept([(np.int64(1), torch.tensor(2))], ["a", "a"]) == Kept(((1, 2),), ("a",))
    for taps, blocks, text in (
        (3, None, "pairs"),
        ([(0, 1, 2)], None, "pairs"),
        ([(0, True)], None, "pairs"),
        ([(0, 1.0)], None, "pairs"),
        ([(0, 0)], "near", "list of names, got 'near'"),
        ([(0, 0)], 3, "list of names, got 3"),
    ):
        with pytest.raises(PlanError, match=text):
            Kept(taps, blocks)
    with pytest.raises(PlanError, match="to Kept"):
        RemovalPlan({"a": ((0, 0),)})


# --- removing ---------------------------------------------------------------------------------------------------------
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
    loop = Loop(layer, optimizer, [GroupLasso({r"taps\.linear": ("columns", 4)}, 0.05)])
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
        remove_(model, RemovalPlan({"conv.conv": Kept(((1, 0),))}), readers={"conv.conv": None})
    model = to_edgenet(nn.ModuleDict({"conv": GATConv(3, 4, heads=2)}))
    x = torch.randn(NODES, 3)
    want = model["conv"](x, GRAPH.edge_index)[:, 4:]
    remove_(model, RemovalPlan({"conv.conv": Kept(((1, 1),))}), readers={"conv.conv": None})
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


# --- filling ----------------------------------------------------------------------------------------------------------
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
