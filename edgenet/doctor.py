"""What edgenet finds on this machine: versions, processor, compiled kernels, which backend runs every op, and why."""

from __future__ import annotations

import ctypes
import os
import platform
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from edgenet._version import __version__
from edgenet.bench.harness.report import processor
from edgenet.malloc import fresh_block
from edgenet.ops import backend, native

PACKAGES = ("torch", "torch_geometric", "torch_scatter", "triton")
#: beginnings of the environment variables that change what runs, or how fast
SWITCHES = (
    "EDGENET_", "TRITON_", "MALLOC_", "GLIBC_TUNABLES", "THP_MEM_ALLOC_ENABLE", "LD_PRELOAD", "OMP_NUM_THREADS",
    "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip
MEGABYTES = 40  # over the 32 MiB from which glibc maps every block anew by default


def facts() -> dict[str, Any]:
    """All that ``edgenet doctor`` says, JSON-able."""
    return {
        "versions": {"edgenet": __version__, "python": platform.python_version(), **dict(map(_version, PACKAGES))},
        "processor": {
            "name": processor(),
            "cores": os.cpu_count(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
        },
        "compiled kernels": _compiled(),
        "cuda": [_gpu(number) for number in range(torch.cuda.device_count())],
        "backends": backends(),
        "switches": {
            name: os.environ[name] for name in sorted(os.environ) if name.startswith(SWITCHES) and os.environ[name]
        },
        "memory": _memory(),
    }


def backends() -> dict[str, dict[str, dict[str, Any]]]:
    """For every op and backend: the devices on whose float32 tensors it runs by itself; why not, if it cannot run."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    table = {}
    for op, states in backend.explain().items():
        chosen, usable = {device: _chosen(op, device) for device in devices}, backend.available(op)
        table[op] = {
            name: {
                "runs by itself on": [device for device in devices if chosen[device] == name],
                "why not": "" if name in usable else state,
            }
            for name, state in states.items()
        }
    return table


def _chosen(op: str, device: str) -> str:
    """The backend that runs ``op`` on float32 tensors there, if none is asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no kernels are here: the table says it
        kernels = backend.kernels(op, torch.empty(0, dtype=torch.float32, device=device))
    return (kernels.__name__ if kernels else backend.choose(op).__module__).rpartition(".")[2]


def _version(package: str) -> tuple[str, str | None]:
    try:
        return package, version(package)
    except PackageNotFoundError:
        return package, None


def _compiled() -> dict[str, Any]:
    folder, file = Path(os.environ.get("EDGENET_NATIVE_DIR") or Path(native.__file__).parent), native.path()
    return {
        "loaded": str(file) if native.library() else None,
        "why not": "" if native.library() else _why_not(folder, file),
        "built": sorted(path.name for suffix in ("so", "pyd") for path in folder.glob(f"_*.{suffix}")),
        "threads": "torch's own" if native.threads() else "one (this torch exports no parallel loop)",
    }


def _why_not(folder: Path, file: Path | None) -> str:
    if os.environ.get("EDGENET_NO_NATIVE"):
        return "EDGENET_NO_NATIVE is set"
    if file is None:
        return f"none for this processor in {folder}"
    try:
        ctypes.CDLL(str(file))
    except OSError as error:
        return str(error)
    return f"{file} is of another version of edgenet"


def _gpu(number: int) -> str:
    found = torch.cuda.get_device_properties(number)
    return f"{found.name}, compute capability {found.major}.{found.minor}, {found.total_memory / 2**30:.0f} GiB"


def _memory() -> dict[str, Any]:
    faults, seconds = fresh_block(MEGABYTES)
    pages = MEGABYTES * 1e6 / 4096
    return {
        "fresh block, megabytes": MEGABYTES,
        "page faults": faults,
        "milliseconds": round(1000 * seconds, 1),
        "tuned": None if faults is None else faults < pages / 10,
    }
