"""The tables of ``edgenet bench additive``: accuracies, the path of penalties, and the simulation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean, stdev
from typing import Any

from edgenet.bench.harness import report
from edgenet.bench.results import additive_run
from edgenet.bench.results.additive_edges import NODES, Recovery
from edgenet.bench.results.additive_run import EPOCHS, NOISE
from edgenet.bench.results.spam_simulation import RELEVANT
from edgenet.text import markdown_table

WANTED = 0.95  # share of the draws of the simulation in which its four features are to be found
_TRIED = 76  # settings that were looked at before this command was written, on seeds 0 and 1 or 0 to 2
NONE = "none"  # the key of the network without functions

Results = list[dict[str, Any]]  # one of each seed


def accuracies(
    seeds: int,
    attention: dict[str, Any],
    found: Mapping[Any, Results],
    again: Mapping[float, Results],
    best: float,
    sparse: float,
    number: int,
) -> list[str]:
    rows = [
        (
            "GAT form, preset of `edgenet bench cora` (published: 83.0 ± 0.7, quoted)",
            "-",
            report.spread([one["val"] for one in attention["seeds"]]),
            f"**{report.spread([one['test'] for one in attention['seeds']])}**",
            "-",
        ),
        _row("no functions: the mean of a node's neighbours and itself", found[NONE], found[NONE]),
        _row("all functions, no penalty", found[0.0], found[NONE]),
        _row(f"penalty {best:g}, the best on validation nodes", found[best], found[NONE]),
        _row(f"its functions, refitted without the penalty (penalty {best:g})", again[best], found[NONE]),
    ]
    if sparse != best:
        rows += [
            _row(f"penalty {sparse:g}, the sparsest within one standard error", found[sparse], found[NONE]),
            _row(f"its functions, refitted without the penalty (penalty {sparse:g})", again[sparse], found[NONE]),
        ]
    header = ("edge weights", f"functions of {number}", "validation", "test", "test, less no functions")
    return [
        f"The weight of every edge of Cora is a softmax, over the in-edges of a node, of a sum of smooth functions, "
        f"one of each of {number - NOISE} readable features of the edge (`phi.Additive`), made from words and links "
        f"and no labels; {NOISE} more features are noise. Both layers share the functions. `compress.GroupLasso` sets "
        f"whole functions to zero. Public split, test accuracy in percent at the epoch of the best validation "
        f"accuracy, mean ± sample standard deviation over {seeds} seeds (0 to {seeds - 1}); the last column is paired, "
        f"seed by seed. Functions are counted at that epoch, noise included.",
        markdown_table(header, rows),
        *_verdict(attention, found, best, sparse),
        f"Settings: 1433 -> {additive_run.HIDDEN} -> 7 channels, one head, order 1, ELU, cubic functions (df "
        f"{additive_run.DF}), {EPOCHS} epochs of Adam at {additive_run.RATE:g} (functions "
        f"{additive_run.FUNCTION_RATE:g}), decay {additive_run.DECAY:g} of the channels, dropout "
        f"{additive_run.DROPOUT:g}, of edges {additive_run.EDGE_DROPOUT:g}, as GAT drops attention. They were chosen "
        f"by the validation accuracy of two or three seeds, from {_TRIED} settings: links identity, softplus and "
        f"softmax, symmetric and random-walk normalisation, orders 1 and 2, 1 and 8 heads, functions shared or not, "
        f"dropout of edges, rates, degrees of freedom. With the links identity and softplus, functions made validation "
        f"worse than none in every setting that kept some.",
    ]


def _row(title: str, results: Results, plain: Results) -> tuple[str, ...]:
    kept = [len(one["sizes"]) for one in results]
    gain = [one["test"] - none["test"] for one, none in zip(results, plain, strict=True)]
    return (
        title,
        "0" if not any(kept) else f"{fmean(kept):.1f} ({min(kept)} to {max(kept)})",
        report.spread([one["val"] for one in results]),
        f"**{report.spread([one['test'] for one in results])}**",
        "" if results is plain else report.spread(gain),
    )


def _verdict(attention: dict[str, Any], found: Mapping[Any, Results], best: float, sparse: float) -> list[str]:
    """What the table says, in words that follow from its numbers."""
    gat, plain = ([one["test"] for one in results] for results in (attention["seeds"], found[NONE]))
    spread = stdev(gat) if len(gat) > 1 else 0.0
    sentences = []
    for penalty in dict.fromkeys((best, sparse)):
        tests = [one["test"] for one in found[penalty]]
        gain = [a - b for a, b in zip(tests, plain, strict=True)]
        error = stdev(gain) / math.sqrt(len(gain)) if len(gain) > 1 else 0.0
        if abs(fmean(gain)) <= 2 * error:
            adds = "no more than chance, beside none at all"
        else:
            adds = f"{100 * fmean(gain):+.1f} points, more than two standard errors ({100 * error:.2f} each)"
        noise = fmean(_noise(one) for one in found[penalty])
        sentences.append(
            f"With penalty {penalty:g} the mean is {100 * (fmean(tests) - fmean(gat)):+.2f} points from GAT's, whose "
            f"standard deviation is {100 * spread:.2f}; the functions add {adds}, and {noise:.1f} of the {NOISE} of "
            f"noise are among them."
        )
    return [" ".join(sentences)]


def _noise(result: dict[str, Any]) -> int:
    """How many functions of noise a network has."""
    return sum(name.startswith("noise") for name in result["sizes"])


def path_of_penalties(path: Mapping[float, Results], free: Results, none: Results) -> list[str]:
    rows = []
    for title, results in [("no functions", none), ("0", free), *((f"{p:g}", path[p]) for p in path)]:
        noise = fmean(_noise(one) for one in results)
        kept = fmean(len(one["sizes"]) for one in results)
        rows.append((title, report.spread([one["val"] for one in results], digits=2), f"{kept:.1f}", f"{noise:.1f}"))
    return [
        "The path from which penalties were chosen, on validation nodes alone:",
        markdown_table(("penalty", "validation", "functions", f"of them noise, of {NOISE}"), rows),
    ]


def with_the_exact_set(draws: list[Recovery]) -> int:
    """In how many draws the path has exactly the relevant features."""
    return sum(RELEVANT in one.supports for one in draws)


def simulation(draws: list[Recovery]) -> list[str]:
    on_path = with_the_exact_set(draws)
    exact = sum(one.chosen == RELEVANT for one in draws)
    correlations = [value for one in draws for value in one.correlations]
    lowest = f"{min(correlations):.4f}" if correlations else "-"
    mean = f"{fmean(correlations):.4f}" if correlations else "-"
    rows = [
        (
            f"{on_path} of {len(draws)} ({'passed' if on_path >= WANTED * len(draws) else 'FAILED'})",
            f"{exact} of {len(draws)}",
            f"{fmean(len(one.chosen) for one in draws):.1f}",
            mean,
            lowest,
        )
    ]
    header = ("exact set on the path", "exact set chosen", "functions chosen", "mean correlation", "lowest")
    return [
        f"Where edges matter. {NODES} nodes, 8 edges into each, 20 features an edge, uniform on (-2.5, 2.5), of which "
        f"four decide its weight: y_i = sum over j -> i of phi(u_ij) x_j + noise, phi = -2 sin 2a + b^2 + c + exp(-d) "
        f"up to constants, x and noise N(0, 1). One `EdgeNetConv` with `phi.Additive`, trained by Adam and "
        f"`compress.GroupLasso` under 14 falling penalties, each from the last; a quarter of the nodes chooses among "
        f"the sets on the path, refitted without a penalty. Correlations are of the four refitted functions with the "
        f"true ones. {len(draws)} draws, of which {WANTED:.0%} are wanted:",
        markdown_table(header, rows),
    ]
