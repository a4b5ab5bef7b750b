"""``edgenet bench tap_selection``: hops, shift operators, blocks of edges and heads that a quantile path keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from edgenet.bench.results.estimates import write_estimate
from edgenet.bench.results.head_selection import by_heads
from edgenet.bench.results.traffic import traffic
from edgenet.bench.results.traffic_taps import (
    AHEAD,
    BLOCKS,
    ORDER,
    READINGS,
    TEST,
    TRAINING,
    VALIDATION,
    Forecast,
    by_blocks,
    by_taps,
)  # fmt: skip
from edgenet.estimators import QuantilePath
from edgenet.nn import EdgeNetConv, specializations
from edgenet.selection import RemovalPlan, tap_features
from edgenet.text import markdown_table


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


def run(seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None) -> None:
    """Select, remove, fit, and write the page."""
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
        f"{TRAINING} instants of five days; the sixth day validates ({VALIDATION} instants), the seventh tests "
        f"({TEST}). Every row has one group more, in the order in which the path enters them; the layer without the "
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
    claim = (
        f"The quantile path enters the two hops that made the data first in {found} of {seeds} draws. On roads "
        f"{chosen[0]} of {taps[-1][0]} taps has {chosen[4] / taps[-1][4]:.3f} of the test error of all."
    )
    limits = (
        "One week of traffic, one published network. Where choices of heads hardly differ, the path's choice is not "
        "needed."
    )
    write_estimate(out, "Which hops, operators, edges and heads matter", claim, parts, limits, seeds)


def _tap_row(row: tuple[int, RemovalPlan, EdgeNetConv, float, float], chosen: bool) -> tuple[object, ...]:
    count, plan, layer, validation, test = row
    kept, names = plan.kept, ("down", "up")
    operators = " and ".join(names[head] for head in kept.heads) if layer.order else "-"
    shown = f"**{count}**" if chosen else count
    return shown, ", ".join(map(str, kept.hops)), operators, _numbers(layer), f"{validation:.3f}", f"{test:.3f}"


def _numbers(layer: EdgeNetConv) -> int:
    return sum(p.numel() for p in layer.parameters())
