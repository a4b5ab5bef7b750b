"""Which implementation of an op runs: the fastest that is available, or the one that was asked for."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, is_fake

from edgenet.errors import BackendError, EdgeIndexError
from edgenet.graph import Graph
from edgenet.ops import native
from edgenet.ops.native.gate import readable

#: Fastest first. ``reference`` is the definition in plain torch and runs everywhere.
ORDER = ("native", "triton", "scatter", "reference")
#: Backends whose kernels take a graph, sorted once; the others take the ends of the edges.
KERNELS = ("native", "triton")
_DTYPES = {
    "native": (torch.float32, torch.float64, torch.bfloat16),
    "triton": (torch.float32, torch.float64, torch.bfloat16, torch.float16),
}
_DEVICE = {"native": "cpu", "triton": "cuda"}

#: op name -> backend name -> function
_IMPLEMENTATIONS: dict[str, dict[str, Callable[..., Any]]] = {}
_forced: ContextVar[str | None] = ContextVar("edgenet_backend", default=None)


@cache
def torch_scatter() -> ModuleType | None:
    """The torch_scatter package, or None where it is absent or broken, or ``EDGENET_NO_SCATTER`` is set."""
    if os.environ.get("EDGENET_NO_SCATTER"):
        return None
    try:
        import torch_scatter
    except Exception:  # a binary built for another torch raises OSError, not ImportError
        return None
    return torch_scatter


def register(op: str, **implementations: Callable[..., Any]) -> None:
    """Announce an op and its forms on the ends of the edges, by backend name. All ops have kernels."""
    _IMPLEMENTATIONS[op] = implementations


def add(op: str, name: str, function: Callable[..., Any]) -> None:
    """Give an op one more backend, which runs where ``use(name)`` asks for it, and nowhere by itself.

    Args:
        op: name of the op.
        name: of the backend. One backend may have forms of several ops, each added by itself.
        function: the op's form on the ends of the edges, of the arguments and results of its ``reference``. Gradients
            are the op's own.

    Raises:
        BackendError: if there is no such op, ``function`` cannot be called, or the op has such a backend already.
    """
    known = _forms(op)
    if name in ORDER or name in known:
        raise BackendError(f"{op} has a backend {name!r} already; give yours another name.")
    if not callable(function):
        raise BackendError(f"a backend of {op} is a function, got {type(function).__name__}.")
    known[name] = function


def definition(op: str) -> Callable[..., Any]:
    """The reference of an op, in plain torch, as it stands at the time of the call."""
    return lambda *arguments: _IMPLEMENTATIONS[op]["reference"](*arguments)


def eager() -> bool:
    """Whether ops may take the short path: nothing compiles, traces, transforms or watches the calls."""
    return not (  # shortcuts.unwatched and forward_mode in one call: every op comes by
        torch.compiler.is_compiling()
        or torch.autograd.forward_ad._current_level >= 0
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._is_tracing()
    )


def alike(op: str, graph: Graph | None, *tensors: Any, integers: torch.dtype | None = None) -> Any:
    """The tensors in one dtype: that of the floating or complex ones, so that small integers cannot overflow when they
    are summed. None is left out, and stays None.

    Args:
        op: for the message.
        graph: None where there is none to be near to.
        tensors: the last is none that may be missing.
        integers: the dtype where all are of integers or bools; by default int64.

    Raises:
        BackendError: unless all are where the graph's edges are: kernels follow raw pointers. Also if one is fake, and
            the edges are not.
    """
    device, dtype, one = None if graph is None else graph.edge_index.device, tensors[-1].dtype, True
    for tensor in tensors:
        if tensor is None:
            continue
        if graph is not None and type(tensor) is FakeTensor and not _among_its_like(graph):
            raise BackendError(
                f"{op} got edges with numbers and a FakeTensor, which stands for some: call it within that tensor's "
                f"FakeTensorMode, and make the graph there."
            )
        if device is not None and tensor.device != device:
            raise BackendError(
                f"{op} got edges on {device} and a tensor {tuple(tensor.shape)} on {tensor.device}; move one of them "
                f"with .to({str(device)!r})."
            )
        one = one and tensor.dtype == dtype
    return tensors if one and dtype.is_floating_point else _promoted(tensors, integers or torch.int64)


def _among_its_like(graph: Graph) -> bool:
    """Whether a fake tensor may meet the edges."""
    return is_fake(graph.edge_index) or torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0


def _promoted(tensors: tuple[Tensor | None, ...], integers: torch.dtype) -> list[Tensor | None]:
    dtypes = [t.dtype for t in tensors if t is not None]
    wide = [dtype for dtype in dtypes if dtype.is_floating_point or dtype.is_complex] or [integers]
    dtype = functools.reduce(torch.promote_types, wide)
    return [t if t is None or t.dtype == dtype else t.to(dtype) for t in tensors]


def forward_mode() -> bool:
    """Whether forward-mode derivatives are being taken, which only the definitions in plain torch have."""
    return torch.autograd.forward_ad._current_level >= 0 and not torch.compiler.is_compiling()


def kernels(op: str, tensor: Tensor, *others: Tensor | None, dtype: torch.dtype | None = None) -> ModuleType | None:
    """The compiled or Triton form of ``op`` that runs now on tensors like this one; None if another backend does.

    Args:
        op: name of the folder of its forms.
        tensor: it will run on.
        others: that it will read besides.
        dtype: in the place of the tensor's, for ops whose forms take all that are served where this one is.
    """
    if not readable(tensor, *others):
        return None
    return _kernels(op, _forced.get(), tensor.device.type, dtype or tensor.dtype)


@cache
def _kernels(op: str, forced: str | None, device: str, dtype: torch.dtype) -> ModuleType | None:
    if forced is None and device == "cpu" and dtype in _DTYPES["native"]:
        _tell_of_missing_native()
    for name in KERNELS if forced is None else (forced,):
        if name in KERNELS and dtype in _DTYPES[name] and _runs_on(name, device, forced) and _usable(name):
            return import_module(f"edgenet.ops.kernels.{op}.{name}")
    return None


def _runs_on(name: str, device: str, forced: str | None) -> bool:
    # on CPU tensors Triton is its slow interpreter, which has to be asked for
    return device == _DEVICE[name] or (name == "triton" == forced and device == "cpu")


@cache
def _tell_of_missing_native() -> None:
    if not _usable("native") and not os.environ.get("EDGENET_NO_NATIVE"):
        warnings.warn(f"edgenet runs on its portable path: {_REMEDY['native']}", stacklevel=2)


def check_ends(op: str, source: Tensor, target: Tensor) -> None:
    """
    Raises:
        EdgeIndexError: unless these are the two ends of edges.
    """
    if source.dim() != 1 or source.shape != target.shape:
        raise EdgeIndexError(
            f"{op} wants the two ends of edges, (E,) each, got {tuple(source.shape)} and {tuple(target.shape)}."
        )


def checked_graph(source: Tensor, target: Tensor, num_nodes: int, num_sources: int) -> Graph:
    """The graph that the kernels get inside a registered op. Ends that a trace brings here were not checked yet.

    Raises:
        EdgeIndexError: if they name nodes that there are not.
    """
    return Graph(torch.stack([source, target]), num_nodes, num_sources)


def ops() -> list[str]:
    """Names of all ops."""
    return sorted(_IMPLEMENTATIONS)


def names() -> list[str]:
    """All backends: ours, fastest first, then those that were added."""
    added = (name for forms in _IMPLEMENTATIONS.values() for name in forms)
    return list(dict.fromkeys([*ORDER, *added]))


def available(op: str) -> list[str]:
    """Backends that can run ``op`` on this machine: ``reference``, those that were added, then ours, fastest last.

    Raises:
        BackendError: if there is no such op.

    Example:
        >>> "reference" in edgenet.ops.available("spmm")
        True
    """
    added = [name for name in _forms(op) if name not in ORDER]
    return ["reference", *added, *(name for name in reversed(ORDER[:-1]) if _has(op, name) and _usable(name))]


def _forms(op: str) -> dict[str, Callable[..., Any]]:
    if op not in _IMPLEMENTATIONS:
        raise BackendError(f"no op is called {op!r}; there are {', '.join(ops())}.")
    return _IMPLEMENTATIONS[op]


def choose(op: str) -> Callable[..., Any]:
    """The form of ``op`` on the ends of the edges that runs where no kernels do.

    Raises:
        BackendError: if ``use`` asked for a backend that has become unusable.
    """
    name, known = _forced.get(), _IMPLEMENTATIONS[op]
    if name is None:
        return next(known[name] for name in ORDER if name in known and _usable(name))
    if not _usable(name):
        raise BackendError(f"backend {name!r} cannot run here any more; available: {', '.join(available(op))}.")
    return known.get(name, known["reference"])


def asked_for(op: str) -> Callable[..., Any] | None:
    """The form of ``op`` that an added backend has, if ``use`` asks for that one now."""
    name = _forced.get()
    return None if name is None or name in ORDER else _IMPLEMENTATIONS[op].get(name)


def explain() -> dict[str, dict[str, str]]:
    """For every op and backend, "active" if it can run on this machine, else why it cannot and what to do.

    Example:
        >>> edgenet.ops.explain()["spmm"]["reference"]
        'active'
    """
    return {op: {name: _state(op, name) for name in names()} for op in ops()}


def _state(op: str, name: str) -> str:
    if not _has(op, name):
        return "this op has no such form; its reference runs"
    return "active" if _usable(name) else _REMEDY[name]


def _has(op: str, name: str) -> bool:
    return name in KERNELS or name in _IMPLEMENTATIONS[op]


@contextmanager
def use(name: str) -> Iterator[None]:
    """Run every op in this block, and backward passes called inside it, on one backend.

    An op that has no form of its own there, or none for a tensor's device or dtype, runs its reference. On CUDA,
    autograd runs backward passes on threads of its own, which do not see this.

    Raises:
        BackendError: if the backend is unknown, or missing on this machine.

    Example:
        >>> with edgenet.ops.use("reference"):
        ...     y = edgenet.ops.spmm(graph, torch.ones(4, 1), x.unsqueeze(1))
    """
    if name not in names():
        raise BackendError(f"no backend is called {name!r}; there are {', '.join(names())}.")
    if not _usable(name):
        raise BackendError(f"backend {name!r} cannot run here: {_REMEDY[name]}")
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


_REMEDY = {
    "native": (
        "no compiled kernels load. Unless EDGENET_NO_NATIVE is set, none were built for this machine: install a C++ "
        "compiler, and install edgenet again. `edgenet doctor` says more."
    ),
    "triton": (
        "there is no GPU, or triton does not import: `pip install triton`. To try the kernels slowly on a CPU, set "
        "TRITON_INTERPRET=1 before Python starts."
    ),
    "scatter": (
        "torch_scatter does not import, or EDGENET_NO_SCATTER is set. `pip install --no-build-isolation torch_scatter` "
        "builds it."
    ),
}


def _usable(name: str) -> bool:
    if name == "native":
        return native.library() is not None
    if name == "triton":
        return _triton()
    return name != "scatter" or torch_scatter() is not None


@cache
def _triton() -> bool:
    return import_module("edgenet.ops.triton_launch").available()  # imports triton, which takes a while
