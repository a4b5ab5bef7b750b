"""Predictions as rows: of which node, pair or graph, what is said, and with which probability."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenet.errors import ShapeError

if TYPE_CHECKING:
    from torch import Tensor

    from edgenet.data.own import Learned

#: endings of the files that are written
FORMS = (".csv", ".json", ".npz")


@dataclass(frozen=True)
class Predictions:
    """What a model said.

    Attributes:
        rows: columns that name the rows.
        said: columns of what is said: "prediction", and where there are several, one for each class, label or value. A
            value called as a column of ``rows`` is, node say, is "prediction(node)".
        kind: "class", "multilabel" or "value".
    """

    rows: dict[str, list[str]]
    said: dict[str, list[Any]]
    kind: str

    @classmethod
    def of(cls, rows: dict[str, list[str]], scores: Tensor, learned: Learned) -> Predictions:
        """Scores as probabilities of classes and labels, which have their names; or as values.

        Raises:
            ShapeError: if there is not one score for each class, label or value.
        """
        scores = scores.unsqueeze(1) if scores.dim() == 1 else scores
        names = learned.names
        if scores.dim() != 2 or scores.shape[1] != len(names):
            raise ShapeError(
                f"the model gives {tuple(scores.shape)}, and there are {len(names)} {learned.kind}s: "
                f"{', '.join(names[:9])}."
            )
        if learned.kind == "value":
            columns = ["prediction"] if len(names) == 1 else [f"prediction({n})" if n in rows else n for n in names]
            return cls(rows, {name: scores[:, k].tolist() for k, name in enumerate(columns)}, learned.kind)
        if learned.kind == "class":
            shares = scores.double().softmax(1)
            first: list[Any] = [names[k] for k in shares.argmax(1).tolist()]
        else:
            shares = scores.double().sigmoid()
            first = [";".join(n for n, yes in zip(names, row, strict=True) if yes) for row in (shares > 0.5).tolist()]
        return cls(
            rows, {"prediction": first, **{f"p({n})": shares[:, k].tolist() for k, n in enumerate(names)}}, learned.kind
        )

    def facts(self) -> dict[str, Any]:
        """JSON-able: the kind, and an object for every row."""
        columns = {**self.rows, **self.said}
        return {
            "kind": self.kind,
            "predictions": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
        }

    def csv_text(self) -> str:
        """A line of names, and one for every row."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = {**self.rows, **self.said}
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row])
        return text.getvalue()

    def write(self, path: Path) -> None:
        """Into a file, by its ending. In ``.npz`` the columns are arrays of their names; none is of objects.

        Raises:
            WriteError: if it cannot be written.
        """
        import numpy as np

        from edgenet.data.files import write_npz
        from edgenet.writing import write_text

        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".npz":
            write_npz(path, {name: np.array(column) for name, column in {**self.rows, **self.said}.items()})
            return
        text = (
            self.csv_text()
            if path.suffix.lower() == ".csv"
            else json.dumps(self.facts(), indent=1, ensure_ascii=False) + "\n"
        )
        write_text(path, text)
