"""Kernels in plans and searches: what is chosen for a convolution has convolutions of its own."""

import pytest
import torch
from kernels import near
from torch import nn

from edgenet.compress import Budget, compress_, report, search, slots
from edgenet.compress.searching import curves
from edgenet.structured import Dense, Stacked, StructuredConv2d
from edgenet.structured.bridge import bridged

APART = ("kronecker", "tensor_train", "block_term", "block_circulant")
OPTIONS = {
    "kronecker": {"terms": 2},
    "tensor_train": {"rank": 2},
    "block_term": {"blocks": 2, "rank": 2},
    "block_circulant": {"block": 4},
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, (1, 5), groups=2), nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip


@pytest.mark.parametrize("quantised", [{}, {"bits": 4}])
@pytest.mark.parametrize("name", APART)
def test_one_rule_serves_kernels_of_every_size(name, quantised):
    model = network()
    assert [slot.kernel for slot in slots(model).values()] == [9, 5, 1, 1]
    compress_(model, {r"[02]\.": {"structure": name, **OPTIONS[name], **quantised}})
    assert model[0].weight.as_convs(9)
    assert isinstance(model[2].weight, Stacked)
    assert all(part.as_convs(5) for part in model[2].weight.parts)
    x = torch.randn(2, 8, 9, 9)
    want = nn.functional.conv2d(x, model[0].weight.to_dense().reshape(8, 8, 3, 3), model[0].bias, padding=1)
    near(model[0](x), want)


def test_a_kernel_behind_a_bridge_is_laid_out_likewise():
    model = network()
    model[0].register_forward_hook(lambda module, inputs, output: None)
    compress_(model, {r"0\.": {"structure": "tensor_train", "rank": 2}})
    assert bridged(model[0])["weight"].in_modes[-1] == 9


def test_what_keeps_channels_apart_or_serves_kernels_of_two_sizes_is_no_kernel():
    model = network()
    compress_(model, {r"4\.": {"structure": "tensor_train", "rank": 2}})
    assert model[4].weight.in_modes[-1] != 9
    matrix = Dense(torch.randn(4, 32))
    (slot,) = slots(nn.ModuleList([StructuredConv2d(matrix, (1, 8)), StructuredConv2d(matrix, 2)])).values()
    assert slot.kernel == 1


@pytest.mark.parametrize("name", [name for name in APART if name != "block_term"])  # whose fits take seconds
def test_a_search_finds_what_convolves_in_steps(name):
    model = network()
    result = search(model, budget=Budget(ratio=3), families=[name], progress=False)
    assert result.satisfied and all(isinstance(result.model[k], StructuredConv2d) for k in (0, 2))
    assert result.model[0].weight.as_convs(9)
    choices = curves.Curves(slots(model), [name], "parameters", 1, 0, False)
    for slot, places in (("0.weight", 9), ("2.weight", 5)):
        for choice in choices.choices[slot][1:]:
            assert choice.rung["places"] == places  # a size of channels, and not of what a matrix so large would have
            matrix = choices.fitted(slot, choice.spec)
            assert all(part.as_convs(places) for part in (matrix.parts if isinstance(matrix, Stacked) else [matrix]))
    again = network()
    compress_(again, result.plan)
    assert [p.shape for p in again.parameters()] == [p.shape for p in result.model.parameters()]


def test_reports_count_the_steps_that_are_taken():
    model = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1, bias=False)).eval()
    compress_(model, {".*": {"structure": "tensor_train", "rank": [2, 2], "dims": 3}})
    matrix, x = model[0].weight, torch.randn(1, 64, 28, 28)
    (row,) = report(model, inputs=x).rows
    (m1, m2, _), (n1, n2, _) = matrix.out_modes, matrix.in_modes
    assert (m1, m2, n1, n2) == (8, 8, 8, 8)
    cuts = {  # of one position, before and after the first cut, and before and after the second
        n1 * 2 * m2 * (n2 * 9) + m1 * n1 * 2 * m2,
        m1 * 2 * n1 * n2 + m1 * m2 * 2 * (n2 * 9),
        n1 * n2 * 2 * 9 + m1 * m2 * n1 * n2 * 2,
    }
    assert row.multiply_adds // 784 in cuts and row.multiply_adds < row.multiply_adds_before / 2
