"""Where the files of every data set are, if they are here. Without torch, for the command line lists them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgenet.data.facts import (
    CHICKENPOX_FILES,
    FACTS,
    METR_LA_FILE,
    MNIST_FILES,
    PLANETOID,
    WEBKB_EDGES,
    WEBKB_NODES,
)
from edgenet.data.places import Place, Search, lacks_files, not_found, search

PLANETOID_PARTS = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")
PPI_FILES = tuple(
    f"{split}_{part}"
    for split in ("train", "valid", "test")
    for part in ("graph.json", "feats.npy", "labels.npy", "graph_id.npy")
)
#: folders of a graph of WebKB, by its name
WEBKB_FOLDERS = ("{0}/raw", "webkb/{0}/raw", "WebKB/{0}/raw", "heterophilic/{0}/raw", "{0}/geom_gcn/raw", "{0}")
SHAKESPEARE_FILES = ("tinyshakespeare.txt.gz", "tinyshakespeare.txt", "input.txt")


def _no_file(path: Path) -> str | None:
    return None if path.is_file() else "no such file"


def _no_ppi(path: Path) -> str | None:
    if path.is_file():
        return None if path.suffix == ".zip" else "no zip file"
    return lacks_files(PPI_FILES)(path) if "*" not in path.name else "no zip file in that folder"


@dataclass(frozen=True)
class Files:
    """What is looked for.

    Attributes:
        what: in the message of a miss.
        layouts: paths below a folder, with ``*`` allowed.
        amiss: what is wrong with a path, or None when it is the one.
    """

    what: str
    layouts: Sequence[str]
    amiss: Callable[[Path], str | None] = _no_file


def _planetoid(name: str) -> Files:
    spelling = PLANETOID[name]
    wanted = lacks_files([f"ind.{name}.{part}" for part in PLANETOID_PARTS])
    return Files(f"ind.{name}.* (8 files)", (f"planetoid/{spelling}/raw", f"{spelling}/raw", f"{name}/raw"), wanted)


def webkb(graph: str = "texas") -> Files:
    """The two files of a graph of WebKB."""
    wanted = lacks_files((WEBKB_NODES, WEBKB_EDGES))
    return Files(f"{WEBKB_NODES} and {WEBKB_EDGES} of {graph}", [f.format(graph) for f in WEBKB_FOLDERS], wanted)


_MNIST = Files(MNIST_FILES[2], ("mnist", "MNIST/raw"), lacks_files(MNIST_FILES))
#: Of the data sets that are made of files; others are made on demand.
FILES: dict[str, Files] = {
    **{name: _planetoid(name) for name in PLANETOID},
    "ppi": Files(
        f"a zip file, or a folder with {PPI_FILES[0]} and so on (12 files),",
        ("ppi/raw", "ppi/*.zip", "PPI/raw", "PPI/*.zip", "ppi", "ppi*.zip"),
        _no_ppi,
    ),
    "heterophilic": webkb(),
    "movielens": Files("u.data", ("movielens/u.data", "movielens/ml-100k/u.data", "ml-100k/u.data", "u.data")),
    "metr_la": Files(METR_LA_FILE, (METR_LA_FILE, f"metr_la/{METR_LA_FILE}")),
    "chickenpox": Files(CHICKENPOX_FILES[0], (*CHICKENPOX_FILES, *(f"chickenpox/{file}" for file in CHICKENPOX_FILES))),
    "tinyshakespeare": Files(
        SHAKESPEARE_FILES[1], (*SHAKESPEARE_FILES[:2], *(f"tinyshakespeare/{name}" for name in SHAKESPEARE_FILES))
    ),
    "frame_labels": _MNIST,
    "pixel_mnist": _MNIST,
}


def looked(name: str, where: Sequence[Place]) -> Search:
    """What a search for the files of a data set found, and where it looked."""
    return search(where, FILES[name].layouts, FILES[name].amiss)


def find(name: str, where: Sequence[Place], files: Files | None = None) -> Path:
    """The file or folder of a data set. Nothing is fetched.

    Args:
        files: what is looked for, where it is not what ``FILES`` has.

    Raises:
        DatasetNotFoundError: if there is none; with everything that was tried, and the way to a copy.
    """
    files = files or FILES[name]
    result = search(where, files.layouts, files.amiss)
    if result.found is None:
        raise not_found(name, files.what, result.tried, FACTS[name].how_to_get)
    return result.found
