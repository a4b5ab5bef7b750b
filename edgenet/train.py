"""Training: one configuration, several seeds, early stopping, metrics as JSON lines, resumable to the same bits.

The folder of a run::

    config.toml           the configuration; ``edgenet train FOLDER --resume`` reads it
    seed-0/metrics.jsonl  one record an epoch: epoch, loss, train, val, test, val_loss, seconds
    seed-0/checkpoint.pt  the state after some epoch; gone when the seed is done
    seed-0/model.pt       the best model, its configuration and its result: the seed is done
    summary.json          mean and standard deviation over the seeds
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch_geometric.data import Data
from tqdm import tqdm

from edgenet import checkpoint
from edgenet.compress import Callback
from edgenet.config import RunConfig
from edgenet.data import Dataset, check_data, load
from edgenet.errors import CheckpointError, ConfigError, ShapeError
from edgenet.graph import Graph
from edgenet.models import MODELS, GraphClassifier, NodeClassifier
from edgenet.structured import sparse_features

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "class": F.cross_entropy,
    "multilabel": F.binary_cross_entropy_with_logits,
    "value": F.smooth_l1_loss,
}
OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}

# what may change between a run and its continuation without changing a number
_FREE = ("out", "training.seeds", "training.checkpoint_epochs", "training.checkpoint_seconds")


class DivergenceError(ConfigError, ArithmeticError):
    """The loss or a score became NaN or infinite."""


@dataclass
class Best:
    """The best epoch so far: its number, validation metric and loss, and the model's tensors then."""

    epoch: int = 0
    val: float | None = None
    val_loss: float | None = None
    state: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Run:
    """The training of one seed, as callbacks see it.

    Attributes:
        epoch, step: numbers of the epoch and optimizer step under way, from 1; while neither is, of the last ones.
        generator: shuffles the batches.
        best: the best epoch so far.
        waited: epochs without improvement.
        seconds: time spent, over all resumptions.
    """

    config: RunConfig
    dataset: Dataset
    seed: int
    model: nn.Module
    optimizer: torch.optim.Optimizer
    callbacks: Sequence[Callback]
    generator: torch.Generator
    epoch: int = 0
    step: int = 0
    best: Best = field(default_factory=Best)
    lowest_loss: float = math.inf
    waited: int = 0
    seconds: float = 0.0

    def hook(self, name: str) -> list[Any]:
        """Call a hook of all callbacks that have it; what they return."""
        return [getattr(callback, name)(self) for callback in self.callbacks if hasattr(callback, name)]

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides how the run goes on, for ``checkpoint.save``."""
        return {
            "seed": self.seed,
            "config": _decisive(self.config),
            "model_config": self.model.config(),
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "random": checkpoint.random_state({"shuffle": self.generator}),
            "callbacks": [
                callback.state_dict() if hasattr(callback, "state_dict") else None for callback in self.callbacks
            ],
            "epoch": self.epoch,
            "step": self.step,
            "best": vars(self.best),
            "lowest_loss": self.lowest_loss,
            "waited": self.waited,
            "seconds": self.seconds,
            "threads": torch.get_num_threads(),
        }

    def load_state_dict(self, state: dict[str, Any], path: Path) -> None:
        """Continue where ``state_dict`` was taken.

        Raises:
            CheckpointError: if the state is of another seed, configuration or model; it names ``path``.
        """
        try:
            _same_config(state["config"], self.config, path)
            _check_numbers(state, int, "epoch", "step", "waited")
            _check_numbers(state, float, "lowest_loss", "seconds")
            best = Best(**state["best"])
            _check_numbers(state["best"], int, "epoch")
            _check_numbers(state["best"], float, "val", "val_loss")
            threads = state["threads"]
            if state["seed"] != self.seed or len(state["callbacks"]) != len(self.callbacks):
                raise CheckpointError(
                    f"{path}: is of seed {state['seed']} with {len(state['callbacks'])} callbacks; this run has seed "
                    f"{self.seed} with {len(self.callbacks)}."
                )
            checkpoint.load_model_state(self.model, best.state, path)  # it is wanted at the end: look now
            checkpoint.load_model_state(self.model, state["model"], path)
            self.optimizer.load_state_dict(state["optimizer"])
            for callback, own in zip(self.callbacks, state["callbacks"], strict=True):
                if own is not None:
                    callback.load_state_dict(own)
            self.epoch, self.step, self.best = state["epoch"], state["step"], best
            self.lowest_loss, self.waited, self.seconds = state["lowest_loss"], state["waited"], state["seconds"]
            checkpoint.set_random_state(state["random"], {"shuffle": self.generator})
        except CheckpointError:
            raise
        except Exception as error:  # a crafted state makes torch, numpy and callbacks raise whatever they like
            raise CheckpointError(f"{path}: is no state of a training run: {_reason(error)}") from error
        if threads != torch.get_num_threads():
            warnings.warn(
                f"{path} was written with {threads} threads and this process has {torch.get_num_threads()}: "
                f"sums may round differently. Set OMP_NUM_THREADS for the same bits.",
                stacklevel=2,
            )


@dataclass(frozen=True)
class SeedResult:
    """What came of one seed.

    Attributes:
        best_epoch: the epoch whose model was kept, of ``epochs`` that were run.
        val, test: its metric.
        parameters: trainable numbers of the model.
        seconds: of training and validation.
    """

    seed: int
    epochs: int
    best_epoch: int
    val: float
    test: float
    parameters: int
    seconds: float


@dataclass(frozen=True)
class RunResult:
    """What came of all seeds.

    Attributes:
        metric: "accuracy" and "micro_f1" in [0, 1], "rmse" in the units of the target.
        seeds: one result a seed.
        models: the best model of every seed, in evaluation mode.
        histories: the records of every seed's epochs.
        folder: of the run, or None.
    """

    config: RunConfig
    metric: str
    seeds: list[SeedResult]
    models: dict[int, nn.Module]
    histories: dict[int, list[dict[str, Any]]]
    folder: Path | None

    def mean(self, name: str = "test") -> float:
        """Mean of a number over the seeds."""
        return fmean(getattr(result, name) for result in self.seeds)

    def std(self, name: str = "test") -> float:
        """Sample standard deviation (n - 1) over the seeds; NaN for one seed."""
        values = [getattr(result, name) for result in self.seeds]
        return stdev(values) if len(values) > 1 else math.nan

    def summary(self) -> dict[str, Any]:
        """JSON-able: the metric, mean and sample standard deviation, and all seeds."""
        spread = {
            name: {"mean": self.mean(name), "std": None if math.isnan(self.std(name)) else self.std(name)}
            for name in ("val", "test")
        }
        return {"metric": self.metric, **spread, "seeds": [asdict(result) for result in self.seeds]}


def train(
    config: RunConfig,
    *,
    dataset: Dataset | None = None,
    callbacks: Sequence[Callback] = (),
    data_root: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> RunResult:
    """Train a model for every seed, keep the best epoch of each by its validation score, and test it.

    Results are equal on one machine with one number of threads, whether a run was interrupted or not.

    Args:
        config: the run. Without ``config.out`` nothing is written.
        dataset: to train on, instead of ``edgenet.data.load(config.dataset.name, ...)``.
        callbacks: hooks, see ``Callback``.
        data_root: folder where ``edgenet.data.load`` looks first.
        resume: go on from the checkpoints in the folder, if there are any. Seeds that are done are read.
        overwrite: clear the folder of an earlier run first.
        progress: show a bar on stderr.

    Raises:
        ConfigError: if the folder holds something and neither ``resume`` nor ``overwrite`` is given, or a value of the
            configuration fits neither model nor data.
        CheckpointError: if ``resume`` finds a damaged checkpoint, or one of another configuration.
        DivergenceError: if the loss, of training or validation, becomes NaN or infinite.
        ShapeError, EdgeIndexError: if the data hold NaN, or edges of no node.
    """
    with _numbers(config):
        if dataset is None:
            dataset = load(config.dataset.name, root=data_root, **config.dataset.options)
        task = _Task(dataset, config)
        task.model()  # what cannot be made must not leave a folder behind
        folder = _folder(config, resume, overwrite)
        results, models, histories = [], {}, {}
        for seed in config.training.seeds:
            own = None if folder is None else folder / f"seed-{seed}"
            result, model, history = _finished(own, config) or _train_seed(task, seed, own, callbacks, progress)
            results.append(result)
            models[seed], histories[seed] = model.eval(), history
        outcome = RunResult(config, dataset.metric, results, models, histories, folder)
        if folder is not None:
            text = json.dumps(outcome.summary(), indent=2, allow_nan=False) + "\n"
            checkpoint.write_atomically(folder / "summary.json", lambda file: file.write(text.encode()))
        return outcome


def load_model(path: str | Path) -> tuple[nn.Module, SeedResult]:
    """The model in a ``model.pt``, in evaluation mode, and its result.

    Raises:
        CheckpointError: if the file is damaged, or no model of this library.
    """
    path = Path(path)
    state = checkpoint.load(path)
    try:
        kind, options = MODELS[state["kind"]], state["model_config"]
        dtype = next((value.dtype for value in state["model"].values() if value.is_floating_point()), torch.float32)
        with _default_dtype(dtype):
            model = kind(**options)
        result = SeedResult(**state["result"])
        _check_numbers(state["result"], int, "seed", "epochs", "best_epoch", "parameters")
        _check_numbers(state["result"], float, "val", "test", "seconds")
        if not (math.isfinite(result.val) and math.isfinite(result.test)):
            raise ValueError(f"its val is {result.val}, its test {result.test}")
    except Exception as error:  # a crafted file may ask for any model, of any size
        raise CheckpointError(f"{path}: is no trained model: {_reason(error)}") from error
    checkpoint.load_model_state(model, state["model"], path)
    return model.eval(), result


def _check_numbers(values: dict[str, Any], kind: type, *names: str) -> None:
    """int: whole numbers from 0; float: any numbers."""
    for name in names:
        value = values[name]
        if type(value) not in (int, kind) or (kind is int and value < 0):
            raise TypeError(f"{name} is {value!r}")


def _reason(error: Exception) -> str:
    """On one line: torch adds where in C++ it was."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """The records of a ``metrics.jsonl``; a half-written last line, which a kill leaves, is not among them.

    Raises:
        CheckpointError: if another line is damaged.
    """
    path, records = Path(path), []
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    for number, line in enumerate(lines[:-1], 1):  # what follows the last newline is not whole
        try:
            records.append(json.loads(line))
            records[-1]["epoch"] + 0
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path}:{number}: damaged, no record of an epoch: {line[:60]!r}.") from error
    return records


# ---------------------------------------------------------------- one seed
def _train_seed(
    task: _Task, seed: int, folder: Path | None, callbacks: Sequence[Callback], progress: bool
) -> tuple[SeedResult, nn.Module, list[dict[str, Any]]]:
    """Train one seed, from its checkpoint where its folder has one."""
    config, settings = task.config, task.config.training
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    model = task.model()
    run = Run(config, task.dataset, seed, model, None, callbacks, torch.Generator())
    run.generator.manual_seed(seed)
    run.hook("on_start")
    run.optimizer = _optimizer(model, config)
    run.hook("on_optimizer")
    if folder is not None:
        folder.mkdir(exist_ok=True)
        for file in folder.glob(".*.tmp"):  # a kill in the middle of a write leaves one
            file.unlink()
        if (folder / "checkpoint.pt").exists():
            run.load_state_dict(checkpoint.load(folder / "checkpoint.pt"), folder / "checkpoint.pt")
    log = _Log(folder, run.epoch)
    saved_epoch, saved_at = run.epoch, time.monotonic()
    before = run.seconds
    start = time.perf_counter()
    try:
        with _bar(task, seed, run.epoch, progress) as bar:
            while run.epoch < settings.epochs and not _out_of_patience(run):
                run.epoch += 1
                record = _epoch(task, run, bar)
                run.seconds = before + time.perf_counter() - start
                log.write({**record, "seconds": round(run.seconds, 4)})
                bar.set_postfix(loss=f"{record['loss']:.3f}", val=f"{record['val']:.3f}", refresh=False)
                bar.update()
                every, seconds = settings.checkpoint_epochs, settings.checkpoint_seconds
                due = every and run.epoch - saved_epoch >= every
                if folder is not None and (due or (seconds and time.monotonic() - saved_at >= seconds)):
                    log.sync()  # a checkpoint must never know of an epoch that the metrics lack
                    checkpoint.save(folder / "checkpoint.pt", run.state_dict())
                    saved_epoch, saved_at = run.epoch, time.monotonic()
    finally:
        log.close()
    model.load_state_dict(run.best.state)
    scores = task.evaluate(model.eval())
    _check_finite({f"{name} loss of the best model": tally.loss() for name, tally in scores.items()}, run)
    result = SeedResult(
        seed=seed,
        epochs=run.epoch,
        best_epoch=run.best.epoch,
        val=scores["val"].metric(),
        test=scores["test"].metric(),
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        seconds=run.seconds,
    )
    if folder is not None:
        content = {
            "kind": type(model).__name__,
            "model_config": model.config(),
            "config": _decisive(config),
            "result": asdict(result),
            "model": dict(model.state_dict()),
        }
        checkpoint.save(folder / "model.pt", content)
        (folder / "checkpoint.pt").unlink(missing_ok=True)
    return result, model, log.records


def _epoch(task: _Task, run: Run, bar: tqdm) -> dict[str, Any]:
    """One pass over the training set, and the scores after it. Loss and training metric are of the pass itself."""
    tally = Tally(task.dataset.target)
    run.model.train()
    for number, batch in enumerate(task.training_batches(run.generator), 1):
        run.step += 1
        run.optimizer.zero_grad(set_to_none=True)
        scores = batch.scores(run.model)
        loss = task.loss(scores, batch.target)
        tally.add(scores.detach(), batch.target, loss.item())
        penalties = [value for value in run.hook("penalty") if value is not None]
        total = sum(penalties, loss)
        _check_finite({"loss": total.item()}, run)
        total.backward()
        run.hook("after_backward")
        _step(run)
        run.hook("after_step")
        if task.steps > 1:
            bar.set_postfix(step=f"{number}/{task.steps}", loss=f"{tally.loss():.3f}", refresh=False)
            bar.update(0)
    scores = task.evaluate(run.model.eval())
    record = {
        "epoch": run.epoch,
        "loss": tally.loss(),
        "train": tally.metric(),
        "val": scores["val"].metric(),
        "test": scores["test"].metric(),
        "val_loss": scores["val"].loss(),
    }
    _check_finite(record, run)
    _remember(run, record)
    return record


def _step(run: Run) -> None:
    try:
        run.optimizer.step()
    except RuntimeError as error:
        if "overflow" not in str(error):
            raise
        raise _diverged("a step is too large for its dtype", run) from error


def _check_finite(numbers: dict[str, float], run: Run) -> None:
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise _diverged(f"the {name} is {value}", run)


def _diverged(what: str, run: Run) -> DivergenceError:
    lr = run.config.optimizer.lr
    return DivergenceError(
        f"{what} at epoch {run.epoch}, step {run.step} (seed {run.seed}): training has diverged. Try a "
        f"lower learning rate (--set optimizer.lr={lr / 10:g}, it is {lr:g}), smaller features, or "
        f"--set training.dtype=float64."
    )


def _remember(run: Run, record: dict[str, Any]) -> None:
    """Keep the model if this epoch is the best so far, and count the epochs without improvement."""
    best, stop_by = run.best, run.config.training.stop_by
    val, val_loss = record["val"], record["val_loss"]
    sign = -1 if run.dataset.metric == "rmse" else 1
    if best.val is None:
        improved = True
    elif stop_by == "loss":
        improved = val_loss < best.val_loss
    else:
        improved = (sign * val, -val_loss) > (sign * best.val, -best.val_loss)
    if improved:
        state = {name: value.detach().clone() for name, value in run.model.state_dict().items()}
        run.best = Best(run.epoch, val, val_loss, state)
    again = improved or (stop_by == "either" and val_loss < run.lowest_loss)
    run.lowest_loss = min(run.lowest_loss, val_loss)
    run.waited = 0 if again else run.waited + 1


def _out_of_patience(run: Run) -> bool:
    patience = run.config.training.patience
    return patience > 0 and run.waited >= patience


def _optimizer(model: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    table, parameters = config.optimizer, list(model.parameters())
    momentum = {"momentum": table.momentum} if table.name == "sgd" else {}
    if table.decay_on == "first":
        first = {id(p) for p in model.convs[0].parameters()}
        parameters = [
            {"params": [p for p in parameters if id(p) in first], "weight_decay": table.weight_decay},
            {"params": [p for p in parameters if id(p) not in first], "weight_decay": 0.0},
        ]
        parameters = [group for group in parameters if group["params"]]
    return OPTIMIZERS[table.name](parameters, lr=table.lr, weight_decay=table.weight_decay, **momentum)


def _bar(task: _Task, seed: int, done: int, progress: bool) -> tqdm:
    config = task.config
    name = Path(config.out).name if config.out else f"{config.dataset.name}-{config.model.layer}"
    pace = 0.1 if sys.stderr.isatty() else 5.0  # seconds: a log file needs no film
    return tqdm(
        total=config.training.epochs, initial=done, desc=f"{name} seed {seed}", unit="epoch", disable=not progress,
        mininterval=pace, dynamic_ncols=True, file=sys.stderr,
    )  # fmt: skip


# ---------------------------------------------------------------- scores
class Tally:
    """Loss and metric over several batches.

    Args:
        target: "class", "multilabel" or "value".
    """

    def __init__(self, target: str) -> None:
        self.target, self.rows, self.total = target, 0, 0.0
        self.counts = [0.0, 0.0, 0.0]

    def add(self, scores: Tensor, target: Tensor, loss: float) -> None:
        """Count a batch of (B, outputs) scores, whose mean loss is known."""
        self.rows += len(target)
        self.total += loss * len(target)
        if self.target == "class":
            counts = [(scores.argmax(-1) == target).sum()]
        elif self.target == "value":
            counts = [(scores.squeeze(-1).double() - target.double()).square().sum()]
        else:
            guess, truth = scores > 0, target > 0.5
            counts = [(guess & truth).sum(), (guess & ~truth).sum(), (~guess & truth).sum()]
        for i, count in enumerate(counts):
            self.counts[i] += count.item()

    def loss(self) -> float:
        """Mean over the rows."""
        return self.total / max(1, self.rows)

    def metric(self) -> float:
        """Accuracy, micro-averaged F1 = 2 TP / (2 TP + FP + FN), or the root of the mean squared error."""
        if self.target == "multilabel":
            hits, false, missed = self.counts
            return 2 * hits / max(1.0, 2 * hits + false + missed)
        mean = self.counts[0] / max(1, self.rows)
        return math.sqrt(mean) if self.target == "value" else mean


# ---------------------------------------------------------------- data on its way to the model
@dataclass(frozen=True)
class _Batch:
    """What a model reads, and what it should say."""

    x: Tensor
    graph: Graph
    edge_weight: Tensor | None
    target: Tensor
    rows: Tensor | None = None  # nodes that count

    def scores(self, model: nn.Module) -> Tensor:
        return self.of(model(self.x, self.graph, self.edge_weight))

    def of(self, scores: Tensor) -> Tensor:
        return scores if self.rows is None else scores[self.rows]


class _Task:
    """A data set made ready: checked, on its device, every fixed graph sorted once for all seeds."""

    def __init__(self, dataset: Dataset, config: RunConfig) -> None:
        self.dataset, self.config = dataset, config
        self.device, self.dtype = _device(config.training.device), getattr(torch, config.training.dtype)
        self.splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
        self._graphs: dict[int, Graph] = {}
        self._known: dict[int, Data] = {}
        for split, graphs in self.splits.items():
            if not graphs:
                raise ShapeError(f"{dataset.name}: the {split} split is empty.")
            for number, data in enumerate(graphs):
                if id(data) not in self._known:
                    where = f"{dataset.name}, {split} graph {number}" if len(graphs) > 1 else f"{dataset.name}, {split}"
                    self._known[id(data)] = self._placed(check_data(data, where))
        self.fixed = dataset.task == "signal" or "train_mask" in dataset.train[0]
        self._evaluation = {split: self._whole(split) for split in ("val", "test")}
        self._training = self._whole("train") if self.fixed else []
        size = config.training.batch_size
        count = len(dataset.train[0].y) if dataset.task == "signal" else len(dataset.train)
        self.steps = 1 if self.fixed and dataset.task == "node" else -(-count // size)

    def _placed(self, data: Data) -> Data:
        placed = data.to(self.device) if self.device.type != "cpu" else data.clone()
        for name in ("x", "edge_weight", "y"):
            value = placed.get(name)
            if value is not None and value.is_floating_point():
                placed[name] = value.to(self.dtype)
        if self.dataset.task == "node" and "train_mask" in data:  # one graph, whose features are read at every step
            placed.x = sparse_features(placed.x)
        return placed

    def model(self) -> nn.Module:
        """A new model for the data, its tables bound to their graph."""
        table, dataset, first = self.config.model, self.dataset, self._known[id(self.dataset.train[0])]
        options = {"layer": table.layer}
        for name in ("hidden_channels", "num_layers", "dropout", "activation"):
            if getattr(table, name) is not None:
                options[name] = getattr(table, name)
        for name in ("layer", "hidden_channels", "num_layers", "dropout", "activation"):
            if name in table.options:
                raise ConfigError(f"{name} is a key of [model], not of [model.options].")
        options |= table.options
        if dataset.task == "node":
            kind = NodeClassifier
        else:
            kind = GraphClassifier
            options.setdefault("num_nodes", first.num_nodes)
            if first.get("target_node") is not None:
                options.setdefault("target_node", int(first.target_node))
        try:
            model = kind(dataset.num_features, dataset.num_outputs, **options)
        except TypeError as error:  # an option of the wrong type, or one that the loop sets itself
            raise ConfigError(f"[model] does not fit a {kind.__name__}: {error}.") from error
        if self.fixed:
            model.bind(first)
        if any(is_lazy(p) for p in model.parameters()):  # what only a first pass can give its size
            with torch.no_grad():
                next(self.training_batches(torch.Generator())).scores(model.eval())
        return model.to(self.device)

    def training_batches(self, generator: torch.Generator) -> Iterator[_Batch]:
        """The training set once, in an order that the generator draws."""
        size = self.config.training.batch_size
        if self.dataset.task == "node" and self.fixed:
            yield from self._training
        elif self.dataset.task == "node":
            order = torch.randperm(len(self.dataset.train), generator=generator).tolist()
            for start in range(0, len(order), size):
                chosen = [self._known[id(self.dataset.train[i])] for i in order[start : start + size]]
                yield self._batch(chosen[0]) if len(chosen) == 1 else _joined(chosen)
        else:
            whole = self._training[0]
            order = torch.randperm(len(whole.target), generator=generator).to(self.device)
            for rows in order.split(size):
                yield _Batch(whole.x[rows], whole.graph, whole.edge_weight, whole.target[rows])

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, Tally]:
        """Scores on the validation and the test split; nodes of one graph are scored in one pass."""
        tallies, known = {}, {}
        for split, batches in self._evaluation.items():
            tallies[split] = tally = Tally(self.dataset.target)
            for batch in batches:
                if batch.rows is None:
                    scores = batch.scores(model)
                else:
                    if id(batch.x) not in known:
                        known[id(batch.x)] = model(batch.x, batch.graph, batch.edge_weight)
                    scores = batch.of(known[id(batch.x)])
                tally.add(scores, batch.target, self.loss(scores, batch.target).item())
        return tallies

    def loss(self, scores: Tensor, target: Tensor) -> Tensor:
        """Mean loss of a batch of (B, outputs) scores."""
        if self.dataset.target == "value":
            scores = scores.squeeze(-1)
        return LOSSES[self.dataset.target](scores, target)

    def _whole(self, split: str) -> list[_Batch]:
        """A split in the order it comes in, in pieces that fit into memory."""
        batches = []
        for data in self.splits[split]:
            data = self._known[id(data)]
            mask = data.get(f"{split}_mask")
            if mask is not None:
                rows = mask.nonzero().squeeze(1)
                if not len(rows):
                    raise ShapeError(f"{self.dataset.name}: the {split} split is empty; {split}_mask is all False.")
                batches.append(_Batch(data.x, self._graph(data), data.get("edge_weight"), data.y[rows], rows))
            elif self.dataset.task == "signal" and split != "train":
                for x, y in zip(data.x.split(512), data.y.split(512), strict=True):
                    batches.append(_Batch(x, self._graph(data), data.get("edge_weight"), y))
            else:
                batches.append(self._batch(data))
        return batches

    def _batch(self, data: Data) -> _Batch:
        return _Batch(data.x, self._graph(data), data.get("edge_weight"), data.y)

    def _graph(self, data: Data) -> Graph:
        """The data's graph. Edge lists that hold the same edges are one graph, so that tables find their rows once."""
        for known in self._graphs.values():
            if known.num_nodes == data.num_nodes and torch.equal(known.edge_index, data.edge_index):
                return known
        return self._graphs.setdefault(id(data), Graph(data.edge_index, data.num_nodes))


