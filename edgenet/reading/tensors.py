"""safetensors files: an index of plain claims, compared with the bytes that follow it, before one tensor is made."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from edgenet.reading.budget import TENSORS, Budget, Refusal, check_file, told_of
from edgenet.reading.texts import parse_json

_INDEX = Budget(bytes=100 << 20, elements=20_000_000, depth=4)  # as safetensors itself allows
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
    "U16": torch.uint16, "U32": torch.uint32, "U64": torch.uint64, "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip
_Entries = dict[str, tuple[str, tuple[int, ...], int, int]]  # name: dtype, shape, first byte, byte after the last
_WHOLE = "damaged, cut short, or no file of tensors"


def read_index(path: Path, refuse: Refusal) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The dtype, as safetensors calls it, and the shape of every tensor in a file.

    Raises:
        refuse: if it cannot be read, or the claims of its index are not what its bytes hold.
    """
    with told_of(path, _WHOLE, refuse):
        check_file(path, TENSORS, refuse)
        with open(path, "rb") as file:
            _, entries = _head(file, path, refuse)
        return {name: (dtype, shape) for name, (dtype, shape, _, _) in entries.items()}


def parse_tensors(data: bytes, path: Path, refuse: Refusal) -> dict[str, Tensor]:
    """The tensors of a file in memory, on the CPU.

    Raises:
        refuse: as ``read_index``.
    """
    with told_of(path, _WHOLE, refuse):
        head = int.from_bytes(data[:8], "little")
        entries = _entries(data[8 : 8 + min(head, _INDEX.bytes)], head, len(data), path, refuse)
        numbers = memoryview(data)[8 + head :]
        return {
            name: _tensor(numbers[begin:end], dtype, shape) for name, (dtype, shape, begin, end) in entries.items()
        }


def read_tensors(path: Path, refuse: Refusal, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """Some of the tensors of a file, on the CPU; of the others nothing is read.

    Raises:
        refuse: as ``read_index``.
    """
    with told_of(path, _WHOLE, refuse):
        check_file(path, TENSORS, refuse)
        with open(path, "rb") as file:
            head, entries = _head(file, path, refuse)
            made = {}
            for name, (dtype, shape, begin, end) in entries.items():
                if wanted(name):
                    file.seek(8 + head + begin)
                    made[name] = _tensor(file.read(end - begin), dtype, shape)
            return made


def _tensor(numbers: bytes | memoryview, dtype: str, shape: tuple[int, ...]) -> Tensor:
    held = torch.empty(len(numbers), dtype=torch.uint8)
    held.numpy()[:] = np.frombuffer(numbers, np.uint8)
    return held.view(_DTYPES[dtype]).reshape(shape)


def _head(file: IO[bytes], path: Path, refuse: Refusal) -> tuple[int, _Entries]:
    size = path.stat().st_size
    head = int.from_bytes(file.read(8), "little")
    return head, _entries(file.read(head) if head <= _INDEX.bytes else b"", head, size, path, refuse)


def _entries(text: bytes, head: int, size: int, path: Path, refuse: Refusal) -> _Entries:
    if not 2 <= head <= min(_INDEX.bytes, size - 8) or len(text) != head:
        raise ValueError(f"its index is said to have {head} bytes, in a file of {size}")
    index = parse_json(text, f"{path}: its index", refuse, _INDEX)
    if not isinstance(index, dict):
        raise ValueError("its index is no table")
    index.pop("__metadata__", None)
    entries = {name: _entry(name, entry) for name, entry in index.items()}
    there = 0
    for name, (_, _, begin, end) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if begin != there:
            raise ValueError(f"{name[:80]} begins at byte {begin}, and the tensor before it ends at {there}")
        there = end
    if there != size - 8 - head:
        raise ValueError(f"its tensors have {there} bytes, and {size - 8 - head} are there")
    return entries


def _entry(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    dtype, shape, place = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    if dtype not in _DTYPES:
        raise ValueError(f"{name[:80]} is of dtype {dtype!s:.20}; there are {', '.join(_DTYPES)}")
    whole = all(
        isinstance(numbers, list) and all(type(n) is int and 0 <= n < 1 << 62 for n in numbers)
        for numbers in (shape, place)
    )
    if not whole or len(place) != 2 or len(shape) > 64:
        raise ValueError(f"{name[:80]} is of shape {shape!s:.60} at {place!s:.40}")
    if math.prod(shape) * _DTYPES[dtype].itemsize != place[1] - place[0]:
        raise ValueError(f"{name[:80]} of shape {shape!s:.60} and {dtype} has {place[1] - place[0]} bytes")
    return dtype, tuple(shape), place[0], place[1]
