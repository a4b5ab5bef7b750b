"""Reading: every file from outside comes in here, within a budget that is known before anything is allocated.

A reader is told which error of ``edgenet.errors`` to raise; whatever is wrong with a file is said by that, with the
file's name and the place. Nothing in a file is executed. ``tests/test_readers.py`` finds whoever opens a file for
reading elsewhere.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgenet.reading.budget import DATA, TENSORS, TEXT, Budget, Deadline, Refusal, content, told_of

if TYPE_CHECKING:
    from edgenet.reading.archives import first_bytes, member, opened_zip, read_gzip
    from edgenet.reading.arrays import parse_npy, read_npz
    from edgenet.reading.patterns import matches
    from edgenet.reading.tensors import parse_tensors, read_index, read_tensors
    from edgenet.reading.texts import parse_json, parse_toml, read_json, read_toml
    from edgenet.reading.torch_file import read_torch

__all__ = [
    "DATA",
    "TENSORS",
    "TEXT",
    "Budget",
    "Deadline",
    "Refusal",
    "content",
    "first_bytes",
    "matches",
    "member",
    "opened_zip",
    "parse_json",
    "parse_npy",
    "parse_tensors",
    "parse_toml",
    "read_gzip",
    "read_index",
    "read_json",
    "read_npz",
    "read_tensors",
    "read_toml",
    "read_torch",
    "told_of",
]

# where the others are, which are imported when they are asked for: some need torch or numpy
_FROM = {
    **dict.fromkeys(("first_bytes", "member", "opened_zip", "read_gzip"), "archives"),
    **dict.fromkeys(("parse_npy", "read_npz"), "arrays"),
    "matches": "patterns",
    **dict.fromkeys(("parse_tensors", "read_index", "read_tensors"), "tensors"),
    **dict.fromkeys(("parse_json", "parse_toml", "read_json", "read_toml"), "texts"),
    "read_torch": "torch_file",
}


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FROM[name]}"), name)
