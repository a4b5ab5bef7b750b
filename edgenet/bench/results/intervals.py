"""``edgenet bench intervals``: conformal intervals for a node regression, the speed of traffic half an hour ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median_low, stdev

import numpy as np
from scipy.stats import betabinom
from sklearn.model_selection import KFold
from tqdm import tqdm

from edgenet.bench.results.estimates import write_estimate
from edgenet.bench.results.traffic import Traffic, traffic
from edgenet.estimators import ConformalInterval, QuantilePath, conformal_margin, coverage_range
from edgenet.estimators.conformal import calibration_rank
from edgenet.nn import specializations
from edgenet.plots.style import saved
from edgenet.selection import tap_features
from edgenet.text import markdown_table

COVERAGE, WANTED = 0.9, (0.88, 0.92)
READINGS, AHEAD, ORDER = 4, 6, 3  # readings are 5 minutes apart
FIT, CALIBRATE = 80, 79  # sensors; the rest, 48, are for the test
SLOW = 50.0  # miles an hour now, below which a sensor counts as slow
QUANTILES, SCHWARZ, MEDIAN = "quantiles", "quantiles, Schwarz's choice", "median"
RAW, CALIBRATED = "as fitted", "calibrated"


@dataclass(frozen=True)
class Split:
    """One instant, and its sensors in three parts drawn at random.

    Attributes:
        x: (N, 16) readings of a sensor and of the sensors 1 to 3 hops downstream; groups: (16,) the hop of each column.
        y: (N,) miles an hour ``AHEAD`` readings later; now: (N,) the newest reading.
        fit, calibrate, test: numbers of sensors.
    """

    x: np.ndarray
    groups: list[str]
    y: np.ndarray
    now: np.ndarray
    fit: np.ndarray
    calibrate: np.ndarray
    test: np.ndarray

    @classmethod
    def draw(cls, week: Traffic, seed: int) -> Split:
        """The instant and the parts of a seed."""
        rng = np.random.default_rng(seed)
        time = int(rng.integers(READINGS - 1, len(week.speed) - AHEAD))
        x, y = week.samples([time], READINGS, AHEAD)
        order = rng.permutation(len(y))
        # less the mean of the sensors, so that the zeros of a sensor with none downstream stand for the usual speed
        signal = x[0] - x[0].mean(0)
        layer = specializations.gcnn(READINGS, 1, ORDER, normalize=None).double()
        features = tap_features(layer, signal, week.edge_index, week.edge_weight[:, :1]).scaled()
        parts = np.split(order, [FIT, FIT + CALIBRATE])
        return cls(features.values, features.groups(("hop",)), y, x[0, :, 0].numpy(), *parts)


@dataclass(frozen=True)
class Outcome:
    """Intervals of the test sensors of a split.

    Attributes:
        ends: (48, 2) by (model, "as fitted" or "calibrated").
        centre: (48,) predicted medians; y, now: (48,) as in ``Split``.
        hops: three lists, of the hops that the models of the lower quantile, the median and the upper quantile use.
    """

    ends: dict[tuple[str, str], np.ndarray]
    centre: np.ndarray
    y: np.ndarray
    now: np.ndarray
    hops: list[list[str]]


def outcome(split: Split, seed: int) -> Outcome:
    """Fit on the first part, calibrate on the second, predict the third."""
    folds = KFold(5, shuffle=True, random_state=seed)
    at = split.fit, split.calibrate, split.test
    (x, y), (x_cal, y_cal), (x_test, y_test) = ((split.x[part], split.y[part]) for part in at)
    ends, models = {}, {}
    for name, cv in ((QUANTILES, folds), (SCHWARZ, None)):
        lower, upper = (QuantilePath(tau, split.groups, cv=cv) for tau in ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2))
        model = models[name] = ConformalInterval(COVERAGE, lower, upper, calibration=None)
        model.fit(x, y).calibrate(x_cal, y_cal)
        ends[name, RAW] = np.stack([model.lower_.predict(x_test), model.upper_.predict(x_test)], axis=1)
        ends[name, CALIBRATED] = model.predict(x_test)
    median = QuantilePath(0.5, split.groups, cv=folds).fit(x, y)
    centre, known = median.predict(x_test), median.predict(x_cal)
    margin = conformal_margin(known, known, y_cal, COVERAGE)
    ends[MEDIAN, CALIBRATED] = np.stack([centre - margin, centre + margin], axis=1)
    chosen = models[QUANTILES]
    hops = [list(one.selected_groups_) for one in (chosen.lower_, median, chosen.upper_)]
    return Outcome(ends, centre, y_test, split.now[split.test], hops)


def covered(ends: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(m,) whether intervals hold the responses."""
    return (ends[:, 0] <= y) & (y <= ends[:, 1])


