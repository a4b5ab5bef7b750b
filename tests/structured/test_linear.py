"""StructuredLinear: a linear layer whose weight is a slot."""

import copy

import pytest
import torch

from edgenet.structured import Dense, StructuredLinear


def test_it_is_torchs_linear_layer():
    theirs = torch.nn.Linear(3, 4)
    ours = StructuredLinear(Dense(theirs.weight), theirs.bias)
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [False, True])
def test_a_dense_one_reads_its_width_off_the_first_input(bias):
    layer = StructuredLinear.dense(-1, 4, bias=bias)
    assert layer(torch.randn(5, 3)).shape == (5, 4) and layer.weight.shape == (4, 3)
    assert (layer.bias is not None) == bias


def test_its_checkpoint_loads_into_one_without_a_width():
    layer, lazy = StructuredLinear.dense(3, 4, bias=True), StructuredLinear.dense(-1, 4, bias=True)
    with torch.no_grad():
        layer.bias.normal_()
    lazy.load_state_dict(layer.state_dict())
    x = torch.randn(5, 3)
    assert torch.equal(lazy(x), layer(x))


def test_reset_draws_the_weight_and_zeroes_the_bias():
    layer = StructuredLinear(Dense(torch.ones(4, 3)), torch.ones(4))
    layer.reset_parameters()
    assert not layer.bias.any() and not torch.equal(layer.weight.to_dense(), torch.ones(4, 3))


def test_the_bias_is_copied_in_and_deep_copied_along():
    bias = torch.ones(4)
    layer = StructuredLinear(Dense(torch.zeros(4, 3)), bias)
    bias.zero_()
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        layer.bias.zero_()
    assert twin(torch.zeros(3)).tolist() == [1.0] * 4


def test_another_structure_can_take_the_slot():
    layer = StructuredLinear.dense(3, 4)
    layer.weight = Dense(torch.eye(4, 3))
    assert layer(torch.tensor([1.0, 2.0, 3.0])).tolist() == [1.0, 2.0, 3.0, 0.0]
