"""Runs jobs on several processes, one after another, in forks of one process that has imported everything once.

    python launch.py FOLDER RECORDS JOB:WORLD[:ARGUMENT] ...

Job number i writes what its ranks return, or the error they raise, as RECORDS/i-RANK.json.
"""

import json
import logging
import multiprocessing
import os
import sys
import time
import traceback
import warnings
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

TIMEOUT = 40.0  # seconds of the process group


def _rank(job: str, argument: str, rank: int, world: int, folder: str, records: str, number: int) -> None:
    out, start = Path(records, f"{number}-{rank}.json"), time.monotonic()
    try:
        store = dist.FileStore(str(Path(records, f"{number}.store")), world)
        wait = timedelta(seconds=TIMEOUT)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=wait)
        result = {"result": getattr(jobs if hasattr(jobs, job) else fit_jobs, job)(Path(folder), argument)}
    except Exception as error:
        result = {"error": type(error).__name__, "text": str(error), "trace": traceback.format_exc()}
    out.write_text(json.dumps(result | {"seconds": time.monotonic() - start}))
    os._exit(0)  # no farewell: the group of a killed process never ends


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from scale import fit_jobs, jobs

    torch.set_num_threads(1)
    if "--torchrec" in sys.argv:
        sys.argv.remove("--torchrec")
        from edgenet.scale import available

        assert available()
    context = multiprocessing.get_context("fork")
    for number, text in enumerate(sys.argv[3:]):
        job, world, argument = (text + ":").split(":")[:3]
        ranks = [
            context.Process(target=_rank, args=(job, argument, rank, int(world), *sys.argv[1:3], number))
            for rank in range(int(world))
        ]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join(90)
            process.kill()
