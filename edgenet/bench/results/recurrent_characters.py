"""The section on characters of ``edgenet bench recurrent``: one LSTM on tiny Shakespeare, its map in every family."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from edgenet.bench.harness import report
from edgenet.bench.harness.jobs import run_all
from edgenet.bench.results.recurrent_characters_rows import LENGTHS, LONG, RATES, RATIOS, SHAPE, Row, rows
from edgenet.bench.results.recurrent_characters_run import LENGTH, STREAMS, measured, tried
from edgenet.text import markdown_table

Results = Mapping[Any, Any]

#: loss of perplexity at 25 times, on words of the Penn Treebank, in percent (Thakker et al. 2020, arXiv:2001.08896)
PUBLISHED = {"doped, rows dropped": "1.4", "pruned": "7.9", "row_split": "15", "low_rank": "27"}
LIMITS = (
    "One text and one size of network; short trainings flatter doping. Published losses are of words of the Penn "
    "Treebank, and are not to be compared with bits. A family's rate was chosen by one seed of a shorter training."
)
CLAIM = 8  # percent by which doping is said to be better than pruning and low rank (Thakker et al. 2021)


def results(
    seeds: int, runs: Path, processes: int, data_root: Path | None, chosen: Sequence[Row] | None = None,
    lengths: Mapping[str, int] = LENGTHS, tries: Sequence[float] = RATES,
) -> Results:  # fmt: skip
    """Train what is not trained yet: every try of a rate, and the runs of every row by the name of its file.

    Args:
        chosen: rows; by default all that have 20 times fewer numbers, and the whole map.
    """
    chosen = [row for row in rows() if row.ratio != min(RATIOS)] if chosen is None else chosen
    first = {row.tried_as: row for row in reversed(chosen)}
    short = [(row, 0, rate, lengths["tried"], runs, data_root) for row in first.values() for rate in tries]
    found = dict(zip(((job[0].tried_as, job[2]) for job in short), run_all(short, processes, tried), strict=True))
    best = {family: min(tries, key=lambda rate, family=family: found[family, rate]["val"]) for family in first}
    jobs = [
        (row, seed, best[row.tried_as], lengths[row.length], runs, data_root) for row in chosen for seed in range(seeds)
    ]
    every = dict(zip(((job[0].file, job[1]) for job in jobs), run_all(jobs, processes, measured), strict=True))
    return {
        "rows": [asdict(row) for row in chosen],
        "lengths": dict(lengths),
        "tries": {family: [[rate, found[family, rate]] for rate in tries] for family in first},
        "best": best,
        "runs": {row.file: [every[row.file, seed] for seed in range(seeds)] for row in chosen},
    }


def settings() -> dict[str, Any]:
    """Rates that are tried, and lengths of training."""
    return {"rates": RATES, "iterations": LENGTHS}


def claim(found: Results) -> str:
    """What was found: the best families of every ratio, and what doping gives."""
    chosen = [Row(**row) for row in found["rows"]]
    said = []
    for ratio in sorted({row.ratio for row in chosen}, reverse=True):
        bits = {row.family: found["runs"][row.file] for row in chosen if row.ratio == ratio}
        best = sorted(bits, key=lambda family: fmean(one["test"] for one in bits[family]))[:3]
        named = (f"{family.replace('_', ' ')} {_bits(bits[family], 'test')}" for family in best)
        said.append(f"{ratio}x: {', '.join(named)}")
    return f"Bits a character on the tail, the best families: {'; '.join(said)}."


def parts(found: Results) -> list[str]:
    """The page's paragraphs and tables."""
    chosen, lengths, best, runs = [Row(**row) for row in found["rows"]], found["lengths"], found["best"], found["runs"]
    seeds, tries = len(next(iter(runs.values()))), [rate for rate, _ in next(iter(found["tries"].values()))]
    rates = [
        (family.replace("_", " "), *(_tried_bits(one) for _, one in short), f"{best[family]:g}")
        for family, short in found["tries"].items()
    ]
    return [
        _introduction(seeds, lengths, chosen),
        _table(chosen, runs, best, lengths),
        _NOTES,
        *_who_wins(chosen, runs),
        "### Rates",
        f"Bits a character on the validation slice after {lengths['tried']:,} iterations of one seed. Every family has "
        "as many tries; the best rate of a family serves all of its rows.",
        markdown_table(("family", *(f"{rate:g}" for rate in tries), "chosen"), rates),
        _settings(chosen),
    ]


def _tried_bits(found: Results) -> str:
    return "diverges" if found["val"] is None else f"{found['val']:.3f}"


def _introduction(seeds: int, lengths: Mapping[str, int], chosen: Sequence[Row]) -> str:
    m, n = SHAPE
    ratio = " or ".join(str(ratio) for ratio in RATIOS if any(row.ratio == ratio for row in chosen))
    return (
        f"Tiny Shakespeare: the first 90 % of 1,115,394 characters train, the next 5 % are the tail that tests, the "
        f"last 5 % validate; rates were chosen by these, and by nothing else. One LSTM of 128 numbers reads vectors of "
        f"64 for the 65 characters. The map of its gates, {m} x {n}, holds {m * n:,} numbers; every family has about "
        f"{ratio} times fewer. Trained by `edgenet.fit` on {STREAMS} streams in chunks of {LENGTH} characters, whose "
        f"states go on from chunk to chunk: Adam (0.9, 0.99), a cosine after a warm-up of 100 iterations, gradients "
        f"clipped to length 1. {lengths['long']:,} iterations for {', '.join(LONG[:-1])} and {LONG[-1]} at 20x, as "
        f"short trainings flatter doping, and {lengths['short']:,} for all others. Bits a character, mean ± sample "
        f"standard deviation over {seeds} seeds (0 to {seeds - 1})."
    ).replace("_", " ")


