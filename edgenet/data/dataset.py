"""What a loaded data set is, and the fixed facts about one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch_geometric.data import Data

TASKS = ("node", "signal", "sequence")
#: what targets of a kind may be judged by, the usual one first
METRICS = {"class": ("accuracy", "bits"), "multilabel": ("micro_f1",), "value": ("rmse", "mae")}


@dataclass(frozen=True)
class Dataset:
    """A data set, split, ready to train on.

    Three tasks cover everything here:

    - ``"node"``: x is (N, F), one row per node. Transductive sets (cora, digits, ...) put the *same* one ``Data`` in
      all three lists, with ``train_mask``, ``val_mask``, ``test_mask`` (N,) and y (N,) int64. Inductive sets (ppi) hold
      different graphs in the three lists, without masks, with y (N, num_outputs) of zeros and ones, float32.
    - ``"signal"``: many signals on one fixed graph. Each list holds one ``Data`` with ``edge_index`` (2, E),
      ``edge_weight`` (E,), ``num_nodes``, x (S, N, F) and y (S,): int64 classes, or float32 values of the one node
      ``target_node``. With a time axis x is (S, T, N, F), and y what the model says, (S, T) classes for instance.
    - ``"sequence"``: S sequences of T steps. Each list holds one ``Data`` with x (S, T, F), or (S, T) int64 symbols,
      and y (S, T) of every step, or (S,) of the sequence whole: int64 classes, or float32 values. ``lengths`` (S,)
      int64, 1 to T, where sequences differ: what comes after is padding, and does not count. Steps whose features have
      more axes, (S, T, N, F) of signals on N nodes, may have a graph beside them.

    Features are float32, edge lists int64 with row 0 source and row 1 target.

    Args:
        name: the name it was loaded by.
        task: ``"node"``, ``"signal"`` or ``"sequence"``.
        target: ``"class"`` (one of num_outputs), ``"multilabel"`` (any of num_outputs) or ``"value"`` (a number).
        metric: ``"accuracy"``, or ``"bits"`` for what is to be foretold; ``"micro_f1"``; ``"rmse"`` or ``"mae"``; in
            that order.
        num_features: F; the number of symbols, where x is of symbols.
        num_outputs: number of classes or labels; 1 for a value.
        train, val, test: as above.
        info: JSON-able facts: source, licence, split, seed, normalisation, ``found`` (where the files were), warnings.

    Example:
        >>> karate = edgenet.data.load("karate")
        >>> karate.task, karate.num_features, karate.num_outputs
        ('node', 34, 4)
    """

    name: str
    task: str
    target: str
    metric: str
    num_features: int
    num_outputs: int
    train: list[Data]
    val: list[Data]
    test: list[Data]
    info: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}, got {self.task!r}.")
        if self.metric not in METRICS.get(self.target, ()):
            pairs = ", ".join(f"{target} by {' or '.join(metrics)}" for target, metrics in METRICS.items())
            raise ValueError(f"targets are judged so: {pairs}; got {self.target!r} by {self.metric!r}.")


@dataclass(frozen=True)
class Facts:
    """What is known of a data set before it is loaded; ``datasets/<name>/dataset.toml`` says the same.

    Args:
        title: one line.
        task, target, metric: as in ``Dataset``.
        shapes: sizes by name, at default options: nodes, edges (directed), features, outputs, ...
        split: one line.
        source: where it comes from; for a method, the paper.
        licence: what its holders allow.
        how_to_get: what to do where no copy is found; empty for sets that are made on demand.
        sha256: checksums by file name, for files of which only one version is known.

    Example:
        >>> edgenet.data.DATASETS["cora"].facts.metric
        'accuracy'
    """

    title: str
    task: str
    target: str
    metric: str
    shapes: dict[str, int]
    split: str
    source: str
    licence: str
    how_to_get: str = ""
    sha256: dict[str, str] = field(default_factory=dict)