def run(seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None) -> None:
    """Draw, fit, calibrate and count, and write the page."""
    week = traffic(data_root)
    outcomes = [outcome(Split.draw(week, seed), seed) for seed in tqdm(range(seeds), unit="split", desc="bench")]
    shares = [float(covered(one.ends[QUANTILES, CALIBRATED], one.y).mean()) for one in outcomes]
    typical = shares.index(median_low(shares))
    picture = draw_picture(outcomes[typical], out)
    mean, sensors = fmean(shares), len(outcomes[0].y)
    passed = "passed" if WANTED[0] <= mean <= WANTED[1] else "FAILED"
    law = betabinom(sensors, *_beta())
    ends = law.ppf([0.05, 0.95]) / sensors
    low, high = coverage_range(CALIBRATE, COVERAGE)
    header = ("intervals", "coverage, %", "range", f"in {100 * low:.0f} to {100 * high:.0f} %", "width, mph",
              "coverage where slow", "elsewhere")  # fmt: skip
    hops = sorted({hop for one in outcomes for model in one.hops for hop in model})
    used = [
        (hop, *(f"{sum(hop in one.hops[k] for one in outcomes) / seeds:.2f}" for k in range(3))) for hop in hops
    ]  # fmt: skip
    parts = [
        f"{sensors + FIT + CALIBRATE} sensors on the highways of Los Angeles (METR-LA, one week of 2012) report speeds "
        f"every 5 minutes. At one instant, the speed of each {5 * AHEAD} minutes later is to be predicted, as an "
        f"interval that holds it in {100 * COVERAGE:.0f} % of the cases. Features are a sensor's last {READINGS} "
        f"readings (hop 0) and their averages over the sensors 1 to {ORDER} steps down the road, S^k x with S = D^-1 A "
        "of the directed road graph (hops 1 to 3), less the mean over all sensors, scaled to deviation 1; the columns "
        "of a hop are a group. `QuantilePath` fits the 5 % and the 95 % quantile, each with a penalty from 5-fold "
        "cross-validation or by Schwarz's criterion; `ConformalInterval` then moves both ends by one number, chosen on "
        "sensors that took no part in the fit.",
        f"Each of {seeds} seeds draws an instant of the week and, at random, {FIT} sensors to fit, {CALIBRATE} to "
        f"calibrate and {sensors} to test. *Median*: a constant width around a predicted median, from the same "
        "calibration sensors. *Coverage*: mean ± standard deviation over the splits of the share of test sensors "
        "covered, and its range. *Width*: mean over the splits, in miles an hour. *Slow*: sensors that report less "
        f"than {SLOW:.0f} mph now, counted over all splits.",
        markdown_table(header, [_row(key, outcomes, (low, high)) for key in outcomes[0].ends]),
        f"Required of the calibrated quantiles: a mean of {100 * WANTED[0]:.0f} to {100 * WANTED[1]:.0f} %. Measured: "
        f"{100 * mean:.1f} %, {passed}. What theory says of one split: calibrated on {CALIBRATE} sensors, the "
        f"probability of covering lies in {100 * low:.0f} to {100 * high:.0f} % nine times of ten "
        f"(`coverage_range`), and the share of {sensors} test sensors, which adds their own chance, has the standard "
        f"deviation {100 * law.std() / sensors:.1f} %, and lies in {100 * ends[0]:.0f} to {100 * ends[1]:.0f} % nine "
        f"times of ten, or somewhat more; here in {100 * fmean(ends[0] <= share <= ends[1] for share in shares):.0f} % "
        "of the splits.",
        "What carries the guarantee: sensors were split at random, and the model treats all alike (a filter with the "
        "same taps everywhere, which sees every sensor's readings but only the fitting sensors' answers), so that "
        "calibration and test sensors are exchangeable. Not claimed: that this forecasts the future of all sensors at "
        "once, since the calibration needs later speeds of some; that other instants or roads are covered; that slow "
        "sensors are covered as often as others, which no calibration by one number ensures; that intervals from "
        "quantiles are the narrowest: compare the last row.",
        f"![Intervals of {sensors} test sensors, sorted by predicted median]({picture.name})",
        f"The calibrated quantiles of seed {typical}, the first whose coverage is the median of all.",
        "Share of splits in which a model uses a hop, by cross-validation:",
        markdown_table(("hop", "5 % quantile", "median", "95 % quantile"), used),
        "Four readings and cross-validation were preferred to six and Schwarz's criterion for their loss on "
        "calibration sensors at 20 instants of their own (seeds 1000 to 1019; one of them is also that of a seed "
        "here). A first look at the latter two, on splits of seeds 0 to 11, had shown test sensors too.",
    ]
    raw = covered_share(outcomes, (QUANTILES, RAW))
    claim = (
        f"Calibrated intervals for the speed of traffic {5 * AHEAD} minutes ahead, meant to cover {100 * COVERAGE:.0f} "
        f"%, cover {100 * mean:.1f} % of test sensors on average ({passed}); as fitted they cover {100 * raw:.1f} %."
    )
    limits = [part for part in parts if part.startswith("What carries the guarantee")]
    shown = [part for part in parts if part not in limits]
    every = [{"seed": seed, "coverage": share} for seed, share in enumerate(shares)]
    write_estimate(out, "Intervals for node regression", claim, shown, limits, seeds, every)


