"""Jobs on several processes, started as tests want them."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import edgenet

LAUNCH = Path(__file__).parent / "launch.py"


def results(folder: Path, *jobs: str, torchrec: bool = False) -> dict[str, list[dict]]:
    """What every rank of every ``JOB:WORLD:ARGUMENT`` had to say: "result" or "error", and "seconds"; {} of a rank that
    was killed."""
    root = str(Path(edgenet.__file__).parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    records = Path(tempfile.mkdtemp(dir=folder))  # a store that another launch left would name processes that are gone
    command = [sys.executable, str(LAUNCH), str(folder), str(records), *jobs, *(["--torchrec"] if torchrec else [])]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = {}
    for number, job in enumerate(jobs):
        files = [records / f"{number}-{rank}.json" for rank in range(int(job.split(":")[1]))]
        found[job] = [json.loads(file.read_text()) if file.exists() else {} for file in files]
    return found
