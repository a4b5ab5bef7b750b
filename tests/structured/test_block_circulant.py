"""BlockCirculant: blocks whose columns are one vector, turned."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st
from stored import oracle, tensors

from edgenet.errors import RankError, RankWarning, ShapeError
from edgenet.structured import BlockCirculant

sizes = st.sampled_from([1, 2, 3, 5, 7, 13, 16, 31])
blocks = st.sampled_from([1, 2, 3, 4, 5, 8, 11])


def near(got, want, digits=1e-10):
    torch.testing.assert_close(got, want, rtol=digits, atol=digits)


@pytest.fixture
def arrays(stored):
    return tensors(stored)


def test_block_circulant_by_hand():
    matrix = BlockCirculant(torch.tensor([[[1.0, 2.0, 3.0]]]))
    assert matrix.to_dense().tolist() == [[1.0, 3.0, 2.0], [2.0, 1.0, 3.0], [3.0, 2.0, 1.0]]
    near(matrix(torch.tensor([1.0, 0.0, 0.0])), torch.tensor([1.0, 2.0, 3.0]))
    assert (matrix.num_parameters(), matrix.bits()) == (3, 3 * 64)


@oracle("compression/blockcirc_forward*.npz")
def test_values_and_gradients_are_scipys(arrays):
    matrix, x = BlockCirculant(arrays["w"]), arrays["x"].requires_grad_()
    near(matrix.to_dense(), arrays["W"])
    near(matrix(x), arrays["y"])
    gx, gw = torch.autograd.grad((matrix(x) * arrays["gy"]).sum(), [x, matrix.generators])
    near(gx, arrays["gx"])
    near(gw, arrays["gw"])


@oracle("compression/blockcirc_forward*.npz")
def test_a_generator_read_as_first_row_is_the_same_one_run_backwards(arrays):
    """First row w makes first column w[0], w[k - 1], ..., w[1]: how a matrix of C-LSTM's text is loaded."""
    w = arrays["w"]
    matrix = BlockCirculant(torch.cat([w[..., :1], w[..., 1:].flip(-1)], -1))
    near(matrix.to_dense(), arrays["W_firstrow"])
    near(matrix(arrays["x"]), arrays["y_firstrow"])


