"""compress: a trained model made small in one call: converted, searched, fine-tuned, judged and saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgenet.compress import Budget, Report, SearchResult, compress_, recalibrate_, search
from edgenet.compress import report as reported
from edgenet.compress.plan import PlanLike
from edgenet.compress.searching.choosing import copied
from edgenet.convert import CONVERTERS, kept, quantise, to_edgenet
from edgenet.errors import ConfigError, ConversionError
from edgenet.pretrained import save_pretrained
from edgenet.train.numbers import device_of, dtype_of
from edgenet.train.task import Task
from edgenet.train.tuning import fine_tune
from edgenet.train.withheld import examples_of, outputs_of
from edgenet.writing import write_text

_BATCHES = 20  # by which batch norms are recalibrated


@dataclass(frozen=True)
class Compressed:
    """What ``compress`` made.

    Attributes:
        model: a copy, in evaluation mode.
        report: every slot of it, before and now; its bytes are those that ``save_pretrained`` writes.
        text: in sentences, what was chosen, and what was met and what was not.
        satisfied: whether the goal was met.
        before, after: the metric of the given model and of this one by split, "val" and "test", of those there are.
        search: how it was chosen; None by a plan or a form.
        folder: where it was saved.

    Example:
        >>> model = edgenet.NodeClassifier(34, 4, hidden_channels=8)
        >>> plan = {r".*lift": {"structure": "low_rank", "rank": 2}, ".*": "keep"}
        >>> made = edgenet.train.compress(model, edgenet.data.load("karate"), plan=plan, epochs=2, progress=False)
        >>> sorted(made.after)
        ['test', 'val']
    """

    model: nn.Module = field(repr=False)
    report: Report = field(repr=False)
    text: str
    satisfied: bool
    before: dict[str, float]
    after: dict[str, float]
    search: SearchResult | None = field(repr=False)
    folder: Path | None

    @property
    def table(self) -> str:
        """The report as a table of a page."""
        return self.report.to_markdown()


def compress(
    model: nn.Module,
    data: Any = None,
    *,
    times: float | None = None,
    bytes: float | None = None,
    tolerance: float | None = None,
    max_drop: float | None = None,
    plan: PlanLike | None = None,
    form: str | None = None,
    families: Sequence[str] | str | None = None,
    bits: Sequence[int] | int | None = None,
    pattern: str = ".*",
    epochs: int | None = None,
    lr: float | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Compressed:
    """Make a trained model small: ``compress(model, data, times=50, out="small")``.

    1. Layers of PyG become EdgeNets that compute the same, where structures are searched for.
    2. ``search`` chooses a structure, its size and its bits for every slot, judged by the outputs on training and
       validation data; or a ``plan`` or ``form`` says what goes where.
    3. Batch norms are recalibrated, and ``fine_tune`` teaches the small model what the given one says.
    4. Validation and test data judge both models. The test score is only reported: of test data, neither labels nor
       what the given model says of them are used for anything else. (In one graph their features and edges are there.)
    5. The model, its report and its card go into the folder ``out``.

    The given model stays as it is. The same call gives the same model on one machine.

    Args:
        model: any module.
        data: in any form that ``fit`` takes. None: nothing is judged or trained, and errors of weights decide.
        times: how many times smaller the tensors are to be on disk than those of the given model.
        bytes: instead, what they may take.
        tolerance: instead, or within the budget: the smallest model whose validation score is, with 95 % confidence,
            not lower by more than this; see ``search``. Scores are of examples: right or wrong; of several labels at
            once the share that is right; of values minus the squared error.
        max_drop: the same, for the validation metric as it is, by one number.
        plan: instead, what goes into which slots, as for ``compress_``.
        form: instead, few bits everywhere, as for ``convert.quantise``.
        families, bits, pattern: of the search, see ``search``. With ``form``, bits are those of a weight.
        epochs: of fine-tuning; None: those of ``fine_tune``, 0: none.
        lr: its rate.
        out: a folder; None: nothing is written.
        seed: of all random numbers. Those of torch outside go on as if nothing had been drawn.
        progress: show bars on stderr.

    Raises:
        ConfigError: if there is no goal, or several that do not go together; if a drop, or epochs to train, are without
            validation data; if an option would do nothing, or ``out`` is a file.
        PlanError, ShapeError, RankError: as ``search``, ``compress_`` and ``quantise``.

    Example:
        >>> model = edgenet.NodeClassifier(34, 4, hidden_channels=8)
        >>> plan = {r".*lift": {"structure": "low_rank", "rank": 2}, ".*": "keep"}
        >>> made = edgenet.train.compress(model, edgenet.data.load("karate"), plan=plan, epochs=2, progress=False)
        >>> made.report.total.bytes < made.report.total.bytes_before
        True
    """
    _check({"plan": plan, "form": form}, {"times": times, "bytes": bytes, "tolerance": tolerance, "max_drop": max_drop})
    _check_options(plan, form, families, bits, pattern, epochs, lr)
    folder = None if out is None else Path(out)
    if folder is not None and folder.exists() and not folder.is_dir():
        raise ConfigError(f"compress: out is a folder to be, and {folder} is a file.")
    task = None if data is None else Task.of(data)
    _check_data(task, {"tolerance": tolerance, "max_drop": max_drop, "epochs": epochs or None, "lr": lr})
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        start = reported(model)
        given, notes = (model, []) if plan is not None or form is not None else _converted(model)
        teacher = copied(given).eval()
        if task is not None:
            task.prepare(device_of(teacher), dtype_of(teacher))
        before = _scores(teacher, task)
        tune = _tuning(teacher, task, epochs, lr, seed, progress)
        result = None
        if plan is not None or form is not None:
            small, told = _as_told(given, plan, form, bits)
            tune(small.train())
            notes, satisfied = [*notes, told], True
        else:
            limit = bytes if times is None else Budget(ratio=times).limit(start.total.bytes)
            result = search(
                teacher,
                _quality(task, tolerance is not None),
                None if limit is None else Budget(bytes=limit),
                max_drop,
                families,
                tolerance=tolerance,
                bits=bits,
                pattern=pattern,
                inputs=None if task is None else outputs_of(task),
                fine_tune=tune,
                seed=seed,
                progress=progress,
            )
            small, satisfied = result.model, result.satisfied
            notes = [*notes, result.text]
        small.eval()
        after = _scores(small, task)
    if task is not None and epochs != 0:
        if not task.has("val"):
            notes.append("not fine-tuned, for there are no validation data to keep the best epoch by.")
        elif not _trains(small):
            notes.append("not fine-tuned, for no parameter of the model wants a gradient.")
    made = reported(small, _errors(result), reported(given))
    if folder is not None:
        save_pretrained(small, folder)
        write_text(folder / "report.json", made.to_json() + "\n")
    return Compressed(small, made, "\n".join(notes), satisfied, before, after, result, folder)


def _check(told: Mapping[str, Any], goals: Mapping[str, Any]) -> None:
    """
    Raises:
        ConfigError: if there is no goal, or more than go together.
    """
    ways = [name for name, value in told.items() if value is not None]
    wanted = [name for name, value in goals.items() if value is not None]
    sizes, drops = {"times", "bytes"}, {"tolerance", "max_drop"}
    several = len(ways) + bool(wanted) > 1 or sizes <= set(wanted) or drops <= set(wanted)
    if several or not ways + wanted:
        raise ConfigError(
            f"compress wants one goal: times or bytes, tolerance or max_drop (or one of each), a plan or a form; got "
            f"{' and '.join(ways + wanted) or 'none'}."
        )


def _check_options(
    plan: Any, form: str | None, families: Any, bits: Any, pattern: str, epochs: int | None, lr: float | None
) -> None:
    """
    Raises:
        ConfigError: if an option would do nothing, or epochs are no whole number from 0 up.
    """
    told = "a plan" if plan is not None else "a form" if form is not None else None
    unread = {"families": families is not None, "pattern": pattern != ".*", "bits": bits is not None and form is None}
    idle = [name for name, given in unread.items() if given]
    if told is not None and idle:
        raise ConfigError(f"compress: {' and '.join(idle)} is for a search, and {told} says itself what goes where.")
    if epochs is not None and (isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0):
        raise ConfigError(f"compress: epochs of fine-tuning are a whole number from 0 up, got {epochs!r}.")
    if lr is not None and epochs == 0:
        raise ConfigError("compress: lr is that of fine-tuning, and with epochs=0 there is none.")


def _check_data(task: Task | None, needs: Mapping[str, Any]) -> None:
    for name, value in needs.items():
        if value is not None and (task is None or not task.has("val")):
            raise ConfigError(f"compress: {name} wants data with a validation split, to judge by.")


def _converted(model: nn.Module) -> tuple[nn.Module, list[str]]:
    """The model with EdgeNets in the place of PyG's layers, where all can be converted; else as it is, and why."""
    if not any(type(module) in CONVERTERS for module in model.modules()):
        return model, []
    try:
        return to_edgenet(model), []
    except ConversionError as error:
        return model, [f"compressed as it is, not converted: {error}"]