def _joined(graphs: Sequence[Data]) -> _Batch:
    """Several graphs as one that falls into pieces."""
    offsets = np.cumsum([0] + [data.num_nodes for data in graphs]).tolist()
    edge_index = torch.cat([data.edge_index + offset for data, offset in zip(graphs, offsets, strict=False)], dim=1)
    weights = [data.get("edge_weight") for data in graphs]
    return _Batch(
        torch.cat([data.x for data in graphs]),
        Graph(edge_index, offsets[-1]),
        None if None in [None if w is None else 1 for w in weights] else torch.cat(weights),
        torch.cat([data.y for data in graphs]),
    )


# ---------------------------------------------------------------- files
class _Log:
    """``metrics.jsonl`` of a seed: appended and flushed epoch by epoch, cut back to what a checkpoint knows."""

    def __init__(self, folder: Path | None, epoch: int) -> None:
        self.records, self.file = [], None
        if folder is None:
            return
        path = folder / "metrics.jsonl"
        self.records = [record for record in read_metrics(path) if record["epoch"] <= epoch]
        if [record["epoch"] for record in self.records] != list(range(1, epoch + 1)):
            raise CheckpointError(
                f"{path}: lacks epochs that checkpoint.pt has (1 to {epoch} are wanted, it has {len(self.records)}). "
                f"Put the file back, or remove {folder} to train this seed anew."
            )
        text = "".join(json.dumps(record) + "\n" for record in self.records).encode()
        if (path.read_bytes() if path.exists() else b"") != text:
            checkpoint.write_atomically(path, lambda file: file.write(text))
        self.file = path.open("a", encoding="utf-8")

    def write(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        if self.file is not None:
            self.file.write(json.dumps(record, allow_nan=False) + "\n")
            self.file.flush()

    def sync(self) -> None:
        if self.file is not None:
            os.fsync(self.file.fileno())

    def close(self) -> None:
        if self.file is not None:
            self.file.close()


def _folder(config: RunConfig, resume: bool, overwrite: bool) -> Path | None:
    """The run's folder, made or found, with its configuration in it."""
    if config.out is None:
        return None
    folder = Path(config.out)
    known = folder / "config.toml"
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; out is the folder of a run.")
    if folder.is_dir() and any(folder.iterdir()):
        if not known.is_file() and any(not item.name.startswith(".config.toml.") for item in folder.iterdir()):
            raise ConfigError(f"{folder}: holds files, and no config.toml: it is no run. Choose another --out.")
        try:
            stored = RunConfig.from_toml(known) if known.is_file() else None
        except ConfigError as error:
            raise ConfigError(f"{folder}: its config.toml is of no run. Choose another --out. ({error})") from error
        if overwrite:
            _clear(folder)
        elif not resume:
            raise ConfigError(
                f"{folder}: holds a run already. Continue it with --resume, replace it with --overwrite, or choose "
                f"another --out."
            )
        elif stored is not None:
            _same_config(_decisive(stored), config, known)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.write_atomically(known, lambda file: file.write(config.to_toml().encode()))
    return folder


def _clear(folder: Path) -> None:
    """Remove what a run writes, and nothing else."""
    for pattern in ("seed-*/metrics.jsonl", "seed-*/checkpoint.pt", "seed-*/model.pt", "seed-*/.*.tmp", ".*.tmp"):
        for file in folder.glob(pattern):
            file.unlink()
    for name in ("summary.json", "learning_curve.png", "edge_weights.png"):
        (folder / name).unlink(missing_ok=True)
    for own in folder.glob("seed-*"):
        with contextlib.suppress(OSError):  # somebody's file is in it
            own.rmdir()


def _finished(folder: Path | None, config: RunConfig) -> tuple[SeedResult, nn.Module, list[dict[str, Any]]] | None:
    """A seed that is done, from its files."""
    if folder is None or not (folder / "model.pt").exists():
        return None
    model, result = load_model(folder / "model.pt")
    _same_config(checkpoint.load(folder / "model.pt").get("config"), config, folder / "model.pt")
    (folder / "checkpoint.pt").unlink(missing_ok=True)  # a kill may have come between the two
    return result, model.to(_device(config.training.device)), read_metrics(folder / "metrics.jsonl")


def _decisive(config: RunConfig) -> dict[str, Any]:
    """The configuration without what may change on the way, as flat names and values."""
    flat: dict[str, Any] = {}

    def flatten(table: dict[str, Any], prefix: str) -> None:
        for key, value in table.items():
            if isinstance(value, dict) and value:
                flatten(value, f"{prefix}{key}.")
            elif value != {}:
                flat[f"{prefix}{key}"] = value

    flatten(config.to_dict(), "")
    return {key: value for key, value in flat.items() if key not in _FREE}


def _same_config(stored: Any, config: RunConfig, path: Path) -> None:
    wanted = _decisive(config)
    if not isinstance(stored, dict):
        raise CheckpointError(f"{path}: lacks the configuration it was written with.")
    if stored != wanted:
        keys = [key for key in sorted({*stored, *wanted}) if stored.get(key) != wanted.get(key)]
        changes = "; ".join(f"{key} was {stored.get(key)!r}, is {wanted.get(key)!r}" for key in keys[:5])
        raise CheckpointError(
            f"{path}: is of another configuration: {changes}. Resume with the same, or choose another --out."
        )


# ---------------------------------------------------------------- how numbers are computed
def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"training.device is a name such as cpu or cuda:0, got {name!r}.") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"training.device is cpu or cuda, got {name!r}.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"training.device is {name!r}, but torch sees {torch.cuda.device_count()} CUDA devices.")
    return device


@contextlib.contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def _numbers(config: RunConfig) -> Iterator[None]:
    """The configured dtype, and sums in a fixed order: parallel scatters would add in any."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    if config.training.device.startswith("cuda"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
    torch.use_deterministic_algorithms(True, warn_only=config.training.device != "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = deterministic and fill  # costs time, and only tests want it
    try:
        with _default_dtype(getattr(torch, config.training.dtype)):
            yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn)
        torch.utils.deterministic.fill_uninitialized_memory = fill
