"""Task: what is learned. Data of any form, how they are split, what the loss and the metric are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch_geometric.data import Dataset as Graphs
from torch_geometric.data.data import BaseData

from edgenet import checkpoint
from edgenet.config import TrainingTable
from edgenet.data import Dataset
from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph
from edgenet.train.batches import Batch, rows_of
from edgenet.train.calling import call_model
from edgenet.train.forms import Sources
from edgenet.train.losses import LOSSES, Loss, kind_of, loss_of, name_of
from edgenet.train.metrics import LOSS, Metric, Tally
from edgenet.train.numbers import device_of, dtype_of, lowered
from edgenet.train.sources import OneGraph, Source

SPLITS = ("train", "val", "test")
_KEPT = (*SPLITS, "target", "batch_size", "fan_out", "name")

_METRIC_OF = {"class": "accuracy", "multilabel": "micro_f1", "value": "rmse"}


class Score(NamedTuple):
    """What a split comes to: the metric, and the mean loss.

    Example:
        >>> edgenet.train.Score(metric=0.8, loss=0.5).metric
        0.8
    """

    metric: float
    loss: float


class Task:
    """Data to learn from and to be judged by.

    Args:
        train: a PyG ``Data`` or ``HeteroData``, whose ``train_mask`` says which nodes count (all, where there are no
            masks); a list of them; a loader of PyG's or torch's; a ``TensorDataset`` or another dataset of torch's,
            whose last item is the target; ``Streams`` of a long sequence; or anything that can be walked over again and
            again and gives such batches.
        val, test: the same. Left out: ``train``, where it has a ``val_mask`` or ``test_mask``; else there is none.
        target: name of the field to learn, or a function of a batch. Default: ``y``; the last item of a tuple. Of a
            ``HeteroData`` the kind of nodes whose ``y`` is learned.
        loss: a name in ``LOSSES``, or a callable (scores, target) -> scalar. Default: cross-entropy for classes (whole
            numbers), binary cross-entropy for zeros and ones in several columns, smooth L1 for other numbers.
        metric: see ``Metric.of``. Default: accuracy, micro_f1 or rmse, in the order above.
        batch_size: graphs or rows of a batch, where the data are no loader. Default: that of the settings.
        fan_out: for nodes of one graph: a batch is ``batch_size`` of them with neighbours that are drawn, so many at
            each hop; -1: all, and []: 10 at each hop of the model. Scores are of the whole graph. Default: that of the
            settings.
        name: what messages call the data.
        call: a function (model, batch) -> output, in the place of ``call_model``. It gets what ``call_model`` would: a
            ``Batch``, whose fields are attributes, and ``batch.entire()``, the ``Data`` or tuple of the step.

    Example:
        >>> data = torch.utils.data.TensorDataset(torch.randn(40, 3), torch.randint(0, 2, (40,)))
        >>> task = edgenet.train.Task(data, val=data, metric="macro_f1")
        >>> edgenet.fit(torch.nn.Linear(3, 2), task, epochs=2, progress=False).metric
        'macro_f1'
    """

    def __init__(
        self,
        train: Any,
        val: Any = None,
        test: Any = None,
        *,
        target: str | Callable[[Any], Any] | None = None,
        loss: str | Loss | None = None,
        metric: Any = None,
        batch_size: int | None = None,
        fan_out: Sequence[int] | None = None,
        name: str = "data",
        call: Callable[[nn.Module, Batch], Any] | None = None,
    ) -> None:
        self.train, self.val, self.test = train, val, test
        self.target, self.batch_size, self.fan_out, self.name = target, batch_size, fan_out, name
        self.kind: str | None = None  # "signal" where many signals live on one graph, "sequence" where rows are such
        self._loss = loss_of(loss)
        self._metric = None if metric is None else Metric.of(metric)
        self._call = call
        self._sources: dict[str, Source] = {}
        self._made_for: tuple[Any, ...] = ()

    @classmethod
    def of(cls, thing: Any, **changes: Any) -> Task:
        """The task that fits what was handed in: a ``Task``, a data set of ``edgenet.data``, or ``train`` of the
        constructor, whose other arguments are ``changes``."""
        if isinstance(thing, Task):
            return thing._changed(changes)
        if not isinstance(thing, Dataset):
            return cls(thing, **changes)
        for split in SPLITS:
            if not getattr(thing, split):
                raise ShapeError(f"{thing.name}: the {split} split is empty.")
        options = {"loss": thing.target, "metric": thing.metric, "name": thing.name, **changes}
        if thing.task in ("signal", "sequence"):
            task = cls(thing.train[0], thing.val[0], thing.test[0], **options)
            task.kind = thing.task
        elif "train_mask" in thing.train[0]:
            options |= {"target": "edge_label"} if thing.task == "edge" and "target" not in changes else {}
            task = cls(thing.train[0], thing.val[0], thing.test[0], **options)
        else:
            task = cls(thing.train, thing.val, thing.test, **options)
        return task

    def with_loss(self, name: str | None) -> Task:
        """This, or a copy with the loss of that name; None: its own."""
        return self if name is None or LOSSES[name] is self._loss else self._changed({"loss": name})

    def in_batches(self, table: TrainingTable) -> Task:
        """This, or a copy whose batches are those of the settings."""
        if self.fan_out is not None or table.batch == "whole":
            return self
        return self._changed({"fan_out": table.fan_out})

    def _changed(self, changes: dict[str, Any]) -> Task:
        """This, or a copy with other values."""
        if not changes:
            return self
        known = {name: getattr(self, name) for name in _KEPT}
        known |= {"loss": self._loss, "metric": self._metric, "call": self._call}
        task = type(self)(**{**known, **changes})
        task.kind = self.kind
        return task

    # ---------------------------------------------------------------- data
    def prepare(self, device: torch.device, dtype: torch.dtype, batch_size: int = 100) -> None:
        """Put the data where the model is, and make its batches; nothing is done twice.

        Raises:
            ConfigError: if the data are of no form that is known.
            ShapeError, EdgeIndexError: if a split is empty, or graphs hold NaN or edges of no node.
        """
        size = self.batch_size or batch_size
        if self._made_for == (device, dtype, size):
            return
        maker = Sources(device, dtype, size, self.target, self.name, self.fan_out)
        found: dict[str, Source] = {}
        for split in SPLITS:
            thing = getattr(self, split)
            if thing is None and _has_mask(self.train, split):
                thing = self.train
            if thing is not None or split == "train":
                made = {"signal": maker.signals, "sequence": maker.sequences}.get(self.kind or "", maker.of)
                found[split] = made(thing, split)
        if isinstance(self._loss, nn.Module):
            self._loss.to(device, dtype)  # weights of classes, say
        self._sources, self._made_for = found, (device, dtype, size)

    def has(self, split: str) -> bool:
        """Whether there are data of a split."""
        return getattr(self, split) is not None or _has_mask(self.train, split)

    @property
    def fixed(self) -> Any:
        """The one graph that all batches live on; None where there are several, or none."""
        if self.kind != "signal" and not isinstance(self.train, BaseData):
            return None
        return self.train if self.kind == "signal" or self.train.get("edge_index") is not None else None

    @property
    def steps(self) -> int | None:
        """Batches of an epoch; None where nobody knows."""
        return self._sources["train"].steps

    def source(self, split: str) -> Source:
        """The batches of a split, made ready."""
        return self._sources[split]

    @property
    def device(self) -> torch.device:
        """Where the batches are."""
        return self._made_for[0]

    def first(self) -> Batch:
        """A batch of the training data, to look at. Random numbers go on as if it had not been asked for, loaders' too:
        what is trained must not depend on who looked before."""
        generators = self.generators()
        state = checkpoint.random_state(generators)
        try:
            return self._sources["train"].first()
        finally:
            checkpoint.set_random_state(state, generators)

    def edges(self) -> Graph:
        """The one graph that all batches live on."""
        return self.first().edges()

    def training(self, generator: torch.Generator) -> Iterator[Batch]:
        """The training data once, in an order that the generator draws."""
        return filter(_counts, self._sources["train"].training(generator))

    def generators(self) -> dict[str, torch.Generator]:
        """The loaders' own sources of random numbers."""
        return {name: g for source in self._sources.values() for name, g in source.generators().items()}

    def complete(self, model: nn.Module) -> None:
        """Give a model the sizes that only a first pass can tell.

        Raises:
            ConfigError: if batches reach fewer hops than the model walks.
        """
        self._sources["train"].check(model)
        bind: Any = getattr(model, "bind", None)
        if any(is_lazy(p) for p in model.parameters()) and self.fixed is not None and bind is not None:
            bind(self.edges())
        if any(is_lazy(p) for p in model.parameters()):
            training = model.training
            with torch.no_grad():
                self.output(model.eval(), self.first())
            model.train(training)

    # ---------------------------------------------------------------- scores
    def output(self, model: nn.Module, batch: Batch) -> Any:
        """What a model says of a batch, whole."""
        return call_model(model, batch) if self._call is None else self._call(model, batch)

    def scores(self, output: Any, batch: Batch) -> Any:
        """What of a model's output counts: the rows of the batch, and in full precision."""
        scores = rows_of(output, batch.rows, batch.kind)
        half = isinstance(scores, Tensor) and scores.dtype in (torch.float16, torch.bfloat16)
        return scores.float() if half else scores

    def loss(self, scores: Any, target: Any) -> Tensor:
        """Mean loss of a batch."""
        if self._loss is None:
            self._loss = LOSSES[kind_of(target, self.name)]
        return self._loss(scores, target)

    @property
    def loss_name(self) -> str:
        """What the loss is called: by its name in ``LOSSES``, or in its code."""
        if self._loss is None:
            self._loss = LOSSES[kind_of(self.first().target, self.name)]
        return name_of(self._loss)

    @property
    def metric(self) -> Metric:
        """What the model is judged by."""
        if self._metric is None:
            target = self.first().target
            plain = isinstance(target, Tensor)
            self._metric = Metric.of(_METRIC_OF[kind_of(target, self.name)] if plain else LOSS)
        return self._metric

    def better(self, a: float, b: float) -> bool:
        """Whether the metric a is better than b."""
        return self.metric.better(a, b)

    @torch.no_grad()
    def evaluate(
        self, model: nn.Module, splits: Sequence[str] = ("val", "test"), precision: str = "full"
    ) -> dict[str, Score]:
        """The scores of splits, of those there are; the model is in evaluation mode afterwards. Nodes of one graph are
        scored in one pass for all splits."""
        first = next(model.parameters(), None)  # the two functions take as long as a small layer
        if first is None or self._made_for[:2] != (first.device, first.dtype):
            self.prepare(device_of(model), dtype_of(model), *self._made_for[2:])
        model.eval()
        result: dict[str, Score] = {}
        known: dict[int, Any] = {}
        device = self._made_for[0]
        for split in splits:
            source = self._sources.get(split)
            if source is None:
                continue
            tally = Tally(self.metric)
            for batch in filter(_counts, source.ordered()):
                if isinstance(source, OneGraph):
                    if id(batch.whole) not in known:
                        with lowered(precision, device):
                            known[id(batch.whole)] = self.output(model, batch)
                    output = known[id(batch.whole)]
                else:
                    with lowered(precision, device):
                        output = self.output(model, batch)
                scores = self.scores(output, batch)
                tally.add(scores, batch.target, self.loss(scores, batch.target).item())
            if not tally.rows:
                raise ConfigError(f"{self.name}: the {split} data gave nothing to judge by in this pass over them.")
            result[split] = Score(tally.metric(), tally.loss())
        return result


def _counts(batch: Batch) -> bool:
    """Whether some rows count: a piece of a graph may have none of a split."""
    return batch.rows is None or len(batch.rows) > 0


def _has_mask(thing: Any, split: str) -> bool:
    listed = isinstance(thing, Sequence | Graphs) and not isinstance(thing, str)
    if listed and len(thing):
        thing = thing[0]
    return isinstance(thing, BaseData) and split != "train" and f"{split}_mask" in thing