def _as_told(
    model: nn.Module, plan: PlanLike | None, form: str | None, bits: Sequence[int] | int | None
) -> tuple[nn.Module, str]:
    if plan is not None:
        small = copied(model)
        compress_(small, plan)
        return small, "compressed by a plan" if not isinstance(plan, str | Path) else f"compressed by {plan}"
    assert form is not None
    width = bits[0] if isinstance(bits, Sequence) and len(bits) == 1 else bits
    if isinstance(width, Sequence):
        raise ConfigError(f"a form has weights of one number of bits, got {bits!r}.")
    left = kept(model, form)
    told = [f"converted to {form}", *(f"{name} stays: {why}" for name, why in left.items())]
    return quantise(model, form, bits=width), "\n".join(told)


def _tuning(
    teacher: nn.Module, task: Task | None, epochs: int | None, lr: float | None, seed: int, progress: bool
) -> Callable[[nn.Module], None]:
    """What recalibrates and trains a compressed model."""
    changes: dict[str, Any] = {name: value for name, value in (("epochs", epochs), ("lr", lr)) if value is not None}

    def tune(small: nn.Module) -> None:
        if task is None:
            return
        norms = [module for module in small.modules() if isinstance(module, _BatchNorm)]
        if norms and all(norm.track_running_stats for norm in norms):
            batches = islice(task.training(torch.Generator().manual_seed(seed)), _BATCHES)
            recalibrate_(small, batches, task.output, reference=teacher)
        if epochs != 0 and task.has("val") and _trains(small):
            fine_tune(small, task, teacher=teacher, progress=progress, **changes)

    return tune


def _trains(model: nn.Module) -> bool:
    return any(p.requires_grad for p in model.parameters())


def _quality(task: Task | None, by_example: bool) -> Any:
    """What a search is told of a model's quality on validation data; None where there are none."""
    if task is None or not task.has("val"):
        return None
    if by_example or task.metric.name == "accuracy":
        return examples_of(task)
    sign = 1 if task.metric.higher else -1
    return lambda model: sign * task.evaluate(model, ("val",))["val"].metric


def _scores(model: nn.Module, task: Task | None) -> dict[str, float]:
    return {} if task is None else {split: score.metric for split, score in task.evaluate(model).items()}


def _errors(result: SearchResult | None) -> dict[str, float]:
    rows = [] if result is None else result.report.rows
    return {row.name: row.error for row in rows if row.error is not None}
