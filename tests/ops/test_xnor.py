"""Products of packed signs: every form gives the whole numbers that products of -1 and +1 are."""

import numpy as np
import pytest
import torch
from stored import numbered, oracle

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.ops import backend, native
from edgenet.ops.kernels.xnor import native as compiled

#: m, n, k: ragged words, fewer rows than a tile has, several tiles and blocks, many rows of each, no rows, no signs
SHAPES = (
    (1, 1, 1), (3, 5, 7), (4, 16, 64), (5, 17, 63), (2, 16, 65), (7, 33, 130), (1, 9, 4096), (6, 48, 1433),
    (9, 21, 512), (2, 70, 9000), (37, 45, 1433), (41, 16, 576), (9, 18, 130), (0, 3, 5), (3, 0, 5), (3, 2, 0),
)  # fmt: skip
FORMS = list(compiled.FORMS) if native.library() else []


def signs(*shape, dtype=torch.float32):
    return torch.where(torch.rand(shape) < 0.5, -1.0, 1.0).to(dtype)


def bits(x):
    """(k,) numbers -> words, bit by bit."""
    words = [0] * -(-len(x) // 64)
    for i, value in enumerate(x.tolist()):
        words[i // 64] |= int(value >= 0) << (i % 64)
    return [word - 2**64 if word >= 2**63 else word for word in words]


@pytest.fixture(params=["reference", *FORMS], ids=lambda form: str(compiled.FORMS.get(form, form)))
def form(request, monkeypatch):
    """The definition, or one of the compiled forms that this processor runs."""
    if request.param == "reference":
        with ops.use("reference"):
            yield request.param
        return
    if request.param > native.library().edgenet_xnor_form():
        pytest.skip(f"this processor has no {compiled.FORMS[request.param]}")
    monkeypatch.setattr(compiled, "_form", request.param)
    yield request.param


@pytest.mark.parametrize("m, n, k", SHAPES)
def test_products_are_those_of_the_signs(form, m, n, k):
    a, w = signs(m, k), signs(n, k)
    dots = ops.xnor(ops.pack_signs(a), ops.pack_signs(w), k)
    assert dots.dtype == torch.int32 and torch.equal(dots, (a.double() @ w.double().mT).to(torch.int32))


@oracle("quantised/binary_gemm*.npz")
def test_products_and_words_are_those_of_numpy(form, stored):
    arrays = np.load(stored)
    for (i,) in numbered(arrays, r"A(\d+)"):
        a, w = (torch.from_numpy(arrays[f"{name}{i}"]) for name in "AW")
        packed = ops.pack_signs(a), ops.pack_signs(w)
        for name, words in zip("AW", packed, strict=True):
            assert np.array_equal(words.numpy().view(np.uint64), arrays[f"pack{name}{i}"])
        assert np.array_equal(ops.xnor(*packed, a.shape[1]).numpy(), arrays[f"out{i}"])


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int32, torch.bool]
)
def test_a_bit_is_set_where_a_number_is_not_negative(form, dtype):
    special = [0.0, -0.0, 1e-30, -1e-30, torch.inf, -torch.inf] if dtype.is_floating_point else [0, 1, -1]
    x = torch.cat([torch.tensor(special).double(), torch.randn(1433)]).to(dtype)
    assert ops.pack_signs(x).tolist() == bits(x.double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("place", [0, 63, 64, 69])
def test_nan_has_no_sign_wherever_it_is(form, dtype, place):
    x = torch.ones(3, 70, dtype=dtype)
    x[1, place] = torch.nan
    with pytest.raises(ShapeError, match="NaN has no sign"):
        ops.pack_signs(x)


@pytest.mark.parametrize("n", [1, 63, 64, 200])
def test_thresholds_pack_what_reaches_them(form, n):
    dots = torch.randint(-5, 6, (7, n), dtype=torch.int32)
    least = torch.randint(-4, 5, (n,), dtype=torch.int32)
    least[0] = -(2**31)  # always reached
    flip = torch.rand(n) < 0.5
    words = ops.pack_above(dots, least, ops.pack_signs(torch.where(flip, 1.0, -1.0)))
    wanted = torch.where((dots >= least) ^ flip, 1.0, -1.0)
    assert torch.equal(words, ops.pack_signs(wanted)) and torch.equal(ops.unpack_signs(words, n), wanted)


def test_leading_axes_and_strides_are_kept(form):
    a, w = signs(130, 3, 2).movedim(0, -1), signs(130, 5).mT
    dots = ops.xnor(ops.pack_signs(a), ops.pack_signs(w), 130)
    assert torch.equal(dots, (a.double() @ w.double().mT).int())
    one = ops.xnor(ops.pack_signs(a)[1, 0], ops.pack_signs(w), 130)
    assert torch.equal(one, dots[1, 0])
    every_other = ops.pack_signs(torch.cat([w, -w], 1))[:, ::2][:, :2]
    assert torch.equal(ops.xnor(every_other, every_other.clone(), 128).diagonal(), torch.full((5,), 128).int())


def test_rows_of_several_runs_count_only_signs(form):
    a, w = signs(4, 3, 70), signs(6, 3, 70)
    runs = ops.pack_signs(a).flatten(1), ops.pack_signs(w).flatten(1)  # 2 words a run, 70 of 128 bits are signs
    assert torch.equal(ops.xnor(*runs, 210), (a.flatten(1) @ w.flatten(1).mT).int())


@pytest.mark.skipif(native.library() is None, reason="no compiled kernels here")
def test_threads_change_nothing():
    a, w, x = ops.pack_signs(torch.randn(1100, 700)), ops.pack_signs(torch.randn(300, 700)), torch.randn(1100, 700)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            found.append((ops.xnor(a, w, 700), ops.pack_signs(x)))
    finally:
        torch.set_num_threads(threads)
    with ops.use("reference"):
        wanted = ops.xnor(a, w, 700), ops.pack_signs(x)
    assert all(torch.equal(*pair) for each in found for pair in zip(each, wanted, strict=True))


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda words: ops.xnor(words.int(), words, 70), "torch.int32"),
        (lambda words: ops.xnor(words, words[:, :1], 70), r"\(5, 1\)"),
        (lambda words: ops.xnor(words, words[0], 70), r"\(2,\)"),
        (lambda words: ops.xnor(words, words, 129), "at least 3"),
        (lambda words: ops.xnor(words, words, -1), "k = -1"),
        (lambda words: ops.xnor(words, words, 2**31), "k = 2147483648"),
        (lambda words: ops.xnor(words, words, 7.0), "k = 7.0"),
        (lambda words: ops.xnor(words, words.to("meta"), 70), "meta"),
        (lambda words: ops.pack_signs(torch.tensor(1.0)), r"\(\)"),
        (lambda words: ops.pack_signs(torch.ones(3, dtype=torch.complex64)), "complex64"),
        (lambda words: ops.unpack_signs(words, 129), "3 words"),
        (lambda words: ops.pack_above(words, words[0].int(), words[0, :1]), "int64"),
        (lambda words: ops.pack_above(words.int(), words[0, :1].int(), words[0, :1]), r"\(1,\)"),
        (lambda words: ops.pack_above(words.int(), words[0].int(), words[0]), "1 words"),
    ],
)
def test_what_a_kernel_could_not_follow_is_refused(call, said):
    with pytest.raises(ShapeError, match=said):
        call(ops.pack_signs(torch.ones(5, 70)))


