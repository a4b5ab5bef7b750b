"""The compiled CPU kernels: which shared object is loaded, and what the ops' ``native.py`` call it with.

Three objects are built at installation from the same C++ files (setup.py): for any processor, for AVX2 and for AVX-512.
They are plain C functions called through ctypes, which releases the interpreter's lock, and run their loops on torch's
own threads. Without a compiler none is there, and the library runs on its portable path.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgenet.errors import EdgeIndexError
from edgenet.graph import Graph

#: dtypes that the kernels store, by their number in the C functions; half precision is summed in float32
DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2}
#: objects that a processor can run, best first, by what torch says of it
OBJECTS = {"AVX512": ("_v4", "_v3", "_base"), "AVX2": ("_v3", "_base")}
_ABI = 6  # of the C functions, as native/order.cpp has it
_WIDE_FROM = 2**31  # nodes or edges from which indices are int64

_P, _I, _L, _D, _U = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_double, ctypes.c_uint64
_ATTENTION = (None, [_P, _I, _I, _P, _P, _P, _L, _L, *[_P] * 6, _D, _D, _U, _L, _L, _I])
_ATTENTION_BACKWARD = (None, [_P, _I, _I, _P, _P, _L, _P, _P, _P, _L, *[_P] * 11, _D, _D, _U, _L, _L, _I])
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "edgenet_walk": (None, [_P, _I, _I, _P, _P, _P, _L, _L, _P, _P, _P, _P, _P, _L, _L, _I]),
    "edgenet_segment_softmax": (None, [_P, _I, _I, _P, _P, _L, _P, _P, _P, _L]),
    "edgenet_attention": _ATTENTION,
    "edgenet_attention_backward": _ATTENTION_BACKWARD,
    "edgenet_attention_v2": _ATTENTION,
    "edgenet_attention_v2_backward": _ATTENTION_BACKWARD,
    "edgenet_dropout": (None, [_P, _I, _P, _P, _L, _D, _U]),
    "edgenet_codes_linear": (None, [_P, _P, _L, _I, _I, _P, _P, _I, _P, _L, _L, _L, _P]),
    "edgenet_unified_linear": (None, [_P, _P, _P, _L, _P, _L, _L, _L, _P]),
    "edgenet_sample_neighbors": (_I, [_P, _L, _P, _P, _P, _P, _I, _U, _P]),
    "edgenet_number_nodes": (_L, [_P, _L, _I, _I, _L, _L, _P, _L, _P, _P]),
    "edgenet_sort": (_I, [_I, _L, _L, _L, _P, _P, _P, _P, _P]),
    "edgenet_lstm_gates": (None, [*[_P] * 7, _L, _L]),
    "edgenet_lstm_gates_backward": (None, [*[_P] * 8, _L, _L]),
    "edgenet_gru_gates": (None, [*[_P] * 6, _L, _L]),
    "edgenet_gru_gates_backward": (None, [*[_P] * 8, _L, _L]),
    "edgenet_abi": (_I, []),
    "edgenet_xnor": (None, [_P, _I, _P, _P, _P, _L, _L, _L, _L]),
    "edgenet_xnor_form": (_I, []),
    "edgenet_pack_signs": (_I, [_P, _I, _I, _P, _P, _L, _L]),
    "edgenet_pack_above": (None, [_P, _I, _P, _P, _P, _P, _L, _L]),
    "edgenet_naive_product": (None, [_P, _P, _P, _L, _L, _L]),
}  # fmt: skip


@cache
def path() -> Path | None:
    """The shared object for this processor; None where none was built. Looked for in ``EDGENET_NATIVE_DIR``, if set."""
    folder = Path(os.environ.get("EDGENET_NATIVE_DIR") or Path(__file__).parent)
    names = OBJECTS.get(torch.backends.cpu.get_cpu_capability(), ("_base",))
    # the plain name first: those with a tag of one Python were built by older versions of setup.py
    found = (folder / (name + suffix) for name in names for suffix in reversed(EXTENSION_SUFFIXES))
    return next((file for file in found if file.exists()), None)


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels; None where they are absent or broken, or ``EDGENET_NO_NATIVE`` is set."""
    file = path()
    if file is None or os.environ.get("EDGENET_NO_NATIVE"):
        return None
    try:
        loaded = ctypes.CDLL(str(file))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):  # built for another machine, or by another version of the library
        return None
    return loaded if loaded.edgenet_abi() == _ABI else None


