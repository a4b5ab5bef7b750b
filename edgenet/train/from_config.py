"""run: train what a configuration describes, data set and model included."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgenet.config import RunConfig
from edgenet.data import Dataset, load
from edgenet.data.own.learned import FILE as DATA_FILE
from edgenet.errors import CheckpointError, ConfigError
from edgenet.models import MODELS
from edgenet.plainly import words
from edgenet.pretrained.limits import Limits
from edgenet.text import did_you_mean
from edgenet.train.numbers import default_dtype, device_of, dtype_of, fixed_order
from edgenet.train.processes import is_first
from edgenet.train.result import RunResult
from edgenet.train.seeds import run_seeds
from edgenet.train.task import Task
from edgenet.writing import write_text

_KEYS = ("layer", "hidden_channels", "num_layers", "dropout", "activation")
#: the model of a kind of data, where [model] names none, and the length of a symbol's vector, where it gives none
_MODEL_OF = {
    "node": "NodeClassifier", "edge": "EdgeClassifier", "graph": "GraphClassifier", "signal": "GraphClassifier",
    "sequence": "Sequence",
}  # fmt: skip
_EMBEDDING = 64
_MOST_LAYERS = 1_000


def run(
    config: RunConfig,
    *,
    dataset: Dataset | None = None,
    callbacks: Sequence[Any] = (),
    models: Mapping[str, Callable[..., nn.Module]] | None = None,
    log: Any = (),
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
        callbacks: hooks, see ``edgenet.compress.Callback``.
        models: what makes models of kinds that ``MODELS`` has not, each called as ``kind(num_features, num_outputs,
            **options)``.
        log: sinks for the records, as of ``run_seeds``.
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

    Example:
        >>> config = edgenet.presets.preset("karate", "gcn", {"training.epochs": 2})
        >>> result = edgenet.train.run(config, progress=False)
        >>> result.metric
        'accuracy'
    """
    table = config.training
    probe = nn.Identity()
    device, dtype = device_of(probe, table.device), dtype_of(probe, table.dtype or "float32")
    with fixed_order(device.type == "cuda"), default_dtype(dtype):
        if dataset is None:
            dataset = load(config.dataset.name, root=data_root, **config.dataset.options)
        task = Task.of(dataset).with_loss(table.loss).in_batches(table)
        task.prepare(device, dtype, table.batch_size)

        def make() -> nn.Module:
            return model_of(config, dataset, task, models)

        make()  # what cannot be made must not leave a folder behind
        made = config.model.layer or config.model.kind
        name = Path(config.out).name if config.out else f"{config.dataset.name}-{made}"
        result = run_seeds(
            make, task, config, callbacks, folder=config.out, log=log, resume=resume, overwrite=overwrite,
            progress=progress, name=name,
        )  # fmt: skip
    if config.out and is_first():
        _keep(dataset, Path(config.out))
    return result


def _keep(dataset: Dataset, folder: Path) -> None:
    """Write what predictions need to know of a user's own data beside the run."""
    file, learned = folder / DATA_FILE, dataset.info.get("learned")
    if learned is None:
        file.unlink(missing_ok=True)
    else:
        write_text(file, json.dumps(learned, indent=1, ensure_ascii=False) + "\n")


def _check_size(kind: Callable[..., nn.Module], dataset: Dataset, options: Mapping[str, Any]) -> None:
    """Make the model on the meta device, where its numbers cost nothing.

    Raises:
        ConfigError: if it has modules without end, or more numbers than can be trained on this machine.
    """
    limits = Limits(told=_MOST_LAYERS, held=0)
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"), limits.kept():
            kind(dataset.num_features, dataset.num_outputs, **options)
    except CheckpointError as error:
        raise ConfigError(f"[model] is too large: {error}") from error
    except NotImplementedError:  # what draws its numbers in a way of its own
        return
    asked, there = 4 * limits.numbers * torch.get_default_dtype().itemsize, memory()
    if asked > there:
        raise ConfigError(
            f"[model] is too large: training its {limits.numbers:,} numbers takes {asked / 2**30:.1f} GB, with "
            f"gradients and two moments, and this machine has {there / 2**30:.1f}."
        )


def memory() -> int:
    """Bytes of this machine; as good as none known, where its system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 1 << 60


def model_of(
    config: RunConfig,
    dataset: Dataset,
    task: Task | None = None,
    models: Mapping[str, Callable[..., nn.Module]] | None = None,
) -> nn.Module:
    """A new model for a data set, its tables bound to the data's graph.

    Args:
        task: of the data set, made ready.
        models: as of ``run``.

    Raises:
        ConfigError: if there is no such model or layer, or an option does not fit it.

    Example:
        >>> config = edgenet.presets.preset("karate", "gat")
        >>> type(edgenet.train.model_of(config, edgenet.data.load("karate"))).__name__
        'NodeClassifier'
    """
    table, first = config.model, dataset.train[0]
    options = {name: getattr(table, name) for name in _KEYS if getattr(table, name) is not None}
    for name in _KEYS:
        if name in table.options:
            raise ConfigError(f"{name} is a key of [model], not of [model.options].")
    options |= table.options
    on_graph = dataset.task == "sequence" and first.x.dim() == 4
    name = table.kind or ("GraphRecurrent" if on_graph else _MODEL_OF[dataset.task])
    known: dict[str, Callable[..., nn.Module]] = {**MODELS, **(models or {})}
    if name not in known:
        raise ConfigError(f"no model is called {name!r}.{did_you_mean(name, known)} There are {', '.join(known)}.")
    kind = known[name]
    if dataset.task == "signal" and name == "GraphClassifier":
        options.setdefault("num_nodes", first.num_nodes)
        if first.get("target_node") is not None:
            options.setdefault("target_node", int(first.target_node))
    if dataset.task == "edge" and name == "EdgeClassifier" and first.get("edge_label_attr") is not None:
        options.setdefault("edge_features", first.edge_label_attr.shape[-1])
    if dataset.task == "sequence" and name == "Sequence":
        options.setdefault("per", "step" if first.y.shape[1:2] == first.x.shape[1:2] else "sequence")
        if not first.x.is_floating_point():
            options.setdefault("embedding", _EMBEDDING)
    if on_graph and name == "GraphRecurrent":
        options.setdefault("num_nodes", first.num_nodes)
        options.setdefault("last", first.y.shape[1:3] != first.x.shape[1:3])
    try:
        if kind in MODELS.values():
            _check_size(kind, dataset, options)
        model = kind(dataset.num_features, dataset.num_outputs, **options)
    except ConfigError:
        raise
    except (TypeError, ValueError, RuntimeError, MemoryError) as error:  # an option of a wrong kind, or one set here
        raise ConfigError(f"[model] does not fit a {name}: {words(error).rstrip('.')}.") from error
    if task is not None:
        model.to(task.device)
        bind: Any = getattr(model, "bind", None)
        if task.fixed is not None and bind is not None:
            bind(task.edges())
        task.complete(model)
    return model
