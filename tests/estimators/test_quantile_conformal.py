"""Conformal intervals cover exchangeable data with the stated probability."""

import numpy as np
import pandas
import pytest
from scipy.stats import beta, binom, kstest, norm
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from edgenet.errors import ConfigError, ShapeError
from edgenet.estimators import ConformalInterval, QuantilePath, conformal_margin, coverage_range
from edgenet.estimators.conformal import calibration_scores, margins


def draw(rng, n):
    """Noise that grows with the first column, and has heavy tails."""
    x = rng.standard_normal((n, 4))
    return x, x[:, 1] + (0.3 + np.abs(x[:, 0])) * rng.standard_t(4, n)


def test_margin_by_hand():
    lower, upper, y = np.zeros(9), np.ones(9), np.array([0.5, 1.5, -0.2, 2.0, 1.1, 0.9, 0.1, -3.0, 0.3])
    scores = sorted([-0.5, 0.5, 0.2, 1.0, 0.1, -0.1, -0.1, 3.0, -0.3])
    assert conformal_margin(lower, upper, y, 0.9) == 3.0  # the 9th of 9
    assert conformal_margin(lower, upper, y, 0.8) == 1.0  # the 8th
    assert conformal_margin(lower, upper, y, 0.5) == pytest.approx(scores[4])
    assert conformal_margin(lower, upper, y, 1e-12) == scores[0]
    assert conformal_margin(lower - 5, upper + 5, y, 0.5) == pytest.approx(scores[4] - 5)  # too wide: negative


@pytest.mark.parametrize("coverage, n", [(0.9, 29), (0.8, 100), (0.5, 10)])
def test_the_next_point_is_covered_as_often_as_stated(coverage, n):
    """Over draws of calibration and next point, for intervals that are wrong: the share is rank / (n + 1)."""
    rng = np.random.default_rng(0)
    x, y = (np.stack(values) for values in zip(*(draw(rng, n + 1) for _ in range(4000)), strict=True))
    lower, upper = x[..., 1] - 0.2, x[..., 1] + 0.1 * x[..., 2]  # crossed at times
    margins = np.array(
        [conformal_margin(*part, coverage) for part in zip(lower[:, :n], upper[:, :n], y[:, :n], strict=True)]
    )
    held = (y[:, n] >= lower[:, n] - margins) & (y[:, n] <= upper[:, n] + margins)
    low, high = binom.interval(0.999, len(held), np.ceil((n + 1) * coverage - 1e-9) / (n + 1))
    assert low <= held.sum() <= high


def test_the_share_covered_after_one_calibration_has_the_stated_distribution():
    rng = np.random.default_rng(1)
    normal = rng.standard_normal((2000, 50))
    margins = [conformal_margin(np.zeros(50), np.zeros(50), y, 0.9) for y in normal]
    shares = norm.cdf(margins) - norm.cdf(-np.array(margins))
    assert kstest(shares, beta(46, 5).cdf).pvalue > 0.01
    low, high = coverage_range(50, 0.9, 0.8)
    assert ((low <= shares) & (shares <= high)).mean() == pytest.approx(0.8, abs=0.03)


def test_models_of_quantiles_give_intervals_that_cover_and_follow_the_noise():
    rng = np.random.default_rng(2)
    covered, total = 0, 0
    for _ in range(20):
        model = ConformalInterval(0.9, calibration=None).fit(*draw(rng, 60)).calibrate(*draw(rng, 99))
        x, y = draw(rng, 200)
        low, high = model.predict(x).T
        covered, total = covered + ((low <= y) & (y <= high)).sum(), total + len(y)
        assert model.coverage_ == 0.9
    # given its calibration, a share varies like Beta(90, 10), whose deviation is 0.03: that of 20 is 0.007
    assert abs(covered / total - 0.9) < 3 * (0.03**2 / 20 + 0.09 / total) ** 0.5


def test_models_may_be_others_and_are_not_changed():
    rng = np.random.default_rng(3)
    x, y = draw(rng, 80)
    lower, upper = QuantilePath(0.05, penalty=2.0), LinearRegression()
    model = ConformalInterval(0.8, lower, upper, calibration=None).fit(x, y).calibrate(*draw(rng, 50))
    assert not hasattr(lower, "coef_") and not hasattr(upper, "coef_")
    ends = model.predict(x)
    np.testing.assert_allclose(ends[:, 0], model.lower_.predict(x) - model.margin_)
    np.testing.assert_allclose(ends[:, 1], LinearRegression().fit(x, y).predict(x) + model.margin_)