def test_products_are_compiled_exported_and_batched():
    w = ops.pack_signs(torch.randn(9, 128))
    least, flip = torch.zeros(9, dtype=torch.int32), torch.zeros(1, dtype=torch.int64)

    def layer(x):
        return ops.pack_above(ops.xnor(ops.pack_signs(x), w, 128), least, flip)

    x = torch.randn(4, 3, 128)
    wanted = layer(x)
    assert torch.equal(torch.compile(layer, backend="aot_eager", fullgraph=True)(x), wanted)
    assert torch.equal(torch.vmap(layer)(x), wanted)
    for op, arguments in (
        (torch.ops.edgenet.pack_signs.default, (x[0],)),
        (torch.ops.edgenet.xnor.default, (ops.pack_signs(x[0]), w, 128)),
        (torch.ops.edgenet.pack_above.default, (torch.ones(4, 9, dtype=torch.int32), least, flip)),
    ):
        torch.library.opcheck(op, arguments)


@pytest.mark.skipif(native.library() is None, reason="no compiled kernels here")
def test_the_unoptimised_product_is_a_product():
    a, w = torch.randn(3, 70, dtype=torch.float32), torch.randn(5, 70, dtype=torch.float32)
    torch.testing.assert_close(compiled.naive_product(a, w), a @ w.mT, rtol=1e-5, atol=1e-5)  # float32, another order


def test_without_compiled_kernels_the_definition_runs(monkeypatch):
    monkeypatch.setattr(backend, "_usable", lambda name: name == "reference")
    monkeypatch.setenv("EDGENET_NO_NATIVE", "1")
    monkeypatch.setattr(compiled, "xnor", None)  # not called
    backend._kernels.cache_clear()
    try:
        a = signs(3, 70)
        assert torch.equal(ops.xnor(ops.pack_signs(a), ops.pack_signs(a), 70), (a @ a.mT).int())
    finally:
        backend._kernels.cache_clear()
