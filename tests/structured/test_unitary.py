"""Unitary: the matrix of the unitary evolution RNN."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import oracle, tensors

from edgenet.errors import ShapeError
from edgenet.structured import StructuredLinear, Unitary


@pytest.fixture
def arrays(stored):
    return tensors(stored)


def of_arrays(arrays):
    return Unitary(arrays["theta"], torch.view_as_real(arrays["v"]), arrays["perm"])


def near(got, want, digits=1e-12):
    torch.testing.assert_close(got, want, rtol=digits, atol=digits)


def by_hand(matrix):
    """The product of its eight factors as dense matrices."""
    n = matrix.shape[0]
    k = torch.arange(n, dtype=torch.float64)
    fourier = torch.exp(-2j * math.pi * k[:, None] * k / n) / math.sqrt(n)
    d1, d2, d3 = (torch.diag(torch.exp(1j * phase)) for phase in matrix.phases.detach())
    v = torch.view_as_complex(matrix.reflections.detach())
    r1, r2 = (torch.eye(n) - 2 * torch.outer(u, u.conj()) / u.norm() ** 2 for u in v)
    shuffle = torch.eye(n, dtype=torch.complex128)[matrix.permutation]
    return d3 @ r2 @ fourier.mH @ d2 @ shuffle @ r1 @ fourier @ d1


@oracle("compression/urnn*.npz")
def test_the_matrix_is_that_of_the_paper(arrays):
    near(of_arrays(arrays).to_dense(), arrays["W"])


@oracle("compression/urnn*.npz")
def test_the_concatenated_real_form_agrees(arrays):
    z = torch.complex(*arrays["z_in"].chunk(2, 1))
    y = of_arrays(arrays).matmul(z)
    near(torch.cat([y.real, y.imag], 1), arrays["z_out"])


@oracle("compression/urnn*.npz")
def test_it_serves_as_the_state_map_of_a_recurrent_net_with_modrelu(arrays):
    w, state, hs, outs = of_arrays(arrays), arrays["h0"].expand(2, -1), [], []
    for x in arrays["x"]:
        z = w.matmul(state) + x.to(torch.complex128) @ arrays["V"].to(torch.complex128).mT
        state = torch.relu(z.abs() + arrays["bias"]) * z / z.abs()
        hs.append(state)
        outs.append(torch.cat([state.real, state.imag], 1) @ arrays["U"].mT + arrays["bo"])
    near(torch.stack(hs), arrays["hs"])
    near(torch.stack(outs), arrays["outs"])


@given(n=st.sampled_from([1, 2, 3, 7, 12, 31, 64]), batch=st.sampled_from([1, 5, 600]), training=st.booleans())
@settings(max_examples=25)
def test_it_is_unitary_at_every_size_and_by_every_route(n, batch, training):
    matrix = Unitary.random((n, n)).train(training)
    w = matrix.to_dense().detach()
    near(w, by_hand(matrix), 1e-11)
    near(w @ w.mH, torch.eye(n, dtype=torch.complex128))
    x = torch.randn(batch, n, dtype=torch.complex128)
    y = matrix.matmul(x).detach()
    near(y, x @ w.mT)
    near(y.norm(dim=1), x.norm(dim=1))
    near(matrix.adjoint(y).detach(), x)


def test_sizes_too_large_to_build_multiply_by_their_factors():
    matrix, x = Unitary.random((300, 300)).eval(), torch.randn(40, 300)
    near(matrix(x), x.to(torch.complex128) @ matrix.to_dense().mT)
    assert not matrix.cache._values


def test_a_thousand_products_in_float32_keep_the_norm():
    matrix, x = Unitary.random((32, 32)).float().eval(), torch.randn(2, 32, dtype=torch.complex64)
    size = x.norm(dim=1)
    with torch.no_grad():
        for _ in range(1000):
            x = matrix(x)
    near(x.norm(dim=1), size, 5e-6)  # a thousand roundings of 6e-8, that mostly cancel


def test_real_signals_are_taken_and_complex_ones_come_out():
    matrix, x = Unitary.random((6, 6)), torch.randn(3, 6)
    near(matrix(x), matrix(x.to(torch.complex128)))


def test_it_has_seven_real_numbers_a_row():
    assert Unitary.random((128, 128)).num_parameters() == 7 * 128


def test_a_zero_reflection_reflects_nothing():
    matrix = Unitary(torch.zeros(3, 4), torch.zeros(2, 4, 2), torch.arange(4))
    near(matrix.to_dense().detach(), torch.eye(4, dtype=torch.complex128))


def test_gradients_pass_gradcheck():
    matrix = Unitary.random((5, 5))
    x = torch.randn(2, 5, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: matrix(x), (x, *matrix.parameters()))
    assert torch.autograd.gradcheck(lambda x, *_: matrix.adjoint(x), (x, *matrix.parameters()))


def test_what_is_kept_follows_the_parameters():
    matrix, x = Unitary.random((5, 5)).eval(), torch.randn(2, 5)
    with torch.no_grad():
        before = matrix(x)
        matrix.phases.add_(0.5)
        near(matrix(x), x.to(torch.complex128) @ matrix.to_dense().mT)
        assert not torch.allclose(matrix(x), before)
        matrix.permutation.copy_(matrix.permutation.flip(0))
        near(matrix(x), x.to(torch.complex128) @ matrix.to_dense().mT)


@pytest.mark.parametrize("n", [2, 5, 16, 33])
def test_a_planted_product_is_found_again(n):
    torch.manual_seed(n)
    planted = Unitary.random((n, n)).to_dense().detach()
    near(Unitary.from_dense(planted).to_dense().detach(), planted, 1e-9)


def test_the_fit_is_deterministic_and_never_far_below_its_starts():
    weight = torch.randn(7, 7, dtype=torch.complex128)
    state = torch.get_rng_state()
    first, second = Unitary.from_dense(weight), Unitary.from_dense(weight)
    assert torch.equal(first.to_dense(), second.to_dense())
    assert torch.equal(torch.get_rng_state(), state)
    least = (torch.linalg.svdvals(weight) - 1).norm()  # of all unitary matrices, U V^H is the nearest
    error = (first.to_dense() - weight).norm()
    assert least <= error <= 1.05 * least  # 49 numbers, as many as a unitary matrix of this size has
    assert error < min((Unitary.random((7, 7)).to_dense() - weight).norm() for _ in range(100))


def test_a_real_weight_and_other_precisions_are_fitted():
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    near(Unitary.from_dense(turn).to_dense().detach(), turn.to(torch.complex128), 1e-10)
    for dtype, real in ((torch.float32, torch.float32), (torch.complex64, torch.float32), (torch.half, torch.float32)):
        matrix = Unitary.from_dense(turn.to(dtype))
        assert matrix.phases.dtype == real
        near(matrix.to_dense().detach(), turn.to(torch.complex64), 1e-3)


def test_complex_types_name_the_precision_and_half_is_refused():
    matrix = Unitary.random((3, 3))
    with pytest.warns(UserWarning, match="Complex modules"):  # torch's own
        matrix.to(torch.complex64)
    assert matrix.phases.dtype == torch.float32 and matrix(torch.randn(2, 3).float()).dtype == torch.complex64
    with pytest.raises(ShapeError, match=r"float16.*matrix\.to\(torch\.float32\)"):
        matrix.half()(torch.randn(2, 3).half())


def test_it_is_made_on_the_meta_device():
    with torch.device("meta"):
        matrix = Unitary.from_config({"shape": [4, 4]})
    assert all(t.is_meta for t in matrix.state_dict().values())
    state = Unitary.random((4, 4)).state_dict()
    matrix.load_state_dict(state, assign=True)
    assert torch.equal(matrix.permutation, state["permutation"])


def test_seeds_give_permutations():
    first, second = Unitary.random((20, 20), seed=1), Unitary.random((20, 20), seed=2)
    assert not torch.equal(first.permutation, second.permutation)
    assert Unitary.from_config(first.config()).permutation.equal(first.permutation)


def test_what_cannot_be_is_refused():
    with pytest.raises(ShapeError, match=r"square, got \(3, 4\)"):
        Unitary.from_dense(torch.randn(3, 4))
    with pytest.raises(ShapeError, match=r"\(3, n\) phases"):
        Unitary(torch.zeros(2, 4), torch.zeros(2, 4, 2))
    with pytest.raises(ShapeError, match="permutation holds each"):
        Unitary(torch.zeros(3, 4), torch.zeros(2, 4, 2), torch.tensor([0, 1, 1, 2]))
    with pytest.raises(ShapeError, match="NaN"):
        Unitary.from_dense(torch.full((2, 2), math.nan))


def test_in_a_linear_layer_it_trains_toward_a_planted_map():
    target = torch.roll(torch.eye(8), 1, 0).to(torch.complex128)
    layer = StructuredLinear(Unitary.random((8, 8)))
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    x = torch.randn(64, 8, dtype=torch.complex128)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = (layer(x) - x @ target.mT).abs().square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    w = layer.weight.to_dense().detach()
    near(w @ w.mH, torch.eye(8, dtype=torch.complex128))


def test_large_batches_go_in_pieces():
    matrix, x = Unitary.random((200, 200)).eval(), torch.randn(3, 50, 200, dtype=torch.complex128)
    with torch.no_grad():
        torch.testing.assert_close(matrix(x), x @ matrix.to_dense().mT)
