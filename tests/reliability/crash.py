"""Kill -9, at random moments: ``python tests/reliability/crash.py 50``, or ``make crash N=50``.

A run of two seeds is killed, resumed, killed again, until it comes to its end. It must then be, bit by bit, the run
that nobody killed. After every kill each file in its folder must be whole. Likewise a model is saved over another, over
and over; what is found after a kill must be a model that was saved, and none from before the last that was found.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from reliability.processes import ended, forked

import edgenet
from edgenet import checkpoint, train

EPOCHS, SEEDS = 8, (0, 1)


def run(folder: Path) -> None:
    """Train, or go on with it: dropout, a schedule, a checkpoint every epoch."""
    torch.set_num_threads(1)
    karate = edgenet.data.load("karate")
    make = lambda: edgenet.NodeClassifier(34, 4, layer="gat", hidden_channels=4, dropout=0.5)  # noqa: E731
    train.run_seeds(
        make, karate, seeds=SEEDS, epochs=EPOCHS, scheduler="cosine", checkpoint_epochs=1, folder=folder, resume=True,
        progress=False,
    )  # fmt: skip


def state_of(folder: Path) -> dict[str, object]:
    """Everything that a run leaves, but for seconds: bits of the models, numbers of the records and results.

    The tensors of a model that was saved over another have another name.
    """
    found: dict[str, object] = {}
    for path in sorted(file for file in folder.rglob("*") if file.is_file()):
        name = str(path.relative_to(folder))
        if path.suffix == ".jsonl":
            found[name] = [_without_seconds(record) for record in train.read_metrics(path)]
        elif path.name == "config.json":
            model = edgenet.from_pretrained(path.parent)
            found[name] = {key: (t.dtype, t.shape, t.numpy().tobytes()) for key, t in model.state_dict().items()}
        elif path.suffix == ".safetensors":
            found[str(path.with_name("tensors").relative_to(folder))] = path.stat().st_size
        elif path.suffix == ".json":
            found[name] = _without_seconds(json.loads(path.read_text()))
        else:
            found[name] = path.read_bytes()
    return found


def _without_seconds(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_seconds(item) for key, item in value.items() if not key.startswith("seconds")}
    return [_without_seconds(item) for item in value] if isinstance(value, list) else value


def check_whole(folder: Path, epochs: int = EPOCHS) -> None:
    """Every file that has its name is whole: it is read as those who need it read it."""
    for file in folder.rglob("checkpoint.pt"):
        assert checkpoint.load(file)["epoch"] >= 1
    for file in folder.rglob("metrics.jsonl"):
        found = [record["epoch"] for record in train.read_metrics(file)]
        assert found == list(range(1, len(found) + 1)), (file, found)
    for file in folder.rglob("result.json"):
        assert train.read_result(file.parent).epochs == epochs
        edgenet.from_pretrained(file.parent / "model")


def killed_runs(kills: int, place: Path, seed: int = 0) -> tuple[int, int]:
    """How many runs came to their end, and how many kills that took; each was equal to the one that nobody killed.

    Raises:
        AssertionError: if a run is not, or a file is not whole.
    """
    draw = random.Random(seed)
    start = time.monotonic()
    assert ended(forked(lambda: run(place / "whole")), 300) == 0
    lasts, wanted = time.monotonic() - start, state_of(place / "whole")
    runs = done = 0
    while done < kills:
        folder = place / f"run-{runs}"
        while True:
            child = forked(lambda folder=folder: run(folder))
            if done < kills:
                time.sleep(draw.uniform(0, lasts))
                os.kill(child, signal.SIGKILL)
            status = ended(child, 300)
            assert status in (0, -signal.SIGKILL), status
            if status == 0:
                break
            done += 1
            check_whole(folder)
        found = state_of(folder)
        other = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
        assert not other, f"a run that was killed differs after {done} kills in all: {', '.join(other)}"
        runs += 1
    return runs, done


def model_of(number: int) -> nn.Module:
    """A model that shows by its tensors which one it is, in several files' worth of bytes."""
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    for parameter in model.parameters():
        nn.init.constant_(parameter, number)
    return model


def number_in(folder: Path) -> int:
    """Which one it is; all its tensors must say the same."""
    (number,) = {value for p in edgenet.from_pretrained(folder).parameters() for value in p.unique().tolist()}
    return int(number)


def killed_saves(kills: int, place: Path, seed: int = 0) -> int:
    """How many kills came; after each an old or the newest model was loaded.

    Raises:
        AssertionError: if one was no model, or older than the one before.
    """
    draw, folder, last, done = random.Random(seed), place / "model", 0, 0
    edgenet.save_pretrained(model_of(0), folder)

    def save() -> None:
        for number in range(last + 1, last + 200):
            edgenet.save_pretrained(model_of(number), folder)

    while done < kills:
        child = forked(save)
        time.sleep(draw.uniform(0, 0.2))
        os.kill(child, signal.SIGKILL)
        done += ended(child) == -signal.SIGKILL
        now = number_in(folder)
        assert last <= now < last + 200, (last, now)
        last = now
    edgenet.save_pretrained(model_of(0), folder)
    assert number_in(folder) == 0 and len(list(folder.iterdir())) == 3, "what was left goes with the next save"
    return done


def main(kills: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        runs, done = killed_runs(kills, Path(place))
        print(f"{done} kills of runs: {runs} runs came to their end, bits equal to the run that was not killed")
        print(f"{killed_saves(kills, Path(place))} kills of savers: the model before or the new one, never neither")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