def test_what_cannot_be_stated_is_refused():
    rng = np.random.default_rng(4)
    x, y = draw(rng, 40)
    with pytest.raises(ConfigError, match=r"coverage lies between 0 and 1, neither included, got 1\.0"):
        ConformalInterval(1.0).fit(x, y)
    model = ConformalInterval(0.9, calibration=None).fit(x, y)
    with pytest.raises(ConfigError, match="no margin yet"):
        model.predict(x)
    with pytest.raises(ShapeError, match=r"8 calibration points are too few for a coverage of 0\.9: 9 are needed"):
        model.calibrate(*draw(rng, 8))
    model.calibrate(*draw(rng, 9)).fit(x, y)
    with pytest.raises(ConfigError, match="no margin yet"):  # it belonged to the models before
        model.predict(x)
    with pytest.raises(ShapeError, match=r"got \(3,\), \(3,\) and \(4,\)"):
        conformal_margin(np.zeros(3), np.zeros(3), np.zeros(4))
    with pytest.raises(ShapeError, match="point 1 has NaN"):
        conformal_margin(np.zeros(20), np.ones(20), np.where(np.arange(20) == 1, np.nan, 0.5))
    for coverage in ("0.9", None):
        with pytest.raises(ConfigError, match=f"coverage lies between 0 and 1, neither included, got {coverage!r}"):
            ConformalInterval(coverage).fit(x, y)
        with pytest.raises(ConfigError, match="coverage"):
            conformal_margin(y, y, y, coverage)
    assert not hasattr(model, "coverage_")
    with pytest.raises(ConfigError, match="probability"):
        coverage_range(50, 0.9, 1.0)


# --- weights ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("next_weight", [-50.0, np.nan, np.inf, "1"])
def test_a_next_weight_that_is_none_is_refused(next_weight):
    with pytest.raises(ConfigError, match="next_weight is a number from 0"):
        conformal_margin(np.zeros(30), np.ones(30), np.ones(30), next_weight=next_weight)


def test_responses_that_are_no_numbers_are_refused_with_their_row():
    y = np.ones(30)
    y[4] = np.inf
    with pytest.raises(ShapeError, match="point 4 has NaN or infinity"):
        conformal_margin(np.zeros(30), np.ones(30), y, 0.9)
    assert conformal_margin(np.full(30, -np.inf), np.full(30, np.inf), np.ones(30), 0.9) == -np.inf
    x, fine = draw(np.random.default_rng(0), 30)
    model = ConformalInterval(0.5).fit(x, fine)
    for value in (np.nan, np.inf):
        y[4] = value
        with pytest.raises(ShapeError, match="row 4"):
            model.score(x, y)


def test_whole_weights_are_repeated_points():
    rng = np.random.default_rng(5)
    lower, upper, y = rng.normal(size=60), 1 + rng.normal(size=60), rng.normal(size=60)
    counts = rng.integers(0, 4, 60)
    many = [np.repeat(values, counts) for values in (lower, upper, y)]
    for coverage in (0.05, 0.5, 0.9, 1 - 1 / (counts.sum() + 1)):
        assert conformal_margin(lower, upper, y, coverage, counts) == conformal_margin(*many, coverage)
    model = ConformalInterval(0.8, calibration=None).fit(*draw(rng, 60))
    x, y = draw(rng, 60)
    ends = model.calibrate(x, y, counts).predict(x)
    np.testing.assert_array_equal(ends, model.calibrate(np.repeat(x, counts, 0), np.repeat(y, counts)).predict(x))


def test_weights_by_hand():
    zeros, scores = np.zeros(4), np.array([3.0, 1.0, 4.0, 2.0])  # of y above an upper end of 0
    weight = np.array([1.0, 2.0, 0.5, 1.5])  # in the order of the scores: 2, 1.5, 1, 0.5, of 5
    assert conformal_margin(zeros - 9, zeros, scores, 0.5, weight, 1.0) == 2.0  # 3 of 6
    assert conformal_margin(zeros - 9, zeros, scores, 0.5, weight, 4.1) == 4.0  # 4.55 of 9.1
    assert conformal_margin(zeros - 9, zeros, scores, 1 / 3, weight, 1.0) == 1.0  # 2 of 6
    with pytest.raises(ShapeError, match=r"weigh 5, too little for a coverage of 0\.9 beside a next point of 1: 9 is"):
        conformal_margin(zeros - 9, zeros, scores, 0.9, weight)


def test_points_from_elsewhere_are_covered_if_weighted_by_the_ratio_of_densities():
    """Calibration at x ~ N(0, 1), new points at x ~ N(1, 1), where the noise is larger: the ratio is exp(x - 1/2)."""
    rng = np.random.default_rng(6)
    held = {"weighted": 0, "not": 0}
    for _ in range(1500):
        x, new = rng.normal(size=100), 1 + rng.normal()
        y, next_y = np.exp(x / 2) * rng.normal(size=100), np.exp(new / 2) * rng.normal()
        zero = np.zeros(100)
        held["not"] += abs(next_y) <= conformal_margin(zero, zero, y, 0.8)
        scores, reach = calibration_scores(zero, zero, y, np.exp(x - 0.5))
        held["weighted"] += abs(next_y) <= margins(scores, reach, 0.8, np.exp(new - 0.5))
    low, high = binom.interval(0.999, 1500, 0.8)
    assert held["not"] < low <= held["weighted"] and held["weighted"] < high + 60  # no less; and more by ties with inf


