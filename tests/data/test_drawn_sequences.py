"""Copying memory, the adding problem, and batches of them that are drawn when they are asked for."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from stored import oracle, tensors

from edgenet import data
from edgenet.data import adding_problem, copying_memory
from edgenet.errors import ConfigError


@oracle("compression/copying*.npz")
def test_copying_is_that_of_the_authors_code(stored):
    arrays = tensors(stored)
    symbols = np.random.RandomState(0).randint(1, high=9, size=(len(arrays["x"]), 10))
    x, y = copying_memory.sequences(torch.from_numpy(symbols), int(arrays["T"]))
    assert x.dtype == y.dtype == torch.int64
    assert torch.equal(x, arrays["x"]) and torch.equal(y, arrays["y"])


def test_copying_by_hand():
    x, y = copying_memory.sequences(torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8, 1, 2]]), 1)
    assert x.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 9, *[0] * 10]]
    assert y.tolist() == [[*[0] * 11, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2]]


def test_who_has_no_memory_says_blanks_and_any_symbol_and_has_the_baseline():
    for wait, known in ((100, 0.1733), (200, 0.0945), (500, 0.0400)):
        dataset = data.load("copying_memory", wait=wait, train_size=7)
        y = dataset.train[0].y
        scores = torch.full((*y.shape, 9), -math.inf)
        scores[:, :-10, 0] = 0.0
        scores[:, -10:, 1:] = 0.0
        loss = F.cross_entropy(scores.flatten(0, 1), y.flatten())
        assert loss == pytest.approx(copying_memory.baseline(wait)) and dataset.info["baseline"] == pytest.approx(loss)
        assert loss == pytest.approx(known, abs=5e-5)
    assert copying_memory.recall(F.one_hot(y, 9), y) == 1 and copying_memory.recall(F.one_hot(8 - y, 9), y) < 0.2


def test_adding_marks_one_number_in_each_half_and_wants_their_sum():
    graph = data.load("adding_problem", length=7, train_size=500).train[0]
    numbers, marks = graph.x.unbind(-1)
    assert graph.x.dtype == graph.y.dtype == torch.float32
    assert (marks[:, :3].sum(1) == 1).all() and (marks[:, 3:].sum(1) == 1).all() and ((marks == 0) | (marks == 1)).all()
    assert (marks.sum(0) > 0).all(), "every step is marked now and then"
    assert torch.equal((numbers * marks).sum(1), graph.y) and numbers.min() >= 0 and numbers.max() < 1


def test_who_always_says_one_has_the_baseline_of_adding():
    _, y = adding_problem.draw(20_000, torch.Generator().manual_seed(0))
    error = F.mse_loss(torch.ones_like(y), y).item()
    assert error == pytest.approx(adding_problem.BASELINE, rel=0.03)  # of 20,000 draws: a standard error of 1 %


def test_fresh_batches_are_new_ones_every_time_and_follow_the_seed():
    for name, options in (("copying_memory", {"wait": 3}), ("adding_problem", {"length": 4})):
        source = data.fresh(name, 2, 3, seed=5, **options)
        batches = [list(source), list(source)]
        assert len(source) == 3 == len(batches[0]) and batches[0][0][0].shape[:2] == (2, 23 if "wait" in options else 4)
        drawn = [x for epoch in batches for x, _ in epoch]
        assert all(not torch.equal(a, b) for i, a in enumerate(drawn) for b in drawn[:i])
        again = data.fresh(name, 2, 3, seed=5, **options)
        assert torch.equal(next(iter(again))[0], drawn[0])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: data.load("copying_memory", wait=0), "wait must be at least 1, got 0"),
        (lambda: data.load("copying_memory", val_size=0), "at least 1 sequence, got 0"),
        (lambda: data.load("adding_problem", length=1), "length must be at least 2, got 1"),
        (lambda: data.load("adding_problem", test_size=0), "at least 1 sequence, got 0"),
        (lambda: data.fresh("copying", 2, 3), "copying_memory, adding_problem. Did you mean 'copying_memory'"),
        (lambda: data.fresh("adding_problem", 2, 3, wait=3), "no option 'wait' to draw by; it has length"),
        (lambda: data.fresh("adding_problem", 2, 3, length=1), "length must be at least 2, got 1"),
        (lambda: data.fresh("adding_problem", 2, 3, length=4.0), "length must be a whole number, got 4.0"),
        (lambda: data.fresh("copying_memory", 2, 3, wait=True), "wait must be a whole number, got True"),
        (lambda: data.fresh("adding_problem", 0, 3), "batch_size is a whole number from 1, got 0"),
        (lambda: data.fresh("adding_problem", 2, True), "batches is a whole number from 1, got True"),
    ],
)
def test_what_is_out_of_range_is_named(call, says):
    with pytest.raises(ConfigError, match=says):
        call()
