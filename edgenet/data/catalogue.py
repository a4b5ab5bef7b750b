"""The data sets by name: what is known of each, and what makes it. Without torch, until one is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenet.data.facts import FACTS, PLANETOID, Facts
from edgenet.data.finding import FILES, find
from edgenet.data.places import places
from edgenet.errors import ConfigError, DataError
from edgenet.text import did_you_mean

if TYPE_CHECKING:
    from edgenet.data.dataset import Dataset


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
        return {name: value for name, value in options_of(self.make).items() if name != "name"}


class Maker:
    """``make`` of a module, which is imported when it is called or its options are asked for.

    Args:
        module: of ``edgenet.data``.
        given: arguments that it always gets.
    """

    def __init__(self, module: str, **given: Any) -> None:
        self.module, self.given = module, given

    def __call__(self, *args: Any, **options: Any) -> Dataset:
        return self._made()(*args, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._made())

    def _made(self) -> Callable[..., Dataset]:
        return partial(import_module(f"edgenet.data.{self.module}").make, **self.given)


def options_of(make: Callable[..., Dataset]) -> dict[str, Any]:
    """The options of what makes a data set, and their defaults."""
    parameters = inspect.signature(make).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


DATASETS: dict[str, Recipe] = {
    name: Recipe(
        facts,
        Maker("planetoid", name=name) if name in PLANETOID else Maker(name),
        partial(find, name) if name in FILES else None,
    )
    for name, facts in FACTS.items()
}


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
    recipe = recipe_of(name)
    return {
        "name": name,
        **asdict(recipe.facts),
        "options": recipe.options(),
        "looks_in": [f"{place.path} ({place.label})" for place in places(root)],
        "found": _found(recipe, root),
    }


def recipe_of(name: str) -> Recipe:
    """The recipe of a data set.

    Raises:
        ConfigError: if there is none of that name; with near ones.
    """
    if name in DATASETS:
        return DATASETS[name]
    meant = did_you_mean(name, DATASETS, 3)
    raise ConfigError(f"there is no data set {name!r}; there are {', '.join(DATASETS)}.{meant}")


def _found(recipe: Recipe, root: str | Path | None) -> str:
    if recipe.find is None:
        return "made on demand"
    try:
        return str(recipe.find(places(root)))
    except DataError:
        return "missing"
