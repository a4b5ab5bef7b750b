"""Quantised matrices and the rules around them, given what is out of range, not finite, or past its end."""

from functools import partial

import pytest
import torch
from torch import nn

from edgenet.compress import Anneal, Training, compress_, recalibrate_, report
from edgenet.errors import PlanError, RankError, ShapeError
from edgenet.pretrained import save_pretrained
from edgenet.structured import Binary, Dense, FixedPoint, Kronecker, PowerOfTwo, Sparse, Uniform

ALL = pytest.mark.parametrize(
    "make",
    [
        Uniform,
        partial(Uniform, bits=3, per="row"),
        partial(Uniform, bits=1, half_step=True, per="row"),
        FixedPoint,
        partial(PowerOfTwo, per="row"),
        partial(PowerOfTwo, form="sign_shift"),
        Binary,
    ],
    ids=["uniform", "uniform 3", "half step", "fixed_point", "power_of_two", "sign_shift", "binary"],
)
SPECS = [
    {"structure": "dense", "bits": 4},
    {"structure": "dense", "bits": 1, "half_step": True},
    {"structure": "kronecker", "factor": (2, 2), "quantiser": "fixed_point"},
    {"structure": "low_rank", "rank": 2, "quantiser": "power_of_two"},
    {"structure": "dense", "quantiser": "power_of_two", "form": "sign_shift"},
    {"structure": "dense", "quantiser": "binary"},
]


@ALL
def test_rows_of_zeros_stay_and_train(make):
    weight = torch.randn(4, 6)
    weight[2] = 0
    matrix = make(Dense(weight))
    with torch.no_grad():
        matrix.settle_()
    dense = matrix.to_dense()
    by_row = matrix.per == "row" or isinstance(matrix, FixedPoint | Uniform) or getattr(matrix, "form", "") != "latent"
    assert dense.isfinite().all() and (not by_row or (dense[2] == 0).all())
    dense.square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in matrix.parameters())
    assert torch.equal(matrix.pack().to_dense(), dense)


@pytest.mark.parametrize("bad", [torch.nan, -torch.inf])
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_training_that_diverged_shows_and_is_neither_counted_nor_saved(spec, bad, tmp_path):
    model = nn.Sequential(nn.Linear(8, 8))
    compress_(model, {"0": spec})
    with torch.no_grad():
        next(model[0].weight.base.parameters()).view(-1)[1] = bad
    assert not model(torch.randn(3, 8)).isfinite().all()
    for last in (model[0].weight.pack, model[0].weight.bits, partial(report, model),
                 partial(save_pretrained, model, tmp_path / "saved")):  # fmt: skip
        with pytest.raises(ShapeError, match=r"latents in .* are NaN or infinite, and have no code"):
            last()
    assert not (tmp_path / "saved" / "model.safetensors").exists()


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_weights_that_are_not_finite_are_not_quantised(spec):
    model = nn.Sequential(nn.Linear(8, 8))
    with torch.no_grad():
        model[0].weight[0, 0] = torch.nan
    before = model[0]
    with pytest.raises(ShapeError, match="NaN"):
        compress_(model, {"0": spec})
    assert model[0] is before


@pytest.mark.parametrize("density", [0, -0.1, 1.5, float("nan")])
@pytest.mark.parametrize("name", ["sparse", "doped"])
def test_a_density_out_of_range_is_refused_below_bits_too(name, density):
    with pytest.raises(RankError, match="density"):
        compress_(nn.Sequential(nn.Linear(8, 8)), {"0": {"structure": name, "density": density, "bits": 4}})


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"bits": [8, 9]}, RankError), ({"bits": [8]}, RankError), ({"bits": [8, 8, 8]}, RankError),
        ({"bits": 1}, RankError), ({"bits": 0, "half_step": True}, RankError), ({"per": "column"}, PlanError),
        ({"bits": float("nan")}, RankError), ({"bits": None}, RankError),
    ],
    ids=str,
)  # fmt: skip
def test_bits_of_two_factors_are_two_numbers_in_range(options, error):
    with pytest.raises(error):
        Uniform(Kronecker.random((8, 8), factor=(2, 2)), **options)


def test_batch_norms_without_statistics_are_not_recalibrated_after_quantising():
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8, track_running_stats=False))
    compress_(model, {"0": {"structure": "dense", "quantiser": "binary"}})
    with pytest.raises(PlanError, match="keeps no running statistics"):
        recalibrate_(model, [torch.randn(5, 8)])
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))
    compress_(model, {"0": {"structure": "dense", "quantiser": "binary"}})
    with torch.no_grad():
        model[0].weight.base.weight[0, 0] = torch.nan
    before = model[1].running_mean.clone()
    with pytest.raises(ShapeError, match="not finite"):
        recalibrate_(model, [torch.randn(5, 8)])
    assert torch.equal(model[1].running_mean, before)


def test_a_density_that_is_resumed_past_its_end_stays():
    model = nn.Sequential(nn.Linear(10, 10))
    compress_(model, {"0": {"structure": "sparse", "density": 1.0}})
    rule = Anneal(0.2, start=2, end=6, every=2)
    training = Training(model, [rule], resumes=True, step=9, epoch=3)
    training.call("on_start")
    training.call("on_optimizer")
    (matrix,) = (part for part in model.modules() if isinstance(part, Sparse))
    assert matrix.density == 0.2 and training.settled()
    mask = matrix.mask.clone()
    with torch.no_grad():
        matrix.weight.copy_(torch.randn(10, 10))
    for training.step in range(10, 20):
        training.call("after_step")
    assert torch.equal(matrix.mask, mask)
