"""unified_linear multiplies by blocks of one magnitude and many signs."""

import oracles
import pytest
import torch
from ops.test_native import each_object  # noqa: F401

from edgenet import ops
from edgenet.errors import BackendError, ShapeError
from edgenet.ops import native
from edgenet.ops.kernels.codes_linear.packing import to_bytes
from edgenet.ops.kernels.unified_linear.native import suits


def near(got, want):
    """To the rounding of float32 sums: ``want`` is in float64."""
    oracles.assert_near(got, want.to(got.dtype))


compiled = pytest.mark.skipif(native.library() is None, reason="no compiled kernels here")


def problem(block, shape, batch=3, dtype=torch.float32):
    """(arguments of the op, W in float64), made entry by entry."""
    (rows, columns), (m, n) = block, shape
    across = -(-n // columns)
    blocks = -(-m // rows) * across
    size, positive = torch.randn(blocks).to(dtype), torch.rand(blocks, rows * columns) < 0.5
    weight = torch.zeros(m, n, dtype=torch.float64)
    for i in range(m):
        for j in range(n):
            b, entry = i // rows * across + j // columns, i % rows * columns + j % columns
            weight[i, j] = size[b].abs() * (1 if positive[b, entry] else -1)
    return (torch.randn(batch, n).to(dtype), size, to_bytes(positive, 1), block, shape), weight


@compiled
@pytest.mark.parametrize(
    "width, n", [(16, 16), (16, 64), (16, 200), (16, 33), (32, 300), (48, 130), (64, 128), (16, 5), (16, 2100)]
)
def test_every_object_multiplies_by_the_blocks(each_object, width, n):  # noqa: F811
    for batch in (1, 2, 3, 4, 6):
        arguments, weight = problem((1, width), (5, n), batch)
        assert suits(arguments[0], arguments[1], (1, width))
        near(ops.unified_linear(*arguments), arguments[0].double() @ weight.mT)


@pytest.mark.parametrize("block", [(4, 4), (16, 1), (1, 8), (3, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_of_any_shape_and_gradients_are_those_of_the_definition(block, dtype):
    (x, size, *rest), weight = problem(block, (7, 18), dtype=dtype)
    near(ops.unified_linear(x, size, *rest), x.double() @ weight.mT)
    if dtype == torch.float64:
        inputs = (x.requires_grad_(), size.requires_grad_())
        assert torch.autograd.gradcheck(lambda x, size: ops.unified_linear(x, size, *rest), inputs)


def test_signals_of_any_axes():
    (_, *rest), weight = problem((1, 16), (5, 40))
    x = torch.randn(2, 3, 40).float()
    near(ops.unified_linear(x, *rest), x.double() @ weight.mT)
    assert ops.unified_linear(x[:, :0], *rest).shape == (2, 0, 5)


def test_what_would_be_read_past_its_end_is_refused():
    (x, size, signs, block, shape), _ = problem((1, 16), (5, 40))
    with pytest.raises(ShapeError, match=r"15 magnitudes, and signs in 30 bytes"):
        ops.unified_linear(x, size[:-1], signs, block, shape)
    for bad in (signs[:-1], signs.bool()):
        with pytest.raises(ShapeError, match=r"15 magnitudes, and signs in 30 bytes"):
            ops.unified_linear(x, size, bad, block, shape)
    with pytest.raises(ShapeError, match=r"signals \(..., 40\)"):
        ops.unified_linear(x[:, 1:], size, signs, block, shape)
    with pytest.raises(BackendError, match=r"on cpu and .* on meta"):
        ops.unified_linear(x, size.to("meta"), signs, block, shape)
