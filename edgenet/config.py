"""The configuration of a training run: TOML tables read into frozen dataclasses, every key and value checked."""

from __future__ import annotations

import copy
import math
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Self

from edgenet import reading
from edgenet.errors import ConfigError
from edgenet.tables import read_table
from edgenet.text import did_you_mean, near_names, toml_document, toml_tables


def _wanted(text: str, test: Callable[[Any], bool], default: Any = MISSING) -> Any:
    """A field whose value must pass ``test``; ``text`` says what is wanted."""
    return field(default=default, metadata={"wanted": text, "test": test})


def _choice(*names: str, default: str | None) -> Any:
    return _wanted(f"one of {', '.join(names)}", lambda value: value in names, default)


def _at_least(low: int, default: Any = MISSING) -> Any:
    return _wanted(f"at least {low}", lambda value: value >= low, default)


def _decays(value: Any) -> bool:
    """Whether a value says which parameters decay, and how much."""
    return value in ("all", "first") if isinstance(value, str) else _by_pattern(value)


def _by_pattern(value: Mapping[Any, Any]) -> bool:
    """Whether a table has a number, 0 or more, for each of its patterns, and one pattern at least."""
    if not all(isinstance(pattern, str) for pattern in value):
        return False
    numbers = [item for item in value.values() if isinstance(item, int | float) and not isinstance(item, bool)]
    return 0 < len(value) == len(numbers) and all(0 <= number < math.inf for number in numbers)