def _table(
    chosen: Sequence[Row], results: Mapping[str, list[Results]], best: Mapping[str, float], lengths: Mapping[str, int]
) -> str:
    header = (
        "", "", "smaller", "map", "its bytes", "all", "bytes", "iterations", "rate", "tail", "validation", "ms a step",
        "seconds", "published",
    )  # fmt: skip
    lines = []
    for row in sorted(chosen, key=lambda row: (1, *RATIOS).index(row.ratio)):
        found = results[row.file]
        entries = 1 if row.ratio == 1 else SHAPE[0] * SHAPE[1] / found[0]["map"]
        lines.append(
            (
                row.family.replace("_", " "), row.note, f"{entries:.1f}x", f"{found[0]['map']:,}",
                f"{found[0]['map_bytes']:,.0f}",
                f"{found[0]['parameters']:,}", f"{found[0]['bytes']:,}", f"{lengths[row.length]:,}",
                f"{best[row.tried_as]:g}", f"**{_bits(found, 'test')}**", _bits(found, "val"),
                f"{fmean(one['step'] for one in found):.1f}", f"{fmean(one['seconds'] for one in found):.0f}",
                PUBLISHED.get(row.family, "") if row.ratio == max(RATIOS) else "",
            )
        )  # fmt: skip
    return markdown_table(header, lines, right=range(2, len(header)))


def _bits(found: Sequence[Results], split: str) -> str:
    return report.spread([one[split] for one in found], scale=1, digits=3)


_NOTES = "\n".join(
    (
        "- *map*: numbers that train in the map of gates; *all*: with the characters' vectors, the biases of the gates "
        "and the linear map to 65 scores. *bytes*: of all tensors in `model.safetensors`, places of single entries "
        "included, and of those of the map; the scores are of the model that was read back from there.",
        "- *ms a step* and *seconds*: of processor time, in training, on one thread, beside other work. Numbers below "
        "1e-38 count as zero, but in rows made before (see Provenance), where saturated gates cost time.",
        "- *doped*: a Kronecker product of 4 terms and single entries, of which a fifth is there at first, and as many "
        "at the end as the ratio leaves; they learn at 0.3 times the rate. *rows dropped*: co-matrix row dropout. "
        "*pruned*: all entries at first. Densities fall between a tenth and six tenths of the iterations.",
        "- *row split* is the hybrid matrix decomposition, some rows dense and blocks of rank one; *8 bits*: the same "
        "numbers rounded to 8 bits, in training too.",
        "- *published*: loss of perplexity in percent at 25x, on words of the Penn Treebank, which are not here "
        "(Thakker et al. 2020). It is quoted, and not to be compared with bits.",
    )
)


def _who_wins(chosen: Sequence[Row], results: Mapping[str, list[Results]]) -> list[str]:
    """Sentences on the tail, of means over the seeds."""
    said = []
    for ratio in RATIOS:
        bits = {row.family: fmean(one["test"] for one in results[row.file]) for row in chosen if row.ratio == ratio}
        if not bits:
            continue
        order = sorted(bits, key=lambda family: bits[family])
        listed = ", ".join(f"{family.replace('_', ' ')} {bits[family]:.3f}" for family in order)
        said.append(f"- {ratio}x, from the best: {listed}.")
        doped = [family for family in order if family.startswith("doped")]
        others = [family for family in order if not family.startswith("doped")]
        if doped and others:
            said.append(f"- {ratio}x: {_against(bits, doped[0], others)}")
        if {"doped", "doped, rows dropped"} <= set(bits):
            gain = bits["doped"] - bits["doped, rows dropped"]
            said.append(f"- {ratio}x: dropping rows {'saves' if gain > 0 else 'costs'} {abs(gain):.3f} bits.")
    return ["### Who wins", "\n".join(said)] if said else []


def _against(bits: Mapping[str, float], doped: str, others: Sequence[str]) -> str:
    """The paper's claim, of perplexity a character, 2^bits."""
    rival = others[0]
    more = {family: 100 * (2 ** (bits[family] - bits[doped]) - 1) for family in others}
    claimed = [family for family in ("pruned", "low_rank") if family in more]
    least = min((more[family] for family in claimed), default=0.0)
    verdict = "confirmed" if claimed and least >= CLAIM else "not confirmed"
    named = " and ".join(f"{family.replace('_', ' ')} {more[family]:+.1f} %" for family in claimed)
    return (
        f"doping ({doped}) is at {bits[doped] - bits[rival]:+.3f} bits of the best other family, "
        f"{rival.replace('_', ' ')}. Perplexity a character of the others over that of doping: {named}; the paper's "
        f"claim, {CLAIM} % or more, is {verdict} here."
    )


def _settings(chosen: Sequence[Row]) -> str:
    lines = {f"{row.family} {row.ratio}x": {"structure": row.spec, "callback": row.callbacks} for row in chosen}
    text = "\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in lines.items())
    return f"### Settings of the rows\n\n```\n{text}\n```"
