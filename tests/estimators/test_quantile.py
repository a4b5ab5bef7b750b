"""QuantilePath as an estimator: ways to name a solution, choices, bad input, pictures."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import QuantileRegressor
from sklearn.metrics import mean_pinball_loss
from sklearn.model_selection import KFold

from edgenet.errors import ConfigError, ShapeError
from edgenet.estimators import QuantilePath
from edgenet.estimators.bordered import BorderedInverse
from edgenet.estimators.quantile_trace import PathWarning

GROUPS = np.repeat([0, 1, 2], 4)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((80, 12))
    return x, x[:, :4] @ [2.0, -2.0, 2.0, 1.0] + 1.0 + 0.5 * rng.standard_t(4, 80)


# --- naming a solution ------------------------------------------------------------------------------------------------
def test_coefficients_are_constant_in_lambda_and_linear_in_t(data):
    path = QuantilePath(0.5, GROUPS).fit(*data)
    k = np.flatnonzero(np.diff(path.path_lambda_) < 0)[5] + 1
    low, high = path.path_lambda_[k], path.path_lambda_[k - 1]
    for penalty in (low, low + 0.3 * (high - low), high - 1e-9 * high):
        np.testing.assert_array_equal(path.coef(penalty), path.path_coef_[k])
    before, after = path.path_t_[k : k + 2]
    middle = (path.path_coef_[k] + path.path_coef_[k + 1]) / 2
    np.testing.assert_allclose(path.coef(t=(before + after) / 2), middle, atol=1e-14)
    np.testing.assert_allclose(path.coef(t=after), path.path_coef_[k + 1], atol=1e-14)


def test_beyond_its_ends_the_path_stays(data):
    path = QuantilePath(0.5, GROUPS).fit(*data)
    assert not path.coef(1e9).any() and not path.coef(t=0.0).any()
    np.testing.assert_array_equal(path.coef(0.0), path.path_coef_[-1])
    np.testing.assert_array_equal(path.coef(t=1e9), path.path_coef_[-1])


def test_many_penalties_or_radii_at_once(data):
    x, _ = data
    path = QuantilePath(0.5, GROUPS).fit(*data)
    at = np.array([[8.0, 3.0, 1.0], [0.1, 0.0, 20.0]])
    assert path.coef(at).shape == (2, 3, 12) and path.intercept(t=at).shape == (2, 3)
    assert path.predict(x, at).shape == (80, 2, 3)
    np.testing.assert_array_equal(path.coef(at)[0, 1], path.coef(3.0))
    np.testing.assert_allclose(path.predict(x, t=at)[:, 1, 0], x @ path.coef(t=0.1) + path.intercept(t=0.1))
    np.testing.assert_allclose(path.predict(x), x @ path.coef_ + path.intercept_)


def test_a_solution_is_named_once_and_lies_on_the_path(data):
    path = QuantilePath(0.5, GROUPS, lambda_min=1.0, penalty=2.0).fit(*data)
    with pytest.raises(ConfigError, match="not by both"):
        path.coef(2.0, t=0.1)
    with pytest.raises(ConfigError, match=r"lambda_=0\.5 is below the end of the path at 1\.0"):
        path.coef(0.5)
    with pytest.raises(ConfigError, match="t lies between 0 and the end of the path"):
        path.coef(t=1e3)
    with pytest.raises(ConfigError, match="between 0"):
        path.coef(t=-0.1)


def test_without_groups_it_is_the_l1_quantile_regression_of_scikit_learn(data):
    x, y = data
    for penalty in (20.0, 5.0, 0.5):
        path = QuantilePath(0.31, penalty=penalty).fit(x, y)  # n tau is not whole: one solution
        other = QuantileRegressor(quantile=0.31, alpha=penalty / len(y)).fit(x, y)  # its loss is a mean
        np.testing.assert_allclose(path.coef_, other.coef_, atol=1e-8)
        assert path.intercept_ == pytest.approx(other.intercept_)


def test_a_model_moves_with_the_units_of_the_data(data):
    x, y = data
    path = QuantilePath(0.31, GROUPS).fit(x, y)
    other = QuantilePath(0.31, GROUPS).fit(100.0 * x + 7.0, 3.0 + 0.01 * y)
    np.testing.assert_allclose(other.path_lambda_, 100.0 * path.path_lambda_, atol=1e-8)
    np.testing.assert_allclose(other.path_coef_, 1e-4 * path.path_coef_, atol=1e-13)
    np.testing.assert_allclose(other.predict(100.0 * x + 7.0), 3.0 + 0.01 * path.predict(x), atol=1e-10)
    upside_down = QuantilePath(0.69, GROUPS).fit(x, -y)
    np.testing.assert_allclose(upside_down.coef(t=path.path_t_), -path.path_coef_, atol=1e-10)


def test_groups_may_be_labels_lists_or_a_mapping_in_any_order_of_columns(data):
    x, y = data
    names = ["c", "a", "b"] * 4
    path = QuantilePath(0.5, names, group_weights={"a": 1.0, "b": 2.0, "c": 0.5}).fit(x, y)
    assert path.groups_ == ["a", "b", "c"]
    lists = {"c": [0, 3, 6, 9], "a": range(1, 12, 3), "b": np.arange(2, 12, 3)}
    other = QuantilePath(0.5, lists, group_weights=[0.5, 1.0, 2.0]).fit(x, y)
    assert other.groups_ == ["c", "a", "b"] and other.entry_order() == path.entry_order()
    np.testing.assert_allclose(other.path_coef_, path.path_coef_, atol=1e-10)
    third = QuantilePath(0.5, list(lists.values()), group_weights=[0.5, 1.0, 2.0]).fit(x, y)
    np.testing.assert_array_equal(third.path_coef_, other.path_coef_)


# --- choosing ---------------------------------------------------------------------------------------------------------
def test_relevant_groups_enter_first_and_are_chosen(data):
    path = QuantilePath(0.5, GROUPS, cv=5).fit(*data)
    assert path.entry_order()[0] == 0 and 0 in path.selected_groups_
    assert QuantilePath(0.5, GROUPS).fit(*data).entry_order() == path.entry_order()
    assert path.score(*data) > 0.6


def test_cross_validation_finds_the_least_mean_loss_of_all_penalties(data):
    x, y = data
    folds = KFold(4, shuffle=True, random_state=1)
    path = QuantilePath(0.3, GROUPS, cv=folds).fit(x, y)

    def held_out(penalty):
        losses = []
        for fitted, held in folds.split(x):
            share = penalty * len(fitted) / len(y)
            model = QuantilePath(0.3, GROUPS, penalty=share).fit(x[fitted], y[fitted])
            losses.append(mean_pinball_loss(y[held], model.predict(x[held]), alpha=0.3))
        return np.mean(losses)

    least = held_out(path.penalty_)
    assert least == pytest.approx(path.cv_loss_.min())
    assert all(held_out(penalty) >= least for penalty in np.linspace(0, path.path_lambda_[0], 12))


def test_the_criterion_of_schwarz_is_least_among_the_solutions_it_is_asked_of(data):
    x, y = data
    path = QuantilePath(0.5, GROUPS).fit(x, y)
    n, loss = len(y), np.abs(y[:, None] - x @ path.path_coef_.T - path.path_intercept_).mean(0) / 2
    criterion = np.where(path.path_elbow_ <= n / 2, np.log(loss) + np.log(n) / (2 * n) * path.path_elbow_, np.inf)
    assert path.t_ == path.path_t_[np.argmin(criterion)]
    assert path.path_t_[0] < path.t_ < path.path_t_[-1]


def test_more_columns_than_observations_are_not_answered_by_interpolation():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((30, 60))
    path = QuantilePath(0.5).fit(x, x[:, 0] + 0.1 * rng.standard_normal(30))
    assert 0 in path.selected_groups_ and len(path.selected_groups_) < 15


# --- awkward and bad input --------------------------------------------------------------------------------------------
def test_columns_that_change_nothing_get_zero(data):
    x, y = data
    x = np.column_stack([np.full(80, 2.5), x, np.zeros(80)])
    groups = [0, *GROUPS, 3]
    path = QuantilePath(0.5, groups).fit(x, y)
    assert not path.path_coef_[:, [0, -1]].any() and 3 not in path.entry_order()
    np.testing.assert_array_equal(path.path_coef_[:, 1:-1], QuantilePath(0.5, GROUPS).fit(x[:, 1:-1], y).path_coef_)
    without = QuantilePath(0.5, groups, fit_intercept=False).fit(x, y)
    assert without.path_coef_[:, 0].any() and not without.path_coef_[:, -1].any()  # there the first acts as intercept
    nothing = QuantilePath(0.25).fit(np.ones((80, 2)), y)
    assert nothing.intercept_ == np.sort(y)[19] and nothing.path_lambda_.tolist() == [0.0]


def test_repeated_columns_share_a_group_s_radius(data):
    x, y = data
    path = QuantilePath(0.5, np.tile(GROUPS, 2)).fit(np.tile(x, 2), y)
    once = QuantilePath(0.5, GROUPS).fit(x, y)
    assert path.path_lambda_[0] == pytest.approx(2 * once.path_lambda_[0])  # the pair does the same for half the radius


@pytest.mark.parametrize(
    "options, says",
    [
        ({"tau": 0.0}, r"tau lies between 0 and 1, neither included, got 0\.0"),
        ({"tau": 1}, "tau"),
        ({"tau": float("nan")}, "tau"),
        ({"groups": [0, 1]}, "2 labels for 12 columns"),
        ({"groups": [[0, 1, 2], [], range(3, 12)]}, "group 1 is empty"),
        ({"groups": {"a": range(7), "b": range(6, 12)}}, "column 6 of group 'b' is in group 'a' too"),
        ({"groups": {"a": [*range(12), 3]}}, "column 3 of group 'a' is twice in it"),
        ({"groups": [range(5), range(6, 11)]}, "column 5 is in no group, nor are 1 more columns"),
        ({"groups": [range(12), [12]]}, "group 1 holds 12, which is no column: they go from 0 to 11"),
        ({"groups": GROUPS, "group_weights": [1.0, 0.0, 1.0]}, r"weight of group 1 is positive, got 0\.0"),
        ({"groups": GROUPS, "group_weights": [1.0]}, "there are 3 groups"),
        ({"groups": GROUPS, "group_weights": {0: 1.0, 1: 1.0}}, r"labels \[0, 1, 2\], got \[0, 1\]"),
        ({"penalty": -1.0}, "penalty is at least 0"),
        ({"penalty": 1.0, "cv": 3}, "leaves nothing for cv=3"),
        ({"penalty": 1.0, "lambda_min": 2.0}, "below the end of the path"),
        ({"max_groups": 0}, "max_groups is at least 1"),
        ({"max_groups": "a"}, "max_groups is a number, got 'a'"),
        ({"tau": "0.5"}, "tau is a number, got '0.5'"),
        ({"tau": None}, "tau is a number, got None"),
        ({"penalty": "1"}, "penalty is a number"),
        ({"lambda_min": None}, "lambda_min is a number"),
        ({"lambda_min": float("inf")}, "lambda_min is finite"),
        ({"groups": 3}, "label for each column, or the columns of each group, got 3"),
        ({"groups": [None, *GROUPS[1:]]}, "None, which is no label"),
        ({"groups": [float("nan"), *GROUPS[1:]]}, "nan, which is no label"),
        ({"groups": [np.arange(12) < 6, np.arange(12) >= 6]}, "group 0 holds True, which is no column"),
        ({"groups": GROUPS, "group_weights": ["x", 1.0, 1.0]}, "group_weights are numbers"),
        ({"t_max": float("nan")}, "t_max is at least 0"),
    ],
    ids=str,
)
def test_options_out_of_range_are_refused(data, options, says):
    with pytest.raises(ConfigError, match=says):
        QuantilePath(**options).fit(*data)


def test_labels_may_be_of_several_types_and_groups_frozen_sets(data):
    labels = ["a", 1, "b", 2, 3.5, True] * 2  # True is 1
    path = QuantilePath(0.5, labels).fit(*data)
    assert path.groups_ == ["a", 1, "b", 2, 3.5] and path.group_of_.tolist() == [0, 1, 2, 3, 4, 1] * 2
    sets = [frozenset(range(4)), frozenset(range(4, 8)), frozenset(range(8, 12))]
    again = QuantilePath(0.5, sets).fit(*data)
    np.testing.assert_array_equal(again.path_coef_, QuantilePath(0.5, GROUPS).fit(*data).path_coef_)


def test_a_fit_leaves_nothing_of_the_one_before(data):
    x, y = data
    path = QuantilePath(cv=3).fit(x, y).set_params(cv=None).fit(x[:, :5], y)
    assert vars(path).keys() == vars(QuantilePath().fit(x[:, :5], y)).keys()


def test_missing_values_are_refused_by_column_and_row(data):
    x, y = data
    bad = x.copy()
    bad[5, 3] = np.nan
    with pytest.raises(ShapeError, match="column 3 has NaN in 1 of 80 rows, first in row 5"):
        QuantilePath().fit(bad, y)
    with pytest.raises(ShapeError, match="column 3 has NaN"):
        QuantilePath().fit(x, y).predict(bad)
    y = y.copy()
    y[7] = np.inf
    for missing in (y, y.tolist(), y.astype(object), [None if v == np.inf else v for v in y]):
        with pytest.raises(ShapeError, match="row 7"):
            QuantilePath().fit(x, missing)


def test_a_penalty_below_the_end_of_a_limited_path_is_refused(data):
    with pytest.raises(ConfigError, match=r"below the end of the path at"):
        QuantilePath(0.5, GROUPS, penalty=0.01, max_groups=1).fit(*data)


def test_a_path_lost_to_rounding_errors_says_so_and_keeps_its_beginning(data, monkeypatch):
    x, y = data
    whole = QuantilePath(0.5, GROUPS).fit(x, y)
    remove, calls = BorderedInverse.remove, []

    def failing(self, row, column):
        calls.append(row)
        if len(calls) % 3 == 0:
            raise np.linalg.LinAlgError("Singular matrix")
        remove(self, row, column)

    monkeypatch.setattr(BorderedInverse, "remove", failing)
    with pytest.warns(PathWarning, match="followed down to lambda = .* only: Singular matrix"):
        path = QuantilePath(0.5, GROUPS).fit(x, y)
    assert 0 < path.path_lambda_[-1] < path.path_lambda_[0]
    np.testing.assert_allclose(path.path_coef_, whole.coef(t=path.path_t_), atol=1e-10)


def test_clone_keeps_the_options():
    path = QuantilePath(0.2, [[0], [1, 2]], cv=3)
    assert clone(path).get_params() == path.get_params()


def test_a_data_frame_names_its_columns_in_errors(data):
    pandas = pytest.importorskip("pandas")
    x, y = data
    frame = pandas.DataFrame(x, columns=[f"hop{j}" for j in range(12)])
    path = QuantilePath(0.5, GROUPS).fit(frame, y)
    assert path.feature_names_in_[0] == "hop0"
    with pytest.raises(ConfigError, match=r"column 11 \('hop11'\) is in no group"):
        QuantilePath(0.5, [range(11)]).fit(frame, y)


# --- the picture, and the inverse -------------------------------------------------------------------------------------
def test_plot_draws_every_group_that_enters(data, tmp_path):
    path = QuantilePath(0.5, GROUPS).fit(*data)
    figure = path.plot()
    radii, coefficients = figure.axes
    drawn = [line for line in radii.lines if len(line.get_xdata()) == len(path.path_t_)]
    assert len(drawn) == len(path.entry_order()) == 3
    np.testing.assert_array_equal(drawn[0].get_ydata(), path.path_radius_[:, path.entry_order()[0]])
    assert [text.get_text() for text in radii.get_legend().get_texts()] == [str(g) for g in path.entry_order()]
    assert len(coefficients.lines) == 12 + 1  # and the choice
    figure.savefig(tmp_path / "path.png")


def test_the_inverse_follows_every_change():
    rng = np.random.default_rng(0)
    matrix, inverse = rng.standard_normal((4, 4)), BorderedInverse(6)
    inverse.rebuild(matrix)
    matrix[2] = rng.standard_normal(4)
    inverse.replace_row(2, matrix[2])
    np.testing.assert_allclose(inverse.value, np.linalg.inv(matrix))
    row, column = rng.standard_normal((2, 4))
    matrix = np.block([[matrix, column[:, None]], [row, 0.3]])
    inverse.border(column, row, 0.3)
    np.testing.assert_allclose(inverse.value, np.linalg.inv(matrix))
    matrix[:, 1] += 2.0 * matrix[:, 3]
    inverse.add_column(1, 3, 2.0)
    np.testing.assert_allclose(inverse.value, np.linalg.inv(matrix))
    matrix[0] = matrix[4]
    matrix[:, 2] = matrix[:, 4]
    inverse.remove(0, 2)
    np.testing.assert_allclose(inverse.value, np.linalg.inv(matrix[:4, :4]))
