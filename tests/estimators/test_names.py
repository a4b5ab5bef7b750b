"""Columns with names: groups by name, what is chosen by name."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from edgenet.errors import ConfigError
from edgenet.estimators import QuantilePath, SpAM

NAMES = ["age", "size", "hop0", "hop1", "hop2"]
QUICK = {"penalties": 12, "min_ratio": 0.05}


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(-2, 2, (80, 5)), columns=NAMES)
    return frame, 2 * frame["age"] - frame["size"] + 0.3 * rng.standard_normal(80)


@pytest.mark.parametrize(
    "groups",
    [
        {"person": ["age", "size"], "graph": ["hop0", "hop1", "hop2"]},
        {"person": ["size", "age"], "graph": [2, "hop1", 4]},
        {"person": ("age", "size"), "graph": pd.Index(["hop0", "hop1", "hop2"])},
    ],
)
def test_groups_are_given_by_the_names_of_their_columns(data, groups):
    path = QuantilePath(0.4, groups).fit(*data)
    other = QuantilePath(0.4, {"person": [0, 1], "graph": [2, 3, 4]}).fit(*data)
    assert path.groups_ == ["person", "graph"] and path.group_of_.tolist() == [0, 0, 1, 1, 1]
    np.testing.assert_array_equal(path.path_coef_, other.path_coef_)


def test_labels_with_names_belong_to_the_columns_of_these_names(data):
    labels = pd.Series(["graph", "graph", "person", "person", "graph"], index=["hop2", "hop0", "size", "age", "hop1"])
    path = QuantilePath(0.4, labels).fit(*data)
    assert [path.groups_[g] for g in path.group_of_] == ["person", "person", "graph", "graph", "graph"]
    plain = QuantilePath(0.4, labels.to_list()).fit(*data)  # without names, in the order of the columns
    assert plain.groups_ == ["graph", "person"] and plain.group_of_.tolist() == [0, 0, 1, 1, 0]


def test_labels_of_which_some_have_names_of_no_column_are_refused(data):
    labels = pd.Series(["graph", "graph", "person", "person", "graph"], index=["hop2", "hop0", "size", "years", "hop1"])
    with pytest.raises(ConfigError, match="'age' is in one of the two alone"):
        QuantilePath(groups=labels).fit(*data)


def test_weights_of_groups_are_given_by_label_in_a_series_too(data):
    labels = ["one", "other", "one", "other", "one"]
    by_label, in_order = (
        QuantilePath(groups=labels, group_weights=weights).fit(*data)
        for weights in (pd.Series({"other": 5.0, "one": 1.0}), [1.0, 5.0])
    )
    np.testing.assert_array_equal(by_label.path_coef_, in_order.path_coef_)


def test_names_that_are_none_are_refused(data):
    frame, y = data
    groups = {"person": ["age", "sise"], "graph": [2, 3, 4]}
    with pytest.raises(ConfigError, match=r"group 'person' holds 'sise', which is no column\. Did you mean 'size'"):
        QuantilePath(0.4, groups).fit(frame, y)
    with pytest.raises(ConfigError, match="names 'age', and the columns have no names: fit to a DataFrame"):
        QuantilePath(0.4, groups).fit(frame.to_numpy(), y)
    with pytest.raises(ConfigError, match=r"column 0 \('age'\) of group 'b' is in group 'a' too"):
        QuantilePath(0.4, {"a": ["age"], "b": [0, 1, 2, 3, 4]}).fit(frame, y)


@pytest.mark.parametrize(
    "estimator",
    [QuantilePath(0.4, [0, 0, 1, 1, 1]), QuantilePath((0.3, 0.6), [0, 0, 1, 1, 1]), SpAM(criterion="cv", **QUICK)],
    ids=str,
)
def test_what_is_chosen_has_names_and_is_passed_on_in_a_pipeline(data, estimator):
    frame, y = data
    estimator.fit(frame, y)
    chosen = estimator.get_feature_names_out().tolist()
    assert chosen == [name for name, used in zip(NAMES, estimator.get_support(), strict=True) if used]
    assert {"age", "size"} <= set(chosen) and estimator.feature_names_in_.tolist() == NAMES
    np.testing.assert_array_equal(estimator.transform(frame), frame[chosen])
    passed = make_pipeline(estimator, LinearRegression()).fit(frame, y)
    assert passed[-1].n_features_in_ == len(chosen) and passed[:-1].get_feature_names_out().tolist() == chosen
    assert estimator.fit(frame.to_numpy(), y).get_feature_names_out()[0] == "x0"