def test_a_new_point_has_the_margin_of_its_weight():
    rng = np.random.default_rng(7)
    x, y = draw(rng, 90)
    weight = rng.uniform(0.5, 2, 90)
    model = ConformalInterval(0.8, calibration=None).fit(*draw(rng, 60)).calibrate(x, y, weight)
    plain = model.predict(x[:3])
    np.testing.assert_array_equal(model.predict(x[:3], weight=np.ones(3)), plain)
    ends = model.predict(x[:3], weight=[0.01, 20.0, 1e6])
    ends_by_hand = [
        conformal_margin(model.lower_.predict(x), model.upper_.predict(x), y, 0.8, weight, w) for w in (0.01, 20.0)
    ]
    np.testing.assert_allclose(ends[:2, 1] - model.upper_.predict(x[:2]), ends_by_hand)
    assert ends[2].tolist() == [-np.inf, np.inf]
    with pytest.raises(ShapeError, match=r"got shape \(2,\)"):
        model.predict(x[:3], weight=[1.0, 2.0])


def test_models_that_take_no_weights_are_refused_weights():
    rng = np.random.default_rng(8)
    x, y = draw(rng, 60)
    with pytest.raises(ConfigError, match=r"KNeighborsRegressor takes no sample_weight.*calibrate"):
        ConformalInterval(lower=KNeighborsRegressor()).fit(x, y, np.ones(60))


# --- as a step --------------------------------------------------------------------------------------------------------
def test_fit_alone_divides_the_data_and_covers():
    rng = np.random.default_rng(9)
    covered, total = 0, 0
    for seed in range(20):
        model = ConformalInterval(0.9, random_state=seed).fit(*draw(rng, 198))
        x, y = draw(rng, 200)
        low, high = model.predict(x).T
        covered, total = covered + ((low <= y) & (y <= high)).sum(), total + len(y)
        assert model.coverage_ == 0.9  # 99 of the points calibrate
    assert abs(covered / total - 0.9) < 3 * (0.03**2 / 20 + 0.09 / total) ** 0.5


def test_the_held_out_share_is_raised_to_what_the_coverage_needs():
    rng = np.random.default_rng(10)
    assert ConformalInterval(0.9, calibration=0.01).fit(*draw(rng, 30)).coverage_ == 0.9  # 9 points
    with pytest.raises(ShapeError, match=r"n_samples=9 leaves no sample to fit: a coverage of 0\.9 takes 9"):
        ConformalInterval(0.9).fit(*draw(rng, 9))
    for calibration in (0.0, 1.0, "half"):
        with pytest.raises(ConfigError, match=f"calibration is a share between 0 and 1, or None, got {calibration!r}"):
            ConformalInterval(calibration=calibration).fit(*draw(rng, 30))


def test_it_is_a_step_of_a_pipeline_that_a_search_tunes():
    rng = np.random.default_rng(11)
    x = rng.standard_normal((150, 4))
    y = 5 * x[:, 1] + rng.standard_normal(150)
    frame = pandas.DataFrame(100 * x, columns=["a", "b", "c", "d"])
    inner = ConformalInterval(0.8, QuantilePath(0.1), QuantilePath(0.9))
    pipe = Pipeline([("scale", StandardScaler().set_output(transform="pandas")), ("interval", inner)])
    grid = {"interval__lower__penalty": [0.5, 300.0], "interval__calibration": [0.3, 0.5]}
    search = GridSearchCV(pipe, grid, cv=3).fit(frame, y)
    best = search.best_estimator_.named_steps["interval"]
    assert search.best_params_["interval__lower__penalty"] == 0.5  # at 300 no column is used
    assert best.feature_names_in_.tolist() == list("abcd") and search.predict(frame).shape == (150, 2)
    assert clone(search.best_estimator_).get_params()["interval__upper"].tau == 0.9
    low, high = search.predict(frame).T
    wanted = (high - low + 10 * (np.maximum(low - y, 0) + np.maximum(y - high, 0))).mean()
    assert search.score(frame, y) == pytest.approx(-wanted)


def test_its_models_may_be_pipelines():
    rng = np.random.default_rng(12)
    x, y = draw(rng, 150)
    lower, upper = (Pipeline([("scale", StandardScaler()), ("model", QuantilePath(tau))]) for tau in (0.1, 0.9))
    model = ConformalInterval(0.8, lower, upper).fit(x, y)
    assert model.set_params(lower__model__tau=0.05).lower["model"].tau == 0.05
    assert model.n_features_in_ == 4 and model.predict(x).shape == (150, 2)
