"""A long training in one process, and what memory it takes: ``python tests/reliability/soak.py 10000``, ``make soak``.

Four ways: eager, compiled, a new graph every step, and predictions from a new graph every time. For each, the slope of
the resident memory over the second half of the steps, in bytes a step, by least squares.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from reliability.processes import GIB, memory_limit, resident

import edgenet
from edgenet.text import markdown_table

NODES, EDGES, LOOKS = 60, 240, 40


def steps(compiled: bool = False, fresh: bool = False, training: bool = True) -> Iterator[None]:
    """Steps without an end."""
    torch.manual_seed(0)
    model = edgenet.NodeClassifier(8, 3, layer="gat", hidden_channels=8)
    call: Callable[..., torch.Tensor] = torch.compile(model) if compiled else model
    optimizer = torch.optim.Adam(model.parameters())
    model.train(training)
    edges = torch.randint(NODES, (2, EDGES))
    x, y = torch.randn(NODES, 8), torch.randint(3, (NODES,))
    while True:
        if fresh:
            edges = torch.randint(NODES, (2, EDGES))
        with torch.set_grad_enabled(training):
            scores = call(x, edges)
        if training:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(scores, y).backward()
            optimizer.step()
        yield


WAYS: dict[str, dict[str, bool]] = {
    "eager": {},
    "compiled": {"compiled": True},
    "a new graph every step": {"fresh": True},
    "predictions, a new graph every time": {"fresh": True, "training": False},
}


def slope(walk: Iterator[None], number: int) -> tuple[float, float, float]:
    """Bytes a step over the second half of so many, MiB that this half added in all, and seconds."""
    at, seen, start = [], [], time.perf_counter()
    every = max(1, number // LOOKS)
    for step, _ in zip(range(number), walk, strict=False):
        if step >= number // 2 and step % every == 0:
            at.append(float(step))
            seen.append(float(resident()))
    x, y = torch.tensor(at).double(), torch.tensor(seen).double()
    x = x - x.mean()
    rate = float((x * y).sum() / x.square().sum())
    return rate, (seen[-1] - seen[0]) / 2**20, time.perf_counter() - start


def main(number: int, ways: list[str]) -> None:
    torch.set_num_threads(1)
    rows = []
    for way in ways:
        with memory_limit(8 * GIB):
            rate, added, seconds = slope(steps(**WAYS[way]), number)
        rows.append([way, f"{number:,}", f"{rate:.1f}", f"{added:.2f}", f"{seconds:.0f}"])
        print(f"{way}: {rate:.1f} bytes a step", file=sys.stderr, flush=True)
    print(markdown_table(["way", "steps", "bytes a step", "MiB added in the second half", "seconds"], rows))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10000, sys.argv[2:] or list(WAYS))
