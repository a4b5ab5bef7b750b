"""The loop: every step of every training of this library is taken here."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from edgenet import checkpoint
from edgenet.compress import Training
from edgenet.config import Settings
from edgenet.errors import CheckpointError, ConfigError
from edgenet.train.batches import Batch
from edgenet.train.best import Best
from edgenet.train.folders import SeedFolder, decisive, same_config
from edgenet.train.log import Bar, JsonLines, Sinks
from edgenet.train.metrics import Tally
from edgenet.train.numbers import default_dtype, device_of, dtype_of, fixed_order, lowered, seed_everything
from edgenet.train.optimizers import (
    MakeOptimizer,
    MakeScheduler,
    check_held,
    check_maker,
    kept,
    optimizer_of,
    scheduler_of,
)  # fmt: skip
from edgenet.train.result import FitResult
from edgenet.train.rules import rules_of
from edgenet.train.task import Task


class DivergenceError(ConfigError, ArithmeticError):
    """The loss or a score became NaN or infinite."""


@dataclass
class Fitting(Training):
    """The training of one model, which ``fit`` makes and callbacks see.

    Attributes:
        generator: shuffles the batches.
        best: the best epoch so far.
        seconds: time spent, over all resumptions.
    """

    task: Task = field(kw_only=True)
    settings: Settings = field(kw_only=True)
    seed: int | None = None
    make_optimizer: MakeOptimizer | None = None
    make_scheduler: MakeScheduler | None = None
    generator: torch.Generator = field(default_factory=torch.Generator)
    scheduler: Any = None
    scaler: Any = None
    best: Best = field(default_factory=Best)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise ConfigError(f"fit trains a torch.nn.Module, got {self.model!r}.")
        if self.make_optimizer is not None:
            check_maker(self.make_optimizer)
        self.read = self.task.output
        table = self.settings.training
        if table.patience and not self.task.has("val"):
            raise ConfigError(f"patience ({table.patience}) waits for a better validation score, and there are no val data.")
        self.device = device_of(self.model, table.device)
        self.dtype = dtype_of(self.model, table.dtype)
        seed = self.seed
        if seed is None:  # of the state of torch's random numbers, which stays: dropout draws what it would draw anyway
            with torch.random.fork_rng(devices=[]):
                seed = int(torch.randint(2**31, ()))
        self.generator.manual_seed(seed)

    # ---------------------------------------------------------------- the whole
    def run(self, folder: SeedFolder | None = None, log: Sequence[Callable[..., Any]] = (), name: str = "", progress: bool = True) -> FitResult:
        """Train from the start, or from the checkpoint in the folder."""
        with fixed_order(self.device.type == "cuda"), default_dtype(self.dtype):
            self.model.to(self.device, self.dtype if self.settings.training.dtype else None)
            self.task.prepare(self.device, self.dtype, self.settings.training.batch_size)
            self.task.complete(self.model)
            self._begin(folder)
            history = self._epochs(folder, log, name, progress)
            return self._finish(folder, history)

    def _begin(self, folder: SeedFolder | None) -> None:
        """Everything before the first epoch, in the order that callbacks are promised."""
        state = None
        if folder is not None:
            folder.make()
            state = folder.checkpoint()
        self.call("on_start")
        if folder is not None:
            folder.check_saveable(self.model)
        if state is not None:
            self._load(state, folder)
        else:
            self._make_optimizer()
        if self.settings.training.precision == "float16" and self.scaler is None:
            self.scaler = torch.amp.GradScaler(self.device.type)

    def _epochs(self, folder: SeedFolder | None, log: Sequence[Callable[..., Any]], name: str, progress: bool) -> list[dict[str, Any]]:
        table = self.settings.training
        bar = Bar(table.epochs, name, self.task.steps, progress)
        lines = JsonLines(folder.metrics, whole=True) if folder is not None else None
        history = [] if lines is None else lines.records
        sinks = Sinks([*([] if lines is None else [lines]), *log, bar])
        saved_epoch, saved_at = self.epoch, time.monotonic()
        before, start = self.seconds, time.perf_counter()
        try:
            sinks.start(self.epoch)
            if lines is not None:
                history = lines.records
            while self.epoch < table.epochs and not 0 < table.patience <= self.best.waited:
                self.epoch += 1
                self._epoch(bar)
                self.seconds = before + time.perf_counter() - start
                self.record["seconds"] = round(self.seconds, 4)
                sinks(self.record)
                if lines is None:
                    history.append(self.record)
                due = table.checkpoint_epochs and self.epoch - saved_epoch >= table.checkpoint_epochs
                late = table.checkpoint_seconds and time.monotonic() - saved_at >= table.checkpoint_seconds
                if folder is not None and (due or late):
                    sinks.sync()  # a checkpoint must never know of an epoch that the metrics lack
                    checkpoint.save(folder.state, self.state_dict())
                    saved_epoch, saved_at = self.epoch, time.monotonic()
        finally:
            sinks.close()
        return history

    def _finish(self, folder: SeedFolder | None, history: list[dict[str, Any]]) -> FitResult:
        """The best model, scored."""
        if self.best.epoch:
            self.model.load_state_dict(self.best.state)
        elif not self.settled():
            waiting = [type(c).__name__ for c in self.callbacks if hasattr(c, "settled") and not c.settled(self)]
            warnings.warn(
                f"{', '.join(waiting)} had not come to an end after {self.epoch} epochs: the last model is kept. Train "
                f"longer, or let it end earlier.",
                stacklevel=4,
            )
        scores = self.task.evaluate(self.model, precision=self.settings.training.precision)
        self._check_finite({f"{name} loss of the best model": score.loss for name, score in scores.items()})
        result = FitResult(
            model=self.model.eval(),
            metric=self.task.metric.name,
            epochs=self.epoch,
            best_epoch=self.best.epoch or self.epoch,
            val=scores["val"].metric if "val" in scores else None,
            test=scores["test"].metric if "test" in scores else None,
            parameters=sum(p.numel() for p in self.model.parameters() if p.requires_grad),
            seconds=self.seconds,
            history=history,
        )
        if folder is not None:
            folder.finish(self.model, result.numbers(self.seed or 0), self.task.metric, decisive(self.settings))
        return result

    # ---------------------------------------------------------------- an epoch
    def _epoch(self, bar: Bar) -> None:
        """One pass over the training set, and the scores after it. Loss and training metric are of the pass itself."""
        task, table = self.task, self.settings.training
        self.model.train()
        self.call("before_epoch")
        check_held(self.model, self.optimizer)
        tally, gathered = Tally(task.metric), 0
        for number, batch in enumerate(task.training(self.generator), 1):
            if gathered == 0:
                self.step += 1
                self.optimizer.zero_grad(set_to_none=True)
            self._backward(batch, tally)
            gathered += 1
            if gathered == table.accumulate:
                self._step(1.0)
                gathered = 0
            bar.during(number, tally.loss())
        if gathered:  # fewer batches than a step has
            self._step(table.accumulate / gathered)
        self.batch = self.output = None
        if not tally.rows:
            raise ConfigError(f"{task.name}: the training data gave no batch in epoch {self.epoch}.")
        scores = task.evaluate(self.model, precision=table.precision)
        self.record = {"epoch": self.epoch, "loss": tally.loss(), "train": tally.metric()}
        self.record |= {name: score.metric for name, score in scores.items()}
        if "val" in scores:
            self.record["val_loss"] = scores["val"].loss
        self._check_finite(self.record)
        if self.settled():
            self.best.see(self.record, self.model, task.metric, table.stop_by)
        if self.scheduler is not None:
            self.record["lr"] = self.optimizer.param_groups[0]["lr"]
            judged = self.record.get("val_loss", self.record["loss"])
            self.scheduler.step(*([judged] if isinstance(self.scheduler, ReduceLROnPlateau) else []))
        self.call("after_epoch")
        self.record = {name: _plain(value) for name, value in self.record.items()}

    def _backward(self, batch: Batch, tally: Tally) -> None:
        """The gradients of a batch, added to those that are there."""
        self.batch = batch
        with lowered(self.settings.training.precision, self.device):
            self.output = self.task.output(self.model, batch)
            scores = self.task.scores(self.output, batch)
        loss = self.task.loss(scores, batch.target)
        if loss.dim():
            raise ConfigError(f"a loss is one number, and this one has shape {tuple(loss.shape)}; take its mean().")
        tally.add(scores.detach() if isinstance(scores, Tensor) else scores, batch.target, loss.item())
        penalty = self.penalty()
        total = loss if penalty is None else loss + penalty
        self._check_finite({"loss": total.item()})
        if not total.requires_grad:
            raise ConfigError("the loss depends on no parameter that wants a gradient.")
        if self.settings.training.accumulate > 1:
            total = total / self.settings.training.accumulate
        (total if self.scaler is None else self.scaler.scale(total)).backward()

    def _step(self, share: float) -> None:
        """One step of the optimizer, on gradients times ``share``."""
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        if share != 1:
            for p in self.model.parameters():
                if p.grad is not None:
                    p.grad.mul_(share)
        if self.callbacks:
            self.call("after_backward")
            check_held(self.model, self.optimizer)
        clip = self.settings.training.clip_norm
        if clip:
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), clip)
            if self.scaler is None:  # which skips such a step itself
                self._check_finite({"length of the gradient": norm.item()})
        try:
            if self.scaler is None:
                self.optimizer.step()
            else:
                self.scaler.step(self.optimizer)
                self.scaler.update()
        except RuntimeError as error:
            if "overflow" not in str(error):
                raise
            raise self._diverged("a step is too large for its dtype") from error
        self.call("after_step")
        self.output = None

    def _check_finite(self, numbers: dict[str, float]) -> None:
        for name, value in numbers.items():
            if not math.isfinite(value):
                raise self._diverged(f"the {name} is {value}")

    def _diverged(self, what: str) -> DivergenceError:
        lr = self.optimizer.param_groups[0]["lr"] if self.optimizer is not None else self.settings.optimizer.lr
        seed = "" if self.seed is None else f" (seed {self.seed})"
        return DivergenceError(
            f"{what} at epoch {self.epoch}, step {self.step}{seed}: training has diverged. Try a lower learning rate "
            f"(optimizer.lr={lr / 10:g}, it is {lr:g}), smaller features, or training.dtype=float64."
        )

    # ---------------------------------------------------------------- the optimizer
    def _make_optimizer(self) -> None:
        self.optimizer = optimizer_of(self.model, self.settings.optimizer, self.make_optimizer)
        epochs = self.settings.training.epochs
        self.scheduler = scheduler_of(self.optimizer, self.settings.scheduler, epochs, self.make_scheduler)
        self.call("on_optimizer")

    def renew_optimizer(self) -> None:
        """Make the optimizer anew: whoever has changed the model's parameters calls this.

        What it knew of parameters that stayed, and the rates of a schedule, stay. What was kept of an earlier structure
        of the model is no longer its best epoch.
        """
        if self.optimizer is None:
            return  # it will be made
        optimizer, scheduler, table = self.optimizer, self.scheduler, self.settings
        self.optimizer = optimizer_of(self.model, table.optimizer, self.make_optimizer)
        self.scheduler = scheduler_of(self.optimizer, table.scheduler, table.training.epochs, self.make_scheduler)
        if self.scheduler is not None:
            self.scheduler.load_state_dict(scheduler.state_dict())
        kept(optimizer, self.optimizer)
        if self.best.epoch and not self.best.fits(self.model):
            self.best = Best()
        self.call("on_optimizer")

    # ---------------------------------------------------------------- checkpoints
    def _generators(self) -> dict[str, torch.Generator]:
        return {"shuffle": self.generator, **self.task.generators()}

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides how the training goes on, for ``checkpoint.save``."""
        return {
            "seed": self.seed,
            "config": decisive(self.settings),
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "random": checkpoint.random_state(self._generators()),
            "callbacks": self.callback_states(),
            "epoch": self.epoch,
            "step": self.step,
            "best": vars(self.best),
            "seconds": self.seconds,
            "threads": torch.get_num_threads(),
        }

    def _load(self, state: dict[str, Any], folder: SeedFolder) -> None:
        """Continue where ``state_dict`` was taken.

        Raises:
            CheckpointError: if the state is of another seed, configuration or model; it names the file.
        """
        path = folder.state
        try:
            same_config(state["config"], self.settings, path)
            _check_numbers(state, int, "epoch", "step")
            _check_numbers(state, float, "seconds")
            _check_numbers(state["best"], int, "epoch", "waited")
            _check_numbers(state["best"], float, "lowest_loss")
            best, threads = Best(**state["best"]), state["threads"]
            for value in (best.val, best.val_loss):
                if type(value) not in (int, float, type(None)):
                    raise TypeError(f"a score of its best epoch is {value!r}")
            if state["seed"] != self.seed or len(state["callbacks"]) != len(self.callbacks):
                raise CheckpointError(
                    f"{path}: is of seed {state['seed']} with {len(state['callbacks'])} callbacks; this run has seed "
                    f"{self.seed} with {len(self.callbacks)}."
                )
            self.epoch, self.step = state["epoch"], state["step"]
            self.load_callback_states(state["callbacks"])
            self._make_optimizer()
            if best.epoch:
                checkpoint.load_model_state(self.model, best.state, path)  # it is wanted at the end: look now
            checkpoint.load_model_state(self.model, state["model"], path)
            self.optimizer.load_state_dict(state["optimizer"])
            if self.scheduler is not None:
                self.scheduler.load_state_dict(state["scheduler"])
            if state["scaler"] is not None:
                self.scaler = torch.amp.GradScaler(self.device.type)
                self.scaler.load_state_dict(state["scaler"])
            self.best, self.seconds = best, state["seconds"]
            checkpoint.set_random_state(state["random"], self._generators())
        except CheckpointError as error:
            raise error if str(path) in str(error) else CheckpointError(f"{path}: {error}") from error
        except Exception as error:  # a crafted state makes torch, numpy and callbacks raise whatever they like
            reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"  # torch adds where in C++ it was
            raise CheckpointError(f"{path}: is no state of a training run: {reason}") from error
        if threads != torch.get_num_threads():
            warnings.warn(
                f"{path} was written with {threads} threads and this process has {torch.get_num_threads()}: "
                f"sums may round differently. Set OMP_NUM_THREADS for the same bits.",
                stacklevel=2,
            )


