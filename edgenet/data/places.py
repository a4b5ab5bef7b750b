"""Where files are looked for: a given root, $EDGENET_DATA, the repository, the user's cache; in this order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgenet.errors import DatasetNotFoundError

ENVIRONMENT = "EDGENET_DATA"


@dataclass(frozen=True)
class Place:
    """A folder to look in, and why it is one. ``given`` is the root a caller named: there files may lie loosely."""

    label: str
    path: Path
    given: bool = False


@dataclass(frozen=True)
class Search:
    """What a search found, and everywhere it looked: (path, what was amiss there)."""

    found: Path | None
    tried: list[tuple[Path | str, str]]


def places(root: str | Path | None = None) -> list[Place]:
    """The folders to look in, best first."""
    listed = []
    if root is not None:
        listed.append(Place("the given root", Path(root).expanduser(), given=True))
    if os.environ.get(ENVIRONMENT):
        listed.append(Place(f"${ENVIRONMENT}", Path(os.environ[ENVIRONMENT]).expanduser()))
    repository = _repository()
    if repository is not None:
        listed.append(Place("the repository", repository / "datasets"))
    listed.append(Place("the user's cache", cache_folder()))
    return listed


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/edgenet``, by default ``~/.cache/edgenet``. May not exist, may not be writable."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "edgenet"


def search(where: Iterable[Place], layouts: Sequence[str], amiss: Callable[[Path], str | None]) -> Search:
    """The first path that has what is wanted.

    Args:
        where: the folders, best first.
        layouts: paths below a folder, with ``*`` allowed. In a given root also the root itself and its ``raw``.
        amiss: what is wrong with a path, or None when it is the one.
    """
    tried: list[tuple[Path | str, str]] = []
    for place in where:
        for layout in (*layouts, "raw", ".") if place.given else layouts:
            for path in _expand(place.path, layout):
                problem = amiss(path)
                if problem is None:
                    return Search(path, tried)
                tried.append((path, f"{place.label}: {problem}"))
    return Search(None, tried)


def lacks_files(names: Sequence[str]) -> Callable[[Path], str | None]:
    """An ``amiss`` for a folder that must hold all of ``names``."""

    def amiss(folder: Path) -> str | None:
        if not folder.is_dir():
            return "no such folder"
        missing = [name for name in names if not (folder / name).is_file()]
        if not missing:
            return None
        return f"lacks {', '.join(missing)}" if len(missing) < len(names) else "none of the files are in it"

    return amiss


def not_found(name: str, what: str, tried: Sequence[tuple[Path | str, str]], how_to_get: str) -> DatasetNotFoundError:
    """The error of a miss: everything that was tried, and the way to a copy."""
    lines = "".join(f"\n  - {path} ({problem})" for path, problem in tried)
    return DatasetNotFoundError(f"{name}: no copy found. Looked for {what} at:{lines}\nTo get it: {how_to_get}")


def _expand(folder: Path, layout: str) -> list[Path]:
    """Paths a layout stands for; a pattern without a match stands for itself, so that a miss can name it."""
    if layout == ".":
        return [folder]
    if "*" not in layout:
        return [folder / layout]
    return sorted(folder.glob(layout)) if folder.is_dir() and any(folder.glob(layout)) else [folder / layout]


def _repository() -> Path | None:
    """The checkout this file belongs to; None when installed, where a folder named datasets may be anybody's."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() and (root / "datasets").is_dir() else None
