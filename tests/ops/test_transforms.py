"""Every op under torch.func, vmap and batched gradients gives what plain torch gives."""

import oracles
import pytest
import torch
import torch.nn.functional as F
from torch.autograd.functional import hessian, jacobian
from torch.func import grad, jacfwd, jacrev, jvp, vjp, vmap
from torch.func import hessian as func_hessian

from edgenet import ops
from edgenet.graph import Graph
from edgenet.ops.kernels.attention import ATTENTION
from edgenet.ops.kernels.attention_v2 import ATTENTION_V2
from edgenet.ops.kernels.segment_softmax import SEGMENT_SOFTMAX
from edgenet.ops.pair import SDDMM, SPMM

GRAPH = Graph(torch.tensor([[0, 4, 4, 2, 4, 1], [1, 0, 1, 2, 1, 0]]), num_nodes=4, num_sources=5)  # node 3 gets nothing
SOURCE, TARGET, E, N, M = GRAPH.source, GRAPH.target, GRAPH.num_edges, GRAPH.num_nodes, GRAPH.num_sources
backends = pytest.mark.parametrize("backend", ops.available("spmm"))


def walked(alpha, x):
    """One hop by a dense matrix for every head."""
    matrix = x.new_zeros(N, M, alpha.shape[1]).index_put((TARGET, SOURCE), alpha, accumulate=True)
    return torch.einsum("ijh,jhc->ihc", matrix, x)


def normalised(score):
    """The softmax over in-edges, without a maximum: scores here are small."""
    grown = score.exp()
    return grown / torch.zeros(N, score.shape[1]).index_put((TARGET,), grown, accumulate=True)[TARGET]


#: op -> (its form, the same in plain torch, shapes of what it takes)
OPS = {
    "spmm": (lambda w, x: ops.spmm(GRAPH, w, x), walked, [(E, 2), (M, 2, 3)]),
    "spmm, one weighting": (
        lambda w, x: ops.spmm(GRAPH, w, x), lambda w, x: walked(w.expand(-1, 2), x), [(E, 1), (M, 2, 3)]
    ),
    "spmm, one signal": (
        lambda w, x: ops.spmm(GRAPH, w, x), lambda w, x: walked(w, x.expand(-1, 2, -1)), [(E, 2), (M, 1, 3)]
    ),
    "spmm of ones": (lambda x: ops.spmm(GRAPH, None, x), lambda x: walked(torch.ones(E, 2), x), [(M, 2, 3)]),
    "sddmm": (
        lambda a, b: ops.sddmm(GRAPH, a, b), lambda a, b: (a[TARGET] * b[SOURCE]).sum(-1), [(N, 2, 3), (M, 2, 3)]
    ),
    "segment_softmax": (lambda s: ops.segment_softmax(s, GRAPH), normalised, [(E, 2)]),
    "segment_softmax by index": (lambda s: ops.segment_softmax(s, TARGET, N), normalised, [(E, 2)]),
    "attention": (
        lambda s, t, x: ops.attention(GRAPH, s, t, x),
        lambda s, t, x: walked(normalised(F.leaky_relu(s[SOURCE] + t[TARGET], 0.2)), x),
        [(M, 2), (N, 2), (M, 2, 3)],
    ),
    "attention, one signal": (
        lambda s, x: ops.attention(GRAPH, s, None, x),
        lambda s, x: walked(normalised(F.leaky_relu(s[SOURCE], 0.2)), x.expand(-1, 2, -1)),
        [(M, 2), (M, 1, 3)],
    ),
    "attention_v2": (
        lambda x, u, a: ops.attention_v2(GRAPH, x, u, a),
        lambda x, u, a: walked(normalised((F.leaky_relu(x[SOURCE] + u[TARGET], 0.2) * a).sum(-1)), x),
        [(M, 2, 3), (N, 2, 3), (2, 3)],
    ),
    "linear": (ops.linear, F.linear, [(5, 3), (4, 3)]),
}  # fmt: skip
every_op = pytest.mark.parametrize("name", OPS)


def energy(function):
    """A number that depends on every entry of the result, not linearly."""
    return lambda *t: (lambda y: (y * torch.linspace(-1, 2, y.numel()).reshape(y.shape)).sin().sum())(function(*t))


def each_jacobian(transform, function, tensors):
    return transform(function, argnums=tuple(range(len(tensors))))(*tensors)


def vectorised(function, strategy="reverse-mode"):
    return lambda *t: jacobian(function, t, vectorize=True, strategy=strategy)


