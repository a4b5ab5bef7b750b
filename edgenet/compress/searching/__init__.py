"""Search: which family, at which size, for every slot, so that a model fits a budget or keeps its quality."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from edgenet.compress.budget import Budget
from edgenet.compress.searching.choosing import Goal, Search
from edgenet.compress.searching.judging import Evaluate, Inputs
from edgenet.compress.searching.result import Point, SearchResult
from edgenet.errors import PlanError

__all__ = ["Evaluate", "Inputs", "Point", "SearchResult", "search"]


def search(
    model: nn.Module,
    evaluate: Evaluate | None = None,
    budget: Budget | None = None,
    max_drop: float | None = None,
    families: Sequence[str] | None = None,
    *,
    tolerance: float | None = None,
    bits: Sequence[int] | int | None = None,
    pattern: str = ".*",
    inputs: Inputs | None = None,
    fine_tune: Callable[[nn.Module], Any] | None = None,
    together: Sequence[str] = (),
    ladders: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    points: int = 48,
    seed: int = 0,
    progress: bool = True,
) -> SearchResult:
    """Choose a family, its size and its bits for every slot.

    1. Every family is fitted to every slot at the sizes of its ``ladder``, in floats and in codes of few bits, and
       around the best ones at sizes between: curves of relative error against size.
    2. Slots differ in what an error costs. Each alone is compressed to 1/4, 1/16 and 1/64, and the outputs on
       ``inputs`` tell their relative change, or else ``evaluate`` the drop; without both all slots count alike.
    3. A knapsack picks one size for each slot: the least sum of sensitivity times squared relative error, for every
       total size at once.
    4. Of these models a ladder of ``points`` sizes, the same for every budget, is put together whole and judged, by the
       same measure as in 2. The best that fits the budget is chosen, be it a smaller one. So a larger budget never
       gives a worse model by that measure.
    5. ``fine_tune`` trains the model that was chosen.

    Without ``evaluate`` and ``inputs`` nothing is judged whole, and the sum of 3 decides.

    A budget of bytes, ratios included, chooses bits as well. Quantisers of dense matrices are among the families then,
    at all their widths; and sizes of the other families are tried in codes, ``bits``. Many numbers of few bits are
    often nearer than few of many. Entries of a table of edge weights are pruned by the family ``sparse``.

    With one family and a ratio this chooses every layer's rank (or block size) for the total wanted. Sizes are those of
    the whole model as ``save_pretrained`` writes its tensors, every one once, and the result is counted at the end.
    Where parameters are counted, matrices under a mask are put in as the compressed rows that they pack to. Slots that
    can take no new matrix (hooks, weights shared with other places) stay as they are. The given model stays as it is.
    The same call gives the same result on one machine, but for budgets of latency.

    Args:
        model: any. Slots that are compressed already stay, and count.
        evaluate: quality of a model in evaluation mode, higher is better: a number, or a tensor (n,) with one for each
            of n held-out examples, whose mean is the metric.
        budget: how large the result may be; ``Budget(ratio=10)`` is a tenth of the given model's bytes.
        max_drop: how much lower the metric may be; the smallest model of the Pareto list that keeps to it is chosen.
            One number of a noisy metric: a drop that is not seen may be there all the same.
        tolerance: the same, but the whole interval counts: the smallest model whose metric is, with 95 % confidence,
            not lower than the given one's by more than this. The interval is the normal one of the differences on the
            same examples (Agresti and Min 2005 where these are right or wrong), so ``evaluate`` gives scores of
            examples. It takes some hundred to keep to a hundredth. It is the interval of one model, and many were
            looked at: judge the chosen one on other examples before you publish it.
        families: names in ``STRUCTURES``. Default: all that have a ladder, but for those whose fit iterates
            (``iterates``: block-term, doped) in slots of more than 65,536 entries, which the result's text says, and
            for those that store signs beside their parameters (``signs_beside``: unified) where parameters are counted:
            name them there. Quantisers are among them where bytes are counted.
        bits: of ``uniform`` codes, 2 to 8 each: sizes of families are tried with floats and at each of these. Default:
            8, 4 and 2 where bytes are counted and no families are named, else none.
        pattern: of slots to compress, for ``re.match``.
        inputs: arguments of the model, or a function that gives what a model says on inputs of its own,
            ``lambda model: model(x, edge_index)[mask]``: whole models are judged by these outputs.
        fine_tune: trains a compressed model in place, in training mode. With ``max_drop`` or ``tolerance`` it is called
            for about six models, by halving the list: larger ones are taken to be no worse.
        together: patterns for ``re.match``, each of a group of slots that take the same family with the same options,
            or stay as they are. Matrices in circulant blocks, for one, need one transform of a common input where their
            blocks have one size. Groups that share a slot are one; slots that match none choose for themselves.
        ladders: {family: options of each size to try}, in place of the family's own ``ladder``, for instance
            ``{"block_circulant": [{"block": 8}, {"block": 16}]}``. No sizes between them are tried, and a size is left
            out of slots that do not take it.
        points: of the Pareto list, about; models that are judged whole.
        seed: of torch's random numbers in everything that is called. Those outside go on as if nothing had been drawn.
        progress: show bars on stderr.

    Raises:
        PlanError: if there is neither budget nor drop, a drop without ``evaluate``, a tolerance without scores of
            examples, no slot or family to choose from, a slot whose size is not known yet, a model that cannot be
            copied, or ``evaluate`` returns no finite number; if bits or quantisers are asked for where parameters are
            counted; if a pattern of ``together`` matches fewer than two slots, or no size of any family fits all slots
            of a group; if ``ladders`` are of a family that is not searched, or no options, or have a size that no slot
            takes.
        ShapeError: if a weight is not finite.

    Example:
        >>> found = edgenet.compress.search(torch.nn.Linear(64, 32), budget=edgenet.compress.Budget(ratio=4),
        ...                                 families=("low_rank",), progress=False)
        >>> found.satisfied, found.report.total.bytes <= 4 * (64 * 32 + 32) / 4
        (True, True)
    """
    if budget is None and max_drop is None and tolerance is None:
        raise PlanError("a search wants a goal: budget=Budget(ratio=10), say, or max_drop or tolerance with evaluate.")
    for name, drop in (("max_drop", max_drop), ("tolerance", tolerance)):
        if drop is not None and (evaluate is None or not drop >= 0):
            raise PlanError(f"{name} wants evaluate, and a number from 0 up; got {drop}.")
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        goal = Goal(budget, max_drop, tolerance)
        work = Search(
            model, evaluate, inputs, goal, families, pattern, seed, progress, bits, together, ladders
        )  # fmt: skip
        work.measure_sensitivity()
        return work.choose(fine_tune, points)