@dataclass(frozen=True)
class DatasetTable:
    """``[dataset]``: a name that ``edgenet.data`` knows, and the options of its loader.

    Example:
        >>> edgenet.config.DatasetTable("karate").name
        'karate'
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelTable:
    """``[model]``: a layer of ``edgenet.nn.SPECIALIZATIONS``, and the model around it.

    What is left out has the default of the model. ``options`` are further arguments of the model or its layer: heads,
    order, bank, readout, ...

    Attributes:
        layer: name of the layer; may be left out where ``kind`` is a model that knows its layers.
        kind: a name in ``edgenet.models.MODELS``, which ``edgenet.register`` adds to. Left out: ``NodeClassifier`` for
            data sets about nodes, ``GraphClassifier`` for signals on a graph, ``Sequence`` for sequences, and
            ``GraphRecurrent`` for sequences of signals on a graph.

    Example:
        >>> edgenet.config.ModelTable(layer="gat", hidden_channels=8).layer
        'gat'
    """

    layer: str | None = None
    kind: str | None = None
    hidden_channels: int | None = _at_least(1, None)
    num_layers: int | None = _wanted("from 1 to 10,000", lambda value: 1 <= value <= 10_000, None)
    dropout: float | None = _wanted("a probability in [0, 1)", lambda value: 0 <= value < 1, None)
    activation: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OptimizerTable:
    """``[optimizer]``: "shift_adamax" is ``edgenet.train.ShiftAdaMax``.

    Attributes:
        name: of the optimizer.
        lr: its rate.
        weight_decay: of the parameters that ``decay_on`` leaves to it.
        decay_on: "all"; "first", the first layer alone, as Kipf and Welling 2017 have it; or a table {pattern: decay}
            of parts with a decay of their own, by regular expressions that begin the names of parameters. The first
            pattern that fits counts, what fits none has ``weight_decay``.
        rate_on: {pattern: times}: parts that learn so many times as fast as at ``lr``, found in the same way.
        momentum: of "sgd".

    Example:
        >>> edgenet.config.OptimizerTable(lr=0.01).name
        'adam'
    """

    name: str = _choice("adam", "adamw", "sgd", "radam", "adamax", "shift_adamax", default="adam")
    lr: float = _wanted("a positive number", lambda value: 0 < value < math.inf, 0.005)
    weight_decay: float = _wanted("a number, 0 or more", lambda value: 0 <= value < math.inf, 0.0)
    decay_on: str | dict[str, float] = field(
        default="all",
        metadata={
            "wanted": "all, first, or a table {pattern: a decay of 0 or more}, of patterns that are texts",
            "test": lambda value: _decays(value),
        },
    )
    rate_on: dict[str, float] = field(
        default_factory=dict,
        metadata={
            "wanted": "a table {pattern: a positive number}, of patterns that are texts",
            "test": lambda value: not value or (_by_pattern(value) and all(value.values())),
        },
    )
    momentum: float = _wanted("in [0, 1)", lambda value: 0 <= value < 1, 0.0)

    def __post_init__(self) -> None:
        if self.momentum and self.name != "sgd":
            raise ConfigError(f"optimizer.momentum is for 'sgd'; {self.name!r} has moments of its own.")


@dataclass(frozen=True)
class SchedulerTable:
    """``[scheduler]``: how the learning rate changes from epoch to epoch, as a share of ``optimizer.lr``.

    Attributes:
        name: "none"; "cosine": half a wave from 1 to ``lowest``; "step": times ``factor`` every ``every`` epochs;
            "exponential": times ``factor`` every epoch; "linear": straight from 1 to ``lowest``; "plateau": times
            ``factor`` after ``patience`` epochs whose validation loss is not lower (the training loss, where nothing is
            validated).
        warmup: epochs in which the rate rises from 0 to 1 first; not with "plateau".
        factor: in (0, 1).
        every, patience: epochs.
        lowest: share below which the rate does not fall.

    Example:
        >>> edgenet.config.SchedulerTable("cosine", warmup=10).warmup
        10
    """

    name: str = _choice("none", "cosine", "step", "exponential", "linear", "plateau", default="none")
    warmup: int = _at_least(0, 0)
    factor: float = _wanted("in (0, 1)", lambda value: 0 < value < 1, 0.5)
    every: int = _at_least(1, 50)
    patience: int = _at_least(0, 10)
    lowest: float = _wanted("in [0, 1)", lambda value: 0 <= value < 1, 0.0)

    def __post_init__(self) -> None:
        if self.warmup and self.name == "plateau":
            raise ConfigError("[scheduler] warmup goes with rates that are known beforehand, not with 'plateau'.")
        for item in fields(self):
            read = item.name in ("name", "warmup") or item.name in _READ.get(self.name, ())
            if not read and getattr(self, item.name) != item.default:
                users = [repr(name) for name, keys in _READ.items() if item.name in keys]
                raise ConfigError(f"scheduler.{item.name} is for {', '.join(users)}; {self.name!r} does not read it.")


#: what each schedule reads of its table, besides ``warmup``
_READ: dict[str, tuple[str, ...]] = {
    "none": (), "cosine": ("lowest",), "step": ("factor", "every", "lowest"), "exponential": ("factor", "lowest"),
    "linear": ("lowest",), "plateau": ("factor", "patience", "lowest"),
}  # fmt: skip


@dataclass(frozen=True)
class TrainingTable:
    """``[training]``.

    Attributes:
        epochs: at most so many passes over the training set.
        batch: what a step on nodes of one graph reads: "whole", the graph; "neighbors", ``batch_size`` nodes with
            neighbours that are drawn anew. Scores are of the whole graph.
        fan_out: for "neighbors", how many at each hop that the model walks; -1: all. Left out: 10 at each.
        batch_size: graphs, signals, or nodes of "neighbors", of one step; a whole graph is one batch whatever it says.
        patience: epochs without improvement after which to stop; 0 never stops early.
        stop_by: what improvement is. "metric": a better validation metric, or an equal one with a lower validation
            loss. "loss": a lower validation loss. "either": patience starts anew when the metric or the loss is the
            best so far (Velickovic et al. 2018). "window": the second half of the training ends where the validation
            loss is above its mean over the ``patience`` epochs before (Liu, Gao, Ji 2020).
        ties: whether an epoch whose metric or loss is as good as the best so far starts patience anew; left out: no.
        keep_by: which epoch is kept: "metric", of the best metric, of equal ones that of the lower validation loss; or
            "loss", of the lowest validation loss. Left out: "metric", where ``stop_by`` looks at it, else "loss".
        loss: a name; left out: what the data are learned by, the cross-entropy of classes say.
        seeds: one training run for each.
        clip_norm: longest gradient, all parameters taken together; longer ones are scaled to it. 0: as they are.
        accumulate: batches whose gradients are averaged into one step.
        precision: of the products inside the model: "full", or "bfloat16" and "float16" by ``torch.autocast``.
            Parameters keep their dtype. With "float16" the loss is scaled, so that small gradients are not lost.
        device: "cpu", "cuda", "cuda:1", ...; no other kinds. Left out: where the model is.
        dtype: of features and parameters. Left out: that of the model, and float32 for a model that ``run`` makes.
        checkpoint_epochs: write a checkpoint after every so many epochs; 0: by time alone.
        checkpoint_seconds: and at the end of an epoch if the last one is so many seconds old; 0: by epochs alone.

    Example:
        >>> edgenet.config.TrainingTable(epochs=50, patience=10).patience
        10
    """

    epochs: int = _at_least(1, 200)
    batch: str = _choice("whole", "neighbors", default="whole")
    fan_out: list[int] = field(
        default_factory=list,
        metadata={
            "wanted": "whole numbers, one a hop, of 1 or more, or -1 for all neighbours",
            "test": lambda value: all(count == -1 or count > 0 for count in value),
        },
    )
    batch_size: int = _at_least(1, 100)
    patience: int = _at_least(0, 0)
    stop_by: str = _choice("metric", "loss", "either", "window", default="metric")
    ties: bool | None = None
    keep_by: str | None = _choice("metric", "loss", default=None)
    loss: str | None = _choice(
        "cross_entropy", "binary_cross_entropy", "squared_hinge", "smooth_l1", "mse", "l1", default=None
    )
    seeds: list[int] = field(
        default_factory=lambda: [0],
        metadata={
            "wanted": "different whole numbers from 0 to 2^32 - 1, at least one",
            "test": lambda value: 0 < len(value) == len(set(value)) and all(0 <= seed < 2**32 for seed in value),
        },
    )
    clip_norm: float = _wanted("a number, 0 or more", lambda value: 0 <= value < math.inf, 0.0)
    accumulate: int = _at_least(1, 1)
    precision: str = _choice("full", "bfloat16", "float16", default="full")
    device: str | None = None
    dtype: str | None = _choice("float32", "float64", default=None)
    checkpoint_epochs: int = _at_least(0, 0)
    checkpoint_seconds: float = _wanted("a number, 0 or more", lambda value: 0 <= value < math.inf, 10.0)

    def __post_init__(self) -> None:
        if self.fan_out and self.batch != "neighbors":
            raise ConfigError(f"training.fan_out = {self.fan_out} is for training.batch = 'neighbors'.")
        if self.stop_by == "window" and (not self.patience or self.ties):
            raise ConfigError(
                "training.stop_by = 'window' looks back over training.patience epochs, which is 1 or more, and knows "
                "no ties."
            )

    @property
    def kept_by(self) -> str:
        """``keep_by``, or what stands for it."""
        return self.keep_by or ("metric" if self.stop_by in ("metric", "either") else "loss")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a model is trained; what ``edgenet.fit`` reads.

    Attributes:
        optimizer, scheduler, training: the tables.
        callback: one table a callback, ``[[callback]]``: its ``kind``, a name in ``edgenet.compress.CALLBACKS``, and
            its arguments.
        compress: ``[compress]``, the arguments of ``edgenet.compress.Compress``; None: the model stays as it is.

    Example:
        >>> settings = edgenet.config.Settings(training=edgenet.config.TrainingTable(epochs=2))
        >>> edgenet.fit(edgenet.NodeClassifier(34, 4), edgenet.data.load("karate"), settings, progress=False).epochs
        2
    """

    optimizer: OptimizerTable = field(default_factory=OptimizerTable)
    scheduler: SchedulerTable = field(default_factory=SchedulerTable)
    training: TrainingTable = field(default_factory=TrainingTable)
    callback: list[dict[str, Any]] = field(default_factory=list)
    compress: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        for number, table in enumerate(self.callback, 1):
            if not isinstance(table.get("kind"), str):
                raise ConfigError(f"[[callback]] number {number} lacks its kind, a text: {table}.")

    @classmethod
    def from_dict(cls, tables: Mapping[str, Any], where: str = "the configuration") -> Self:
        """Tables as TOML gives them, checked.

        Args:
            tables: ``{"optimizer": {"lr": ...}, "training": {"epochs": ...}, ...}``.
            where: what messages call it, a file for instance.

        Raises:
            ConfigError: on an unknown or missing key, a value of another type or out of range; with the key, its table,
                ``where``, and the nearest known key.
        """
        return read_table(cls, tables, where, _hint)

    @classmethod
    def from_toml(cls, path: str | Path, changes: Mapping[str, Any] | None = None) -> Self:
        """A TOML file, after ``changes`` (see ``changed``).

        Raises:
            ConfigError: if the file is missing or no TOML, and as ``from_dict``.
        """
        path = Path(path)
        tables = reading.read_toml(path, ConfigError)
        where = f"{path} with the changes of the command line" if changes else str(path)
        return cls.from_dict(changed(tables, changes or {}), where)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able tables, from which ``from_dict`` makes this again. None is left out, as TOML has no null."""
        tables = _without_none(asdict(self))
        first = [name for name in ("out", "dataset", "model") if name in tables]
        return {name: tables[name] for name in dict.fromkeys([*first, *tables])}

    def to_toml(self) -> str:
        """The text of a TOML file, from which ``from_toml`` makes this again."""
        tables = self.to_dict()
        callbacks = tables.pop("callback")
        shown = {
            name: {key: item for key, item in value.items() if item != {}} if isinstance(value, dict) else value
            for name, value in tables.items()
        }
        return toml_document(shown) + (f"\n{toml_tables('callback', callbacks)}" if callbacks else "")

    def replaced(self, **changes: Any) -> Self:
        """This with other values, dots written as two underscores: ``config.replaced(training__seeds=[0, 1])``."""
        return self.from_dict(changed(self.to_dict(), {key.replace("__", "."): v for key, v in changes.items()}))

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """This with other values by the names of the keys alone: ``{"epochs": 20, "lr": 0.01}``.

        The keys are those of ``[optimizer]`` (lr, weight_decay, ...) and ``[training]`` (epochs, batch_size, ...), and
        the names of the tables: ``optimizer`` and ``scheduler`` take the ``name`` of one, or a whole table.

        Raises:
            ConfigError: if no table has such a key; with near ones.
        """
        plain = {key: table for table in ("training", "optimizer") for key in _keys_of(type(self), table)}
        plain.pop("name")
        changes: dict[str, Any] = {}
        for key, value in options.items():
            if key in ("optimizer", "scheduler") and isinstance(value, str):
                changes[f"{key}.name"] = value
            elif key in plain:
                changes[f"{plain[key]}.{key}"] = value
            elif key in {item.name for item in fields(self)}:
                changes[key] = value
            else:
                known = [*plain, "optimizer", "scheduler", "callback", "compress"]
                raise ConfigError(
                    f"no setting is called {key!r}.{did_you_mean(key, known)} There are {', '.join(sorted(known))}."
                )
        return self.from_dict(changed(self.to_dict(), changes), "the settings")


@dataclass(frozen=True, kw_only=True)
class RunConfig(Settings):
    """Everything that decides a run: data set and model, and the settings of its training.

    Attributes:
        dataset, model: the tables.
        out: folder of the run; None: nothing is written.

    Example:
        >>> config = edgenet.config.RunConfig.from_dict({"dataset": {"name": "karate"}, "model": {"layer": "gat"}})
        >>> config.training.epochs
        200
    """

    dataset: DatasetTable
    model: ModelTable
    out: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model.layer is None and self.model.kind is None:
            raise ConfigError("[model] lacks layer.")


def changed(tables: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested tables with values put in by dotted name: ``{"optimizer.lr": 0.01}``. None takes a key out.

    Raises:
        ConfigError: if a name goes through a key that holds a value and no table.

    Example:
        >>> edgenet.config.changed({"optimizer": {"lr": 0.1}}, {"optimizer.lr": 0.01, "training.epochs": 5})
        {'optimizer': {'lr': 0.01}, 'training': {'epochs': 5}}
    """
    result = copy.deepcopy(dict(tables))
    for name, value in changes.items():
        *path, last = name.split(".")
        table = result
        for step in path:
            table = table.setdefault(step, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{name}: {step!r} is a value, no table.")
        if value is None:
            table.pop(last, None)
        else:
            table[last] = value
    return result


def parse_assignment(text: str) -> tuple[str, Any]:
    """``"optimizer.lr=0.01"`` -> ("optimizer.lr", 0.01). The value is TOML; what is no TOML value is taken as text.

    Raises:
        ConfigError: if there is no equals sign, or nothing before it.

    Example:
        >>> edgenet.config.parse_assignment("optimizer.lr=0.01")
        ('optimizer.lr', 0.01)
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"a change is written table.key=value, for instance optimizer.lr=0.01; got {text!r}.")
    try:
        return name.strip(), reading.parse_toml(f"value = {value}".encode(), name.strip(), ConfigError)["value"]
    except ConfigError:
        return name.strip(), value.strip()


def _keys_of(kind: type, table: str) -> list[str]:
    return [item.name for item in fields(typing.get_type_hints(kind)[table])]


def _hint(key: str, table: str, known: Iterable[str]) -> str:
    """What was perhaps meant: a near key of this table, or of another."""
    known = list(known)
    meant = did_you_mean(key, known)
    if not table and "dataset" not in known and key in ("dataset", "model", "out"):
        return f" It belongs to a run (RunConfig), which makes its model itself. Known keys: {', '.join(known)}."
    if meant:
        return f"{meant} Known keys: {', '.join(known)}."
    for other in fields(RunConfig):
        kind = typing.get_type_hints(RunConfig)[other.name]
        names = [item.name for item in fields(kind)] if is_dataclass(kind) else []
        near = near_names(key, names, 1, cutoff=0.8)
        if near and other.name != table:
            return f" Did you mean {near[0]!r} of [{other.name}]? Known keys here: {', '.join(known)}."
    options = f" Further arguments of the model or data set go into [{table}.options]." if "options" in known else ""
    return f" Known keys: {', '.join(known)}.{options}"


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value
