"""Models in files that run without edgenet: ONNX, and torch's pt2."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from edgenet.errors import ConfigError
from edgenet.export.example import named_example
from edgenet.export.files import WRITERS
from edgenet.export.program import traced
from edgenet.export.whole_bytes import packed

__all__ = ["Exported", "export"]


class Exported(NamedTuple):
    """What was written.

    Attributes:
        path: the file.
        inputs: the shape of every input, by name; a size is a number where it is fixed, else a name.

    Example:
        >>> from pathlib import Path
        >>> edgenet.export.Exported(Path("model.pt2"), {"x": ("nodes", 3)}).inputs["x"]
        ('nodes', 3)
    """

    path: Path
    inputs: dict[str, tuple[int | str, ...]]


def export(
    model: nn.Module, path: str | Path, example: Any = None, *, to: str | None = None, steps: int | None = None
) -> Exported:
    """Write a model, in eval mode, into one file that runs without edgenet and PyG.

    Graphs of all sizes go through the file, without edges too. The number of nodes is fixed where the model itself is
    of so many: tables of edge or node weights, spectral filters and the readout "flatten" belong to one graph. Steps of
    sequences are fixed, their number is free. The file is compared with the model before it is put in its place.

    Args:
        model: a layer, ``NodeClassifier``, ``GraphClassifier``, ``Sequence``, or any module of edgenet's parts.
        path: of the file, "model.onnx" or "model.pt2".
        example: what the model is called with: a tuple, in the order of its arguments; a dict, by their names; or a
            ``Data``. Default: random features on the graph that the model is bound to, or on a small one.
        to: "onnx", which needs onnx, onnxscript and onnxruntime, or "pt2"; default: what the path ends in.
        steps: T, for models of sequences without an example.

    Returns:
        The path, and the shape of every input.

    Raises:
        ConfigError: if there is no such kind of file, the path is a folder, or no example can be made up.
        ShapeError: if an example has fewer than two nodes or edges.
        BackendError: if a package is missing.
        ConversionError: if the model cannot be exported, with the reason, or the file would give something else.

    Example:
        >>> edgenet.export.export(edgenet.NodeClassifier(3, 2), "model.pt2", (x, edges)).inputs
        {'x': ('nodes', 3), 'edge_index': (2, 'edges')}
    """
    path = Path(path)
    kind = to or path.suffix.removeprefix(".")
    if kind not in WRITERS:
        script = " TorchScript is not supported: torch.jit can neither script nor keep these layers." * (
            kind in ("torchscript", "ts", "pt", "jit")
        )
        raise ConfigError(f"models are exported to {' or '.join(WRITERS)}, got {kind!r}.{script}")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder: choose a name in it, {path / f'model.{kind}'}.")
    given = named_example(model, example, steps)
    found = traced(packed(model, whole_bytes=kind == "onnx"), given)
    WRITERS[kind](found, path)
    return Exported(path, found.shapes())
