"""The rows of ``edgenet bench fit``: what is learned, what is handed in, and what an answer is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from edgenet.bench.results import fit_trainings as of
from edgenet.bench.results.fit_trainings import Place
from edgenet.train import FitResult


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        data, handed: what is learned, and what ``fit`` gets, for the page.
        metric: name and unit of the scores; in percent where it ends so.
        baseline: what an answer is compared with.
        epochs: of the page.
        train: trains the row.
        plain: the test score of the baseline.
        note: where the data are from, and what must be known of them.
    """

    data: str
    handed: str
    metric: str
    baseline: str
    epochs: int
    train: Callable[[Place], FitResult]
    plain: Callable[[Place], float]
    note: str = ""

    @property
    def scale(self) -> float:
        return 100.0 if self.metric.endswith("%") else 1.0


#: Every one ends in the same call.
ROWS = {
    "module": Row(
        "Cora, public split",
        "an own module of PyG's `GCNConv`, the graph",
        "accuracy, %",
        "most frequent class",
        200,
        of.own_module,
        partial(of.most_frequent, "cora"),
    ),
    "loss": Row(
        "digits, 20 labels a class",
        "a `NodeClassifier`, a focal loss, a factory of SGD, a factory of a cosine schedule, clipped gradients",
        "accuracy, %",
        "most frequent class",
        200,
        of.own_loss,
        partial(of.most_frequent, "digits"),
    ),
    "molecules": Row(
        "zero-point energies of molecules",
        "an own module of PyG's `GINEConv`, a PyG loader, loss and metric by name",
        "mean absolute error, kcal/mol",
        "a number for each element, least squares",
        300,
        of.loader_of_molecules,
        of.by_atoms,
        "Molecules: 148 molecules and radicals of the G2 set (Curtiss et al. 1997) as `ase` ships them, split at "
        "random 104 / 22 / 22: real molecules, and few.",
    ),
    "graphs": Row(
        "proteins (PPI), 20 / 2 / 2 graphs",
        "PyG's `GraphSAGE`, lists of graphs",
        "micro-F1, %",
        "every label at every node",
        20,
        of.list_of_graphs,
        of.every_label,
    ),
    "windows": Row(
        "METR-LA, an hour in, an hour ahead",
        "an own module of `EdgeNetConv`, torch's `TensorDataset`, an own loss and metric",
        "masked mean absolute error, miles an hour",
        "the last reading",
        40,
        of.traffic_windows,
        of.last_reading,
        "METR-LA: one week of 207 sensors, of which the first 70 % train, the next 10 % validate, the last 20 % test; "
        "mean over 12 readings ahead. Published results are on four months.",
    ),
    "text": Row(
        "Cora, public split",
        "TOML alone: a GAT, `[compress]`, ADMM and annealing as `[[callback]]`",
        "accuracy, %",
        "the same GAT without the rules, seed 0",
        300,
        of.from_text,
        of.without_rules,
        "TOML: rho and the last epoch of ADMM were chosen by the validation accuracy of seed 0, from four settings.",
    ),
}
