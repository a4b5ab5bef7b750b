"""Models as the command line names them, what they say of data sets, and folders for those that it makes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenet.cli.values import add_data_root, new_path
from edgenet.errors import ConfigError
from edgenet.hub import is_repository
from edgenet.plainly import words

if TYPE_CHECKING:
    from torch import nn
    from torch_geometric.data import Data

    from edgenet.train import Task

#: what a MODEL of the command line is
MODEL = (
    "a folder of save_pretrained, the folder of a run or of one seed, a repository of the Hugging Face hub "
    "(owner/name), or the published GAT for Cora (.npz)"
)


def read_model(path: str | Path) -> nn.Module:
    """A model from a file, a folder or the hub, of any kind that the commands take; of a run, that of its best seed.

    A module of a class that is not here is stood for by its children and tensors: it can be reported on, compressed,
    converted and saved, and not run.

    Raises:
        ConfigError: if it is none of them.
        CheckpointError, DataError: if it is damaged, or a run has not come to its end.
    """
    name, path = str(path), Path(path)
    if path.suffix == ".npz" and path.is_file():
        from edgenet.convert.published import gat_cora

        return gat_cora(path)
    if (path / "config.json").is_file() or (not path.exists() and is_repository(name)):
        from edgenet.pretrained import from_pretrained

        return from_pretrained(name, stand_ins=True)
    if (path / "config.toml").is_file() or (path / "result.json").is_file():
        from edgenet.train import read_run_model

        return read_run_model(path, stand_ins=True)
    what = "holds none of config.json, config.toml, result.json" if path.is_dir() else "no such model"
    raise ConfigError(f"{path}: {what}. A model is {MODEL}.")


def inputs(model: nn.Module, data: Data) -> tuple[Any, ...]:
    """What a model reads of one graph: features, edges, and weights where there are some."""
    like = next((p for p in model.parameters() if p.is_floating_point()), data.x)
    x, edges, weight = data.x.to(like), data.edge_index.to(like.device), data.get("edge_weight")
    return (x, edges) if weight is None else (x, edges, weight.to(like))


def scores(model: nn.Module, task: Task) -> dict[str, float]:
    """The metric of a model on the validation and the test split.

    Raises:
        ConfigError: if the model does not run on these data.
    """
    with runs_on(model, task.name):
        return {split: score.metric for split, score in task.evaluate(model).items()}


@contextmanager
def runs_on(model: nn.Module, name: str) -> Iterator[None]:
    """Turns what layers raise that are not edgenet's, when sizes do not fit, into one line."""
    try:
        yield
    except (RuntimeError, IndexError, TypeError, AssertionError) as error:
        raise ConfigError(f"this {type(model).__name__} does not run on {name}: {words(error)}.") from error


def add_output(parser: argparse.ArgumentParser, what: str) -> None:
    """``--out``, ``--overwrite`` and ``--data-root``, of commands that make a model."""
    parser.add_argument("--out", type=new_path, required=True, help=f"folder for {what}")
    parser.add_argument("--overwrite", action="store_true", help="replace the model in the folder")
    add_data_root(parser)


def check_folder(folder: Path) -> None:
    """Before hours of work: that the folder is one, or can be made.

    Raises:
        ConfigError: if it, or a folder that it would stand in, is a file.
    """
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if not there.is_dir():
        raise ConfigError(f"{there} is a file, and {folder} is to be a folder. Choose another --out.")


def new_folder(options: argparse.Namespace) -> Path:
    """The folder of ``--out``, which no model or run may be in, but for a model that ``--overwrite`` replaces."""
    out = Path(options.out)
    if out.is_file() or ((out / "config.json").exists() and not options.overwrite):
        raise ConfigError(f"{out} exists. Replace it with --overwrite, or choose another --out.")
    if (out / "config.toml").exists() or (out / "result.json").exists():
        raise ConfigError(f"{out} is the folder of a run; choose another --out.")
    check_folder(out)
    return out
