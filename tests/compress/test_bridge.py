"""A structured matrix behind a tensor attribute is that tensor to everybody who reads it, and is stored once."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import nn
from torch_geometric.nn import Linear as PyGLinear

from edgenet.errors import PlanError, ShapeError
from edgenet.structured import Kronecker, TensorTrain
from edgenet.structured.bridge import attach_, bridged, detach_
from edgenet.structured.plan_in_state import is_plan

RANK_TWO = partial(TensorTrain.from_dense, rank=2, dims=2)

MODULES = {
    "lstm": (lambda: nn.LSTM(6, 8, num_layers=2, bidirectional=True), "weight_hh_l1_reverse", (5, 3, 6)),
    "lstm projection": (lambda: nn.LSTM(6, 8, proj_size=4), "weight_hr_l0", (5, 3, 6)),
    "gru": (lambda: nn.GRU(6, 8), "weight_ih_l0", (5, 3, 6)),
    "rnn": (lambda: nn.RNN(6, 8), "weight_hh_l0", (5, 3, 6)),
    "lstm cell": (lambda: nn.LSTMCell(6, 8), "weight_ih", (3, 6)),
    "convolution": (lambda: nn.Conv2d(4, 6, 3), "weight", (2, 4, 5, 5)),
}


def out(module, x):
    y = module(x)
    return y[0] if isinstance(y, tuple) else y


@pytest.mark.parametrize("name", MODULES)
def test_the_output_is_that_of_the_module_with_the_dense_tensor(name):
    make, tensor, shape = MODULES[name]
    plain, x = make(), torch.randn(shape)
    module = deepcopy(plain)
    matrix = attach_(module, tensor, RANK_TWO)
    original = getattr(plain, tensor)
    with torch.no_grad():
        original.copy_(matrix.to_dense().reshape(original.shape))
    torch.testing.assert_close(out(module, x), out(plain, x))
    torch.testing.assert_close(out(module.eval(), x), out(plain.eval(), x))
    with torch.no_grad():
        torch.testing.assert_close(out(module, x), out(plain, x))
        torch.testing.assert_close(out(module, x), out(plain, x))  # kept
        next(matrix.parameters()).mul_(2)
        original.copy_(matrix.to_dense().reshape(original.shape))
        torch.testing.assert_close(out(module, x), out(plain, x))  # and noticed as changed


@pytest.mark.parametrize("name", MODULES)
def test_training_moves_the_numbers_of_the_matrix(name):
    make, tensor, shape = MODULES[name]
    module, x = make(), torch.randn(shape)
    matrix = attach_(module, tensor, RANK_TWO)
    before = matrix.to_dense().detach().clone()
    optimizer, losses = torch.optim.Adam(module.parameters(), 0.01), []
    for _ in range(20):
        optimizer.zero_grad()
        losses.append(out(module, x).square().mean())
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0] and not torch.equal(matrix.to_dense(), before)


@pytest.mark.parametrize("name", MODULES)
def test_state_dict_holds_the_numbers_once_and_loads_into_a_copy_made_after_training(name):
    make, tensor, shape = MODULES[name]
    module, x = make(), torch.randn(shape)
    matrix = attach_(module, tensor, RANK_TWO)
    out(module, x).sum().backward()
    assert tensor not in module.state_dict()
    stored = {key for key in module.state_dict() if "parametrizations" in key and not is_plan(key)}
    assert stored == {f"parametrizations.{tensor}.0.matrix.{key}" for key in matrix.state_dict()}
    other = deepcopy(module)
    nn.init.normal_(next(bridged(other)[tensor].parameters()))
    assert not torch.equal(out(module, x), out(other, x))
    other.load_state_dict(module.state_dict())
    assert torch.equal(out(module, x), out(other, x))


def test_attention_equals_torchs_with_the_dense_tensors():
    plain, x = nn.MultiheadAttention(8, 2, batch_first=True), torch.randn(3, 5, 8)
    module = deepcopy(plain)
    for host, twin, name in ((module, plain, "in_proj_weight"), (module.out_proj, plain.out_proj, "weight")):
        matrix = attach_(host, name, RANK_TWO)
        with torch.no_grad():
            getattr(twin, name).copy_(matrix.to_dense())
    torch.testing.assert_close(module(x, x, x)[0], plain(x, x, x)[0])
    with torch.no_grad():  # torch's fast path
        torch.testing.assert_close(module.eval()(x, x, x)[0], plain.eval()(x, x, x)[0])
    module.train()(x, x, x)[0].sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_a_change_to_a_copy_leaves_the_original_alone():
    module, x = nn.LSTM(6, 8), torch.randn(5, 3, 6)
    attach_(module, "weight_hh_l0", RANK_TWO)
    y = out(module, x)
    taken, given = deepcopy(module), deepcopy(module)
    detach_(taken, "weight_hh_l0")
    attach_(given, "weight_ih_l0", RANK_TWO)
    assert type(taken) is nn.LSTM and set(bridged(given)) == {"weight_hh_l0", "weight_ih_l0"}
    assert torch.equal(out(module, x), y) and set(bridged(module)) == {"weight_hh_l0"}
    torch.testing.assert_close(out(taken, x), y)


@pytest.mark.parametrize("trains", [True, False])
def test_detaching_leaves_a_parameter_as_trainable_as_the_matrix_was(trains):
    module, x = nn.GRU(6, 8), torch.randn(5, 3, 6)
    attach_(module, "weight_hh_l0", RANK_TWO).requires_grad_(trains)
    y = out(module, x)
    detach_(module, "weight_hh_l0")
    torch.testing.assert_close(out(module, x), y)
    assert dict(module.named_parameters())["weight_hh_l0"].requires_grad is trains
    assert set(module.state_dict()) == set(nn.GRU(6, 8).state_dict()) and not module._forward_hooks


def test_assigning_a_tensor_projects_it():
    module = nn.LSTMCell(6, 8)
    attach_(module, "weight_hh", partial(Kronecker.from_dense, factor=(4, 2)))
    wanted = torch.randn(32, 8)
    module.weight_hh = wanted
    expected = Kronecker.from_dense(wanted, factor=(4, 2)).to_dense()
    torch.testing.assert_close(module.weight_hh, expected)


@pytest.mark.parametrize(
    "module, name, error, says",
    [
        (nn.LSTM(3, 4), "weight", PlanError, "weight_ih_l0"),
        (PyGLinear(3, 4), "weight", PlanError, "by itself"),
    ],
)
def test_what_cannot_be_bridged_is_refused(module, name, error, says):
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(error, match=says):
        attach_(module, name, RANK_TWO)
    assert before.keys() == module.state_dict().keys()


def test_a_matrix_of_another_shape_and_a_missing_bridge_are_refused():
    with pytest.raises(ShapeError, match=r"\(16, 4\)"):
        attach_(nn.LSTM(3, 4), "weight_hh_l0", TensorTrain.random((3, 4), rank=1))
    with pytest.raises(PlanError, match="no structured matrix behind"):
        detach_(nn.LSTM(3, 4), "weight_hh_l0")
