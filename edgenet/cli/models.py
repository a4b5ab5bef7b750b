"""Models as the command line names them, and folders for those it makes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenet.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch_geometric.data import Data

#: what a MODEL of the command line is
MODEL = "a folder of save_pretrained, the folder of a run, or the published GAT for Cora (.npz)"


def read_model(path: str | Path) -> nn.Module:
    """A model from a file or folder, of any kind that the commands take.

    Raises:
        ConfigError: if it is none of them.
        CheckpointError, DataError: if it is damaged.
    """
    path = Path(path)
    if path.suffix == ".npz" and path.is_file():
        from edgenet.convert.published import gat_cora

        return gat_cora(path)
    if (path / "config.json").is_file():
        from edgenet.pretrained import from_pretrained

        return from_pretrained(path)
    if (path / "config.toml").is_file():  # a run: the best of its seeds by validation
        from edgenet.train import read_run_model

        return read_run_model(path)
    what = "has neither config.json nor config.toml" if path.is_dir() else "no such model"
    raise ConfigError(f"{path}: {what}. A model is {MODEL}.")


def inputs(model: nn.Module, data: Data, x: Tensor | None = None) -> tuple[Any, ...]:
    """What a model is called with."""
    like = next((p for p in model.parameters() if p.is_floating_point()), None)
    x = data.x if x is None else x
    weight = data.get("edge_weight")
    if like is not None:
        x, weight = x.to(like), None if weight is None else weight.to(like)
    return (x, data.edge_index) if weight is None else (x, data.edge_index, weight)


def called(model: nn.Module, inputs: tuple[Any, ...], name: str) -> Tensor:
    try:
        return model(*inputs)
    except (RuntimeError, IndexError, TypeError) as error:  # sizes that do not fit layers which are not edgenet's
        raise ConfigError(
            f"this {type(model).__name__} does not run on {name}: {str(error).splitlines()[0]}"
        ) from error


def add_output(parser: argparse.ArgumentParser, what: str) -> None:
    """``--out``, ``--overwrite`` and ``--data-root``, of commands that make a model."""
    parser.add_argument("--out", required=True, help=f"folder for {what}")
    parser.add_argument("--overwrite", action="store_true", help="replace the model in the folder")
    parser.add_argument("--data-root", help="folder to look for data in first")


def new_folder(options: argparse.Namespace) -> Path:
    """The folder of ``--out``, which no model or run may be in, but for what ``--overwrite`` replaces."""
    out = Path(options.out)
    if out.is_file() or ((out / "config.json").exists() and not options.overwrite):
        raise ConfigError(f"{out} exists. Replace it with --overwrite, or choose another --out.")
    if (out / "config.toml").exists():
        raise ConfigError(f"{out} is the folder of a run; choose another --out.")
    return out
