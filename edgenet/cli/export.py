"""``edgenet export``: a model in one file that runs without edgenet."""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import TYPE_CHECKING

from edgenet.cli.command import Command
from edgenet.cli.models import MODEL, check_folder, read_model
from edgenet.cli.own_data import add_own_data, own_data, read_own_data
from edgenet.cli.printing import emit
from edgenet.cli.values import add_data_root, new_path, whole
from edgenet.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn
    from torch_geometric.data import Data


def arguments(parser: argparse.ArgumentParser) -> None:
    """``export MODEL --to onnx|pt2 [--out FILE]``."""
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument("--to", choices=("onnx", "pt2"), help="kind of file; default: what --out ends in, else onnx")
    parser.add_argument("--out", type=new_path, metavar="FILE", help="default: the model's name, in this folder")
    parser.add_argument("--steps", type=whole(1), metavar="T", help="length of sequences, for recurrent models")
    parser.add_argument("--overwrite", action="store_true", help="replace the file")
    add_own_data(parser, "trace with their first graph; default: one that is made up")
    add_data_root(parser)


def run(options: argparse.Namespace) -> int:
    """Export, and say what goes in."""
    kind = options.to or (Path(options.out or "").suffix.removeprefix(".") or "onnx")
    out = Path(options.out or f"{Path(options.model).resolve().stem}.{kind}")
    if out.is_dir() or (out.exists() and not options.overwrite):
        raise ConfigError(f"{out} exists. Replace it with --overwrite, or choose another --out.")
    check_folder(out.parent)
    from edgenet.export import export
    from edgenet.pretrained.stand_in import StandIn

    model, example = read_model(options.model), None
    unknown = sorted({part.told["class"] for part in model.modules() if isinstance(part, StandIn)})
    if unknown:
        raise ConfigError(
            f"{options.model}: the code of {', '.join(unknown)} is not here, and a model without it cannot run. Export "
            f"it in Python: edgenet.export.export(model, {out.name!r})."
        )
    if options.data:
        example = _example(model, options)
    elif own_data(options):
        raise ConfigError(f"--{next(iter(own_data(options)))} needs --data.")
    found = export(model, out, example, to=kind, steps=options.steps)
    shapes = {name: ", ".join(map(str, shape)) for name, shape in found.inputs.items()}
    size = found.path.stat().st_size
    facts = {"file": str(found.path), "kind": kind, "bytes": size, "inputs": found.inputs}
    lines = [f"input:   {name} ({shape})" for name, shape in shapes.items()]
    emit(options, facts, f"file:    {found.path}, {size:,} bytes", *lines)
    return 0


def _example(model: nn.Module, options: argparse.Namespace) -> Data:
    """The first graph of the data, in the numbers of the model; two where it tells graphs apart."""
    from torch_geometric.data import Batch

    dataset = read_own_data(options)
    data = Batch.from_data_list(dataset.train[:2]) if dataset.task == "graph" else copy.copy(dataset.train[0])
    like = next((p for p in model.parameters() if p.is_floating_point()), data.x)
    return data.apply(lambda values: values.to(like if values.is_floating_point() else like.device))


COMMAND = Command("write a model into one file that runs without edgenet", arguments, run, json=True)
