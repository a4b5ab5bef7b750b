"""``edgenet bench tap_selection``: hops, shift operators, blocks of edges and heads that a quantile path keeps."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from edgenet.bench.estimates import write_estimate
from edgenet.bench.traffic import DAY, Traffic, traffic
from edgenet.estimators import QuantilePath
from edgenet.nn import EdgeNetConv, specializations
from edgenet.selection import Kept, RemovalPlan, edge_blocks, fill_, remove_, tap_features
from edgenet.text import markdown_table

READINGS, AHEAD, ORDER = 4, 2, 6  # 20 minutes of speeds, 10 minutes ahead
BLOCKS = 4
_TRAINING, _VALIDATION, _TEST = 12, 24, 48  # instants


# ---------------------------------------------------------------- a filter that is known
def recovered(seed: int, nodes: int = 200) -> bool:
    """Whether the first two of six hops that a path enters are the two that made the data: hops 0 and 2 of 4 features,
    on a random directed graph, under noise with heavy tails (t, 4 degrees of freedom) that grows with a feature."""
    rng = np.random.default_rng(seed)
    edges = torch.as_tensor(rng.integers(0, nodes, (2, 4 * nodes)))
    layer = specializations.gcnn(4, 1, order=5, normalize="rw").double()
    features = tap_features(layer, torch.as_tensor(rng.normal(size=(nodes, 4))), edges).scaled()
    coefficients = np.zeros(24)
    coefficients[:4], coefficients[8:12] = rng.choice([-1, 1], 4) * 0.5, rng.choice([-1, 1], 4) * 0.5
    noise = (0.5 + np.abs(features.values[:, 0])) * rng.standard_t(4, nodes)
    path = QuantilePath(0.5, groups=features.groups(("hop",)), max_groups=3)
    return set(path.fit(features.values, features.values @ coefficients + noise).entry_order()[:2]) == {
        "hop 0",
        "hop 2",
    }


# ---------------------------------------------------------------- traffic
class Forecast:
    """Speeds of a week, divided by days: five to fit, one to choose, one to test."""

    def __init__(self, week: Traffic, seed: int = 0) -> None:
        rng, self.week = np.random.default_rng(seed), week
        first, last = READINGS - 1, len(week.speed) - AHEAD
        spans = ((first, 5 * DAY - AHEAD, _TRAINING), (5 * DAY, 6 * DAY - AHEAD, _VALIDATION), (6 * DAY, last, _TEST))
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
    figure = path.plot()
    figure.savefig(picture, dpi=80)
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


# ---------------------------------------------------------------- heads
def by_heads(data_root: Path | None) -> Iterator[tuple[object, ...]]:
    """The published GAT for Cora with the first 1, 2, ... heads of its first layer that a path enters."""
    from edgenet.bench.compressed_gat_run import published

    problem = published(data_root)
    model, data = problem.model.double(), problem.data
    x, edges, first, second = data.x.double(), data.edge_index, model.convs[0], model.convs[1]
    heads, channels = first.heads, first.out_channels
    with torch.no_grad():
        hidden = model.activation(first(x, edges))
        scores, (walked, attention) = second(hidden, edges, return_attention_weights=True)
    walk = EdgeNetConv(heads * channels, 1, 1, phi="shift", hops=[1])  # the second layer, its attention given
    features = tap_features(walk.double(), hidden, walked, attention[:, 0]).values
    labelled = data.train_mask.numpy()
    # the scores of all classes are one response, so that a head is a group over all of them
    wanted = scores[labelled].numpy() - np.median(scores[labelled].numpy(), 0)
    design = np.kron(np.eye(wanted.shape[1]), features[labelled] - features[labelled].mean(0))
    groups = np.tile(np.repeat(np.arange(heads), channels), wanted.shape[1])
    order = QuantilePath(0.5, groups=groups).fit(design, wanted.T.reshape(-1)).entry_order()
    known = (data.train_mask | data.val_mask).numpy()

    def refitted(kept: list[int]) -> float:
        columns = np.isin(np.repeat(np.arange(heads), channels), kept)
        design = np.c_[features[:, columns], np.ones(len(features))]
        mix = np.linalg.lstsq(design[known], scores[known].numpy(), rcond=None)[0]
        return _accuracy(torch.as_tensor(design @ mix), data)

    for count in range(1, heads + 1):
        smaller = copy.deepcopy(model)
        kept = sorted(int(head) for head in order[:count])
        before = sum(p.numel() for p in smaller.parameters())
        remove_(smaller, RemovalPlan({"convs.0": Kept(tuple((1, head) for head in kept))}))
        after = sum(p.numel() for p in smaller.parameters())
        with torch.no_grad():
            untouched = _accuracy(smaller(x, edges), data)
        others = [refitted(list(some)) for some in itertools.combinations(range(heads), count)]
        yield count, order[count - 1], before / after, untouched, refitted(kept), np.mean(others), len(others)


def _accuracy(scores: Tensor, data: object) -> float:
    return float((scores.argmax(1) == data.y)[data.test_mask].double().mean())


# ---------------------------------------------------------------- the section
def run(seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None) -> None:
    """Select, remove, fit, and write the section of the page."""
    picture = out.parent / "tap_selection.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    forecast = Forecast(traffic(data_root))
    found = sum(recovered(seed) for seed in tqdm(range(seeds), unit="draw", desc="bench"))
    persistence = np.abs(forecast.test[0][..., 0].flatten().numpy() - forecast.test[1]).mean()
    taps, blocks, heads = list(by_taps(forecast, picture)), list(by_blocks(forecast)), list(by_heads(data_root))
    best = min(row[3] for row in taps)
    chosen = next(row for row in taps if row[3] <= 1.01 * best)
    parts = [
        "A layer's taps combine the signals z^(k)[:, h] of its hops and heads. `edgenet.selection.tap_features` gives "
        "these as the columns of a regression, the quantile path enters them group by group, and `remove_` takes the "
        "rest out of the layer: taps, hops behind the last that is used, heads, edges.",
        f"**A filter that is known.** Six hops of four features, of which hops 0 and 2 made the data, 200 nodes, noise "
        f"with heavy tails that grows with a feature: the first two groups that the path enters are those two in "
        f"{found} of {seeds} draws.",
        f"**Hops and shift operators on roads.** A week of METR-LA, 207 sensors: the speed {5 * AHEAD} minutes ahead, "
        f"from the last {READINGS} readings walked up to {ORDER} hops downstream and upstream. The path sees "
        f"{_TRAINING} instants of five days; the sixth day validates ({_VALIDATION} instants), the seventh tests "
        f"({_TEST}). Every row has one group more, in the order in which the path enters them; the layer without the "
        f"rest is fitted anew by median regression. Mean absolute errors in miles an hour; the last reading as a "
        f"forecast: {persistence:.3f}. In bold: the fewest taps within 1 % of the best validation error. Their test "
        f"error is {chosen[4] / taps[-1][4]:.3f} of that of all {taps[-1][0]} taps, with {_numbers(chosen[2])} numbers "
        f"in place of {_numbers(taps[-1][2])}.",
        markdown_table(
            ("taps", "hops", "shift operators", "parameters", "validation", "test"),
            [_tap_row(row, row is chosen) for row in taps],
        ),
        f"![The path]({picture.name})",
        f"**Blocks of edges.** Two hops, the edges in {BLOCKS} blocks of equal size by closeness (1 is next to each "
        f"other). Rows have one block more, in the order of the path; the other edges are gone from the graph.",
        markdown_table(
            ("block enters", "edges left", "validation", "test"),
            [(name, count, f"{low:.3f}", f"{high:.3f}") for name, count, low, high in blocks],
        ),
        "**Heads.** The published GAT for Cora (8 heads of 8, then the classes): the path explains its scores at the "
        "140 labelled nodes by what the second layer receives from each head. *Removed*: test accuracy in percent of "
        "the model without the other heads, as it is. *Refitted*: with the second layer's weights fitted anew by least "
        "squares to the scores of the whole model at training and validation nodes. *Any*: the same, mean over all "
        "choices of as many heads: where it is near *refitted*, which heads stay matters little.",
        markdown_table(
            ("heads", "enters", "times fewer parameters", "removed", "refitted", "any"),
            [
                (count, head, f"{fewer:.1f}", *(f"{100 * accuracy:.1f}" for accuracy in accuracies))
                for count, head, fewer, *accuracies, _ in heads
            ],
        ),
    ]
    write_estimate(out, "tap_selection", "Which hops, operators, edges and heads matter", parts)


def _tap_row(row: tuple[int, RemovalPlan, EdgeNetConv, float, float], chosen: bool) -> tuple[object, ...]:
    count, plan, layer, validation, test = row
    kept, names = plan.kept, ("down", "up")
    operators = " and ".join(names[head] for head in kept.heads) if layer.order else "-"
    shown = f"**{count}**" if chosen else count
    return shown, ", ".join(map(str, kept.hops)), operators, _numbers(layer), f"{validation:.3f}", f"{test:.3f}"


def _numbers(layer: EdgeNetConv) -> int:
    return sum(p.numel() for p in layer.parameters())
