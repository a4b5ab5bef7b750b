"""ShiftAdaMax: number by number, beside AdaMax, in a training."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from edgenet.errors import ConfigError, ShapeError
from edgenet.train import ShiftAdaMax, fit


def ap2(x):
    """The power of two nearest to one number by ratio."""
    return 0.0 if x == 0 else math.copysign(2.0 ** round(math.log2(abs(x))), x)


def walked(p, gradients, lr, first, second, decay):
    """The path of one number."""
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        g += decay * p
        m, v = first * m + (1 - first) * g, max(second * v, abs(g))
        if v:
            p -= lr * ap2(1 / (1 - first**t)) * m * ap2(1 / v)
    return p


@pytest.mark.parametrize("decay", [0.0, 0.25])
def test_every_number_goes_the_way_of_the_formula(decay):
    start, gradients = torch.randn(3, 4), torch.randn(9, 3, 4) * 10.0 ** torch.randint(-6, 6, (3, 4))
    gradients[:, 0, 0] = 0
    options = {"lr": 2.0**-4, "betas": (0.875, 0.75), "weight_decay": decay}
    p = nn.Parameter(start.clone())
    optimizer = ShiftAdaMax([p], **options)
    for p.grad in gradients:
        optimizer.step()
    want = [
        walked(start[i, j].item(), gradients[:, i, j].tolist(), 2.0**-4, 0.875, 0.75, decay)
        for i in range(3) for j in range(4)
    ]  # fmt: skip
    torch.testing.assert_close(p.detach().flatten(), torch.tensor(want))


def test_its_first_step_is_that_of_ada_max_up_to_its_powers_of_two():
    ours, theirs = nn.Parameter(torch.zeros(500)), nn.Parameter(torch.zeros(500))
    ours.grad = theirs.grad = torch.randn(500)
    ShiftAdaMax([ours], lr=0.01).step()
    torch.optim.Adamax([theirs], lr=0.01, betas=(1 - 2.0**-3, 1 - 2.0**-10)).step()
    ratio = ours / theirs
    assert (ratio > 0.7).all() and (ratio < 1.42).all()  # AP2(1 / v) v is in [2^-1/2, 2^1/2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_smallest_gradients_of_a_dtype_move_as_far_as_any(dtype):
    p = nn.Parameter(torch.zeros(2, dtype=dtype))
    p.grad = torch.tensor([torch.finfo(dtype).smallest_normal / 8, 1.0], dtype=dtype)
    ShiftAdaMax([p], lr=0.5).step()
    assert p.isfinite().all() and p[0] == p[1] != 0


def test_it_goes_on_from_its_state():
    def stepped(p, optimizer, seed):
        random = torch.Generator().manual_seed(seed)
        p.grad = torch.randn(5, generator=random)
        optimizer.step()

    one = nn.Parameter(torch.zeros(5))
    optimizer = ShiftAdaMax([one])
    stepped(one, optimizer, 1)
    two = nn.Parameter(one.detach().clone())
    again = ShiftAdaMax([two], lr=1.0)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for p, own in ((one, optimizer), (two, again)):
        stepped(p, own, 2)
    assert torch.equal(one, two)


def test_it_learns_in_a_training():
    x = torch.randn(64, 4)
    data = TensorDataset(x, x @ torch.randn(4, 2))
    result = fit(nn.Linear(4, 2), data, loss="mse", optimizer="shift_adamax", lr=2.0**-5, epochs=60, batch_size=16,
                 weight_decay=1e-6, progress=False)  # fmt: skip
    assert result.history[-1]["loss"] < 0.05 * result.history[0]["loss"]


def test_a_closure_is_called_with_gradients():
    p = nn.Parameter(torch.ones(3))
    optimizer = ShiftAdaMax([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss

    with torch.no_grad():
        assert optimizer.step(closure).item() == 3
    assert (p < 1).all()


@pytest.mark.parametrize("options", [{"lr": -1}, {"lr": math.nan}, {"betas": (1.0, 0.5)}, {"weight_decay": -1}])
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match="ShiftAdaMax has a rate and a weight decay of 0 or more, and betas"):
        ShiftAdaMax([nn.Parameter(torch.zeros(2))], **options)


def test_sparse_gradients_are_refused():
    p = nn.Parameter(torch.zeros(3))
    p.grad = torch.sparse_coo_tensor([[1]], [1.0], (3,), check_invariants=True)
    with pytest.raises(ShapeError, match=r"dense gradients of real numbers, got torch\.float64; try adam"):
        ShiftAdaMax([p]).step()
