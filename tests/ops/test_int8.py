"""int8_linear: whole numbers summed exactly, of signals that are rounded on the way."""

import pytest
import torch

from edgenet.errors import ShapeError
from edgenet.ops.kernels.codes_linear import int8
from edgenet.ops.kernels.codes_linear.int8 import int8_linear, int8_weight


@pytest.fixture(params=[True, False], ids=["oneDNN", "plain"])
def form(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(int8, "has_vnni", lambda: False)
    elif not int8.has_vnni():
        pytest.skip("torch multiplies no int8 here by VNNI")


def codes(n, k):
    return torch.randint(-127, 128, (n, k), dtype=torch.int8)


@pytest.mark.parametrize("m, n, k", [(1, 5, 7), (33, 17, 65), (4, 130, 1433), (0, 3, 4)])
def test_the_product_is_that_of_the_rounded_signal(form, m, n, k):
    w, scale, x = codes(n, k), torch.rand(n) + 0.1, torch.randn(m, k) * torch.logspace(-3, 3, max(m, 1))[:m, None]
    y = int8_linear(x, int8_weight(w, scale))
    step = x.abs().amax(1, keepdim=True) / 127
    wanted = (x / step).float().round().double() * step @ (w.double() * scale[:, None]).mT
    # the quotient is rounded in float32; where it is near a half the two may take neighbours
    error = (y.double() - wanted).norm(dim=1) / wanted.norm(dim=1).clamp_min(1e-300)
    assert y.dtype == torch.float32 and y.shape == (m, n) and (error < 1e-3).all()


def test_numbers_that_are_codes_already_are_multiplied_exactly(form):
    w, x = codes(300, 20).mT, codes(6, 300)
    x[:, 0] = 127  # so that one step is 1
    y = int8_linear(x.double(), int8_weight(w, torch.ones(1)))
    assert torch.equal(y.double(), x.double() @ w.double().mT)


def test_leading_axes_are_kept_and_rows_of_zeros_stay_zeros(form):
    w = int8_weight(codes(3, 8), torch.ones(3))
    x = torch.randn(2, 4, 8)
    x[1, 2] = 0
    y = int8_linear(x, w)
    assert y.shape == (2, 4, 3) and (y[1, 2] == 0).all()
    assert (int8.rounded(x[1])[1] > 0).all()  # a step of 0 would make codes of NaN
    torch.testing.assert_close(y[0], int8_linear(x[0], w))


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda w: int8_linear(torch.ones(2, 5), w), r"\(\.\.\., 4\)"),
        (lambda w: int8_linear(torch.full((1, 4), torch.nan), w), "NaN or infinite"),
        (lambda w: int8_linear(torch.tensor([[1.0, torch.inf, 0, 0]]), w), "NaN or infinite"),
        (lambda w: int8_weight(torch.ones(2, 3), torch.ones(2)), "float64"),
        (lambda w: int8_weight(codes(2, 3), torch.ones(3)), r"\(3,\)"),
    ],
)
def test_what_is_no_int8_product_is_refused(form, call, said):
    with pytest.raises(ShapeError, match=said):
        call(int8_weight(codes(3, 4), torch.ones(3)))


def test_sums_that_no_int32_holds_are_exact_too():
    k = 140_000
    w, x = torch.full((2, k), 127, dtype=torch.int8), torch.full((1, k), 127.0)
    w[1, ::2] = -128
    y = int8_linear(x, int8_weight(w, torch.ones(1)))
    assert torch.equal(y, (x.double() @ w.double().mT).float())
