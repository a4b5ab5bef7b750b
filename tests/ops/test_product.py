"""linear is torch's, whichever library computes it."""

import oracles
import pytest
import torch
import torch.nn.functional as F

from edgenet import ops
from edgenet.ops import product as module

#: large enough for the detour
SHAPES = (((3000, 40), 40), ((2, 1500, 40), 40))


@pytest.fixture
def onednn(monkeypatch):
    """The detour, on any processor; says how often it was taken."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    taken = []
    detour = module._Linear.apply
    monkeypatch.setattr(module, "_prefers_onednn", lambda: True)
    monkeypatch.setattr(module._Linear, "apply", lambda *t: (taken.append(t), detour(*t))[1])
    return taken


@pytest.mark.parametrize("shape, rows", SHAPES)
@pytest.mark.parametrize("bias", [False, True])
def test_value_and_gradients_are_torchs(onednn, shape, rows, bias):
    tensors = [torch.randn(*shape), torch.randn(rows, shape[-1])] + [torch.randn(rows)] * bias
    tensors = [t.float() for t in tensors]
    oracles.assert_same_function(ops.linear, F.linear, tensors)
    assert len(onednn) == 2  # forward, and the gradient in x


def test_strided_inputs_are_read_right(onednn):
    x, weight = torch.randn(40, 3000).float().t(), torch.randn(40, 80).float()[:, ::2]
    oracles.assert_near(ops.linear(x, weight), F.linear(x, weight))
    assert onednn


def test_derivatives_of_second_order_are_torchs(onednn):
    def norm_of_gradient(function):
        torch.manual_seed(0)
        x, weight = (torch.randn(*size).float().requires_grad_() for size in ((3000, 40), (40, 40)))
        grads = torch.autograd.grad(function(x, weight).pow(3).sum(), [x, weight], create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in grads), [x, weight])

    for got, wanted in zip(norm_of_gradient(ops.linear), norm_of_gradient(F.linear), strict=True):
        oracles.assert_near(got, wanted)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_small_products_and_traces_are_left_to_torch(onednn, dtype):
    x, weight = torch.randn(3000, 40).to(dtype), torch.randn(40, 40).to(dtype)
    assert torch.equal(ops.linear(x, weight), F.linear(x, weight))
    ops.linear(torch.ones(2, 40).float(), torch.ones(40, 40).float())
    with torch.autocast("cpu", torch.bfloat16):
        assert ops.linear(x.float(), weight.float()).dtype == torch.bfloat16
    torch.func.vmap(lambda row: ops.linear(row, weight.float()))(x.float().view(2, 1500, 40))
    assert not onednn


def test_a_torch_without_the_product_is_left_alone(monkeypatch):
    class Without:
        def __getattr__(self, name):
            raise AttributeError(name)

    monkeypatch.setattr(torch.ops, "mkldnn", Without())
    assert module._prefers_onednn.__wrapped__() is False
