"""Files of rows: safetensors, written and read piece by piece, with checksums of our own."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from edgenet.errors import CheckpointError

WEIGHT, STATE = "weight", "state"
_AT_ONCE = 1 << 16  # rows that are written or read at once
_BYTES = 4  # of a float32
_LONGEST_HEADER = 1 << 16


def header(rows: int, columns: int, has_state: bool) -> bytes:
    """The start of a safetensors file of ``weight`` (rows, columns) and perhaps ``state`` (rows,), of float32."""
    sizes = {WEIGHT: [rows, columns]} | ({STATE: [rows]} if has_state else {})
    entries, start = {}, 0
    for name, shape in sizes.items():
        end = start + int(np.prod(shape)) * _BYTES
        entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def write(file: IO[bytes], weight: Tensor, state: Tensor | None) -> str:
    """Write rows; returns the SHA-256 of all bytes."""
    digest = hashlib.sha256()

    def put(data: Any) -> None:
        digest.update(data)
        file.write(data)

    rows, columns = weight.shape
    put(header(rows, columns, state is not None))
    for tensor in (weight,) if state is None else (weight, state):
        for piece in tensor.detach().split(_AT_ONCE):
            put(piece.cpu().contiguous().numpy().astype("<f4", copy=False).data.cast("B") if len(piece) else b"")
    return digest.hexdigest()


def check_digest(path: Path, wanted: str) -> None:
    """
    Raises:
        CheckpointError: if the file is missing, or holds other bytes than were written.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}.") from error
    if found != wanted:
        raise CheckpointError(f"{path}: damaged, its checksum does not fit. Take another copy of the checkpoint.")


def offsets(path: Path, rows: int, columns: int) -> dict[str, int]:
    """Where the numbers of a file begin that ``write`` wrote for so many rows and columns.

    Raises:
        CheckpointError: if it is another file.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            start = file.read(min(length, _LONGEST_HEADER))
    except (OSError, struct.error) as error:
        raise CheckpointError(f"{path}: cannot be read as a table of rows ({error}).") from error
    for has_state in (True, False):
        known = header(rows, columns, has_state)
        ends = {WEIGHT: rows * columns * _BYTES} | ({STATE: rows * (columns + 1) * _BYTES} if has_state else {})
        if known[8:] == start and path.stat().st_size == len(known) + max(ends.values()):
            return {WEIGHT: len(known)} | ({STATE: len(known) + ends[WEIGHT]} if has_state else {})
    raise CheckpointError(f"{path}: holds no table of {rows} rows of {columns} numbers.")


def read(path: Path, first: int, last: int) -> tuple[Tensor, Tensor | None]:
    """Rows from ``first`` to before ``last`` of a file, and their state where it has one.

    Raises:
        CheckpointError: if it has none such.
    """
    try:
        with safe_open(path, "pt") as file:
            weight = file.get_slice(WEIGHT)[first:last]
            state = file.get_slice(STATE)[first:last] if STATE in file.keys() else None  # noqa: SIM118  no mapping
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: damaged, or no table of rows ({str(error).splitlines()[0]}).") from error
    if weight.dtype != torch.float32 or weight.dim() != 2 or len(weight) != last - first:
        raise CheckpointError(f"{path}: holds {tuple(weight.shape)} of {weight.dtype}, not {last - first} rows.")
    return weight, state
