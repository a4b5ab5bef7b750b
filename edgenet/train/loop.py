"""The loop: every step of every training of this library is taken here."""

from __future__ import annotations

import contextlib
import json
import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from edgenet.errors import ConfigError
from edgenet.train.batches import Batch
from edgenet.train.folders import SeedFolder, decisive
from edgenet.train.log import Bar, JsonLines, Record, Sinks
from edgenet.train.metrics import Tally
from edgenet.train.numbers import default_dtype, fixed_order, lowered, without_denormals
from edgenet.train.optimizers import check_held
from edgenet.train.processes import add_up_, agreed, check_together, start_together_, weight_of
from edgenet.train.result import FitResult
from edgenet.train.resuming import resume, state_of
from edgenet.train.signals import Interruptible, Terminated
from edgenet.train.task import Task
from edgenet.train.training import Fitting

Sink = Callable[[Record], Any]


def train(
    training: Fitting,
    folder: SeedFolder | None = None,
    log: Sequence[Sink] = (),
    name: str = "",
    progress: bool = True,
) -> FitResult:
    """Train from the start, or from the checkpoint in the folder; keep the best epoch.

    Args:
        folder: held by the caller.
        log: sinks for the record of every epoch.
        name: on the progress bar.
        progress: whether there is one.
    """
    table, model, task = training.settings.training, training.model, training.task
    cuda = training.device.type == "cuda"
    # gradients whatever surrounds the call
    with contextlib.ExitStack() as stack:
        for context in (torch.inference_mode(False), torch.enable_grad(), fixed_order(cuda), without_denormals()):
            stack.enter_context(context)
        stack.enter_context(default_dtype(training.dtype))
        model.to(training.device, training.dtype if table.dtype else None)
        task.prepare(training.device, training.dtype, table.batch_size)
        training.total_steps = None if task.steps is None else table.epochs * -(-task.steps // table.accumulate)
        if training.seed is not None:  # a loader's own numbers too begin anew: seeds must not depend on those before
            for number, generator in enumerate(task.generators().values()):
                generator.manual_seed(training.seed + number)
        check_together(model, task.source("train").splits)
        task.complete(model)
        start_together_(model)
        _begin(training, folder)
        bar = Bar(table.epochs, name, task.steps, progress)
        lines = JsonLines(None if folder is None else folder.metrics, whole=True)
        _epochs(training, folder, Sinks([lines, *log, bar]), bar)
        return _finish(training, folder, lines.records)


def _begin(training: Fitting, folder: SeedFolder | None) -> None:
    """Everything before the first epoch, in the order that callbacks are promised."""
    state = None
    if folder is not None:
        folder.make()
        state = folder.checkpoint()
    training.resumes = state is not None
    training.call("on_start")
    if folder is not None:
        folder.check_saveable(training.model)
    if folder is not None and state is not None:
        resume(training, state, folder.state)
    else:
        training.start_optimizer()


def _epochs(training: Fitting, folder: SeedFolder | None, sinks: Sinks, bar: Bar) -> None:
    """All epochs, until there is nothing to wait for; with checkpoints on the way."""
    table = training.settings.training
    saved_epoch, saved_at = training.epoch, time.monotonic()
    before, start = training.seconds, time.perf_counter()
    stack = contextlib.ExitStack()
    # without a folder nothing could be saved
    signals = None if folder is None else stack.enter_context(Interruptible())
    try:
        sinks.start(training.epoch)
        while training.epoch < table.epochs and not training.best.ends(table, training.epoch):
            if any(training.call("ends")):
                break
            training.epoch += 1
            _epoch(training, bar)
            training.seconds = before + time.perf_counter() - start
            training.record["seconds"] = round(training.seconds, 4)
            sinks(training.record)
            due = table.checkpoint_epochs and training.epoch - saved_epoch >= table.checkpoint_epochs
            late = table.checkpoint_seconds and time.monotonic() - saved_at >= table.checkpoint_seconds
            asked = signals is not None and signals.asked
            if folder is not None and (due or late or asked):
                sinks.sync()  # a checkpoint must never know of an epoch that the metrics lack
                folder.keep(state_of(training))
                saved_epoch, saved_at = training.epoch, time.monotonic()
            if signals is not None:
                signals.epoch_done()
                if asked:  # one that came since is obeyed at the end of the next epoch
                    signals.stop()
    except (KeyboardInterrupt, Terminated) as interrupt:
        if folder is not None and folder.state.exists():
            interrupt.add_note(f"{folder.state} holds epoch {saved_epoch}; resume=True goes on from there.")
        raise
    finally:
        stack.close()
        sinks.close()


def _finish(training: Fitting, folder: SeedFolder | None, history: list[Record]) -> FitResult:
    """The best model, scored."""
    model, task, best = training.model, training.task, training.best
    if best.epoch:
        model.load_state_dict(best.state)
    elif not training.settled():
        rules = [rule for rule in training.callbacks if hasattr(rule, "settled") and not rule.settled(training)]
        warnings.warn(
            f"{', '.join(type(rule).__name__ for rule in rules)} had not come to an end after {training.epoch} epochs: "
            f"the last model is kept. Train longer, or let it end earlier.",
            stacklevel=4,
        )
    for name, p in model.named_parameters():  # of the last step no loss has told, where there are no val data
        if p.requires_grad and not bool(torch.isfinite(p).all()):
            raise training.diverged(f"{name} of the best model is not finite")
    scores = task.evaluate(model, precision=training.settings.training.precision)
    training.check_finite({f"{name} loss of the best model": score.loss for name, score in scores.items()})
    result = FitResult(
        model=model.eval(),
        metric=task.metric.name,
        epochs=training.epoch,
        best_epoch=best.epoch or training.epoch,
        val=scores["val"].metric if "val" in scores else None,
        test=scores["test"].metric if "test" in scores else None,
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        seconds=training.seconds,
        history=history,
    )
    if folder is not None:
        folder.finish(model, result.numbers(training.seed or 0), task.metric, decisive(training.settings))
    return result


# ---------------------------------------------------------------- an epoch
def _epoch(training: Fitting, bar: Bar) -> None:
    """One pass over the training set, and the scores after it. Loss and training metric are of the pass itself."""
    task, table, model = training.task, training.settings.training, training.model
    model.train()
    training.call("before_epoch")
    tally, gathered = Tally(task.metric), 0
    for number, batch in enumerate(task.training(training.generator), 1):
        if gathered == 0:
            training.step += 1
            training.stepper.zero_grad(set_to_none=True)
        _backward(training, batch, tally)
        gathered += 1
        if gathered == table.accumulate:
            _step(training)
            gathered = 0
        bar.during(number, tally.loss())
    if gathered:  # fewer batches than a step has
        _step(training, share=table.accumulate / gathered)
    training.batch = training.output = None
    if not tally.rows:
        raise ConfigError(f"{task.name}: the training data gave no batch in epoch {training.epoch}.")
    scores = task.evaluate(model, precision=table.precision)
    training.record = {"epoch": training.epoch, "loss": tally.loss(), "train": tally.metric()}
    training.record |= {name: score.metric for name, score in scores.items()}
    if "val" in scores:
        training.record["val_loss"] = scores["val"].loss
    numbers = {name: value for name, value in training.record.items() if name != "epoch"}
    training.record |= agreed(numbers, tally.rows)
    training.check_finite({name: training.record[name] for name in ("loss", "val_loss") if name in training.record})
    for name in ("train", *scores):
        if not math.isfinite(training.record[name]):
            raise ConfigError(
                f"the {task.metric.name} of the {name} data is {training.record[name]} at epoch {training.epoch}, and "
                f"the loss is not: the metric has no value on such scores and targets. Hand in another metric=."
            )
    if training.settled():
        training.best.see(training.record, model, task.metric, table)
    if training.scheduler is not None:
        training.record["lr"] = training.stepper.param_groups[0]["lr"]
        judged = training.record.get("val_loss", training.record["loss"])
        training.scheduler.step(*([judged] if isinstance(training.scheduler, ReduceLROnPlateau) else []))
    training.call("after_epoch")
    training.record = {name: _plain(value, name) for name, value in training.record.items()}


def _backward(training: Fitting, batch: Batch, tally: Tally) -> None:
    """The gradients of a batch, added to those that are there."""
    task, table = training.task, training.settings.training
    weight = weight_of(batch)
    training.batch = batch = training.given(batch)
    training.outputs, losses = [], []
    for _ in range(training.draws()):
        with lowered(table.precision, training.device):
            training.outputs.append(task.output(training.model, batch))
            scores = task.scores(training.outputs[-1], batch)
        losses.append(_loss(task, scores, batch))
    training.output = training.outputs[0]
    loss = losses[0] if len(losses) == 1 else torch.stack(losses).mean()
    value = loss.item()
    if not batch.idle:
        tally.add(scores.detach() if isinstance(scores, Tensor) else scores, batch.target, value)
    penalty = training.penalty()
    total = loss if penalty is None else loss + penalty
    if penalty is None or not math.isfinite(total.item()):
        added = {} if penalty is None else {"penalty of the callbacks": float(penalty), "loss with it": total.item()}
        training.check_finite({"loss": value, **added})
    if not total.requires_grad:
        raise ConfigError("the loss depends on no parameter that wants a gradient.")
    if table.accumulate > 1:
        total = total / table.accumulate
    if weight != 1:
        total = total * weight
    (total if training.scaler is None else training.scaler.scale(total)).backward()


def _loss(task: Task, scores: Any, batch: Batch) -> Tensor:
    loss = task.loss(scores, batch.target)
    if not isinstance(loss, Tensor):
        raise ConfigError(f"a loss is a tensor of one number, and this one is {loss!r}: a {type(loss).__name__}.")
    if loss.dim():
        raise ConfigError(f"a loss is one number, and this one has shape {tuple(loss.shape)}; take its mean().")
    return loss


def _step(training: Fitting, share: float = 1.0) -> None:
    """One step of the optimizer, on gradients times ``share``."""
    model, optimizer, scaler = training.model, training.stepper, training.scaler
    add_up_(model)
    if scaler is not None:
        scaler.unscale_(optimizer)
    if share != 1:
        for p in model.parameters():
            if p.grad is not None:
                p.grad.mul_(share)
    if training.callbacks:  # nobody else changes the model
        training.call("after_backward")
        check_held(model, training.stepper)
    clip = training.settings.training.clip_norm
    if clip:
        norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
        if scaler is None:  # which skips such a step itself
            training.check_finite({"length of the gradient": norm.item()})
    taken = True
    try:
        if scaler is None:
            optimizer.step()
        else:
            scale = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            taken = scaler.get_scale() >= scale  # it falls where gradients are infinite, and no step was taken
    except RuntimeError as error:
        if "overflow" not in str(error):
            raise
        raise training.diverged("a step is too large for its dtype") from error
    if taken:
        training.call("after_step")
    training.output, training.outputs = None, []


def _plain(value: Any, name: str) -> Any:
    """What a file of records can hold: a number out of a tensor of one, a list out of one of several."""
    value = value.tolist() if hasattr(value, "tolist") else value
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"a record holds numbers, text and lists of them, and its {name!r} is a {type(value).__name__}."
        ) from error
    return value