def covered_share(outcomes: Sequence[Outcome], key: tuple[str, str]) -> float:
    """The mean over splits of the share of test sensors that intervals cover."""
    return fmean(float(covered(one.ends[key], one.y).mean()) for one in outcomes)


def _beta() -> tuple[int, int]:
    """Parameters of the law of the probability of covering."""
    rank = calibration_rank(CALIBRATE, COVERAGE)
    return rank, CALIBRATE + 1 - rank


def _row(key: tuple[str, str], outcomes: Sequence[Outcome], within: tuple[float, float]) -> tuple[str, ...]:
    held = [covered(one.ends[key], one.y) for one in outcomes]
    shares = [float(some.mean()) for some in held]
    width = fmean(float(np.maximum(one.ends[key][:, 1] - one.ends[key][:, 0], 0).mean()) for one in outcomes)
    everywhere, slow = np.concatenate(held), np.concatenate([one.now < SLOW for one in outcomes])
    deviation = f" ± {100 * stdev(shares):.1f}" if len(shares) > 1 else ""
    return (
        ", ".join(key),
        f"{100 * fmean(shares):.1f}{deviation}",
        f"{100 * min(shares):.0f} to {100 * max(shares):.0f}",
        f"{fmean(within[0] <= share <= within[1] for share in shares):.2f}",
        f"{width:.1f}",
        *(f"{100 * everywhere[part].mean():.1f}" if part.any() else "-" for part in (slow, ~slow)),
    )


def draw_picture(one: Outcome, page: Path) -> Path:
    """Intervals and truths of one split, beside the page."""
    from matplotlib.figure import Figure

    picture = page.parent / "intervals.png"
    order = np.argsort(one.centre, kind="stable")
    (low, high), y = one.ends[QUANTILES, CALIBRATED][order].T, one.y[order]
    held, place = covered(one.ends[QUANTILES, CALIBRATED], one.y)[order], np.arange(len(order))
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    axis = figure.add_subplot()
    axis.vlines(place, low, np.maximum(low, high), color="#b9c6e4", linewidth=4, label="interval")
    axis.plot(place, one.centre[order], "_", color="#3566c8", markersize=7, label="predicted median")
    for part, color, text in ((held, "#2c9568", "covered"), (~held, "#d9602b", "not covered")):
        axis.plot(place[part], y[part], "o", color=color, markersize=4, label=f"{text}: {part.sum()}")
    axis.set_xlabel("test sensors, by predicted median")
    axis.set_ylabel(f"mph, {5 * AHEAD} minutes later")
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper left", frameon=False, fontsize=8, ncols=4)
    return saved(figure, picture, dpi=100)
