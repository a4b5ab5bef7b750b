"""Files: their checksums, and writing them so that no reader ever sees half of one."""

from __future__ import annotations

import hashlib
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from edgenet.errors import DataError
from edgenet.plainly import words
from edgenet.writing import replaced

_MAX_RATIO = 1032  # deflate makes nothing smaller than this


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def check_sha256(content: bytes, expected: str | None, path: Path) -> None:
    """Raises ``DataError`` when the content of ``path`` is not the one that is known. No known one: passes."""
    if expected is not None and (got := sha256(content)) != expected:
        raise DataError(
            f"{path}: sha256 is {got}, expected {expected}: the file ({len(content)} bytes) is damaged or edited. "
            f"Fetch it again, or pass verify=False to use it as it is."
        )


def read_bytes(path: Path) -> bytes:
    """The whole file; ``DataError`` where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file.

    Raises:
        DataError: the file is damaged, is no ``.npz``, holds Python objects, which are refused and not made, or claims
            larger arrays than its bytes can hold.
    """
    try:
        with open(path, "rb") as file:
            arrays = np.load(file, allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError("one bare array, an .npy file")
            for member in arrays.zip.infolist():
                # the size of a member is a claim as well; its packed bytes bound it
                packed = min(member.compress_size, path.stat().st_size)
                ratio = 1 if member.compress_type == zipfile.ZIP_STORED else _MAX_RATIO
                with arrays.zip.open(member) as content:
                    check_npy(content, min(member.file_size, packed * ratio), member.filename)
            return dict(arrays)
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        MemoryError,
        OverflowError,
        RuntimeError,
        zlib.error,
        zipfile.BadZipFile,
    ) as error:
        size = path.stat().st_size if path.is_file() else 0
        if isinstance(error, OSError) and error.strerror:
            why = error.strerror
        else:
            why = "its packed bytes are damaged" if isinstance(error, zlib.error) else words(error)
        raise DataError(f"{path}: no whole .npz file of plain arrays ({size} bytes): {why}.") from error


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
    shape, _, dtype = header(file)
    claimed = math.prod(shape) * max(dtype.itemsize, 1)
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which could run code")
    if claimed > size - file.tell():
        raise ValueError(f"{name} claims shape {shape!s:.80} of {dtype}, more than its {size} bytes hold")


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes plain arrays (no objects) to ``path``, whole or not at all.

    Raises:
        OSError: if the folder cannot be made or written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
