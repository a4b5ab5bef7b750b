"""The libraries that edgenet is measured beside: which of them are here, and how DGL is brought to import."""

from __future__ import annotations

import os
import platform
import sys
import types
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

from edgenet._version import __version__
from edgenet.errors import BackendError


def import_dgl() -> ModuleType:
    """The module dgl 2.1, whose CPU kernels run beside any torch, with an empty stand-in for ``dgl.graphbolt``.

    GraphBolt wants a library compiled for the torch that runs (the wheel has those of torch 2.0 to 2.2), and a part of
    torchdata that is gone. Only ``dgl.distributed`` uses it; messages pass in libdgl.so, which is not linked to torch.
    """
    if "dgl" in sys.modules:
        return sys.modules["dgl"]
    os.environ["DGLBACKEND"] = "pytorch"  # unset, DGL prints, and writes into the user's home
    stand_in = "dgl.graphbolt" not in sys.modules
    sys.modules.setdefault("dgl.graphbolt", types.ModuleType("dgl.graphbolt"))
    try:
        import dgl
    except BaseException:
        if stand_in:
            sys.modules.pop("dgl.graphbolt", None)
        raise
    return dgl


def _import_pyg() -> None:
    import torch_geometric.nn  # noqa: F401


def _import_scatter() -> None:
    from edgenet.ops import backend

    if backend.torch_scatter() is None:
        raise BackendError("torch_scatter does not import, or EDGENET_NO_SCATTER is set")


def _import_sparse() -> None:
    import torch_sparse  # noqa: F401


def _import_pyg_lib() -> None:
    import pyg_lib  # noqa: F401


#: peer: (package, what imports it). PyG itself uses torch_scatter and pyg_lib where they import
PEERS: dict[str, tuple[str, Callable[[], Any]]] = {
    "pyg": ("torch_geometric", _import_pyg),
    "dgl": ("dgl", import_dgl),
    "scatter": ("torch_scatter", _import_scatter),
    "sparse": ("torch_sparse", _import_sparse),
    "pyg_lib": ("pyg_lib", _import_pyg_lib),
}


def missing(peer: str) -> str | None:
    """Why a peer cannot be measured here; None if it can."""
    try:
        PEERS[peer][1]()
    except Exception as error:  # a binary built for another torch raises what it likes
        lines = str(error).strip().splitlines() or [""]
        return f"{type(error).__name__}: {lines[0]}"
    return None


def left_out(package: str) -> str | None:
    """The sentence on a package that does not import; None if it does."""
    try:
        import_module(package)
    except Exception as error:  # a package built for others raises what it likes
        return f"{package} is left out: {type(error).__name__}: {str(error).partition(chr(10))[0]}."
    return None


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """A job that measures nothing: what is here, for the sentence on the machine and the choice of peers."""
    import torch

    from edgenet import ops

    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in ("torch", *(package for package, _ in PEERS.values()))},
        "edgenet": __version__,
        "backend": ops.available("spmm")[-1],
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "missing": {peer: reason for peer in job["peers"] if (reason := missing(peer))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
