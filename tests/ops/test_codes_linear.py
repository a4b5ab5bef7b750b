"""codes_linear multiplies by the decoded matrix, whatever the bits, the widths and the processor."""

import oracles
import pytest
import torch
from ops.test_native import each_object  # noqa: F401

from edgenet import ops
from edgenet.errors import BackendError, RankError, ShapeError
from edgenet.ops import backend, native
from edgenet.ops.kernels.codes_linear.native import suits
from edgenet.ops.kernels.codes_linear.packing import to_bytes


def near(got, want):
    """To the rounding of float32 sums: ``want`` is in float64."""
    oracles.assert_near(got, want.to(got.dtype))


compiled = pytest.mark.skipif(native.library() is None, reason="no compiled kernels here")
#: rows, columns: less than a vector, ragged, of rows that begin inside a byte, one number, more than a block, more than
#: a tile of rows and columns of which two fill the first cache
SHAPES = (
    (3, 5), (7, 33), (5, 64), (3, 50), (40, 129), (1, 1), (2, 3), (9, 257), (6, 130), (70, 2100),
)  # fmt: skip


def problem(bits, rows, columns, batch=3, by_row=True, even=None, dtype=torch.float32):
    """(arguments of the op, W in float64), whose levels are of equal steps if ``even``: above 6 bits, by default."""
    code = torch.randint(0, 1 << bits, (rows, columns))
    steps = (torch.arange(1 << bits) - (1 << bits) / 2 + 0.5).double() / (1 << bits)
    levels = steps if (bits > 6 if even is None else even) else torch.randn(1 << bits).double()
    scale = torch.randn(rows if by_row else 1, 1).to(dtype)
    x = torch.randn(batch, columns).to(dtype)
    return (x, to_bytes(code, bits), bits, levels, scale, rows), levels[code] * scale.double()


@compiled
@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("by_row", [False, True])
def test_every_object_multiplies_by_the_decoded_matrix(each_object, bits, by_row):  # noqa: F811
    for rows, columns in SHAPES:
        for batch in (1, 2, 3, 4, 6):
            for even in {bits > 6, bits >= 6}:
                arguments, weight = problem(bits, rows, columns, batch, by_row, even)
                assert suits(arguments[0], bits, *arguments[3:5])
                near(ops.codes_linear(*arguments), arguments[0].double() @ weight.mT)


@compiled
def test_a_kernel_runs_where_no_gradient_is_wanted(monkeypatch):
    ran = []
    monkeypatch.setitem(backend._IMPLEMENTATIONS, "codes_linear", {"reference": lambda *a: ran.append(a) or a[0]})
    (x, *rest), _ = problem(4, 6, 6)
    ops.codes_linear(x, *rest)
    assert not ran
    ops.codes_linear(x.requires_grad_(), *rest)
    assert len(ran) == 1
    with torch.no_grad():
        ops.codes_linear(x, *rest)
    assert len(ran) == 1
    with torch.autocast("cpu", torch.bfloat16):
        ops.codes_linear(x.detach(), *rest)
    with ops.use("reference"):
        ops.codes_linear(x.detach(), *rest)
    torch.func.vmap(lambda row: ops.codes_linear(row, *rest))(x.detach())
    assert len(ran) == 4


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_other_dtypes_and_gradients_are_those_of_the_decoded_matrix(dtype):
    (x, codes, bits, levels, scale, rows), weight = problem(3, 6, 7, dtype=dtype)
    x, scale = x.requires_grad_(), scale.requires_grad_()
    y = ops.codes_linear(x, codes, bits, levels, scale, rows)
    loose = {torch.bfloat16: 3e-2}.get(dtype)  # 8 bits
    wanted = x.detach().double() @ weight.mT
    if loose is None:
        near(y, wanted)
    else:
        torch.testing.assert_close(y.double(), wanted, rtol=loose, atol=0.1)
    assert y.dtype == dtype
    if dtype == torch.float64:
        assert torch.autograd.gradcheck(lambda x, s: ops.codes_linear(x, codes, bits, levels, s, rows), (x, scale))


def test_signals_of_any_axes_and_a_bias():
    (_, *rest), weight = problem(5, 4, 9)
    x, bias = torch.randn(2, 3, 9).float(), torch.randn(4).float()
    near(ops.codes_linear(x, *rest, bias), x.double() @ weight.mT + bias)
    near(ops.codes_linear(x[0, 0], *rest), x[0, 0].double() @ weight.mT)
    assert ops.codes_linear(x[:0], *rest).shape == (0, 3, 4)
    turned = torch.randn(9, 5).float().t()
    near(ops.codes_linear(turned, *rest), turned.double() @ weight.mT)


@compiled
def test_nan_and_infinity_stay_in_their_signal_and_sums_keep_the_range_of_the_decoded_matrix():
    x, code = torch.ones(2, 40).float(), torch.full((3, 40), 15)
    x[0, 39] = torch.nan
    y = ops.codes_linear(x, to_bytes(code, 4), 4, torch.arange(16) / 15, torch.tensor(1e-30).float(), 3)
    assert y[0].isnan().all() and y[1].isfinite().all()
    huge = torch.full((1, 40), 1e38).float()
    y = ops.codes_linear(huge, to_bytes(code, 4), 4, torch.arange(16) / 15, torch.tensor(1e-30).float(), 3)
    torch.testing.assert_close(y, torch.full((1, 3), 4e9).float())


@compiled
def test_levels_without_a_form_are_decoded():
    arguments, weight = problem(8, 5, 20, even=False)
    assert not suits(arguments[0], 8, *arguments[3:5])
    near(ops.codes_linear(*arguments), arguments[0].double() @ weight.mT)


@compiled
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_many_threads_give_the_same_bits(bits):
    arguments, _ = problem(bits, 300, 400)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = ops.codes_linear(*arguments)
        torch.set_num_threads(3)
        assert torch.equal(ops.codes_linear(*arguments), one)
    finally:
        torch.set_num_threads(before)


def test_what_would_be_read_past_its_end_is_refused():
    (x, codes, bits, levels, scale, rows), _ = problem(4, 6, 7)
    for wrong in (0, 9, 2.0, True):
        with pytest.raises(RankError, match="1 to 8 bits"):
            ops.codes_linear(x, codes, wrong, levels, scale, rows)
    for bad in (codes[:-1], codes.to(torch.int32), torch.cat([codes, codes])):
        with pytest.raises(ShapeError, match="6 x 7 codes of 4 bits in 21 bytes"):
            ops.codes_linear(x, bad, bits, levels, scale, rows)
    with pytest.raises(ShapeError, match="16 levels"):
        ops.codes_linear(x, codes, bits, levels[:-1], scale, rows)
    with pytest.raises(ShapeError, match="one scale or 6"):
        ops.codes_linear(x, codes, bits, levels, scale[:2], rows)
    with pytest.raises(BackendError, match=r"on cpu and .* on meta"):
        ops.codes_linear(x, codes, bits, levels, scale.to("meta"), rows)
