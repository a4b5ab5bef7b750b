"""Few signals are multiplied by codes as they are stored, and nobody can tell."""

import copy

import oracles
import pytest
import torch

from edgenet import ops
from edgenet.ops import native
from edgenet.structured import Binary, Coded, FixedPoint, PowerOfTwo, Uniform

pytestmark = pytest.mark.skipif(not native.vectorised(), reason="no compiled kernels for vectors here")

M, N = 300, 441
KINDS = {
    "binary": (Binary, {}),
    "two bits": (PowerOfTwo, {"bits": 2, "per": "row", "form": "sign_shift"}),
    "three bits": (Uniform, {"bits": 3, "half_step": True}),
    "four bits": (PowerOfTwo, {"bits": 4}),
    "five bits": (PowerOfTwo, {"bits": 5, "per": "row"}),
    "six bits": (PowerOfTwo, {"bits": 6}),
    "seven bits": (Uniform, {"bits": 7}),
    "eight bits": (Uniform, {"bits": 8, "per": "row"}),
    "fixed point": (FixedPoint, {"bits": 8}),
}


@pytest.fixture
def ran(monkeypatch):
    """How often the kernel multiplied."""
    calls, kernel = [], Coded._by_kernel
    monkeypatch.setattr(Coded, "_by_kernel", lambda self, x: (calls.append(x), kernel(self, x))[1])
    return calls


def packed(kind="four bits", m=M, n=N, dtype=torch.float32):
    family, options = KINDS[kind]
    return family.from_dense(torch.randn(m, n).to(dtype), **options).pack().eval()


def product(matrix, x):
    return x.double() @ matrix.to_dense().detach().double().mT


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_the_kernel_gives_the_product_with_the_decoded_matrix(ran, kind, batch):
    matrix, x = packed(kind), torch.randn(batch, N).float()
    with torch.no_grad():
        y = matrix(x)
        with ops.use("reference"):
            wanted = matrix(x)
    assert len(ran) == 1
    oracles.assert_near(y.double(), product(matrix, x), tolerance=1e-6)  # sums of float32 in another order
    oracles.assert_near(y, wanted, tolerance=1e-6)
    with torch.inference_mode():
        assert torch.equal(matrix(x), y) and len(ran) == 2


def test_signals_that_are_many_small_or_not_float32_are_multiplied_by_the_decoded_matrix(ran):
    with torch.no_grad():
        for matrix, x in (
            (packed(), torch.randn(9, N).float()),
            (packed(m=20), torch.randn(1, N).float()),
            (packed(dtype=torch.float64), torch.randn(1, N)),
            (packed(), torch.randn(0, N).float()),
        ):
            torch.testing.assert_close(matrix(x).double(), product(matrix, x), rtol=1e-5, atol=1e-4)  # float32
        with pytest.raises(RuntimeError):
            packed()(torch.randn(1, N - 1).float())
        kept = Uniform.from_dense(torch.randn(M, N).float(), {"structure": "sparse", "density": 0.5}).pack().eval()
        kept(torch.randn(1, N).float())
    assert not ran


def test_gradients_training_autocast_compilers_and_transforms_are_served_without_it(ran):
    matrix, x = packed(), torch.randn(2, N).float()
    y = matrix(x)
    y.sum().backward()
    assert matrix.scale_0.grad is not None
    with torch.no_grad():
        matrix.train()(x)
        matrix.eval()
        with torch.autocast("cpu", torch.bfloat16):
            assert matrix(x).dtype == torch.bfloat16
        torch.func.vmap(matrix)(x)
        torch.testing.assert_close(torch.compile(matrix, backend="eager")(x), y.detach())
    assert not ran


def test_hooks_and_forwards_of_ones_own_are_called(ran):
    x, seen = torch.randn(1, N).float(), []
    with torch.no_grad():
        for change in (
            lambda base: base.register_forward_hook(lambda *given: seen.append("hook")),
            lambda base: base.register_forward_pre_hook(lambda *given: seen.append("pre-hook")),
            lambda base: setattr(base, "forward", lambda x: seen.append("forward") or x),
        ):
            family, options = KINDS["four bits"]
            made = family.from_dense(torch.randn(M, N).float(), **options)
            change(made.base)
            made.pack().eval()(x)
    assert seen == ["hook", "pre-hook", "forward"] and not ran


def test_a_family_of_ones_own_decodes_in_its_own_way(ran):
    class Doubled(PowerOfTwo):
        def decode(self, k, codes, scale):
            return 2 * super().decode(k, codes, scale)

    made, x = Doubled.from_dense(torch.randn(M, N).float()), torch.randn(1, N).float()
    with torch.no_grad():
        oracles.assert_near(made.pack().eval()(x), x @ made.to_dense().mT)
    assert not ran


def test_what_changes_in_place_is_seen(ran):
    matrix, x = packed("eight bits"), torch.randn(2, N).float()
    with torch.no_grad():
        before = matrix(x)
        matrix.scale_0.data.mul_(2)
        torch.testing.assert_close(matrix(x), 2 * before)
        matrix.codes_0.numpy()[:] = 127
        assert (matrix(x) == 0).all()
    assert len(ran) == 3


def test_copies_and_loaded_states_multiply_alike(ran):
    matrix, other, x = packed("eight bits"), packed("eight bits"), torch.randn(2, N).float()
    with torch.no_grad():
        y, _ = matrix(x), other(x)
        assert torch.equal(copy.deepcopy(matrix)(x), y)
        other.load_state_dict(matrix.state_dict())
        assert torch.equal(other(x), y) and len(ran) == 4


def test_zero_rows_stay_zero(ran):
    weight, x = torch.randn(M, N).float(), torch.randn(1, N).float()
    weight[5] = 0
    matrix = PowerOfTwo.from_dense(weight, bits=4, per="row").pack().eval()
    with torch.no_grad():
        assert matrix(x)[0, 5] == 0 and ran
