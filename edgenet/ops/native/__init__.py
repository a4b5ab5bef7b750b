"""The compiled CPU kernels: which shared object is loaded, and its functions. They are called through ``gate`` alone.

Three objects are built at installation from the same C++ files (setup.py): for any processor, for AVX2 and for AVX-512.
They are plain C functions called through ctypes, which releases the interpreter's lock, and run their loops on torch's
own threads. Without a compiler none is there, and the library runs on its portable path.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import torch

#: dtypes that the kernels store, by their number in the C functions; half precision is summed in float32
DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2}
#: objects that a processor can run, best first, by what torch says of it
OBJECTS = {"AVX512": ("_v4", "_v3", "_base"), "AVX2": ("_v3", "_base")}
_ABI = 8  # of the C functions, as native/order.cpp has it

_P, _I, _L, _D, _U = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_double, ctypes.c_uint64
# what they take; all return an int, below 0 where they failed
_ATTENTION = [_P, _I, _I, _P, _P, _P, _L, _L, *[_P] * 8, _D, _D, _U, _L, _L, _I]
_ATTENTION_BACKWARD = [_P, _I, _I, _P, _P, _L, _P, _P, _P, _L, *[_P] * 15, _D, _D, _U, _L, _L, _I]
_SIGNATURES: dict[str, list[Any]] = {
    "edgenet_walk": [_P, _I, _I, _P, _P, _P, _L, _L, _P, _P, _P, _P, _P, _L, _L, _I],
    "edgenet_segment_softmax": [_P, _I, _I, _P, _P, _L, _P, _P, _P, _L],
    "edgenet_attention": _ATTENTION,
    "edgenet_attention_backward": _ATTENTION_BACKWARD,
    "edgenet_attention_v2": _ATTENTION,
    "edgenet_attention_v2_backward": _ATTENTION_BACKWARD,
    "edgenet_dropout": [_P, _I, _P, _P, _L, _D, _U],
    "edgenet_codes_linear": [_P, _P, _L, _I, _I, _P, _P, _I, _P, _L, _L, _L, _P],
    "edgenet_unified_linear": [_P, _P, _P, _L, _P, _L, _L, _L, _P],
    "edgenet_sample_neighbors": [_P, _L, _P, _P, _P, _P, _I, _U, _P],
    "edgenet_number_nodes": [_P, _L, _I, _I, _L, _L, _P, _L, _P, _P, _P],
    "edgenet_sort": [_I, _L, _L, _L, _P, _P, _P, _P, _P],
    "edgenet_lstm_gates": [*[_P] * 7, _L, _L],
    "edgenet_lstm_gates_backward": [*[_P] * 8, _L, _L],
    "edgenet_gru_gates": [*[_P] * 6, _L, _L],
    "edgenet_gru_gates_backward": [*[_P] * 8, _L, _L],
    "edgenet_abi": [],
    "edgenet_xnor": [_P, _I, _P, _P, _P, _L, _L, _L, _L],
    "edgenet_xnor_form": [],
    "edgenet_pack_signs": [_P, _I, _I, _P, _P, _L, _L],
    "edgenet_pack_above": [_P, _I, _P, _P, _P, _P, _L, _L],
    "edgenet_naive_product": [_P, _P, _P, _L, _L, _L],
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
        for name, arguments in _SIGNATURES.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = _I, arguments
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


def wide(dtype: torch.dtype) -> torch.dtype:
    """The dtype of sums."""
    return torch.promote_types(dtype, torch.float32)
