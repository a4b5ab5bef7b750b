"""Dropout: what it promises of its numbers, derivatives, transforms and random stream, on every backend."""

import contextlib
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import grad, jvp, vmap
from torch.utils.checkpoint import checkpoint

from edgenet import ops
from edgenet.errors import ConfigError, ShapeError
from edgenet.nn import Dropout
from edgenet.ops import backend, mask, native

BACKENDS = [name for name in backend.available("dropout") if name != "triton"]
SHAPES = [(), (0,), (1,), (7,), (16,), (33, 3), (5, 0, 2), (2, 3, 70), (1000, 67)]


def expected(x, p, seed):
    """From the definition, number by number."""
    kept = [_hash(i, seed) >= p * 2**32 for i in range(x.numel())]
    return x * torch.tensor(kept, dtype=x.dtype).view(x.shape) / (1 - p)


def _hash(position, seed):
    first_and_second = _mixed(_mixed(seed % 2**64) + ((position >> 32) + 1) * 0x9E3779B97F4A7C15)
    x = position % 2**32 ^ first_and_second % 2**32
    x = (x ^ x >> 17) * 0xED5AD4BB % 2**32
    x = (x ^ x >> 11 ^ first_and_second >> 32) * 0xAC4C1B51 % 2**32
    x = (x ^ x >> 15) * 0x31848BAB % 2**32
    return x ^ x >> 14


def _mixed(x):
    x %= 2**64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
    return x ^ x >> 31


# ---------------------------------------------------------------- numbers
@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("shape", SHAPES[:-1], ids=str)
def test_it_is_the_definition(name, shape):
    x = torch.randn(shape)
    for seed in (0, 1, -1, 2**63 - 1, 12345678901234567):
        with ops.use(name):
            y = ops.dropout(x, 0.3, seed=seed)
            again = ops.dropout(x, 0.3, seed=torch.tensor(seed))
        torch.testing.assert_close(y, expected(x, 0.3, seed), rtol=1e-12, atol=0)
        assert torch.equal(y, again)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_backend_gives_the_same_numbers_in_every_dtype(dtype, shape):
    x, results = torch.randn(shape).to(dtype), []
    for name in BACKENDS:
        with ops.use(name):
            results.append(ops.dropout(x, 0.6, seed=7))
    for y in results:
        assert y.dtype == dtype and y.shape == x.shape and y.is_contiguous()
        assert torch.equal(y, results[0])
    kept = results[0] != 0
    wanted = x.to(torch.complex128)[kept] / 0.4
    torch.testing.assert_close(results[0].to(torch.complex128)[kept], wanted, rtol=1e-2, atol=0)  # 8 bits of bfloat16


def test_positions_are_those_of_row_major_order_whatever_the_strides():
    x = torch.randn(6, 5, 4)
    for view in (x.permute(2, 0, 1), x[::2], x.flip(0), x[:, :1].expand(6, 5, 4), x.to_sparse().to_dense().mT):
        got = ops.dropout(view, 0.5, seed=3)
        assert torch.equal(got, ops.dropout(view.contiguous(), 0.5, seed=3)) and got.is_contiguous()


def test_positions_beyond_32_bits_have_keys_of_their_own():
    position = torch.tensor([0, 5, 2**32 - 1, 2**32, 2**32 + 5, 2**40 + 1, 3 * 2**32 + 7])
    hashes = mask.hashed(position, 11)
    assert hashes.tolist() == [_hash(int(i), 11) for i in position]
    low = torch.arange(4096)
    assert (mask.hashed(low, 11) == mask.hashed(low + 2**32, 11)).sum() == 0


@pytest.mark.parametrize("name", BACKENDS)
def test_the_ends_of_the_range_and_a_chance_below_resolution(name):
    x = torch.randn(50).requires_grad_()
    with ops.use(name):
        assert ops.dropout(x, 0.0) is x and ops.dropout(x, 0.5, training=False) is x
        gone = ops.dropout(x, 1.0)
        assert not gone.any() and not torch.autograd.grad(gone.sum(), x)[0].any()
        assert torch.equal(ops.dropout(x, 1e-12, seed=1), x * (1 / (1 - 1e-12)))
        x = torch.tensor([math.nan, math.inf]).repeat(40)
        assert not torch.isfinite(ops.dropout(x, 0.5)).any()  # as torch has it


def test_what_it_cannot_drop_is_refused_with_the_next_step():
    for p in (-0.1, 1.5, math.nan):
        with pytest.raises(ConfigError, match=r"probability in \[0, 1\], got"):
            ops.dropout(torch.ones(3), p)
    with pytest.raises(ShapeError, match="int64"):
        ops.dropout(torch.arange(3))
    with pytest.raises(ShapeError, match="SparseSignal"):
        ops.dropout(torch.eye(3).to_sparse())


def test_threads_change_nothing():
    x, threads = torch.randn(400_003), torch.get_num_threads()
    one = ops.dropout(x, 0.4, seed=9)
    try:
        torch.set_num_threads(2)
        assert torch.equal(ops.dropout(x, 0.4, seed=9), one)
    finally:
        torch.set_num_threads(threads)


# ---------------------------------------------------------------- derivatives
@pytest.mark.parametrize("name", BACKENDS)
def test_derivatives_of_first_and_second_order_and_in_forward_mode(name):
    x = torch.randn(4, 5, requires_grad=True)

    def cubed(x):
        return ops.dropout(x**3, 0.4, seed=5) ** 2

    with ops.use(name):
        assert torch.autograd.gradcheck(cubed, x, check_forward_ad=True, check_batched_grad=True)
        assert torch.autograd.gradgradcheck(cubed, x, check_batched_grad=True)


