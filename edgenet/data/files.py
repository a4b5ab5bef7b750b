"""Files: their checksums, and writing them so that no reader ever sees half of one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgenet import reading
from edgenet.errors import DataError
from edgenet.writing import replaced


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
    return reading.content(path, reading.DATA, DataError)


def read_lines(path: Path) -> list[str]:
    """The lines of a text in UTF-8; ``DataError`` where it cannot be read, or is none."""
    try:
        return read_bytes(path).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no text in UTF-8 (byte {error.start}).") from error


def read_npz(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file, or some of them; ``DataError`` as of ``reading.read_npz``."""
    return reading.read_npz(path, DataError, names)


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes plain arrays (no objects) to ``path``, whole or not at all.

    Raises:
        OSError: if the folder cannot be made or written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
