"""Hops, shift operators and blocks of edges that a quantile path keeps of a forecast of traffic."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgenet.bench.results.traffic import DAY, Traffic
from edgenet.estimators import QuantilePath
from edgenet.nn import EdgeNetConv, specializations
from edgenet.plots.style import saved
from edgenet.selection import RemovalPlan, edge_blocks, fill_, remove_, tap_features

READINGS, AHEAD, ORDER = 4, 2, 6  # 20 minutes of speeds, 10 minutes ahead
BLOCKS = 4
TRAINING, VALIDATION, TEST = 12, 24, 48  # instants


class Forecast:
    """Speeds of a week, divided by days: five to fit, one to choose, one to test."""

    def __init__(self, week: Traffic, seed: int = 0) -> None:
        rng, self.week = np.random.default_rng(seed), week
        first, last = READINGS - 1, len(week.speed) - AHEAD
        spans = ((first, 5 * DAY - AHEAD, TRAINING), (5 * DAY, 6 * DAY - AHEAD, VALIDATION), (6 * DAY, last, TEST))
        self.training, self.validation, self.test = (
            week.samples(np.sort(rng.choice(np.arange(low, high), count, replace=False)), READINGS, AHEAD)
            for low, high, count in spans
        )

    def layer(self, order: int) -> EdgeNetConv:
        """A filter that walks both ways of the roads."""
        return specializations.gcnn(READINGS, 1, order, shifts=2, normalize=None).double()

    @torch.no_grad()
    def fitted(self, layer: EdgeNetConv, edges: Tensor, weight: Tensor) -> tuple[float, float]:
        """Fill the taps of a layer by unpenalised median regression; mean absolute errors, validation and test."""
        features = tap_features(layer, self.training[0], edges, weight)
        path = QuantilePath(0.5, groups=[0] * len(features.taps), penalty=0.0).fit(features.values, self.training[1])
        fill_(layer, features, path)
        errors = [np.abs(layer(x, edges, weight).flatten().numpy() - y).mean() for x, y in (self.validation, self.test)]
        return float(errors[0]), float(errors[1])


def by_taps(forecast: Forecast, picture: Path) -> Iterator[tuple[int, RemovalPlan, EdgeNetConv, float, float]]:
    """The layers with the first 1, 2, ... taps that the path enters, each fitted anew: (taps, plan, layer, errors)."""
    week, layer = forecast.week, forecast.layer(ORDER)
    features = tap_features(layer, forecast.training[0], week.edge_index, week.edge_weight).scaled()
    groups = features.groups(("hop", "head"))
    path = QuantilePath(0.5, groups=groups).fit(features.values, forecast.training[1])
    saved(path.plot(), picture, dpi=80)
    order = path.entry_order()
    for count in range(1, len(order) + 1):
        plan = features.plan(np.isin(groups, order[:count]))
        smaller, kept = copy.deepcopy(layer), plan.kept
        remove_(smaller, plan)
        weight = week.edge_weight[:, kept.heads]
        yield count, plan, smaller, *forecast.fitted(smaller, week.edge_index, weight)


def by_blocks(forecast: Forecast) -> Iterator[tuple[str, int, float, float]]:
    """Blocks of edges by closeness, in the order in which the path enters them: what is fitted on those so far."""
    week, layer = forecast.week, forecast.layer(order=2)
    labels = edge_blocks(week.closeness.numpy(), BLOCKS)
    features = tap_features(layer, forecast.training[0], week.edge_index, week.edge_weight, blocks=labels).scaled()
    groups = features.groups(("block",))
    path = QuantilePath(0.5, groups=groups).fit(features.values, forecast.training[1])
    entered: list[str] = []
    for group in path.entry_order():
        if group == "input":
            continue
        entered.append(group)
        plan = features.plan(np.isin(groups, ["input", *entered]))
        stay = plan.kept.edges(labels)
        smaller = copy.deepcopy(layer)
        remove_(smaller, plan)
        weight = week.edge_weight[stay][:, plan.kept.heads]
        yield group, int(stay.sum()), *forecast.fitted(smaller, week.edge_index[:, stay], weight)
