"""Damaged files for every reader: ``make fuzz N=10000``; in tests/ ``python -m reliability.fuzz N [SEED [READER ...]]``.

Prints a line for each reader, and every file that was not refused by an error of ours or read as a legal one; these
files are kept.
"""  # noqa: E501

import collections
import math
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import torch

from reliability.fuzz_child import bounded  # isort: skip
from reliability.fuzz_readers import CASES  # isort: skip

KINDS = ("read", "read, as before", "refused", "raw", "memory", "hang", "crash")


def fuzz(name, count, seed, folder):
    """How many of so many damaged files came to what, and those that are faults: (outcome, its file)."""
    case, counts, faults = CASES[name], collections.Counter(), []
    good = folder / "good"
    good.mkdir(parents=True)
    case.make(good)
    data = (good / case.file).read_bytes()
    whole = bounded(lambda: case.read(copied(good, folder / "work")), len(data))
    assert whole.kind == "read", f"{name}: the good file: {whole}"
    for number in range(count):
        rng = random.Random(f"{seed} {name} {number}")
        torch.manual_seed(number)
        work = copied(good, folder / "work")
        bad = case.damage(data, rng)
        (work / case.file).write_bytes(bad)
        case.mend(work)
        outcome = bounded(lambda: case.read(work), len(bad))  # noqa: B023  called at once
        kind = "read, as before" if outcome.kind == "read" and outcome.text == whole.text else outcome.kind
        counts[kind] += 1
        if kind in KINDS[3:]:
            kept = folder / f"fault-{number}-{Path(case.file).name}"
            kept.write_bytes(bad[: 1 << 20])
            faults.append((outcome, kept))
    return counts, faults


def copied(good, work):
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(good, work)
    return work


def main(count=1000, seed=0, *names):
    torch.set_num_threads(1)
    names = names or tuple(CASES)
    kept = Path(tempfile.mkdtemp(prefix="edgenet-fuzz-"))
    share, faulty = count / sum(CASES[name].share for name in names), 0
    print(f"{'reader':32}" + "".join(f"{kind:>16}" for kind in KINDS) + "         seconds", flush=True)
    total = collections.Counter()
    for name in names:
        start = time.monotonic()
        counts, faults = fuzz(name, math.ceil(share * CASES[name].share), seed, kept / name.replace(" ", "-"))
        total += counts
        line = "".join(f"{counts[kind]:16}" for kind in KINDS)
        print(f"{name:32}{line}{time.monotonic() - start:16.1f}", flush=True)
        for outcome, file in faults[:10]:
            print(f"  {outcome.kind} ({outcome.seconds:.1f} s) {file}\n    {outcome.text.strip()[:900]}", flush=True)
        faulty += len(faults)
    print(f"{'all':32}" + "".join(f"{total[kind]:16}" for kind in KINDS))
    return 1 if faulty else 0


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:3]]
    sys.exit(main(*numbers, *sys.argv[3:]))
