"""What once ended the process or read foreign memory, each case in a process of its own: run as a script it prints how
every one ended, as JSON, ``{case: "ShapeError"}``, or "right", or "signal 11"."""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from edgenet import ops
from edgenet.errors import EdgeIndexError
from edgenet.graph import Graph
from edgenet.nn.specializations import gat
from edgenet.structured import Csr

N, E, MANY = 10, 30, 2_000_000  # so many that what lies behind a tensor of N or E rows is not there
CASES: dict[str, Callable[[], None]] = {}


def case(function: Callable[[], None]) -> Callable[[], None]:
    CASES[function.__name__] = function
    return function


def edges(count: int = E) -> torch.Tensor:
    return torch.randint(0, N, (2, count))


def of_each_op(change: Callable[[Graph, dict[str, torch.Tensor]], None]) -> None:
    """Forward, the change, backward, for every op on graphs; every one must raise what the first raises."""
    raised = []
    for run in (
        lambda g, t: ops.spmm(g, t["weight"], t["x"]),
        lambda g, t: ops.sddmm(g, t["x"], t["x"]),
        lambda g, t: ops.segment_softmax(t["weight"], g),
        lambda g, t: ops.attention(g, t["score"], t["score"], t["x"]),
        lambda g, t: ops.attention_v2(g, t["x"], t["x"], t["x"][0].detach()),
    ):
        graph = Graph(edges(), N)
        tensors = {"x": torch.randn(N, 2, 3), "weight": torch.randn(E, 2), "score": torch.randn(N, 2)}
        tensors = {name: t.requires_grad_() for name, t in tensors.items()}
        y = run(graph, tensors).square().sum()
        change(graph, tensors)
        try:
            y.backward()
        except Exception as error:
            raised.append(error)
    if len(raised) != 5 or len({type(error) for error in raised}) != 1:
        raise AssertionError(repr(raised))
    raise raised[0]


@case
def edges_made_longer_before_backward() -> None:
    of_each_op(lambda graph, _: setattr(graph.edge_index, "data", edges(MANY)))


@case
def edges_made_shorter_before_backward() -> None:
    of_each_op(lambda graph, _: setattr(graph.edge_index, "data", edges(1)))


@case
def edges_freed_before_backward() -> None:
    of_each_op(lambda graph, _: graph.edge_index.untyped_storage().resize_(0))


def edges_freed(ends: torch.Tensor, run: Callable[[], object], left: int = 0) -> None:
    run()
    ends.untyped_storage().resize_(left)
    run()


@case
def edges_freed_before_a_layer_that_knows_them() -> None:
    ends, layer, x = edges(MANY), gat(3, 4), torch.randn(N, 3)
    edges_freed(ends, lambda: layer(x, ends), left=16)


@case
def graph_whose_edges_were_freed() -> None:
    graph, layer, x = Graph(edges(MANY), N), gat(3, 4, add_self_loops=False), torch.randn(N, 3)
    edges_freed(graph.edge_index, lambda: layer(x, graph), left=16)


@case
def ids_freed() -> None:
    graph, layer, x = Graph(edges(), N, node_id=torch.arange(N)), gat(3, 4), torch.randn(N, 3)
    edges_freed(graph.node_id, lambda: layer(x, graph))


def one_made_shorter(name: str, run: Callable[..., torch.Tensor]) -> None:
    graph, shapes = Graph(edges(), N), {"x": (N, 2, 300_000), "weight": (E, 2), "score": (N, 2)}
    tensors = {key: torch.randn(shape).requires_grad_() for key, shape in shapes.items()}
    y = run(graph, **tensors).sum()
    tensors[name].data = tensors[name].data[:1, :1].clone()
    y.backward()


@case
def signal_made_shorter_before_backward() -> None:
    one_made_shorter("x", lambda g, x, weight, score: ops.spmm(g, weight, x))


@case
def weight_made_shorter_before_backward() -> None:
    one_made_shorter("weight", lambda g, x, weight, score: ops.spmm(g, weight, x))