@cache
def vectorised() -> bool:
    """Whether the kernels were built for the vectors of this processor, and not for any processor."""
    return library() is not None and not path().name.startswith("_base")


@cache
def threads() -> int | None:
    """Address of torch's parallel loop; None where this torch has none, and the kernels run on one thread."""
    try:
        torch_cpu = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        return ctypes.cast(torch_cpu.torch_parallel_for, ctypes.c_void_p).value
    except (OSError, AttributeError):
        return None


def pool() -> int | None:
    """What the kernels run their loops on: null for one thread."""
    return None if torch.get_num_threads() == 1 else threads()


@dataclass(frozen=True)
class Order:
    """The edges of a graph row after row, as the kernels read them.

    Attributes:
        rows, nodes: number of rows, and of nodes at the other end.
        wide: 1 if indices are int64, else 0: int32.
        ptr: (rows + 1,) where each row's edges begin.
        other: (E,) node at the other end.
        edge: (E,) column of ``edge_index``; None where the edges stand in this order already.
        pointers: addresses of the three.
    """

    rows: int
    nodes: int
    wide: int
    ptr: Tensor
    other: Tensor
    edge: Tensor | None
    pointers: tuple[int, int, int | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pointers", (self.ptr.data_ptr(), self.other.data_ptr(), pointer(self.edge)))


def by_target(graph: Graph) -> Order:
    """The edges target after target; built once for a graph."""
    return graph.memo(("native", 1), lambda: _order(graph, 1))


def by_source(graph: Graph) -> Order:
    """The edges source after source."""
    return graph.memo(("native", 0), lambda: _order(graph, 0))


def places(graph: Graph) -> Tensor:
    """(E,) for every edge in target order, its place in source order."""

    def build() -> Tensor:
        target, source = by_target(graph), by_source(graph)
        place = torch.arange(graph.num_edges, dtype=source.ptr.dtype, device="cpu")
        if source.edge is not None:
            place = torch.empty_like(place).scatter_(0, source.edge.long(), place)
        return place if target.edge is None else place[target.edge]

    return graph.memo("native places", build)


def _order(graph: Graph, row: int) -> Order:
    rows, nodes = (graph.num_sources, graph.num_nodes) if row == 0 else (graph.num_nodes, graph.num_sources)
    wide = max(rows + 1, nodes, graph.num_edges) >= _WIDE_FROM
    ends = graph.edge_index.contiguous()
    dtype = torch.int64 if wide else torch.int32
    sizes = rows + 1, graph.num_edges, graph.num_edges
    ptr, other, edge = (torch.empty(size, dtype=dtype, device="cpu") for size in sizes)
    sorted_already = library().edgenet_sort(
        wide, rows, nodes, graph.num_edges, ends[row].data_ptr(), ends[1 - row].data_ptr(), ptr.data_ptr(),
        other.data_ptr(), edge.data_ptr(),
    )  # fmt: skip
    if sorted_already < 0:
        raise EdgeIndexError(
            "the edges were changed behind torch's back (through a shared array, or .data), and name nodes that the "
            "graph has not. Make a new Graph of changed edges."
        )
    return Order(rows, nodes, int(wide), ptr, other, None if sorted_already else edge)


def wide(dtype: torch.dtype) -> torch.dtype:
    """The dtype of sums."""
    return torch.promote_types(dtype, torch.float32)


def pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
