"""Files of ``torch.save``, read without torch's unpickler: tensors, plain containers, and what a reader admits.

``torch.load(weights_only=True)`` runs no code from a file, but makes what the file asks for: a ``bytearray(10**10)``, a
view of stride 0 over 10^9 numbers, more numbers than a record of the archive has, which it reads beyond its end. Here
the pickle is walked by ``pickle_machine``, every claim is compared with the bytes that are there, and then memory is
asked for, once for every storage.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgenet.reading.archives import member, opened_zip, read_into
from edgenet.reading.budget import MIB, TENSORS, Refusal, check_file, told_of
from edgenet.reading.pickle_machine import Machine, Name, Record

_STORAGES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64, "ComplexDoubleStorage": torch.complex128,
}  # fmt: skip
_TENSORS = {
    ("torch._utils", "_rebuild_tensor_v2"): "tensor",
    ("torch._utils", "_rebuild_parameter"): "parameter",
    ("collections", "OrderedDict"): "ordered_dict",
    **{("torch", name): name for name in _STORAGES},
}
_SPARSE = {
    ("torch._utils", "_rebuild_sparse_tensor"): "sparse",
    ("torch.serialization", "_get_layout"): "layout",
    ("torch", "Size"): "size",
}
_DEPTH = 64  # containers inside each other
_MOST_AXES = 64
_VIEWS = (10, 64 * MIB)  # times the file, and more: the numbers that views may show

#: what makes something of the state of an object; it is handed what makes values of what is in the state
Make = Callable[[Any, Callable[[Any], Any]], Any]


def read_torch(
    path: Path, refuse: Refusal, read: str, *, makes: Mapping[tuple[str, str], Make] | None = None, views: bool = False
) -> Any:
    """What a file of ``torch.save`` holds, tensors on the CPU.

    Args:
        read: what is read from such files, for messages.
        makes: further classes whose objects may be in it, each with what is made of an object's state.
        views: whether tensors may be views of others or of themselves, and sparse; what they show together is bounded.

    Raises:
        refuse: if the file is missing, damaged, no zip archive of ``torch.save``, or holds anything else.
    """
    makes = makes or {}
    with opened_zip(path, refuse, TENSORS, packed=False, what="file of torch.save") as archive:
        prefix = _prefix(archive, path, refuse)
        names = {pair: "/".join(pair) for pair in makes}
        admitted = {**_TENSORS, **(_SPARSE if views else {}), **names}
        plain = ("tensor", "parameter", "sparse", "layout", "size", *names.values())
        machine = Machine(str(path), refuse, admitted, read, plain, stored=True)
        content = machine.run(member(archive, f"{prefix}/data.pkl", path, refuse))
        _check_depth(content, path, refuse)
        size = check_file(path, TENSORS, refuse)
        with told_of(path, "damaged, no whole file of tensors", refuse):
            budget = _VIEWS[0] * size + _VIEWS[1] if views else size
            return _Reviver(archive, prefix, path, refuse, budget, views, dict(zip(names.values(), makes.values(),
                            strict=True))).value(content)  # fmt: skip


def _prefix(archive: zipfile.ZipFile, path: Path, refuse: Refusal) -> str:
    """The folder that everything in the archive lies in."""
    found = [name for name in archive.namelist() if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(found) != 1:
        raise refuse(f"{path}: damaged, no whole file of torch.save: no data.pkl is in it.")
    prefix = found[0].removesuffix("/data.pkl")
    order = f"{prefix}/byteorder"
    if order in archive.namelist() and member(archive, order, path, refuse) != b"little":
        raise refuse(f"{path}: its numbers are not little-endian. Save it anew on another machine.")
    return prefix


def _check_depth(content: Any, path: Path, refuse: Refusal) -> None:
    """Level by level, each container once, so that neither depth nor sharing nor circles cost anything."""
    level, seen = [content], {id(content)}
    for _ in range(_DEPTH):
        inside = {id(item): item for outer in level for item in _inside(outer) if id(item) not in seen}
        if not inside:
            return
        level = list(inside.values())
        seen.update(inside)
    raise refuse(f"{path}: holds containers more than {_DEPTH} deep inside each other.")


def _inside(value: Any) -> list[Any]:
    items: list[Any] = []
    if isinstance(value, dict):
        items = list(value.values())
    elif isinstance(value, list | tuple):
        items = list(value)
    elif isinstance(value, Record):
        items = [value.args, value.state]
    return [item for item in items if isinstance(item, dict | list | tuple | Record)]


class _Reviver:
    """Makes values of what the machine left; what stands in several places is made once."""

    def __init__(
        self, archive: zipfile.ZipFile, prefix: str, path: Path, refuse: Refusal, budget: int, views: bool,
        makes: Mapping[str, Make],
    ) -> None:  # fmt: skip
        self.archive, self.prefix, self.path, self.refuse = archive, prefix, path, refuse
        self.left, self.views, self.makes = budget, views, makes
        self.storages: dict[str, Tensor] = {}
        self.made: dict[int, Any] = {}

    def value(self, found: Any) -> Any:
        if not isinstance(found, dict | list | tuple | Record | Name):
            return found
        if id(found) not in self.made:
            self.made[id(found)] = self._made(found)
        return self.made[id(found)]

    def _made(self, found: Any) -> Any:
        if isinstance(found, dict):
            return {key: self.value(item) for key, item in found.items()}
        if isinstance(found, list | tuple):
            return type(found)(self.value(item) for item in found)
        if isinstance(found, Name):
            return found
        if found.kind == "tensor":
            return self._tensor(*found.args[:4])
        if found.kind == "parameter":
            return self.value(found.args[0])
        if found.kind == "size":
            return tuple(self.value(found.args[0]))
        if found.kind == "sparse":
            return self._sparse(*found.args)
        if found.kind in self.makes:
            return self.makes[found.kind](found.state, self.value)
        raise ValueError(f"a {found.kind} where a value should be")

    def _tensor(self, stored: Any, offset: Any, size: Any, stride: Any) -> Tensor:
        storage = self._storage(stored)
        for axes in (size, stride):
            axes = axes.args[0] if isinstance(axes, Record) and axes.kind == "size" else axes
            if not isinstance(axes, tuple) or len(axes) > _MOST_AXES or not all(map(_whole, axes)):
                raise ValueError(f"a tensor of size {size!s:.60} and stride {stride!s:.60}")
        size, stride = (axes.args[0] if isinstance(axes, Record) else axes for axes in (size, stride))
        numbers = math.prod(size)
        last = offset + sum((a - 1) * b for a, b in zip(size, stride, strict=True)) if _whole(offset) else -1
        if numbers and not 0 <= last < len(storage):
            raise ValueError(f"a tensor of size {size} that reaches beyond its {len(storage)} numbers")
        self._take(numbers * storage.element_size(), f"a tensor of size {size}")
        if not numbers:
            return torch.empty(size, dtype=storage.dtype)
        made = storage.as_strided(size, stride, offset)
        if not self.views and not made.is_contiguous():
            raise ValueError(f"a tensor of size {size} and stride {stride}, where plain ones are written")
        return made

    def _take(self, amount: int, what: str) -> None:
        self.left -= amount
        if self.left < 0:
            raise ValueError(f"{what} is more than a file of its size may show")

    def _storage(self, stored: Any) -> Tensor:
        what = stored.args[0] if isinstance(stored, Record) and stored.kind == "stored" else ()
        if not (isinstance(what, tuple) and len(what) == 5 and what[0] == "storage" and isinstance(what[1], Name)):
            raise ValueError("a tensor without numbers")
        _, kind, key, _, claimed = what
        dtype = _STORAGES.get(kind.name)
        if dtype is None or not isinstance(key, str) or not _whole(claimed):
            raise ValueError(f"numbers of an unknown kind, {kind.name}")
        if key not in self.storages:
            self.storages[key] = self._read(f"{self.prefix}/data/{key}")
        held = self.storages[key]
        if claimed * dtype.itemsize != len(held):
            raise ValueError(f"{claimed} numbers of {dtype} that have {len(held)} bytes")
        return held.view(dtype)

    def _read(self, name: str) -> Tensor:
        try:
            size = self.archive.getinfo(name).file_size
        except KeyError:
            raise ValueError(f"numbers that are not there, {name[:80]}") from None
        held = torch.empty(size, dtype=torch.uint8)
        if size:
            read_into(self.archive, name, memoryview(held.numpy().data), self.path, self.refuse)
        return held

    def _sparse(self, layout: Any, data: Any) -> Tensor:
        """A sparse tensor, which whoever admits views writes out."""
        kind = layout.args[0] if isinstance(layout, Record) and layout.kind == "layout" else None
        parts = self.value(data)
        if kind != "torch.sparse_coo" or not isinstance(parts, tuple) or len(parts) < 3:
            raise ValueError(f"a sparse tensor of layout {kind!s:.40}")
        indices, values, size = parts[:3]
        if not isinstance(size, tuple) or len(size) > _MOST_AXES or not all(map(_whole, size)):
            raise ValueError(f"a sparse tensor of size {size!s:.60}")
        self._take(math.prod(size) * values.element_size(), f"a sparse tensor of size {size}, written out,")
        return torch.sparse_coo_tensor(indices, values, size, check_invariants=True)


def _whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62
