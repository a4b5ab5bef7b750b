"""Reading: every file from outside comes in here, within a budget that is known before anything is allocated.

A reader is told which error of ``edgenet.errors`` to raise; whatever is wrong with a file is said by that, with the
file's name and the place. Nothing in a file is executed. ``tests/test_architecture.py`` finds whoever opens a file for
reading elsewhere.
"""

from edgenet.reading.archives import first_bytes, member, opened_zip, read_gzip
from edgenet.reading.arrays import parse_npy, read_npz
from edgenet.reading.budget import DATA, TENSORS, TEXT, Budget, Deadline, Refusal, content, told_of
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
