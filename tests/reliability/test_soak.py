"""The beginning of ``make soak``: from step to step the same objects are there, none more."""

import gc
import mmap

import pytest
import torch
from reliability.processes import GIB, memory_limit
from reliability.soak import WAYS, slope, steps

from edgenet import Graph


@pytest.fixture
def alive():
    """How many tensors and graphs there are that were not there at the first look."""
    gc.collect()
    gc.freeze()  # what is there already is not looked at

    def count():
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor | Graph) for thing in gc.get_objects())

    yield count
    gc.unfreeze()


@pytest.mark.parametrize("way", [way for way in WAYS if way != "compiled"])
def test_no_step_leaves_tensors_or_graphs_behind(way, alive):
    walk = steps(**WAYS[way])
    with memory_limit():
        for _ in range(10):
            next(walk)
        before = alive()
        for _ in range(40):
            next(walk)
    assert alive() == before


def test_a_leak_shows_in_the_slope():
    kept = []

    def leaking():
        while True:
            kept.append(mmap.mmap(-1, 1 << 20))  # fresh pages, which no allocator has in store
            kept[-1].write(b"1" * (1 << 20))
            yield

    rate, added, _ = slope(leaking(), 60)
    assert rate == pytest.approx(1 << 20, rel=0.05) and added == pytest.approx(29, abs=2)  # pages, and what else moves


@pytest.mark.slow
@pytest.mark.float32
@pytest.mark.parametrize("way", WAYS)
def test_memory_does_not_grow_with_steps(way):
    with memory_limit(8 * GIB):
        rate, _, _ = slope(steps(**WAYS[way]), 2000)
    assert rate < 500  # bytes a step: the allocator's own unrest over 1,000 steps; the edges of one graph are 3,840
