"""Quantisers over any structure: their levels, their gradients, and what they take on disk."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from stored import numbered, oracle
from torch import nn
from torch.nn.utils import prune

from edgenet.compress import compress_
from edgenet.errors import PlanError, RankError
from edgenet.structured import (
    Binary,
    BlockTerm,
    Dense,
    FixedPoint,
    Kronecker,
    PowerOfTwo,
    Unified,
    Uniform,
    structure,
)
from edgenet.structured.block_choice import KEEP, UNIFY
from edgenet.structured.families import project

KRONECKER = {"structure": "kronecker", "factor": (8, 8)}


def exactly(got, want):
    torch.testing.assert_close(got, want, rtol=0, atol=0)


def row(*numbers):
    return torch.tensor([numbers])


def gradient_of(matrix, direction):
    (matrix.to_dense() * direction).sum().backward()
    return matrix.base.weight.grad


# --- levels by hand ---------------------------------------------------------------------------------------------------
def test_three_bits_are_seven_levels_and_with_half_a_step_eight():
    weight = row(7.0, -7.0, 0.0, 1.9, 4.6)
    assert Uniform(Dense(weight), 4).to_dense().tolist() == [[7.0, -7.0, 0.0, 2.0, 5.0]]
    steps = torch.linspace(-1, 1, 1001)[None]
    for bits in range(2, 9):
        assert len(Uniform(Dense(steps), bits).to_dense().unique()) == min(1001, 2**bits - 1)
    for bits in range(1, 9):
        halves = Uniform(Dense(steps), bits, half_step=True).to_dense()
        assert len(halves.unique()) == 2**bits and (halves != 0).all()


def test_one_bit_half_a_step_off_zero_is_a_sign_and_a_scale():
    weight = torch.randn(3, 50)
    matrix = Uniform(Dense(weight), 1, per="row", half_step=True)
    ((codes, scale),) = matrix.encoded()
    assert matrix.levels(0).tolist() == [-1, 1] and codes.unique().tolist() == [0, 1]
    exactly(matrix.to_dense(), scale * torch.where(weight >= 0, 1.0, -1.0))
    best = (weight - weight.abs().mean(1, keepdim=True) * weight.sign()).norm()
    assert best <= (weight - matrix.to_dense()).norm() < 1.02 * best  # of eight scales, where the mean is the best
    assert matrix.bits() == 8 * 19 + 3 * 64


def test_few_bits_cut_the_largest_number_off_where_that_is_nearer():
    weight = torch.randn(1, 2000)
    most = weight.abs().max()
    kept = Uniform(Dense(weight), 8).to_dense()
    cut = Uniform(Dense(weight), 3).to_dense()
    whole = (weight / most * 3).round() * most / 3
    assert kept.abs().max() == most and cut.abs().max() < most
    assert (cut - weight).norm() < (whole - weight).norm()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("half_step", [False, True])
@pytest.mark.parametrize("per", ["row", "tensor"])
def test_the_scale_of_few_bits_is_the_best_of_eight_by_its_definition_and_latents_stay(per, half_step, dtype):
    latent = torch.randn(20, 30).to(dtype)
    latent[3] = 0
    before = latent.clone()
    for bits in (1, 2, 3, 4)[not half_step :]:
        matrix = Uniform(Dense(latent), bits, per=per, half_step=half_step)
        scale = matrix.encoded()[0][1]
        levels = matrix.levels(0)[: 2**bits - (not half_step)]  # without half a step the last code is none
        for row, own in zip(latent if per == "row" else [latent], scale.flatten(), strict=True):
            shares = (row.abs().max().double() * torch.tensor([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])).to(dtype)
            errors = [
                (row.double().flatten()[:, None] - levels * share.double()).abs().amin(1).square().sum()
                for share in (*shares, own)
            ]
            assert own in shares and errors[-1] <= min(errors) * (1 + 1e-6)  # which is chosen in float32
    exactly(latent, before)
    exactly(matrix.base.weight, before)


@pytest.mark.parametrize("half_step", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 6])
def test_a_normal_step_is_the_best_for_normal_numbers_and_grows_with_them(bits, half_step):
    weight = torch.randn(4, 5000, generator=torch.Generator().manual_seed(0))
    matrix = Uniform(Dense.from_dense(weight), bits, half_step=half_step, step="normal")
    levels, scale = matrix.levels(0), matrix.encoded()[0][1]
    levels = levels[levels <= 1]  # with a level at zero one code is of no use

    def lost(scale):
        return (weight.unsqueeze(-1) - levels * scale.unsqueeze(-1)).square().amin(-1).mean().item()

    assert lost(scale) < min(lost(0.93 * scale), lost(1.07 * scale))
    assert lost(scale) == pytest.approx((matrix.to_dense() - weight).square().mean().item(), rel=1e-9)
    twice = Uniform(Dense.from_dense(2 * weight), bits, half_step=half_step, step="normal")
    exactly(twice.encoded()[0][1], 2 * scale)


def test_a_step_of_another_name_is_refused():
    with pytest.raises(PlanError, match="'searched' or 'normal', got 'best'"):
        Uniform(Dense.from_dense(torch.randn(2, 2)), step="best")


@pytest.mark.parametrize("per", ["row", "tensor"])
def test_a_scale_a_row_keeps_small_rows(per):
    weight = torch.tensor([[100.0, -50.0], [0.01, 0.005]])
    small = Uniform(Dense(weight), 8, per=per).to_dense()[1]
    assert bool((small != 0).all()) == (per == "row")


def test_the_terms_of_a_kronecker_sum_have_a_scale_each():
    matrix = Uniform(Kronecker.random((12, 12), factor=(3, 4), terms=5), 8, per="row")
    assert [tuple(scale.shape) for _, scale in matrix.encoded()] == [(5, 1, 1), (5, 1, 1)]


@pytest.mark.parametrize("make", [Uniform, PowerOfTwo, Binary])
def test_the_terms_of_a_block_term_sum_have_a_scale_each_and_small_ones_are_kept(make):
    base = BlockTerm.random((12, 12), blocks=3, rank=2, dims=2)
    with torch.no_grad():
        base.core[0] *= 1e-4  # rounded at the scale of the others nothing would be left of it
    matrix, apart = make(base, per="row"), []
    for (name, latent), (_, scale) in zip(base.named_parameters(), matrix.encoded(), strict=True):
        assert tuple(scale.shape) == (3, *[1] * (latent.dim() - 1)), name
        terms = [make(Dense(term.flatten(1)), per="tensor").to_dense().view_as(term) for term in latent]
        apart.append(torch.stack(terms))
    for value, wanted in zip(matrix.effective().parameters(), apart, strict=True):
        torch.testing.assert_close(value, wanted)


def test_every_parameter_may_have_bits_of_its_own():
    matrix = Uniform.from_dense(torch.randn(64, 64), base=KRONECKER, bits=[8, 2])
    first, second = matrix.effective().factors
    assert len(second.unique()) <= 3 < len(first.unique())
    assert matrix.bits() == 64 * 8 + 64 * 2 + 2 * 64  # two scales, in float64 here
    assert matrix.config()["bits"] == [8, 2]


@pytest.mark.parametrize("make", [Uniform, FixedPoint, PowerOfTwo, Binary])
def test_a_matrix_or_a_row_of_zeros_stays_one(make):
    weight = torch.randn(3, 4)
    weight[1] = 0
    options = {} if make is FixedPoint else {"per": "row"}
    for given in (weight, torch.zeros(3, 4)):
        dense = make.from_dense(given, **options).to_dense()
        assert (dense[1] == 0).all() and dense.isfinite().all()
    signs = PowerOfTwo.from_dense(weight, form="sign_shift")
    assert (signs.to_dense()[1] == 0).all()  # where 0 has a code no scale is needed


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("make", [Uniform, FixedPoint, PowerOfTwo, partial(PowerOfTwo, form="sign_shift"), Binary])
def test_the_largest_numbers_of_a_dtype_stay_finite(make, dtype):
    weight = torch.full((2, 3), torch.finfo(dtype).max, dtype=dtype)
    matrix = make(Dense(weight))
    with torch.no_grad():
        matrix.settle_()
    dense = matrix.to_dense()
    assert dense.isfinite().all() and (dense > 0.45 * weight).all()
    exactly(matrix.pack().to_dense(), dense)


# --- fixed point ------------------------------------------------------------------------------------------------------
@oracle("compression/fixed*.npz")
def test_fixed_point_is_that_of_numpy(stored):
    arrays = np.load(stored)
    matrix = FixedPoint(Dense(torch.from_numpy(arrays["v"])[None]), fraction_bits=int(arrays["frac_bits"]))
    exactly(matrix.to_dense()[0], torch.from_numpy(arrays["value"]))
    exactly(matrix.encoded()[0][0][0] - 32768, torch.from_numpy(arrays["q"]))
    assert gradient_of(matrix, torch.ones(1)).tolist() == [[1.0] * len(arrays["v"])]  # saturated or not


@pytest.mark.parametrize("bits", [2, 8, 16])
def test_by_default_the_largest_number_just_fits(bits):
    for most in (0.7, 1.0, 3.0, 1e-9, 5e6):
        weight = row(most, -most / 3)
        _, scale = FixedPoint(Dense(weight), bits).encoded()[0]
        assert float(scale) / 2 <= most <= float(scale) and float(scale.log2()).is_integer()


@pytest.mark.parametrize("fraction_bits", [-2, 25, 64])
def test_fixed_point_numbers_that_a_dtype_does_not_have_are_refused(fraction_bits):
    weight = torch.randn(2, 3, dtype=torch.float16)
    with pytest.raises(RankError, match=f"16 bits, {fraction_bits} of them behind the point, are no torch.float16"):
        FixedPoint.from_dense(weight, fraction_bits=fraction_bits).to_dense()
    assert FixedPoint.from_dense(weight, fraction_bits=12).to_dense().isfinite().all()


# --- powers of two ----------------------------------------------------------------------------------------------------
@oracle("quantised/deepshift_tables*.npz")
def test_latents_round_as_the_code_of_deepshift_does(stored):
    arrays = np.load(stored)
    for (bits,) in numbered(arrays, r"Q_(\d+)"):
        x, want = torch.from_numpy(arrays["x"])[None], torch.from_numpy(arrays[f"Q_{bits}"])[None]
        matrix = PowerOfTwo(Dense(x), bits, per="none")
        assert matrix.lowest(0) == arrays[f"Q_range_{bits}"][0]
        # a logarithm in float32 may differ within its last digit; and 0, which has no code here, is the smallest value
        told = ~torch.from_numpy(arrays[f"Q_tie_{bits}"])[None] & (x != 0)
        exactly(matrix.to_dense()[told], want[told])
        assert (matrix.to_dense()[x == 0] == 2.0 ** matrix.lowest(0)).all()
        assert (gradient_of(matrix, torch.full_like(x, 3.0)) == 3).all()
        exactly(matrix.pack().to_dense(), matrix.to_dense())


@oracle("quantised/deepshift_tables*.npz")
def test_signs_and_shifts_and_their_gradients_are_those_of_deepshift(stored):
    arrays = np.load(stored)
    for (bits,) in numbered(arrays, r"Q_(\d+)"):
        sign, shift = (torch.from_numpy(arrays[name])[None] for name in ("ps_sign", "ps_shift"))
        matrix = PowerOfTwo(Dense(sign), bits, per="none", form="sign_shift")
        with torch.no_grad():
            matrix.shifts[0].copy_(shift)
        assert matrix.lowest(0) == arrays[f"PS_range_{bits}"][0]
        exactly(matrix.to_dense(), torch.from_numpy(arrays[f"PS_{bits}"])[None])
        exactly(matrix.pack().to_dense(), matrix.to_dense())
        to_sign = gradient_of(matrix, torch.from_numpy(arrays[f"PS_gout_{bits}"])[None])
        exactly(to_sign, torch.from_numpy(arrays[f"PS_gsign_{bits}"])[None])
        to_shift = torch.from_numpy(arrays[f"PS_gshift_{bits}"])[None]
        torch.testing.assert_close(matrix.shifts[0].grad, to_shift, rtol=1e-6, atol=0)  # float32, in another order


def test_the_sign_may_have_the_gradient_of_the_product():
    grads = [
        gradient_of(PowerOfTwo.from_dense(row(1.0, 0.25), form="sign_shift", scaled_sign=scaled), torch.ones(1))
        for scaled in (False, True)
    ]
    assert grads[0].tolist() == [[1.0, 1.0]] and grads[1].tolist() == [[1.0, 0.25]]


@pytest.mark.parametrize("form", ["latent", "sign_shift"])
def test_a_scale_reaches_what_is_above_one_and_far_below(form):
    weight = row(12.0, -3.0, 1.5, 24.0)
    for size in (1.0, 1e-6, 1e6):
        dense = PowerOfTwo.from_dense(weight * size, bits=4, form=form).to_dense()
        assert ((dense / (weight * size)).log2().abs() <= 0.5 + 1e-12).all()
    assert PowerOfTwo.from_dense(weight, bits=4, per="none", form=form).to_dense().abs().max() == 1


def test_clipping_brings_latents_back():
    free = PowerOfTwo(Dense(row(3.0, -1e-9, 0.0, 0.5)), 3, per="none")
    binary = Binary(Dense(row(3.0, -0.5)))
    shifts = PowerOfTwo.from_dense(row(1.0, -1.0), bits=3, form="sign_shift")
    with torch.no_grad():
        shifts.shifts[0].copy_(row(4.0, -9.0))
    for matrix in (free, binary, shifts):
        before = matrix.pack().to_dense().detach().sign()
        matrix.clip_()
        exactly(matrix.pack().to_dense().sign(), before)
    assert free.base.weight.tolist() == [[1.0, -0.125, 0.0, 0.5]]
    assert binary.base.weight.tolist() == [[1.0, -0.5]] and shifts.shifts[0].tolist() == [[0.0, -2.0]]


# --- binary -----------------------------------------------------------------------------------------------------------
@oracle("quantised/binary_ste*.npz")
def test_signs_and_their_gate_are_those_by_hand(stored):
    arrays = np.load(stored)
    x, direction = torch.from_numpy(arrays["x"])[None], torch.from_numpy(arrays["gout"])[None]
    matrix = Binary(Dense(x), per="none")
    exactly(matrix.to_dense()[0], torch.from_numpy(arrays["fwd"]))
    exactly(gradient_of(matrix, direction)[0], torch.from_numpy(arrays["gin"]))
    exactly(gradient_of(Binary(Dense(x), per="none", gate=False), direction), direction.to(x.dtype))


def test_with_a_mean_a_row_the_gradient_is_that_of_xnor_net():
    w, g = torch.randn(4, 9), torch.randn(4, 9)
    matrix = Binary(Dense(w))
    alpha, sign = w.abs().mean(1, keepdim=True), torch.where(w >= 0, 1.0, -1.0)
    torch.testing.assert_close(matrix.to_dense(), alpha * sign)
    want = alpha * (w.abs() <= 1) * g + sign * (sign * g).mean(1, keepdim=True)
    torch.testing.assert_close(gradient_of(matrix, g), want)


def test_stochastic_signs_have_the_hard_sigmoid_as_their_mean_and_are_signs_in_eval_mode():
    matrix = Binary(Dense(row(-2.0, -0.5, 0.0, 0.5, 2.0)), per="none", stochastic=True)
    mean = torch.stack([matrix.to_dense().detach() for _ in range(4000)]).mean(0)
    torch.testing.assert_close(mean, row(-1.0, -0.5, 0.0, 0.5, 1.0), rtol=0, atol=0.06)  # 4 standard deviations
    assert matrix.eval().to_dense().tolist() == [[-1.0, -1.0, 1.0, 1.0, 1.0]]
    exactly(matrix.train().pack().to_dense(), matrix.eval().to_dense())


def test_what_is_drawn_in_training_is_projected_and_reported_as_it_is_at_rest():
    weight, make = torch.randn(8, 9), partial(Binary.from_dense, stochastic=True)
    at_rest = make(weight).pack().to_dense()
    exactly(project(weight, make), at_rest.detach())
    layer = nn.Linear(9, 8)
    layer.weight = nn.Parameter(weight.clone())
    error = compress_(nn.Sequential(layer), {"0": make}).rows[0].error
    assert error == pytest.approx(((weight - at_rest).norm() / weight.norm()).item())


def test_binary_latents_without_a_scale_start_between_minus_one_and_one():
    for base in ({"structure": "dense"}, {"structure": "low_rank", "rank": 20}):
        for latent in Binary.random((30, 40), std=1e-3, per="none", base=base).latents():
            assert 0.9 < latent.abs().max() <= 1
            assert latent.abs().mean().item() == pytest.approx(0.5, abs=0.036)  # uniform; 3 standard deviations


# --- rows and columns -------------------------------------------------------------------------------------------------
def test_latents_follow_the_rows_and_columns_that_are_kept():
    latent = torch.randn(6, 5)
    for make in (Uniform, FixedPoint, PowerOfTwo, Binary):
        matrix = make(Dense(latent))
        matrix.keep_(torch.tensor([4, 1]), torch.tensor([0, 2, 3]))
        left = latent[[4, 1]][:, [0, 2, 3]]
        exactly(matrix.base.weight, left)
        exactly(matrix.to_dense(), make(Dense(left)).to_dense())
        exactly(matrix.pack().to_dense(), matrix.to_dense())
    with pytest.raises(PlanError, match="remove first"):
        Uniform(Kronecker.random((8, 8), factor=(2, 2))).keep_(torch.tensor([0]))


@pytest.mark.parametrize("base", [{"structure": "dense"}, {"structure": "sparse", "density": 0.6}], ids=str)
@pytest.mark.parametrize("per", ["row", "tensor", "none"])
def test_shifts_and_their_scales_follow_as_well(per, base):
    matrix = PowerOfTwo.from_dense(torch.randn(6, 5) * torch.arange(1, 7)[:, None], base, per=per, form="sign_shift")
    matrix.shifts[0].requires_grad_(False)
    before, rows, columns = matrix.to_dense().detach(), torch.tensor([5, 0, 2]), torch.tensor([3, 0, 4])
    matrix.keep_(rows, columns)
    exactly(matrix.to_dense(), before[rows][:, columns])
    exactly(matrix.pack().to_dense(), before[rows][:, columns])
    assert [p.requires_grad for p in matrix.parameters()] == [True, False]
    again = PowerOfTwo.from_config(matrix.config())
    again.load_state_dict(matrix.state_dict())
    exactly(again.to_dense(), matrix.to_dense())


def test_what_cannot_be_kept_leaves_signs_and_shifts_as_they_were():
    matrix = PowerOfTwo.from_dense(torch.randn(4, 3), form="sign_shift", per="row")
    before = {name: tensor.clone() for name, tensor in matrix.state_dict().items()}
    for rows in (torch.tensor([4]), torch.tensor([], dtype=torch.long)):
        with pytest.raises((IndexError, PlanError)):
            matrix.keep_(rows)
    assert all(torch.equal(tensor, before[name]) for name, tensor in matrix.state_dict().items())


@pytest.mark.parametrize(
    "make",
    [Uniform, FixedPoint, PowerOfTwo, partial(PowerOfTwo, form="sign_shift"), partial(Binary, per="tensor")],
    ids=["uniform", "fixed_point", "latent", "sign_shift", "binary"],
)
def test_where_no_block_of_a_kind_is_left_its_numbers_go(make):
    kinds, signs = torch.tensor([UNIFY, KEEP] * 2), torch.rand(2, 4) > 0.5
    unified = Unified(torch.rand(2), signs, torch.randn(2, 4), kinds, (4, 4), (1, 4))
    for rows, name in ((torch.tensor([0, 2]), "magnitudes"), (torch.tensor([1, 3]), "free")):
        matrix = make(copy.deepcopy(unified))
        with torch.no_grad():
            matrix.settle_()
        before = matrix.to_dense().detach()
        matrix.keep_(rows)
        exactly(matrix.to_dense(), before[rows])
        exactly(matrix.pack().to_dense(), matrix.to_dense())
        assert matrix.names == (name,)
        again = type(matrix).from_config(matrix.config())
        again.load_state_dict(matrix.state_dict())
        exactly(again.to_dense(), matrix.to_dense())


def test_signs_and_shifts_that_torch_computes_are_refused_before_anything_changes():
    matrix = PowerOfTwo.from_dense(torch.randn(4, 3), form="sign_shift")
    prune.random_unstructured(matrix.shifts, "0", 0.5)
    normed = PowerOfTwo.from_dense(torch.randn(4, 3), form="sign_shift")
    nn.utils.parametrizations.weight_norm(normed.base, "weight")
    for one in (matrix, normed):
        with pytest.raises(PlanError, match=r"prune\.remove"):
            one.keep_(torch.tensor([0]))
        assert one.shape == (4, 3)


# --- training ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "options", "most"),
    [
        ("uniform", {"bits": 4, "base": KRONECKER}, 0.2),
        ("power_of_two", {"bits": 4}, 0.1),
        ("power_of_two", {"bits": 5, "form": "sign_shift"}, 0.3),
        ("binary", {}, 0.6),
        ("fixed_point", {"bits": 8}, 0.02),
    ],
)
def test_it_trains_from_latents(name, options, most):
    """What is learnt is a matrix of the family: the loss goes from 1 to a share of it."""
    torch.manual_seed(0)
    wanted = structure(name, **options)(Kronecker.random((16, 16), factor=(8, 8)).to_dense()).to_dense().detach()
    matrix = structure(name, **options)(torch.randn(16, 16) * wanted.std())
    optimizer = torch.optim.Adam(matrix.parameters(), lr=0.02)
    x = torch.randn(200, 16)
    target = x @ wanted.mT
    for _ in range(400):
        optimizer.zero_grad()
        loss = (matrix(x) - target).square().mean() / target.square().mean()
        loss.backward()
        optimizer.step()
    assert loss < most


def test_calls_from_two_threads_leave_the_matrix_as_it_was():
    """Values never stand in the module itself, where another thread could find and keep them."""
    matrix = Uniform.random((40, 30), bits=2)
    before = {name: id(p) for name, p in matrix.named_parameters()}
    seen = []
    matrix.base.register_forward_hook(lambda m, x, y: seen.append({n: id(p) for n, p in matrix.named_parameters()}))
    matrix(torch.randn(3, 30))
    assert seen == [before]
