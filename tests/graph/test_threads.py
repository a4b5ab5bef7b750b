"""One graph in many threads: each finds what it would find alone."""

import sys
import threading
import time

import pytest
import torch

import edgenet
from edgenet import ops
from edgenet.graph import Graph
from edgenet.nn import specializations as nets
from edgenet.testing import random_graph

THREADS = 4


@pytest.fixture(autouse=True)
def _switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(work):
    """The errors of ``work(number)`` in each thread, started together."""
    errors, together = [], threading.Barrier(THREADS)

    def run(number):
        try:
            together.wait()
            work(number)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_what_a_graph_keeps_may_be_added_and_forgotten_by_all_at_once():
    graph = random_graph(9, 30)

    class Kind:
        __hash__ = object.__hash__

        def __eq__(self, other):
            time.sleep(0)  # which lets another thread go on
            return self is other

    kind = Kind()

    def work(number):
        for i in range(300):
            key = kind, i % 19
            assert graph.memo(key, lambda i=i: i % 19, at_most=3) == i % 19

    assert in_threads(work) == []
    assert len([key for key in graph._memo if isinstance(key, tuple)]) <= 3


def test_one_graph_serves_more_layers_than_it_remembers_in_all_threads():
    whole, x = random_graph(30, 120), torch.randn(30, 4)
    layers = [edgenet.EdgeNetConv(4, 3, phi="edge_varying").bind(whole).eval() for _ in range(40)]
    with torch.no_grad():
        wanted = [layer(x, whole) for layer in layers]
    graph = Graph(whole.edge_index.clone(), 30)

    @torch.no_grad()
    def work(number):
        for layer, y in zip(layers, wanted, strict=True):
            assert torch.equal(layer(x, graph), y)

    assert in_threads(work) == []


@pytest.mark.parametrize("as_graph", [False, True], ids=["edge list", "graph"])
def test_the_first_use_in_all_threads_is_that_of_one(as_graph):
    edges, layer, x = random_graph(300, 2000).edge_index, nets.gat(4, 3, heads=2).eval(), torch.randn(300, 4)
    with torch.no_grad():
        wanted = layer(x, edges.clone())
    for _ in range(5):
        fresh = edges.clone()
        given = Graph(fresh, 300) if as_graph else fresh

        @torch.no_grad()
        def work(number, given=given):
            assert torch.equal(layer(x, given), wanted)

        assert in_threads(work) == []


def test_gradients_in_all_threads_are_those_of_one():
    graph = Graph(random_graph(300, 2000).edge_index, 300)
    x, weight = torch.randn(300, 2, 3), torch.randn(2000, 2)

    def gradient():
        own = weight.clone().requires_grad_()
        return torch.autograd.grad(ops.spmm(graph, own, x).square().sum(), own)[0]

    wanted = gradient()

    def work(number):
        for _ in range(10):
            assert torch.equal(gradient(), wanted)

    assert in_threads(work) == []
