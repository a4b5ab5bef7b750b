"""A job whose process is ended by SIGKILL in the middle, as an emergency would: nothing is flushed, nothing caught."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from edgenet.bench.harness.worker import Job, environment

_LOOK = 0.002  # seconds between two looks at whether it is time


def killed(job: Job, when: Callable[[], bool]) -> bool:
    """Start a job in a process of its own, and kill that as soon as ``when()`` is true.

    Returns:
        Whether the signal ended it. False: it ended by itself before.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "edgenet.bench.harness.worker"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(job),
    )  # fmt: skip
    try:
        with contextlib.suppress(BrokenPipeError):  # it may have ended already
            process.stdin.write(json.dumps(job).encode())
            process.stdin.close()
        while process.poll() is None and not when():
            time.sleep(_LOOK)
    finally:
        process.kill()
        process.wait()
    return process.returncode == -signal.SIGKILL
