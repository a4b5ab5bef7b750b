"""The memory allocator: what a fresh big block costs, and settings that keep freed blocks for the next tensor."""

from __future__ import annotations

import ctypes
import sys
import time
import warnings

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]  # a name has one type to mypy, a module here

# of mallopt(3)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_MAPPED_FROM = 1 << 30  # bytes


def tune_malloc() -> bool:
    """Keep the memory of freed big tensors for the next ones, in this process, from now on.

    By default glibc has the system map every block over 32 MiB anew, and unmap it when it is freed. Each of its pages
    of 4 KiB then costs a page fault when it is first written, which takes longer than the write. Ops that make a number
    for every edge and channel pay that at each call. Afterwards blocks below 1 GiB stay with the process.

    Measured, one thread of an AMD EPYC (Zen 4), glibc 2.36, torch 2.13.0, busy machine: filling a fresh tensor of 43 MB
    takes 15 to 20 ms, tuned 1.3 to 2.3 ms; one of 600 MB 215 to 270 ms, tuned 22 to 28 ms. Filling it again takes as
    long as tuned. The command, with and without ``edgenet.tune_malloc()``::

        python -c "import edgenet, edgenet.malloc as m; edgenet.tune_malloc(); print(m.fresh_block(600))"

    What it costs is memory: none of it goes back to the system before the process ends, and a hole that is some bytes
    too small for the next tensor is kept beside a new block. In the measurement above, where one tensor at a time is
    alive, the process grew to 0.5 GB (43 MB) and 4.8 to 5.9 GB (600 MB) before it settled, after at most 11 turns; in a
    training step of many tensors from 0.7 GB to 0.8 to 1.3 GB. Other threads than the first keep blocks below 64 MB
    only.

    From glibc 2.35 on, these environment variables do the same before a program starts, for blocks of up to 8 GiB:
    ``MALLOC_MMAP_THRESHOLD_=8589934592 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=67108864``. An alternative is
    torch's ``THP_MEM_ALLOC_ENABLE=1``, also set before: fresh blocks come in pages of 2 MiB. It keeps no memory, and
    took 4.2 to 5.1 ms and 58 to 62 ms above. ``edgenet doctor`` says what is in force.

    Returns:
        Whether it took effect. If not, a warning says why: this is not glibc, or another allocator is used instead.

    Example:
        >>> edgenet.tune_malloc()  # at the start of a program; whether anything was changed  # doctest: +SKIP
        True
    """
    problem = _set()
    if problem:
        warnings.warn(f"the memory allocator stays as it is: {problem}", stacklevel=2)
    return not problem


def _set() -> str:
    """Why the settings could not be made; empty if they were."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        mallopt, own = libc.mallopt, ctypes.cast(libc.malloc, ctypes.c_void_p).value
        used = ctypes.cast(ctypes.CDLL(None).malloc, ctypes.c_void_p).value
    except (OSError, AttributeError, TypeError):  # TypeError: Windows has no library without a name
        return f"edgenet.tune_malloc() knows glibc's on Linux only, and {sys.platform} runs on another C library."
    if own != used:
        return "another library (LD_PRELOAD?) has taken the place of glibc's malloc; see its own settings."
    # before 2.35 glibc refuses thresholds over 32 MB; then no block at all is mapped, whatever its size
    kept = mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM) == 1 or mallopt(_M_MMAP_MAX, 0) == 1
    return "" if kept and mallopt(_M_TRIM_THRESHOLD, -1) == 1 else "glibc refuses the settings."


def fresh_block(megabytes: float = 64, turns: int = 16) -> tuple[int | None, float]:
    """What it costs to fill a fresh tensor, when others of its size have come and gone.

    Returns:
        (page faults, or None where the system does not count them; seconds of process CPU time), the least of the last
        four turns: an allocator that keeps blocks needs some turns until it has one that fits.
    """
    import torch

    faults, seconds = [], []
    for _ in range(turns):
        before, start = _page_faults(), time.process_time()
        torch.empty(int(megabytes * 1e6), dtype=torch.uint8).fill_(1)
        seconds.append(time.process_time() - start)
        faults.append(_page_faults() - before)
    return min(faults[-4:]) if resource else None, min(seconds[-4:])


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt if resource else 0
