"""Plans of what stays, from estimators and files."""

import numpy as np
import pytest
import torch
from selection.filters import GRAPH, NODES, near, recovered
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.linear_model import Lasso, LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVR

from edgenet.errors import ConfigError, PlanError
from edgenet.estimators import QuantilePath, SpAM
from edgenet.nn import specializations
from edgenet.selection import Kept, RemovalPlan, fill_, remove_, tap_features


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
        ("x = [", "not TOML"),
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