def batched_grads(function):
    def run(*tensors):
        leaves = [t.detach().requires_grad_() for t in tensors]
        y = function(*leaves)
        directions = torch.randn(4, *y.shape, generator=torch.Generator().manual_seed(1))
        return torch.autograd.grad(y, leaves, directions, is_grads_batched=True)

    return run


TRANSFORMS = {
    "grad": lambda f: lambda *t: each_jacobian(grad, energy(f), t),
    "grad of grad": lambda f: grad(lambda *t: sum(g.sin().sum() for g in each_jacobian(grad, energy(f), t))),
    "vjp": lambda f: lambda *t: (lambda y, pull: pull(y.cos()))(*vjp(f, *t)),
    "jvp": lambda f: lambda *t: jvp(f, t, tuple(a.sin() for a in t)),
    "jacrev": lambda f: lambda *t: each_jacobian(jacrev, f, t),
    "jacfwd": lambda f: lambda *t: each_jacobian(jacfwd, f, t),
    "hessian": lambda f: lambda *t: each_jacobian(func_hessian, energy(f), t),
    "reverse over forward": lambda f: lambda *t: jacrev(jacfwd(energy(f)))(*t),
    "jacobian, vectorised": vectorised,
    "jacobian in forward mode, vectorised": lambda f: vectorised(f, "forward-mode"),
    "hessian, vectorised": lambda f: lambda *t: hessian(energy(f), t, vectorize=True),
    "batched gradients": batched_grads,
    "vmap of autograd.grad": lambda f: lambda *t: _pulled(f, t),
}  # fmt: skip


def _pulled(function, tensors):
    leaves = [t.detach().requires_grad_() for t in tensors]
    y = function(*leaves)
    return vmap(lambda v: torch.autograd.grad(y, leaves, v, retain_graph=True))(torch.eye(y.numel()).view(-1, *y.shape))


def same(got, wanted):
    got, wanted = torch.utils._pytree.tree_leaves(got), torch.utils._pytree.tree_leaves(wanted)
    assert len(got) == len(wanted)
    for ours, theirs in zip(got, wanted, strict=True):
        oracles.assert_near(ours, theirs)


@every_op
@backends
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.filterwarnings("error::UserWarning")
def test_a_transform_of_an_op_is_that_of_its_definition(backend, name, transform):
    op, definition, shapes = OPS[name]
    tensors = [torch.randn(shape) for shape in shapes]
    with ops.use(backend):
        got = TRANSFORMS[transform](op)(*tensors)
    same(got, TRANSFORMS[transform](definition)(*tensors))


@every_op
@backends
def test_vmap_over_any_of_the_tensors_is_the_loop_over_them(backend, name):
    op, _, shapes = OPS[name]
    for which in range(1, 2 ** len(shapes)):
        dims = tuple((which + i) % 2 if which >> i & 1 else None for i in range(len(shapes)))  # first or second
        tensors = [torch.randn(s if d is None else (*s[:d], 4, *s[d:])) for s, d in zip(shapes, dims, strict=True)]
        with ops.use(backend):
            got = vmap(op, dims)(*tensors)
            rows = [
                op(*(t if d is None else t.select(d, i) for t, d in zip(tensors, dims, strict=True))) for i in range(4)
            ]
        oracles.assert_near(got, torch.stack(rows))


@every_op
def test_vmap_in_vmap_of_gradients_is_that_of_the_definition(name):
    op, definition, shapes = OPS[name]
    tensors = [torch.randn(2, *shape[:1], 4, *shape[1:]) for shape in shapes]
    same(*(vmap(vmap(lambda *t, f=f: each_jacobian(grad, energy(f), t), 1))(*tensors) for f in (op, definition)))


@every_op
def test_gradients_taken_outside_run_through_vmap(name):
    op, definition, shapes = OPS[name]
    results = []
    for function in (op, definition):
        torch.manual_seed(3)
        leaves = [torch.randn(4, *shape).requires_grad_() for shape in shapes]
        results.append(torch.autograd.grad(vmap(energy(function))(*leaves).sum(), leaves))
    same(*results)


#: a registered op, arguments of which the tensors marked by a number in the second list may be batched
REGISTERED = {
    "spmm": (SPMM, (SOURCE, TARGET, (E, 2), (M, 2, 3), N)),
    "sddmm": (SDDMM, (SOURCE, TARGET, (N, 2, 3), (M, 2, 3))),
    "segment_softmax": (SEGMENT_SOFTMAX, ((E, 2), TARGET, N)),
    "attention": (ATTENTION.op, (SOURCE, TARGET, (M, 2), (N, 2), (M, 2, 3), N, 0.2, 0.0, torch.tensor(3))),
    "attention, dropout": (ATTENTION.op, (SOURCE, TARGET, (M, 2), (N, 2), (M, 2, 3), N, 0.2, 0.5, torch.tensor(3))),
    "attention, no receivers": (ATTENTION.op, (SOURCE, TARGET, (M, 2), None, (M, 2, 3), N, 0.2, 0.0, torch.tensor(3))),
    "attention_v2": (ATTENTION_V2.op, (SOURCE, TARGET, (M, 2, 3), (N, 2, 3), (2, 3), N, 0.2, 0.0, torch.tensor(3))),
}


