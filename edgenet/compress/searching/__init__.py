"""Search: which family, at which size, for every slot, so that a model fits a budget or keeps its quality."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from edgenet.compress.budget import Budget
from edgenet.compress.searching.choosing import Evaluate, Search
from edgenet.compress.searching.result import Point, SearchResult
from edgenet.errors import PlanError

__all__ = ["Evaluate", "Point", "SearchResult", "search"]


def search(
    model: nn.Module,
    evaluate: Evaluate | None = None,
    budget: Budget | None = None,
    max_drop: float | None = None,
    families: Sequence[str] | None = None,
    *,
    bits: Sequence[int] | int = (),
    pattern: str = ".*",
    inputs: Sequence[Any] | None = None,
    fine_tune: Callable[[nn.Module], Any] | None = None,
    together: Sequence[str] = (),
    ladders: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    points: int = 12,
    seed: int = 0,
    progress: bool = True,
) -> SearchResult:
    """Choose a family and its size for every slot.

    1. Every family is fitted to every slot at the sizes of its ``ladder``: curves of relative error against size.
    2. Slots differ in what an error costs. Each alone is compressed to about the size wanted, and ``evaluate`` tells
       the drop, or else the outputs on ``inputs`` their relative change; without both all slots count alike.
    3. A knapsack picks one size for each slot: the least sum of sensitivity times squared relative error, for every
       total size at once. Around the choice, sizes between the rungs of the ladders are tried as well.
    4. ``fine_tune`` trains the model that was chosen.

    A budget of bytes chooses bits as well. Quantisers of dense matrices are among the families then, at all their
    widths; ``bits`` tries every size of every other family in codes of those widths, too. Many numbers of few bits are
    often nearer than few of many.

    With one family and a ratio this chooses every layer's rank (or block size) for the total wanted. Sizes are those of
    the whole model, every parameter once, and the result is counted at the end. Matrices under a mask are put in as the
    compressed rows that they pack to, where parameters are counted. Slots that can take no new matrix (hooks, weights
    shared with other places) stay as they are. The given model stays as it is. The same call gives the same result on
    one machine, but for budgets of latency.

    Args:
        model: any. Slots that are compressed already stay, and count.
        evaluate: quality of a model in evaluation mode, higher is better.
        budget: how large the result may be.
        max_drop: how much lower ``evaluate`` may be; the smallest model of the Pareto list that keeps to it is chosen.
        families: names in ``STRUCTURES``. Default: all that have a ladder, but for those whose fit iterates
            (``iterates``: block-term, doped) in slots of more than 65,536 entries, where every size takes seconds, and
            for those that store signs beside their parameters (``signs_beside``: unified) where parameters are counted:
            name them there. Quantisers are among them where bytes are counted.
        bits: of ``uniform`` codes, 2 to 8 each: sizes of families are tried with floats and at each of these. For
            budgets of bytes and latency; every one takes as many fits again.
        pattern: of slots to compress, for ``re.match``.
        inputs: arguments of the model, to measure sensitivity where there is no ``evaluate``.
        fine_tune: trains a compressed model in place, in training mode. With ``max_drop`` it is called for the smallest
            models of the list, until one keeps to the drop.
        together: patterns for ``re.match``, each of a group of slots that take the same family with the same options,
            or stay as they are. Matrices in circulant blocks, for one, need one transform of a common input where their
            blocks have one size. Groups that share a slot are one; slots that match none choose for themselves.
        ladders: {family: options of each size to try}, in place of the family's own ``ladder``, for instance
            ``{"block_circulant": [{"block": 8}, {"block": 16}]}``. No sizes between them are tried, and a size is left
            out of slots that do not take it.
        points: of the Pareto list, about.
        seed: of torch's random numbers in everything that is called. Those outside go on as if nothing had been drawn.
        progress: show bars on stderr.

    Raises:
        PlanError: if there is neither budget nor drop, a drop without ``evaluate``, no slot or family to choose from, a
            slot whose size is not known yet, a model that cannot be copied, or ``evaluate`` returns no finite number;
            if bits or quantisers are asked for where parameters are counted; if a pattern of ``together`` matches
            fewer than two slots, or no size of any family fits all slots of a group; if ``ladders`` are of a family
            that is not searched, or no options, or have a size that no slot takes.
        ShapeError: if a weight is not finite.
    """
    if budget is None and max_drop is None:
        raise PlanError("a search wants a goal: budget=Budget(ratio=10), say, or max_drop with evaluate.")
    if max_drop is not None and (evaluate is None or not max_drop >= 0):
        raise PlanError(f"max_drop wants evaluate, and a number from 0 up; got {max_drop}.")
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        work = Search(model, evaluate, budget, max_drop, families, pattern, seed, progress, bits, together, ladders)
        work.measure_sensitivity(inputs)
        return work.choose(fine_tune, points)
