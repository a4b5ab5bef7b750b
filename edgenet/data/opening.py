"""Opening data sets: loading one by its name or path, and making one ready."""

from __future__ import annotations

from numbers import Integral, Real
from pathlib import Path
from typing import Any

from edgenet.data.catalogue import DATASETS, options_of, recipe_of
from edgenet.data.dataset import Dataset
from edgenet.data.graph_file import export
from edgenet.data.own import load_file
from edgenet.data.own.names import is_file_name
from edgenet.data.places import places
from edgenet.errors import ConfigError
from edgenet.text import did_you_mean

# type of an option's default -> what is accepted in its place, and how that is called
_KINDS = {
    bool: (bool, "True or False"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "text"),
}


def load(name: str, root: str | Path | None = None, **options: Any) -> Dataset:
    """A data set by name, or a file of your own (``own.load_file``).

    Files are looked for in ``root``, then ``$EDGENET_DATA``, then the repository's ``datasets`` folder, then the user's
    cache; cora, citeseer, pubmed and ppi are then fetched by PyG's downloader into that cache. Sets that are made on
    demand need none of it.

    Args:
        name: a key of ``DATASETS``, or a path with one of ``own.names.SUFFIXES``, or a folder of tables.
        root: folder to look in first; also the file itself for sets of one file.
        options: of the data set; ``describe(name)["options"]`` lists them.

    Raises:
        ConfigError: unknown name or option, or an option of another type or out of range.
        DatasetNotFoundError: the files are nowhere. Lists what was tried and how to get them.
        DataError: a file has bad content. Nothing in it is ever executed.

    Example:
        >>> edgenet.data.load("karate").train[0]
        Data(...)
    """
    if name not in DATASETS and is_file_name(name):
        known = options_of(load_file)
        for option in options:
            if option not in known:
                meant = did_you_mean(option, known, 3)
                raise ConfigError(f"{name} has no option {option!r}; it has {', '.join(known)}.{meant}")
        return load_file(name, **options)
    recipe = recipe_of(name)
    known = recipe.options()
    for option, value in options.items():
        if option not in known:
            meant = did_you_mean(option, known, 3)
            raise ConfigError(f"{name} has no option {option!r}; it has {', '.join(known)}.{meant}")
        _check_option(name, option, value, known[option])
    return recipe.make(places(root), **options)


def prepare(name: str, root: str | Path | None = None, out: str | Path | None = None, **options: Any) -> dict[str, Any]:
    """Makes a data set ready: fetches what is missing, checks every file, writes what is kept in the user's cache.

    Args:
        name, root, options: as for ``load``.
        out: an ``.npz`` file to write its arrays to as well (``export``).

    Returns:
        name, ``info`` of the data set, the number of nodes, signals or sequences in each split, and ``out``.

    Example:
        >>> facts = edgenet.data.prepare("karate")
    """
    dataset = load(name, root, **options)
    count = dataset.info.get("sizes") or {
        split: int(data[0].y.shape[0]) if dataset.task != "node" else _nodes(data, split)
        for split, data in (("train", dataset.train), ("val", dataset.val), ("test", dataset.test))
    }
    written = None if out is None else str(export(dataset, out))
    return {"name": name, "info": dataset.info, "sizes": count, "out": written}


def _nodes(graphs: list[Any], split: str) -> int:
    return sum(int(data[f"{split}_mask"].sum()) if f"{split}_mask" in data else data.num_nodes for data in graphs)


def _check_option(name: str, option: str, value: Any, default: Any) -> None:
    """Raises ``ConfigError`` unless the value is of the kind of its default; a default of None says nothing."""
    seed = option.endswith("seed") and value is not None
    kind = int if seed else type(default)
    if kind not in _KINDS:
        return
    accepted, wanted = _KINDS[kind]
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{name}: {option} must be {wanted}, got {value!r:.80} of type {type(value).__name__}.")
    if seed and value < 0:
        raise ConfigError(f"{name}: {option} must be a whole number of at least 0, got {value}.")
