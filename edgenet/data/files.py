"""Files: their checksums, and writing them so that no reader ever sees half of one."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgenet.errors import DataError


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
        DataError: the file is damaged, is no ``.npz``, or holds Python objects, which are refused and not made.
    """
    try:
        with open(path, "rb") as file:
            arrays = np.load(file, allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError("one bare array, an .npy file")
            return dict(arrays)
    except (OSError, ValueError, EOFError, KeyError, zlib.error, zipfile.BadZipFile, NotImplementedError) as error:
        size = path.stat().st_size if path.is_file() else 0
        raise DataError(f"{path}: no whole .npz file of plain arrays ({size} bytes): {error}") from error


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes plain arrays (no objects) to ``path``, whole or not at all: into a temporary file beside it, then renamed.

    Raises:
        OSError: if the folder cannot be made or written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
