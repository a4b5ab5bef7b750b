"""Quantised kernels: one matrix a group, every padding, depthwise ones by name, counted and saved."""

import pytest
import torch
from kernels import near
from torch import nn

from edgenet.compress import Budget, compress_, report, search, slots
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.structured import Coded, Quantised, Stacked

QUANTISERS = {
    "uniform": {"structure": "dense", "bits": 4, "per": "row"},
    "binary": {"structure": "dense", "quantiser": "binary", "per": "row"},
    "power_of_two": {"structure": "dense", "quantiser": "power_of_two", "bits": 4, "per": "row"},
    "fixed_point": {"structure": "dense", "quantiser": "fixed_point", "bits": 12},
    "low rank of bytes": {"structure": "low_rank", "rank": 2, "bits": 8},
    "circulant signs": {"structure": "block_circulant", "block": 2, "quantiser": "binary"},
}
PADDINGS = {
    "zeros": {"padding": 1},
    "circular": {"padding": (2, 1), "padding_mode": "circular"},
    "reflect": {"padding": 1, "padding_mode": "reflect", "stride": 2},
    "same": {"padding": "same", "dilation": (1, 2), "padding_mode": "replicate"},
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("padding", PADDINGS.values(), ids=PADDINGS)
@pytest.mark.parametrize("rule", QUANTISERS.values(), ids=QUANTISERS)
def test_every_group_is_rounded_by_itself_under_every_padding(rule, padding):
    model = nn.Sequential(nn.Conv2d(8, 12, 3, groups=2, **padding))
    dense = nn.Conv2d(8, 12, 3, groups=2, **padding)
    compress_(model, {".*": rule})
    matrix = model[0].weight
    assert isinstance(matrix, Stacked) and all(isinstance(part, Quantised) for part in matrix.parts)
    dense.weight = nn.Parameter(matrix.to_dense().detach().reshape(dense.weight.shape))
    dense.bias = model[0].bias
    x = torch.randn(2, 8, 7, 8).requires_grad_()
    its = x.detach().clone().requires_grad_()
    got, want = model(x), dense(its)
    near(got, want)
    direction = torch.randn_like(want)
    latents = list(matrix.parameters())
    mine = torch.autograd.grad(got, [x, *latents], direction)
    of_signal, of_kernel = torch.autograd.grad(want, [its, dense.weight], direction)
    near(mine[0], of_signal)
    through = torch.autograd.grad(matrix.to_dense(), latents, of_kernel.flatten(1))
    for one, other in zip(mine[1:], through, strict=True):
        near(one, other)
    with torch.no_grad():
        near(model.eval()(x), want)


def test_a_saved_network_holds_codes_of_every_group(tmp_path):
    model = nn.Sequential(nn.Conv2d(8, 12, 3, groups=2, padding=1, padding_mode="circular")).eval()
    compress_(model, {".*": QUANTISERS["uniform"]})
    x = torch.randn(2, 8, 6, 6)
    save_pretrained(model, tmp_path)
    loaded = from_pretrained(tmp_path)
    assert all(isinstance(part, Coded) for part in loaded[0].weight.parts)
    near(loaded(x), model(x))


@pytest.mark.parametrize("rule", QUANTISERS.values(), ids=QUANTISERS)
def test_depthwise_kernels_keep_their_floats_unless_they_are_named(rule):
    model = nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3, groups=8))
    kernel = model[1].weight
    compress_(model, {".*": rule})
    assert model[1].weight is kernel and isinstance(model[0].weight, Quantised)
    compress_(model, {"1": rule})
    assert isinstance(model[1].weight, Quantised)
    x = torch.randn(2, 8, 6, 6)
    want = nn.functional.conv2d(x, model[1].weight.to_dense().reshape(8, 1, 3, 3), model[1].bias, groups=8)
    near(model[1](x), want)


def test_reports_count_the_way_that_every_group_takes():
    model = nn.Sequential(nn.Conv2d(128, 128, 3, groups=2, padding=1, bias=False)).eval()
    x = torch.randn(1, 128, 20, 20)
    compress_(model, {".*": {"structure": "low_rank", "rank": 3, "bits": 8}})
    (row,) = report(model, inputs=x).rows
    assert row.multiply_adds_before == 400 * 128 * 576
    assert row.multiply_adds == 400 * 2 * 3 * (64 + 576)
    model[0].weight = model[0].weight.pack()
    (row,) = report(model, inputs=x).rows
    assert row.multiply_adds == 400 * 2 * 3 * (64 + 576)
    compress_(model, {".*": {"structure": "dense", "bits": 8}})
    (row,) = report(model, inputs=x).rows
    assert row.multiply_adds == 400 * 128 * 576  # a code multiplies as a number does


def test_a_search_counts_the_groups_that_it_fills():
    model = nn.Sequential(nn.Conv2d(16, 16, 3, groups=2, padding=1), nn.Conv2d(16, 16, 3, groups=16)).eval()
    result = search(model, budget=Budget(ratio=2), families=["low_rank", "tensor_train"], progress=False)
    assert list(result.sensitivity) == ["0.weight"]  # the depthwise kernel is none to choose for
    assert slots(result.model)["1.weight"].is_dense and isinstance(result.model[0].weight, Stacked)
    rows = report(result.model, inputs=torch.randn(1, 16, 9, 9)).rows
    assert [row.name for row in rows] == ["0.weight", "1.weight"]
    assert rows[0].multiply_adds == result.model[0].multiply_adds(81)
    assert rows[1].multiply_adds == 49 * 16 * 9