@case
def score_made_shorter_before_backward() -> None:
    one_made_shorter("score", lambda g, x, weight, score: ops.attention(g, score, None, x))


@case
def storage_freed_before_backward() -> None:
    graph, x, weight = Graph(edges(), N), torch.randn(N, 2, 3), torch.randn(E, 2, requires_grad=True)
    y = ops.spmm(graph, weight, x).sum()
    x.untyped_storage().resize_(0)
    y.backward()


@case
def registered_spmm_of_one_weight() -> None:
    source, target = edges(MANY)
    torch.ops.edgenet.spmm(source, target, torch.ones(1, 1), torch.randn(N, 1, 3), N)


@case
def registered_spmm_of_ends_of_two_lengths() -> None:
    torch.ops.edgenet.spmm(edges(MANY)[0], edges()[0], None, torch.randn(N, 1, 3), N)


@case
def registered_attention_of_few_scores() -> None:
    source, target = edges(MANY)
    x, seed = torch.randn(N, 1, 3), torch.tensor(0)
    torch.ops.edgenet.attention(source, target, torch.ones(1, 1), None, x, N, 0.2, 0.0, seed)


@case
def registered_attention_gradient_of_few_rows() -> None:
    (source, target), x, one = edges(), torch.randn(N, 1, 300_000), torch.ones(1, 1, 1)
    score, seed = torch.ones(N, 1), torch.tensor(0)
    kept = x, torch.ones(1, 1), torch.ones(1, 1), one
    torch.ops.edgenet.attention_backward(source, target, score, score, x, *kept, 0.2, 0.0, seed)


@case
def registered_sddmm_of_two_widths() -> None:
    torch.ops.edgenet.sddmm(*edges(), torch.randn(N, 1, 300_000), torch.randn(N, 1, 3))


@case
def registered_softmax_of_few_scores() -> None:
    torch.ops.edgenet.segment_softmax(torch.ones(1, 1), edges(MANY)[0], N)


@case
def trace_called_with_other_sizes() -> None:
    graph, x, weight = Graph(edges(), N), torch.randn(N, 2, 3), torch.randn(E, 2)
    traced = make_fx(lambda weight, x: ops.spmm(graph, weight, x))(weight, x)
    torch.testing.assert_close(traced(weight, x), ops.spmm(graph, weight, x))
    traced(torch.ones(1, 2), torch.randn(1, 2, 3))


@case
def trace_called_with_fewer_nodes() -> None:
    graph, x = Graph(edges(), N), torch.randn(N, 2, 3)
    traced = make_fx(lambda x: ops.attention(graph, x.sum(2), None, x))(x)
    traced(torch.randn(1, 2, 3))


@case
def fake_tensor_outside_its_mode() -> None:
    with FakeTensorMode():
        x, weight, ends = torch.randn(N, 2, 3), torch.ones(E, 2), edges()
        fake = Graph(ends, N)
    assert ops.spmm(fake, weight, x).shape == x.shape
    ops.spmm(Graph(edges(), N), weight, x)


@case
def weights_that_are_stored_nowhere() -> None:
    graph, x, zero = Graph(edges(), N), torch.randn(N, 2, 3), torch._efficientzerotensor((E, 2))
    assert not ops.spmm(graph, zero, x).any()
    assert not torch.ops.edgenet.spmm(graph.source, graph.target, zero, x, N).any()


@case
def negatives_of_what_is_stored() -> None:
    graph, x, weight = Graph(edges(), N), torch.randn(N, 2, 3), torch.randn(E, 2)
    ends, wanted = (graph.source, graph.target), -ops.spmm(graph, weight, x)
    torch.testing.assert_close(ops.spmm(graph, torch._neg_view(weight), x), wanted)
    torch.testing.assert_close(torch.ops.edgenet.spmm(*ends, torch._neg_view(weight), x, N), wanted)
    torch.testing.assert_close(torch.ops.edgenet.sddmm(*ends, x, torch._neg_view(x)), -ops.sddmm(graph, x, x))
    score, grads = weight.clone().requires_grad_(), []
    for grad in (torch._neg_view(weight), -weight):
        grads += torch.autograd.grad(ops.segment_softmax(score, graph), score, grad)
    torch.testing.assert_close(*grads)


