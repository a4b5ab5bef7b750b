"""NumPy's files: plain arrays, whose headers are held against the bytes that are there before memory is asked for."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib.format import MAGIC_PREFIX

from edgenet.reading.archives import first_bytes, member, opened_zip
from edgenet.reading.budget import Refusal, told_of

_MOST_AXES = 32
_HEADER = 10_000  # bytes; numpy evaluates it as a Python literal


def read_npz(path: Path, refuse: Refusal, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file.

    Args:
        names: those to read; default: all. One that is not there is left out.

    Raises:
        refuse: the file is damaged, is no ``.npz``, holds Python objects, which are refused and not made, claims larger
            arrays than its bytes can hold, or unpacks to more than its budget.
    """
    whole = f"no whole .npz file of plain arrays ({path.stat().st_size if path.is_file() else 0} bytes)"
    if first_bytes(path, len(MAGIC_PREFIX)) == MAGIC_PREFIX:
        raise refuse(f"{path}: {whole}: it is one bare array, an .npy file.")
    with opened_zip(path, refuse, what=".npz file of plain arrays") as archive, told_of(path, whole, refuse):
        arrays = {}
        for item in archive.infolist():
            name = item.filename.removesuffix(".npy")
            if names is None or name in names:
                _check_member(archive, item, refuse, path)
                arrays[name] = _array(member(archive, item.filename, path, refuse))
        return arrays


def _check_member(archive: zipfile.ZipFile, item: zipfile.ZipInfo, refuse: Refusal, path: Path) -> None:
    try:
        with archive.open(item) as head:
            check_npy(head, item.file_size, item.filename)
    except MemoryError:
        raise refuse(f"{path}: {item.filename[:80]} claims more memory than there is.") from None


def parse_npy(data: bytes, name: str, refuse: Refusal, where: Path) -> np.ndarray:
    """The array of an ``.npy`` file in memory.

    Raises:
        refuse: as ``read_npz``.
    """
    with told_of(where, f"{name} is no whole array of numbers ({len(data)} bytes)", refuse):
        check_npy(io.BytesIO(data), len(data), name)
        return _array(data)


def _array(data: bytes) -> np.ndarray:
    return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False, max_header_size=_HEADER)


def check_npy(file: IO[bytes], size: int, name: str) -> None:
    """Holds the header of an ``.npy`` file against its size, before numpy asks for the memory that the header claims.

    Args:
        file: at its start.
        size: bytes that are there.
        name: what the message calls it.

    Raises:
        ValueError: no ``.npy`` file, one of Python objects, or one too short for the array it claims.
    """
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):  # 3 is for records with names that are no latin1
        raise ValueError(f"{name} is of .npy version {version}; plain arrays have 1 or 2")
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file, max_header_size=_HEADER)
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which could run code")
    if len(shape) > _MOST_AXES or any(type(axis) is not int or axis < 0 for axis in shape):
        raise ValueError(f"{name} claims shape {shape!s:.80}")
    # a size of 0 makes the array empty, yet numpy multiplies the others
    beyond = math.prod(axis for axis in shape if axis) * max(dtype.itemsize, 1) >= 1 << 62
    if beyond or math.prod(shape) * max(dtype.itemsize, 1) > size - file.tell():
        raise ValueError(f"{name} claims shape {shape!s:.80} of {dtype}, more than its {size} bytes hold")