def settings_of(settings: Any, changes: Mapping[str, Any]) -> Settings:
    """Settings from tables, with some values changed."""
    if settings is None:
        settings = Settings()
    elif not isinstance(settings, Settings):
        settings = Settings.from_dict(settings, "the settings")
    return settings.with_options(changes) if changes else settings


def _check_numbers(values: dict[str, Any], kind: type, *names: str) -> None:
    """int: whole numbers from 0; float: any numbers."""
    for name in names:
        value = values[name]
        if type(value) not in (int, kind) or (kind is int and value < 0):
            raise TypeError(f"{name} is {value!r}")


def _plain(value: Any) -> Any:
    """A number out of a tensor or an array of one number."""
    return value.item() if hasattr(value, "item") and getattr(value, "size", 1) != 0 else value


def fit(
    model: nn.Module,
    task: Any,
    settings: Settings | Mapping[str, Any] | None = None,
    callbacks: Sequence[Any] = (),
    *,
    val: Any = None,
    test: Any = None,
    loss: Any = None,
    metric: Any = None,
    optimizer: Any = None,
    scheduler: Any = None,
    log: Callable[..., Any] | Sequence[Callable[..., Any]] = (),
    seed: int | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    **changes: Any,
) -> FitResult:
    """Train a model, in place: ``fit(model, data, epochs=200, lr=0.01)``.

    The epoch of the best validation score is kept; without validation data the last one. Equal seeds give equal numbers
    on one machine with one number of threads, whether a training was interrupted or not.

    Args:
        model: any module. What its ``forward`` names is taken from the data, see ``batches.call_model``.
        task: a ``Task``, a data set of ``edgenet.data``, a PyG ``Data`` with masks, a list of graphs, a loader, a
            ``TensorDataset``, ...; see ``Task``.
        settings: the tables of a configuration; their values can also be given by name, as ``changes``.
        callbacks: hooks, see ``edgenet.compress.Callback``; before those that the settings name.
        val, test: data to be judged by, see ``Task``.
        loss: a name or a callable (scores, target) -> scalar, see ``Task``.
        metric: a name, a ``torchmetrics.Metric`` or a callable (scores, target) -> number, see ``Task``.
        optimizer: a name, or a function of the parameters that makes one.
        scheduler: a name, or a function of the optimizer that makes one; it steps once an epoch.
        log: sinks for the record of every epoch, see ``edgenet.train.log``.
        seed: of all random numbers from here on; None: they go on as they are. A model is made before, with its own.
        folder: where to write metrics, checkpoints, the model and its result; None: nothing is written.
        resume: go on from the checkpoint in the folder, if there is one; what is done is read.
        overwrite: clear the folder of an earlier training first.
        progress: show a bar on stderr.
        **changes: keys of ``[training]`` and ``[optimizer]``: epochs, lr, weight_decay, batch_size, patience, clip_norm,
            accumulate, precision, ...

    Raises:
        ConfigError: if a setting is unknown or out of range, data or model fit nothing that is known, or the folder holds
            something and neither ``resume`` nor ``overwrite`` is given.
        CheckpointError: if ``resume`` finds a damaged checkpoint, or one of other settings; or if the model cannot be
            saved in the folder.
        DivergenceError: if the loss, of training or validation, becomes NaN or infinite.
        ShapeError, EdgeIndexError: if the data hold NaN or edges of no node, or scores do not fit targets.
    """
    given = {"val": val, "test": test, "loss": loss, "metric": metric}
    task = Task.of(task, **{name: value for name, value in given.items() if value is not None})
    makers = {"optimizer": optimizer, "scheduler": scheduler}
    changes |= {name: value for name, value in makers.items() if isinstance(value, str)}
    own = {name: None if isinstance(value, str) else value for name, value in makers.items()}
    settings = settings_of(settings, changes)
    if seed is not None:
        seed_everything(seed)
    training = Fitting(
        model, [*callbacks, *rules_of(settings)], task=task, settings=settings, seed=seed,
        make_optimizer=own["optimizer"], make_scheduler=own["scheduler"],
    )  # fmt: skip
    place = None if folder is None else SeedFolder(Path(folder)).opened(resume, overwrite)
    if place is not None and place.done:
        return place.read(model, settings)
    sinks = [log] if callable(log) else list(log)
    return training.run(place, sinks, f"{type(model).__name__} on {task.name}", progress)
