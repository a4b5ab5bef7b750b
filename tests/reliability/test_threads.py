"""One model, many threads: every answer is the one that a single thread gets, the first one too."""

import copy
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

import edgenet
from edgenet.compress import compress_
from edgenet.errors import ShapeError
from edgenet.pretrained import Predictor

THREADS, CALLS = 6, 12


def made(layer, plan=None):
    model = edgenet.NodeClassifier(5, 3, layer=layer, hidden_channels=8)
    if plan is not None:
        compress_(model, {".*lift": plan, ".*": "keep"})
    return model


MODELS = {
    "gat": lambda: made("gat"),
    "gcn": lambda: made("gcn"),
    "low_rank": lambda: made("gat", {"structure": "low_rank", "rank": 2}),
    "few bits": lambda: made("gcn", {"structure": "low_rank", "rank": 2, "bits": 4}),
    "norm": lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)),
}


def questions(count, alone=False):
    generator = torch.Generator().manual_seed(1)
    edges = torch.randint(20, (2, 60), generator=generator)
    asked = []
    for number in range(count):
        if number % 3 == 0:  # some share the edges, so that what is kept of them is raced for
            edges = torch.randint(20, (2, 60), generator=generator)
        x = torch.randn(20, 5, generator=generator)
        asked.append((x,) if alone else (x, edges))
    return asked


@pytest.mark.parametrize("name", MODELS)
def test_many_threads_get_the_answers_of_one(name):
    model = MODELS[name]().eval()
    asked = questions(THREADS * CALLS, alone=name == "norm")
    with torch.no_grad():
        plain = copy.deepcopy(model)
        wanted = [plain(*question) for question in asked]
    predictor, begin = Predictor(model), threading.Barrier(THREADS)

    def work(own):
        begin.wait()  # the first use is raced for
        return [predictor(*question) for question in own]

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(work, [asked[k::THREADS] for k in range(THREADS)]))
    for k, answers in enumerate(found):
        for answer, right in zip(answers, wanted[k::THREADS], strict=True):
            assert torch.equal(answer, right) and not answer.requires_grad


def test_threads_share_the_numbers_and_nothing_else_of_the_model():
    model = made("gat")
    predictor = Predictor(model)
    seen = []
    predictor._model.register_forward_pre_hook(lambda module, _: seen.append(module))
    asked = questions(2)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda question: (threading.Event().wait(0.05), predictor(*question)), asked))
    own = {id(module): module for module in seen}
    assert len(own) == 2 and id(predictor._model) not in own
    pointers = [{p.data_ptr() for p in one.parameters()} for one in (*own.values(), predictor._model)]
    assert pointers[0] == pointers[1] == pointers[2]
    assert pointers[0].isdisjoint(p.data_ptr() for p in model.parameters())  # training goes on without being seen
    assert model.training and all(p.requires_grad for p in model.parameters())


def test_a_model_that_is_handed_over_with_a_folder_stays_the_callers(tmp_path):
    edgenet.save_pretrained(made("gcn"), tmp_path / "saved")
    mine = made("gcn")
    predictor = Predictor(tmp_path / "saved", model=mine)
    x, edges = torch.ones(4, 5), torch.tensor([[0, 1], [1, 2]])
    before = predictor(x, edges)
    assert all(p.requires_grad for p in mine.parameters())
    with torch.no_grad():
        [p.zero_() for p in mine.parameters()]
    torch.testing.assert_close(predictor(x, edges), before, rtol=0, atol=0)


def test_a_model_without_sizes_is_refused():
    with pytest.raises(ShapeError, match=r"has no size yet: call the model once"):
        Predictor(nn.Sequential(nn.LazyLinear(3)))
    with pytest.raises(TypeError, match="num_nodes: for a folder"):
        Predictor(nn.Linear(2, 2), num_nodes=3)


def test_models_are_loaded_by_many_threads(tmp_path):
    """Of two dtypes, for which the default dtype, which is the process's, must be changed and put back."""
    wanted = {}
    for number in range(4):
        dtype = (torch.float32, torch.float64)[number % 2]
        model = made("gat", {"structure": "hashed", "ratio": 2} if number < 2 else None).to(dtype).eval()
        edgenet.save_pretrained(model, tmp_path / str(number))
        wanted[number] = model
    before, start = torch.get_default_dtype(), threading.Barrier(4)

    def load(number):
        start.wait()
        return [edgenet.from_pretrained(tmp_path / str(number)) for _ in range(3)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(load, range(4)))
    assert torch.get_default_dtype() == before
    ((x, edges),) = questions(1)
    for number, models in enumerate(found):
        signal = x.to(next(wanted[number].parameters()).dtype)
        with torch.no_grad():
            right = wanted[number](signal, edges)
            assert all(torch.equal(model(signal, edges), right) for model in models)


FIRST = """
import sys, threading, torch
from edgenet.pretrained import Predictor
from concurrent.futures import ThreadPoolExecutor
predictor, begin = Predictor(sys.argv[1]), threading.Barrier(8)
x, edges = torch.linspace(-1, 1, 100).view(20, 5), torch.stack([torch.arange(20), torch.arange(20).roll(3)])
def ask(_):
    begin.wait()
    return predictor(x, edges)
with ThreadPoolExecutor(8) as pool:
    answers = list(pool.map(ask, range(8)))
assert all(torch.equal(answer, answers[0]) for answer in answers)
assert torch.equal(answers[0], predictor(x, edges))
"""


def test_the_first_use_in_a_process_may_come_from_many_threads(tmp_path):
    """Kernels that are loaded, ops that are registered, and modules that are imported on first use are raced for."""
    edgenet.save_pretrained(made("gat").float(), tmp_path)
    root = Path(edgenet.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FIRST, str(tmp_path)], cwd=root, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