@given(sizes, sizes, blocks, st.integers(1, 9), st.sampled_from([torch.float64, torch.float32, torch.complex128]))
def test_every_way_of_multiplying_is_that_by_scipys_blocks(m, n, block, batch, dtype):
    block = min(block, max(m, n))
    p, q = -(-m // block), -(-n // block)
    matrix = BlockCirculant(torch.randn(p, q, block, dtype=dtype), (m, n))
    dense = np.block([[scipy.linalg.circulant(w) for w in line] for line in matrix.generators.detach().numpy()])
    dense, x = torch.from_numpy(dense)[:m, :n], torch.randn(batch, n, dtype=dtype)
    digits = 2e-5 if dtype == torch.float32 else 1e-10
    assert torch.equal(matrix.to_dense(), dense)
    wanted = x @ dense.mT
    near(matrix(x), wanted, digits)
    near(matrix._by_transforms(torch.nn.functional.pad(x, (0, q * block - n)))[:, :m], wanted, digits)
    with torch.no_grad():
        near(matrix.eval()(x), wanted, digits)
        near(matrix(x.repeat(300, 1)), wanted.repeat(300, 1), digits)  # in pieces
    index = torch.randint(m, (4,))
    assert torch.equal(matrix.rows(index), dense[index])


@given(sizes, sizes, blocks, st.sampled_from([torch.float64, torch.float32, torch.complex128]))
def test_the_projection_is_the_least_squares_fit(m, n, block, dtype):
    block = min(block, max(m, n))
    weight = torch.randn(m, n, dtype=dtype)
    matrix = BlockCirculant.from_dense(weight, block)
    count = matrix.num_parameters()
    basis = []
    for unit in torch.eye(count):  # the family is linear in its generators
        basis.append(BlockCirculant(unit.view(matrix.generators.shape), (m, n)).to_dense().detach().flatten())
    basis = torch.stack(basis, 1).to(dtype)
    touched = basis.abs().sum(0) > 0
    fit = torch.linalg.lstsq(basis[:, touched], weight.flatten()[:, None]).solution
    digits = 1e-5 if dtype == torch.float32 else 1e-10
    near(matrix.to_dense().flatten(), (basis[:, touched] @ fit)[:, 0], digits)
    assert not matrix.generators.flatten()[~touched].any()  # nothing is left in what padding alone touches


def test_padding_does_not_pull_the_mean():
    weight = torch.ones(3, 3)
    assert torch.equal(BlockCirculant.from_dense(weight, 2).to_dense(), weight)


def test_for_few_rows_three_products_take_the_place_of_transforms(monkeypatch):
    matrix = BlockCirculant.random((12, 8), 1.0, block=4).eval()
    monkeypatch.setattr(torch.fft, "irfft", lambda *a: pytest.fail("transformed"))
    with torch.no_grad():
        for batch in (1, 4):
            x = torch.randn(batch, 8)
            near(matrix(x), x @ matrix.to_dense().mT)
    with pytest.raises(pytest.fail.Exception, match="transformed"):
        matrix(torch.randn(5, 8))


def test_a_complex_matrix_multiplies_real_signals():
    matrix, x = BlockCirculant(torch.randn(2, 3, 4, dtype=torch.complex128)).eval(), torch.randn(2, 12)
    with torch.no_grad():
        near(matrix(x), x.to(torch.complex128) @ matrix.to_dense().mT)


def test_derivatives_of_second_order_are_right():
    matrix, x = BlockCirculant.random((6, 4), 1.0, block=2), torch.randn(3, 4, requires_grad=True)
    names = ["generators"]

    def product(x, *tensors):
        return torch.func.functional_call(matrix, dict(zip(names, tensors, strict=True)), (x,))

    assert torch.autograd.gradgradcheck(product, (x, matrix.generators.detach().requires_grad_()))


def test_a_random_one_has_the_variance_asked_for():
    matrix, x = BlockCirculant.random((250, 300), 300**-0.5, block=8), torch.randn(500, 300)
    assert 0.97 < float(matrix.to_dense().detach().std() * 300**0.5) < 1.03
    assert 0.95 < float(matrix(x).detach().std()) < 1.05


@pytest.mark.parametrize("block, wanted", [(2, 1626112), (4, 815104), (8, 409600), (16, 204800)])
def test_the_parameters_of_c_lstms_first_layer(block, wanted):
    """Google LSTM, 1024 cells, projection 512, 153 inputs: four gates on input and state, and the projection."""
    shapes = (*[(1024, 153), (1024, 512)] * 4, (512, 1024))
    ours = sum(BlockCirculant.from_config({"shape": shape, "block": block}).num_parameters() for shape in shapes)
    assert sum(m * n for m, n in shapes) == 3248128 and ours == wanted


def test_a_block_that_is_too_large_is_clipped_with_a_warning():
    with pytest.warns(RankWarning, match=r"9 .* 6"):
        assert BlockCirculant.from_dense(torch.randn(4, 6), 9).config() == {"shape": [4, 6], "block": 6}


@pytest.mark.parametrize("block", [0, -2, 1.5, True])
def test_what_is_no_block_size_is_refused(block):
    with pytest.raises(RankError, match="from 1 to 6"):
        BlockCirculant.from_dense(torch.randn(4, 6), block)


def test_generators_that_do_not_fit_and_weights_that_are_not_finite_are_refused():
    with pytest.raises(RankError, match=r"\(3, 2\)"):
        BlockCirculant(torch.zeros(3, 2))
    with pytest.raises(RankError, match=r"3 x 3 blocks of 2, not 2 x 3"):
        BlockCirculant(torch.zeros(2, 3, 2), (5, 6))
    with pytest.raises(ShapeError, match="NaN"):
        BlockCirculant.from_dense(torch.full((3, 3), float("nan")), 2)


def test_its_ladder_ascends():
    counts = [
        BlockCirculant.random((60, 48), **options).num_parameters() for options in BlockCirculant.ladder((60, 48))
    ]
    assert counts == sorted(set(counts)) and len(counts) == 5 and counts[-1] < 60 * 48
    assert BlockCirculant.ladder((1, 9)) == []


@pytest.mark.parametrize("train", [True, False])
def test_signals_of_another_width_are_refused(train):
    matrix = BlockCirculant.random((12, 8), 1.0, block=4).train(train)
    for width in (7, 9, 16, 4):
        with pytest.raises(ShapeError, match=r"rows of 8 numbers, got \(4, "), torch.set_grad_enabled(train):
            matrix(torch.randn(4, width))
