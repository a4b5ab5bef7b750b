"""Sign: one bit forward, a gate backward."""

import math

import pytest
import torch
from stored import oracle, tensors
from torch import nn

from edgenet.errors import ConfigError
from edgenet.nn import Sign
from edgenet.pretrained import from_pretrained, save_pretrained


def passed(layer, x, gradient):
    """What the layer gives, and the gradient that reaches x."""
    x = x.clone().requires_grad_()
    y = layer(x)
    y.backward(gradient)
    return y.detach(), x.grad


@oracle("quantised/binary_ste*.npz")
def test_it_is_the_sign_and_gate_by_hand(stored):
    arrays = tensors(stored)
    x, y, above, below = (arrays[name] for name in ("x", "fwd", "gout", "gin"))
    got, gradient = passed(Sign(), x, above.to(x.dtype))
    assert torch.equal(got, y) and torch.equal(gradient, below)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_zeros_are_up_what_is_infinite_has_a_sign_and_nan_stays(dtype):
    x = torch.tensor([0.0, -0.0, math.inf, -math.inf, 1e-7, -1e-7], dtype=dtype)
    for gate in (0.5, 1.0, math.inf):
        y = Sign(gate)(x)
        assert y.dtype == dtype and y[:4].tolist() == [1, 1, 1, -1] and set(y.tolist()) == {-1, 1}
        assert Sign(gate)(torch.full((2,), math.nan, dtype=dtype)).isnan().all()


def test_the_gate_may_be_wider_or_open():
    x, ones = torch.tensor([-3.0, -1.5, 0.0, 1.5, 3.0]), torch.ones(5)
    for gate, wanted in ((1, [0, 0, 1, 0, 0]), (1.5, [0, 1, 1, 1, 0]), (math.inf, [1, 1, 1, 1, 1])):
        assert passed(Sign(gate), x, ones)[1].tolist() == wanted


def test_drawn_signs_have_the_hard_sigmoid_as_their_mean_and_are_signs_in_eval_mode():
    layer, x = Sign(stochastic=True), torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0])
    drawn = layer(x.expand(4000, 5))
    assert set(drawn.unique().tolist()) == {-1, 1}
    torch.testing.assert_close(drawn.mean(0), x.clamp(-1, 1), rtol=0, atol=0.06)  # 4 standard deviations
    assert layer.eval()(x).tolist() == [-1, -1, 1, 1, 1]
    assert passed(layer.train(), x, torch.ones(5))[1].tolist() == [0, 1, 1, 1, 0]


def test_it_is_saved_read_back_and_compiled_as_it_is(tmp_path):
    model = nn.Sequential(nn.Linear(4, 3), Sign(2.0, stochastic=True)).eval()
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path)
    x = torch.randn(5, 4)
    assert (again[1].gate, again[1].stochastic) == (2.0, True) and torch.equal(again(x), model(x))
    assert torch.equal(torch.compile(model, backend="eager", fullgraph=True)(x), model(x))
    assert repr(model[1]) == "Sign(gate=2, stochastic=True)" and repr(Sign()) == "Sign()"


@pytest.mark.parametrize("gate", [0, -1, math.nan, "1", True, None])
def test_a_gate_that_lets_nothing_through_is_refused(gate):
    with pytest.raises(ConfigError, match="its gate, above 0; got gate="):
        Sign(gate)