@pytest.mark.skipif(native.library() is None, reason="no compiled kernels here")
def test_nothing_is_kept_for_backward():
    x, kept = torch.randn(100, 10, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = ops.dropout(x, 0.5)
    assert not kept
    y.sum().backward()
    assert torch.equal(x.grad == 0, y == 0)
    assert ops.dropout(x.detach(), 0.5).grad_fn is None


def test_forward_and_backward_of_bfloat16_under_autocast_keep_the_dtype():
    x = torch.randn(40, 3, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = ops.dropout(x, 0.5)
        y.sum().backward()
    assert y.dtype == x.grad.dtype == torch.bfloat16 and torch.equal(y == 0, x.grad == 0)


# ---------------------------------------------------------------- transforms and compilers
def test_function_transforms_see_through_it():
    x = torch.randn(3, 6)
    direct = ops.dropout(torch.ones(6), 0.5, seed=2)
    assert torch.equal(grad(lambda x: ops.dropout(x, 0.5, seed=2).sum())(x[0]), direct)
    assert torch.equal(jvp(lambda x: ops.dropout(x, 0.5, seed=2), (x[0],), (x[1],))[1], x[1] * direct)
    assert torch.equal(vmap(lambda x: ops.dropout(x, 0.5, seed=2))(x), x * direct)
    assert torch.equal(vmap(grad(lambda x: ops.dropout(x, 0.5, seed=2).sum()))(x), direct.expand(3, 6))


def test_vmap_draws_as_its_randomness_says():
    x = torch.ones(4, 200)
    same = vmap(lambda x: ops.dropout(x, 0.5), randomness="same")(x)
    assert (same == same[0]).all() and same[0].any()
    different = vmap(lambda x: ops.dropout(x, 0.5), randomness="different")(x)
    assert all(not torch.equal(different[i], different[j]) for i in range(4) for j in range(i))
    shared = vmap(lambda _: ops.dropout(x[0], 0.5), randomness="different")(x)  # the signal has no batch
    assert not torch.equal(shared[0], shared[1])
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(lambda x: ops.dropout(x, 0.5))(x)
    through = vmap(grad(lambda x: (ops.dropout(x, 0.5) ** 2).sum()), randomness="different")(x)
    assert set(through.unique().tolist()) == {0.0, 8.0}


def test_a_compiled_graph_is_whole_and_has_matching_gradients():
    def step(x):
        return ops.dropout(x * 2, 0.5).sin()

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    x = torch.randn(50, 4, requires_grad=True)
    y = compiled(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient == 0, y == 0) and 0.3 < (y == 0).double().mean() < 0.7
    assert not torch.equal(compiled(x), y)


def test_meta_tensors_and_the_checks_of_registered_ops():
    assert ops.dropout(torch.empty(3, 4, device="meta"), 0.5).shape == (3, 4)
    x = torch.randn(4, 3, requires_grad=True)
    torch.library.opcheck(torch.ops.edgenet.dropout, (x, 0.5, torch.tensor(3)))
    torch.library.opcheck(torch.ops.edgenet.dropout, (x.detach().mT, 0.5, torch.tensor(3)))


def test_it_is_one_call_in_a_symbolic_trace():
    traced = torch.fx.symbolic_trace(lambda x: ops.dropout(x, 0.5))
    assert any(node.target is ops.dropout for node in traced.graph.nodes)
    assert traced(torch.ones(2, 3)).shape == (2, 3)


# ---------------------------------------------------------------- the stream
def test_the_seed_is_torchs():
    x = torch.ones(1000)
    torch.manual_seed(1)
    first, second = ops.dropout(x), ops.dropout(x)
    torch.manual_seed(1)
    assert torch.equal(ops.dropout(x), first) and not torch.equal(first, second)
    with torch.random.fork_rng(devices=[]):
        inside = ops.dropout(x)
    assert torch.equal(ops.dropout(x), inside)


def test_a_checkpointed_pass_draws_the_same_again():
    x = torch.randn(300, requires_grad=True)
    y = checkpoint(lambda x: ops.dropout(x, 0.5) ** 2, x, use_reentrant=False)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient == 0, y == 0)


def test_torch_draws_on_request():
    x = torch.randn(30, 4)
    for context, same in ((ops.torch_dropout(), True), (contextlib.nullcontext(), False)):
        with context:
            torch.manual_seed(4)
            ours = ops.dropout(x, 0.3)
        torch.manual_seed(4)
        assert torch.equal(ours, F.dropout(x, 0.3)) == same


# ---------------------------------------------------------------- the module
def test_the_module_is_a_dropout_of_torch():
    module = Dropout(0.5)
    x = torch.randn(60, requires_grad=True)
    assert isinstance(module, nn.Dropout) and repr(module) == "Dropout(p=0.5, inplace=False)"
    assert (module(x) == 0).any() and module.eval()(x) is x
    module.train().p = 0.0
    assert module(x) is x
    inside = Dropout(0.5, inplace=True)
    y = x * 1
    torch.manual_seed(3)
    assert inside(y) is y
    torch.manual_seed(3)
    assert torch.equal(y, ops.dropout(x))
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0] == 0, y == 0)
    with pytest.raises(ValueError, match="probability"):
        Dropout(1.5)


@pytest.mark.parametrize("training", [True, False])
def test_a_symbolic_trace_has_the_mode_of_the_moment_of_a_call(training):
    model = nn.Sequential(nn.Linear(3, 3), Dropout(0.5)).train(training)
    traced = torch.fx.symbolic_trace(pickle.loads(pickle.dumps(model)))
    x = torch.ones(200, 3)
    assert type(traced.get_submodule("1")) is Dropout
    assert (traced.train()(x) == 0).any()
    assert torch.equal(traced.eval()(x), model.eval()(x))