@case
def tensor_that_left_its_transform() -> None:
    left, graph, x = [], Graph(edges(), N), torch.randn(N, 2, 3)
    torch.func.grad(lambda x: (left.append(x), x.sum())[1])(x)
    torch.testing.assert_close(ops.spmm(graph, None, left[0]), ops.spmm(graph, None, x))


@case
def pointers_of_a_sparse_matrix_overwritten() -> None:
    matrix, x = Csr.from_dense(torch.randn(300, 200), 0.1).eval(), torch.randn(2, 200)
    wanted = x @ matrix.to_dense().t()
    with torch.no_grad():
        matrix.columns.numpy()[:] = 2**30  # which are made anew at every look
        torch.testing.assert_close(matrix.matmul(x), wanted)
        matrix = Csr.from_dense(matrix.to_dense(), 0.1).eval()
        matrix.pointers.numpy()[1:] = 2**30
        matrix.matmul(x)


@case
def edges_overwritten_before_a_walk() -> None:
    ends = np.random.default_rng(0).integers(0, N, (2, E))
    graph, x = Graph(torch.from_numpy(ends), N), torch.randn(N, 1, 3)
    ops.spmm(graph, None, x)
    ends[:] = 2**30
    ops.spmm(graph, None, x)


@case
def edges_written_by_another_thread() -> None:
    ends, done = np.zeros((2, 200_000), dtype=np.int64), threading.Event()

    def write() -> None:
        while not done.is_set():
            ends[:, ::7] = 2**40
            ends[:, ::7] = 0

    writer, x = threading.Thread(target=write), torch.randn(N, 1, 2)
    writer.start()
    try:
        for _ in range(60):
            with contextlib.suppress(EdgeIndexError):
                ops.spmm(Graph(torch.from_numpy(ends), N), None, x)
    finally:
        done.set()
        writer.join()


def starved(run: Callable[[], object], megabytes: int = 24) -> None:
    """With so little memory left that the kernel's own is not there; the tensors around it are made before."""
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + megabytes * 2**20,) * 2)
    run()


STAR = 3_000_000


@case
def star_under_a_memory_limit() -> None:
    ends = torch.stack([torch.arange(STAR), torch.zeros(STAR, dtype=torch.long)])
    graph, score, x = Graph(ends, STAR), torch.zeros(STAR, 8), torch.zeros(STAR, 8, 1)
    with torch.no_grad():
        ops.attention(graph, score[:1].expand(STAR, -1), None, x[:1].expand(STAR, -1, -1))  # sorts
        starved(lambda: ops.segment_softmax(score, graph), 24 + STAR * 8 * 4 // 2**20)


@case
def star_on_two_threads_under_a_memory_limit() -> None:
    torch.set_num_threads(2)
    star_under_a_memory_limit()


@case
def sort_under_a_memory_limit() -> None:
    graph, x = Graph(edges(4 * STAR), N), torch.zeros(N, 1, 1)
    starved(lambda: ops.spmm(graph, None, x), 4 + 3 * 4 * STAR * 4 // 2**20)


def outcome_of(run: Callable[[], None]) -> str:
    """How a case ended in a child process."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            torch.manual_seed(0)
            run()
            said = "right"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode()[:4000])
        os._exit(0)
    os.close(writer)
    said = os.read(reader, 4000).decode(errors="replace")
    os.close(reader)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return said if said else f"signal {signal.Signals(-status).name}" if status < 0 else f"ended with {status}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    chosen = sys.argv[1:] or list(CASES)
    print(json.dumps({name: outcome_of(CASES[name]) for name in chosen}, indent=1))