def _calls(op, arguments, dims, size=3):
    """vmap of an op, and the loop it stands for."""
    tensors = []
    for a, d in zip(arguments, dims, strict=True):
        shape = a if isinstance(a, tuple) else getattr(a, "shape", None)
        if shape is None or not isinstance(a, (tuple, torch.Tensor)):
            tensors.append(a)
        elif isinstance(a, torch.Tensor):
            tensors.append(a if d is None else torch.stack([a.flip(0) if i % 2 else a for i in range(size)], d))
        else:
            tensors.append(torch.randn(shape if d is None else (*shape[:d], size, *shape[d:])))
    row = [[a if d is None else a.select(d, i) for a, d in zip(tensors, dims, strict=True)] for i in range(size)]
    got, rows = vmap(op, dims)(*tensors), [op(*r) for r in row]
    got = got if isinstance(got, tuple) else (got,)
    rows = [r if isinstance(r, tuple) else (r,) for r in rows]
    same(got, tuple(map(torch.stack, zip(*rows, strict=True))))


@pytest.mark.parametrize("name", REGISTERED)
@pytest.mark.filterwarnings("error::UserWarning")
def test_a_registered_op_has_a_batching_rule_for_edges_and_signals(name):
    op, arguments = REGISTERED[name]
    places = [i for i, a in enumerate(arguments) if isinstance(a, (tuple, torch.Tensor)) and getattr(a, "ndim", 1)]
    for which in range(1, 2 ** len(places)):
        dims = [None] * len(arguments)
        for n, place in enumerate(places):
            if which >> n & 1:
                edges = isinstance(arguments[place], torch.Tensor)
                dims[place] = 0 if edges else (which + n) % 2
        _calls(op.registered, arguments, tuple(dims))


@pytest.mark.parametrize("name", [name for name in REGISTERED if name.startswith("attention")])
@pytest.mark.filterwarnings("error::UserWarning")
def test_a_registered_gradient_has_a_batching_rule(name):
    op, (source, target, a, b, c, nodes, *rest) = REGISTERED[name]
    gradient = (ATTENTION_V2 if "v2" in name else ATTENTION).gradient
    inputs = [None if shape is None else torch.randn(shape) for shape in (a, b, c)]
    kept = op.registered(source, target, *inputs, nodes, *rest)
    grads = torch.randn(3, *kept[0].shape)
    call = lambda g: gradient(source, target, *inputs, *kept, g, *rest)  # noqa: E731
    same(vmap(call)(grads), tuple(map(torch.stack, zip(*map(call, grads), strict=True))))
    inputs = [None if t is None else torch.stack([t, 2 * t, -t]) for t in inputs]
    call = lambda a, b, c, g: gradient(source, target, a, b, c, *kept, g, *rest)  # noqa: E731
    dims = tuple(None if t is None else 0 for t in inputs)
    rows = [call(*(None if t is None else t[i] for t in inputs), grads[i]) for i in range(3)]
    same(vmap(call, (*dims, 0))(*inputs, grads), tuple(map(torch.stack, zip(*rows, strict=True))))


def test_dropout_in_vmap_is_one_mask_or_a_mask_for_each():
    s, x = torch.randn(M, 2), torch.randn(M, 2, 3)
    call = lambda x: ops.attention(GRAPH, s, None, x, dropout=0.5)  # noqa: E731
    torch.manual_seed(1)
    one = call(x)
    torch.manual_seed(1)
    same = vmap(call, randomness="same")(x.expand(3, -1, -1, -1))
    oracles.assert_near(same, one.expand(3, -1, -1, -1))
    different = vmap(call, randomness="different")(x.expand(20, -1, -1, -1))
    assert not torch.equal(different[0], different[1]) or not torch.equal(different[0], different[2])


def test_a_gradient_through_a_transform_that_has_ended():
    y, pull = vjp(lambda x: ops.spmm(GRAPH, None, x), torch.randn(M, 2, 3))
    oracles.assert_near(pull(torch.ones_like(y))[0][:, 0, 0], torch.zeros(M).index_add(0, SOURCE, torch.ones(E)))
