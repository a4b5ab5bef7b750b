"""What a loaded data set is, and the fixed facts about one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch_geometric.data import Data

TASKS = ("node", "edge", "graph", "signal", "sequence")
#: what targets of a kind may be judged by, the usual one first
METRICS = {
    "class": ("accuracy", "bits", "macro_f1", "auroc", "average_precision"),
    "multilabel": ("micro_f1", "macro_f1", "auroc", "average_precision"),
    "value": ("rmse", "mae", "r2"),
}


@dataclass(frozen=True)
class Dataset:
    """A data set, split, ready to train on.

    Five tasks cover everything here:

    - ``"node"``: x is (N, F), one row per node. Transductive sets (cora, digits, ...) put the *same* one ``Data`` in
      all three lists, with ``train_mask``, ``val_mask``, ``test_mask`` (N,) and y (N,) int64. Inductive sets (ppi) hold
      different graphs in the three lists, without masks, with y (N, num_outputs) of zeros and ones, float32.
    - ``"edge"``: one ``Data`` in all three lists, with ``edge_label_index`` (2, L), pairs of nodes, ``edge_label`` (L,)
      int64 or (L, num_outputs) float32, masks (L,), and ``edge_label_attr`` (L, D) where pairs have features.
    - ``"graph"``: lists of different graphs, each with y (1,) int64, or (1,) or (1, num_outputs) float32.
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
        task: ``"node"``, ``"edge"``, ``"graph"``, ``"signal"`` or ``"sequence"``.
        target: ``"class"`` (one of num_outputs), ``"multilabel"`` (any of num_outputs) or ``"value"`` (a number).
        metric: a name in ``METRICS``, of the target's: "accuracy", or "bits" for what is to be foretold; "micro_f1";
            "rmse"; ...
        num_features: F; the number of symbols, where x is of symbols.
        num_outputs: number of classes or labels, or of values.
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
