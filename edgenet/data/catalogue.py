"""The data sets by name, and the four things to do with one: load it, list it, describe it, prepare it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from edgenet.data import (
    adding_problem,
    chickenpox,
    copying_memory,
    csbm,
    digits,
    frame_labels,
    graph_process,
    heterophilic,
    hidden_conductance,
    karate,
    metr_la,
    movielens,
    pixel_mnist,
    planetoid,
    ppi,
    source_localisation,
    tinyshakespeare,
)
from edgenet.data.dataset import Dataset, Facts
from edgenet.data.graph_file import export
from edgenet.data.places import places
from edgenet.errors import ConfigError, DataError
from edgenet.text import did_you_mean


@dataclass(frozen=True)
class Recipe:
    """How a data set comes about.

    Args:
        facts: what is known before it is loaded.
        make: ``make(places, **options) -> Dataset``.
        find: ``find(places) -> Path`` for sets that are made of files; raises ``DatasetNotFoundError``. None: made on
        demand.

    Example:
        >>> edgenet.data.DATASETS["karate"].find is None  # it is made, and not looked for
        True
    """

    facts: Facts
    make: Callable[..., Dataset]
    find: Callable[..., Path] | None = None

    def options(self) -> dict[str, Any]:
        """Its options and their defaults."""
        parameters = inspect.signature(self.make).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "name"}


def _planetoid(name: str) -> Recipe:
    return Recipe(
        planetoid.FACTS[name],
        partial(planetoid.make, name=name),
        partial(planetoid.find, name=name, may_download=False),
    )


DATASETS: dict[str, Recipe] = {
    "digits": Recipe(digits.FACTS, digits.make),
    "karate": Recipe(karate.FACTS, karate.make),
    "csbm": Recipe(csbm.FACTS, csbm.make),
    "source_localisation": Recipe(source_localisation.FACTS, source_localisation.make),
    "hidden_conductance": Recipe(hidden_conductance.FACTS, hidden_conductance.make),
    "copying_memory": Recipe(copying_memory.FACTS, copying_memory.make),
    "adding_problem": Recipe(adding_problem.FACTS, adding_problem.make),
    "cora": _planetoid("cora"),
    "citeseer": _planetoid("citeseer"),
    "pubmed": _planetoid("pubmed"),
    "ppi": Recipe(ppi.FACTS, ppi.make, partial(ppi.find, may_download=False)),
    "heterophilic": Recipe(heterophilic.FACTS, heterophilic.make, heterophilic.find),
    "movielens": Recipe(movielens.FACTS, movielens.make, movielens.find),
    "metr_la": Recipe(metr_la.FACTS, metr_la.make, metr_la.find),
    "chickenpox": Recipe(chickenpox.FACTS, chickenpox.make, chickenpox.find),
    "graph_process": Recipe(graph_process.FACTS, graph_process.make),
    "tinyshakespeare": Recipe(tinyshakespeare.FACTS, tinyshakespeare.make, tinyshakespeare.find),
    "frame_labels": Recipe(frame_labels.FACTS, frame_labels.make, frame_labels.find),
    "pixel_mnist": Recipe(pixel_mnist.FACTS, pixel_mnist.make, pixel_mnist.find),
}


# type of an option's default -> what is accepted in its place, and how that is called
_KINDS = {
    bool: (bool, "True or False"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "text"),
}


def load(name: str, root: str | Path | None = None, **options: Any) -> Dataset:
    """A data set by name.

    Files are looked for in ``root``, then ``$EDGENET_DATA``, then the repository's ``datasets`` folder, then the user's
    cache; cora, citeseer, pubmed and ppi are then fetched by PyG's downloader into that cache. Sets that are made on
    demand need none of it.

    Args:
        name: a key of ``DATASETS``.
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
    recipe = _recipe(name)
    known = recipe.options()
    for option, value in options.items():
        if option not in known:
            meant = did_you_mean(option, known, 3)
            raise ConfigError(f"{name} has no option {option!r}; it has {', '.join(known)}.{meant}")
        _check_option(name, option, value, known[option])
    return recipe.make(places(root), **options)


def available(root: str | Path | None = None) -> list[dict[str, Any]]:
    """A row per data set: name, title, task, target, metric, shapes, licence, and ``found``: a path, "made on demand"
    or "missing". Downloads nothing.

    Example:
        >>> [row["found"] for row in edgenet.data.available() if row["name"] == "karate"]
        ['made on demand']
    """
    rows = []
    for name, recipe in DATASETS.items():
        facts = recipe.facts
        rows.append(
            {
                "name": name,
                "title": facts.title,
                "task": facts.task,
                "target": facts.target,
                "metric": facts.metric,
                "shapes": dict(facts.shapes),
                "licence": facts.licence,
                "found": _found(recipe, root),
            }
        )
    return rows


def describe(name: str, root: str | Path | None = None) -> dict[str, Any]:
    """All facts of a data set (JSON-able), its options and defaults, the folders it is looked for in, ``found``.

    Example:
        >>> edgenet.data.describe("karate")["task"]
        'node'
    """
    recipe = _recipe(name)
    return {
        "name": name,
        **asdict(recipe.facts),
        "options": recipe.options(),
        "looks_in": [f"{place.path} ({place.label})" for place in places(root)],
        "found": _found(recipe, root),
    }


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
    count = {
        split: int(data[0].y.shape[0]) if dataset.task != "node" else _nodes(data, split)
        for split, data in (("train", dataset.train), ("val", dataset.val), ("test", dataset.test))
    }
    written = None if out is None else str(export(dataset, out))
    return {"name": name, "info": dataset.info, "sizes": count, "out": written}


def _nodes(graphs: list[Any], split: str) -> int:
    return sum(int(data[f"{split}_mask"].sum()) if f"{split}_mask" in data else data.num_nodes for data in graphs)


def _recipe(name: str) -> Recipe:
    if name in DATASETS:
        return DATASETS[name]
    meant = did_you_mean(name, DATASETS, 3)
    raise ConfigError(f"there is no data set {name!r}; there are {', '.join(DATASETS)}.{meant}")


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


def _found(recipe: Recipe, root: str | Path | None) -> str:
    if recipe.find is None:
        return "made on demand"
    try:
        return str(recipe.find(places(root)))
    except DataError:
        return "missing"
