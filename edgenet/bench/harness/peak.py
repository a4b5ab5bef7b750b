"""How much memory a process takes at most between two moments."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
from pathlib import Path

_STATUS = Path("/proc/self/status")


def settled() -> int | None:
    """Bytes in use, with memory that was freed handed back and the peak set to now; None where the system has no such
    thing."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # freed memory that the process still has would hide what the call takes
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _memory("VmRSS")
    except (OSError, TypeError):
        return None


def high_water() -> int:
    """Bytes that the process had at most since ``settled``."""
    return _memory("VmHWM")


def _memory(name: str) -> int:
    """Bytes that the system counts under this name for the process."""
    return 1024 * int(re.search(rf"^{name}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)[1])
