"""Conformal intervals cover exchangeable data with the stated probability."""

import numpy as np
import pytest
from scipy.stats import beta, binom, kstest, norm
from sklearn.linear_model import LinearRegression

from edgenet.errors import ConfigError, ShapeError
from edgenet.estimators import ConformalInterval, QuantilePath, conformal_margin, coverage_range


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
        model = ConformalInterval(0.9).fit(*draw(rng, 60)).calibrate(*draw(rng, 99))
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
    model = ConformalInterval(0.8, lower, upper).fit(x, y).calibrate(*draw(rng, 50))
    assert not hasattr(lower, "coef_") and not hasattr(upper, "coef_")
    ends = model.predict(x)
    np.testing.assert_allclose(ends[:, 0], model.lower_.predict(x) - model.margin_)
    np.testing.assert_allclose(ends[:, 1], LinearRegression().fit(x, y).predict(x) + model.margin_)


def test_what_cannot_be_stated_is_refused():
    rng = np.random.default_rng(4)
    x, y = draw(rng, 40)
    with pytest.raises(ConfigError, match=r"coverage lies between 0 and 1, neither included, got 1\.0"):
        ConformalInterval(1.0).fit(x, y)
    model = ConformalInterval(0.9).fit(x, y)
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
