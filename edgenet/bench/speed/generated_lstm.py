"""Speed of generated 16-bit LSTMs: frames a second at the size of the Google LSTM, batch 1, beside those of floats."""

from __future__ import annotations

import tempfile
from functools import partial
from typing import Any

import torch
from torch import nn

from edgenet.bench.harness import timing, worker
from edgenet.bench.harness.timing import FORWARD, Implementation
from edgenet.bench.harness.worker import Job
from edgenet.fixed import FixedPointLSTM, compile_, generate
from edgenet.nn.recurrent import LSTM
from edgenet.structured import BlockCirculant

#: inputs, cells, projection, layers: of C-LSTM (Wang et al. 2018) and ESE
SIZE = (153, 1024, 512, 2)
BLOCKS = (4, 8, 16)
FRAMES = 50
ROUNDS = 7
LIMITS = (
    "Dense float32 networks are the baselines; torch's has no peepholes. Weights are random: the error says what "
    "rounding does, not what accuracy is lost. One processor."
)
_CODE, _FLOATS, _TORCH = "generated code, 16 bits", "the same in float32", "torch.nn.LSTM, float32, dense, no peepholes"
_OURS = "ours, float32, dense"


def jobs(malloc: str = "default") -> list[Job]:
    """One for every block size: a process of its own, with one thread."""
    common = {"measure": __name__, "malloc": malloc, "threads": 1, "rounds": ROUNDS, "frames": FRAMES, "size": SIZE}
    return [{**common, "title": f"blocks of {k}", "block": k} for k in BLOCKS]


@torch.no_grad()
def measure(job: Job) -> dict[str, Any]:
    """Generate, compile, check and time the LSTM of one block size; seconds are of one frame.

    ``equal``: whether the code gives the bits of the module. ``error``: of 16 bits and straight lines, root mean square
    over that of the float LSTM's output.
    """
    torch.manual_seed(0)
    (inputs, cells, projection, layers), frames = job["size"], job["frames"]
    options = {"proj_size": projection, "peepholes": True}
    model = LSTM(inputs, cells, layers, structure=partial(BlockCirculant.from_dense, block=job["block"]), **options)
    for cell in model.cells:
        nn.init.normal_(cell.peepholes, std=0.1)
    model.eval()
    dense, ours = nn.LSTM(inputs, cells, layers, proj_size=projection).eval(), LSTM(inputs, cells, layers, **options)
    ours.eval()
    x = torch.randn(frames, 1, inputs)
    fixed = FixedPointLSTM.from_lstm(model, [x])
    with tempfile.TemporaryDirectory() as folder:
        compiled = compile_(generate(fixed, "google"), folder, "google")
    codes = (x[:, 0] * 2.0**compiled.input_bits).round().to(torch.int16)
    calls = {_CODE: lambda: compiled.run(codes), _FLOATS: lambda: model(x), _TORCH: lambda: dense(x)}
    calls[_OURS] = lambda: ours(x)
    timed = timing.timed([Implementation(name, {FORWARD: call}, dict) for name, call in calls.items()], job["rounds"])
    seconds = {row["name"]: row["times"][FORWARD]["minimum"] / frames for row in timed if row["failed"] is None}
    wanted = model(x)[0]
    few = fixed.run(codes[:8, None].long())[0][:, 0]
    return {
        "block": job["block"],
        "seconds": seconds,
        "equal": torch.equal(compiled.run(codes[:8]).long(), few),
        "error": timing.relative_error(fixed(x)[0], wanted),
        "bytes": sum(buffer.numel() * buffer.element_size() for buffer in fixed.buffers()),
        "dense_bytes": 4 * sum(weight.numel() for weight in dense.parameters()),
    }


def results(malloc: str = "default") -> list[dict[str, Any]]:
    """The results of all block sizes; {"failed": why} for those that ended without one."""
    return worker.all_measured(jobs(malloc))


def settings() -> dict[str, Any]:
    """What is measured."""
    return {"size": SIZE, "blocks": BLOCKS, "frames": FRAMES, "rounds": ROUNDS}


def claim(found: list[dict[str, Any]]) -> str:
    """What was found."""
    good = [one for one in found if "failed" not in one and one["equal"]]
    if not good:
        return "Nothing was measured, or the code gave other bits than the module."
    best = min(good, key=lambda one: one["seconds"][_CODE])
    seconds = best["seconds"]
    dense = min(seconds[name] for name in (_TORCH, _OURS))
    return (
        f"Generated 16-bit code runs the Google LSTM in blocks of {best['block']} at {1 / seconds[_CODE]:,.0f} frames "
        f"a second on one thread, {dense / seconds[_CODE]:.1f} times as many as the fastest dense LSTM in float32."
    )


def parts(found: list[dict[str, Any]]) -> list[str]:
    """Markdown: how it was measured, and the table."""
    inputs, cells, projection, layers = SIZE
    text = (
        f"The Google LSTM ({inputs} inputs, {layers} layers of {cells} cells, peepholes, outputs of {projection}), "
        f"batch 1, one thread: {FRAMES} frames one behind the other, processor time, the ways in turn, the least of at "
        f"most {ROUNDS} rounds. The code is compiled with `g++ -O3 -march=native`; every row's bits were compared with "
        f"those of the module. *Error*: root mean square, of 16 bits and 22 straight lines for every curve, over that "
        f"of the output in float32; weights are random."
    )
    names = ("way", "block", "microseconds a frame", "frames a second", "times torch", "times the fastest dense", "MB")
    head = [f"| {' | '.join(names)} | error |", "|---" * 8 + "|"]
    lines = [line for one in found for line in _lines(one)]
    return [text, "\n".join([*head, *lines])]


def _lines(found: dict[str, Any]) -> list[str]:
    if "failed" in found:
        return [f"| not measured: {found['failed']} | | | | | | | |"]
    lines, torch_seconds = [], found["seconds"].get(_TORCH)
    dense = [found["seconds"][name] for name in (_TORCH, _OURS) if name in found["seconds"]]
    for name, seconds in found["seconds"].items():
        times = "" if torch_seconds is None else f"{torch_seconds / seconds:.1f}"
        size = {_CODE: found["bytes"], _TORCH: found["dense_bytes"]}.get(name)
        told = "" if name != _CODE else f"{found['error']:.3f}" if found["equal"] else "**WRONG: other bits**"
        fastest = f"{min(dense) / seconds:.1f}" if dense else ""
        block = "" if name in (_TORCH, _OURS) else found["block"]
        megabytes = "" if size is None else f"{size / 1e6:.2f}"
        cells = (name, block, f"{1e6 * seconds:.1f}", f"{1 / seconds:,.0f}", times, fastest, megabytes, told)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines
