"""Jobs, each measured in a process of its own that starts with the threads and the allocator it is to be measured with.

``python -m edgenet.bench.harness.worker`` reads one job as JSON from its input and writes the result as JSON. A job is
a dict; "measure" is the ``__name__`` of the module whose ``measure(job)`` makes the result.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tqdm import tqdm

from edgenet.bench.harness import report

Job = dict[str, Any]
#: allocator: what is set in the environment. The C library else asks the system anew for every large tensor.
MALLOC: dict[str, dict[str, str]] = {
    "default": {},
    "tuned": {
        "MALLOC_MMAP_THRESHOLD_": str(8 * 2**30),
        "MALLOC_TRIM_THRESHOLD_": str(16 * 2**30),
        "MALLOC_TOP_PAD_": str(64 * 2**20),
    },
}
_SPARED = 2**30  # bytes that are left to the rest of the machine


def measured(job: Job) -> dict[str, Any]:
    """The result of a job, in this process."""
    return import_module(job["measure"]).measure(job)


def in_its_own_process(job: Job) -> dict[str, Any]:
    """The result of a job, from a process of its own; {"failed": why} where that ended without one."""
    done = subprocess.run(
        [sys.executable, "-m", "edgenet.bench.harness.worker"],
        input=json.dumps(job), capture_output=True, text=True, env=environment(job),
    )  # fmt: skip
    if done.returncode == 0:
        return json.loads(done.stdout)
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return {"failed": f"the process was ended by {name}" + (", most likely out of memory" * (name == "SIGKILL"))}
    lines = done.stderr.strip().splitlines()
    return {"failed": lines[-1] if lines else f"exit code {done.returncode}", "stderr": done.stderr}


def environment(job: Job) -> dict[str, str]:
    """The environment that a job's process starts with."""
    kept = {name: value for name, value in os.environ.items() if name not in report.ALLOCATOR}
    threads = str(job["threads"])
    return kept | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads} | MALLOC[job["malloc"]]


def all_measured(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """The results of all jobs, one after the other."""
    results = []
    with tqdm(jobs, unit="job", desc="bench") as bar:
        for job in bar:
            bar.set_postfix_str(title(job))
            results.append(in_its_own_process(job))
    return results


def title(job: Job) -> str:
    """What a job measures, in some words: its own title, and the allocator."""
    return f"{job['title']}, {job['malloc']} allocator"


def _limit_memory() -> None:
    """Let this process fail to allocate, which can be told, before the system ends it for taking too much."""
    with contextlib.suppress(OSError, ImportError, ValueError, StopIteration):
        import resource

        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (max(free - _SPARED, _SPARED), hard))


def main() -> None:
    """Measure the job on the standard input."""
    answer = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not get among the JSON
    job = json.load(sys.stdin)
    _limit_memory()
    import torch

    torch.set_num_threads(job["threads"])
    result = measured(job)
    with os.fdopen(answer, "w", encoding="utf-8") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main()
