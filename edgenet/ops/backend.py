"""Which implementation of an op runs: the fastest that is available, or the one that was asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import ModuleType
from typing import Any

from edgenet.errors import BackendError

#: Fastest first. ``reference`` is the definition in plain torch and runs everywhere.
ORDER = ("scatter", "reference")

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
    """Announce the implementations of an op, by backend name."""
    _IMPLEMENTATIONS[op] = implementations


def ops() -> list[str]:
    """Names of all ops."""
    return sorted(_IMPLEMENTATIONS)


def available(op: str) -> list[str]:
    """Backends that can run ``op`` on this machine, slowest (``reference``) first.

    Raises:
        BackendError: if there is no such op.
    """
    if op not in _IMPLEMENTATIONS:
        raise BackendError(f"no op is called {op!r}; there are {', '.join(ops())}.")
    return [name for name in reversed(ORDER) if name in _IMPLEMENTATIONS[op] and _usable(name)]


def choose(op: str) -> Callable[..., Any]:
    """The implementation of ``op`` that runs now.

    Raises:
        BackendError: if ``use`` asked for a backend that has become unusable.
    """
    name = _forced.get()
    if name is None:
        return _IMPLEMENTATIONS[op][available(op)[-1]]
    if not _usable(name):
        raise BackendError(f"backend {name!r} cannot run here any more; available: {', '.join(available(op))}.")
    return _IMPLEMENTATIONS[op].get(name, _IMPLEMENTATIONS[op]["reference"])


@contextmanager
def use(name: str) -> Iterator[None]:
    """Run every op in this block, and backward passes called inside it, on one backend.

    An op that has no form of its own there runs its reference. On CUDA, autograd runs backward passes on threads of its
    own, which do not see this.

    Raises:
        BackendError: if the backend is unknown, or missing on this machine.
    """
    if name not in ORDER:
        raise BackendError(f"no backend is called {name!r}; there are {', '.join(ORDER)}.")
    if not _usable(name):
        raise BackendError(f"backend {name!r} cannot run here: {_REMEDY[name]}")
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


_REMEDY = {"scatter": "torch_scatter does not import. `pip install --no-build-isolation torch_scatter` builds it."}


def _usable(name: str) -> bool:
    return name != "scatter" or torch_scatter() is not None
