"""Csr: compressed sparse rows, with indices as narrow as they may be."""

import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgenet import ops
from edgenet.errors import RankError, ShapeError
from edgenet.structured import Csr

sizes = st.sampled_from([1, 2, 3, 5, 7, 13, 16, 31])


def near(got, want, digits=1e-10):
    torch.testing.assert_close(got, want, rtol=digits, atol=digits)


def test_csr_by_hand():
    matrix = Csr.of(torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [3.0, 0.0, 4.0]]), torch.eye(3).flip(0) > 5)
    assert matrix.num_parameters() == 0 and matrix.to_dense().tolist() == [[0.0] * 3] * 3
    weight = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [3.0, 0.0, 4.0]])
    matrix = Csr.of(weight, weight != 0)
    assert matrix.values.tolist() == [2.0, 3.0, 4.0]
    assert matrix.columns.tolist() == [1, 0, 2] and matrix.pointers.tolist() == [0, 1, 1, 3]
    assert matrix(torch.tensor([1.0, 10.0, 100.0])).tolist() == [20.0, 0.0, 403.0]
    assert matrix.rows(torch.tensor([2, 1, 2])).tolist() == [[3.0, 0.0, 4.0], [0.0] * 3, [3.0, 0.0, 4.0]]
    assert (matrix.num_parameters(), matrix.multiply_adds(2), matrix.bits()) == (3, 6, 3 * 64 + 3 * 8 + 4 * 8)


@given(sizes, sizes, st.floats(0.01, 1), st.sampled_from([torch.float64, torch.float32, torch.complex128]))
def test_it_is_scipys(m, n, density, dtype):
    weight, x = torch.randn(m, n, dtype=dtype), torch.randn(11, n, dtype=dtype)
    matrix = Csr.from_dense(weight, density)
    theirs = scipy.sparse.csr_array(matrix.to_dense().detach().numpy())
    assert (theirs.indices == matrix.columns.numpy()).all() and (theirs.indptr == matrix.pointers.numpy()).all()
    wanted, digits = torch.from_numpy(x.numpy() @ theirs.T), 1e-5 if dtype == torch.float32 else 1e-10
    near(matrix(x), wanted, digits)
    with torch.no_grad():
        matrix.eval()
        near(matrix(x), wanted, digits)  # many rows
        near(matrix(x[:1]), wanted[:1], digits)  # few
        near(matrix(x.repeat(7, 1)), wanted.repeat(7, 1), digits)  # in pieces


@pytest.mark.parametrize("n, columns", [(256, torch.uint8), (257, torch.int16), (40000, torch.int32)])
@pytest.mark.parametrize("number, pointers", [(255, torch.uint8), (256, torch.int16), (40000, torch.int32)])
def test_indices_are_as_narrow_as_the_sizes_allow(n, columns, number, pointers):
    weight = torch.randn(-(-number // n) + 1, n)
    matrix = Csr.from_dense(weight, number / weight.numel())
    assert (matrix.columns.dtype, matrix.pointers.dtype) == (columns, pointers)
    near(matrix.to_dense().count_nonzero(), torch.tensor(number))
    assert torch.equal(matrix.to_dense()[:, -1] != 0, (matrix.to_dense() == weight)[:, -1])


def test_values_train_and_places_stay():
    matrix, x, wanted = Csr.random((6, 7), 1.0, density=0.3), torch.randn(20, 7), torch.randn(20, 6)
    places = matrix.to_dense() != 0
    optimizer = torch.optim.SGD(matrix.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (matrix(x) - wanted).square().mean().backward()
        optimizer.step()
    assert torch.equal(matrix.to_dense() != 0, places)


def test_it_multiplies_without_building_the_matrix(monkeypatch):
    matrix, x = Csr.random((50, 60), 1.0, density=0.1), torch.randn(30, 60)
    wanted = x @ matrix.to_dense().mT
    monkeypatch.setattr(Csr, "to_dense", lambda self: pytest.fail("the dense matrix was built"))
    for mode in (True, False):
        near(matrix.train(mode)(x), wanted)
    with torch.no_grad(), ops.use("reference"):
        near(matrix(x), wanted)
        near(matrix(x[:2]), wanted[:2])


@pytest.mark.parametrize("name, value", [("columns", 7), ("columns", -1), ("pointers", 1), ("pointers", 300)])
def test_a_file_that_points_outside_is_refused_and_nothing_is_loaded(name, value):
    matrix = Csr.random((6, 7), 1.0, density=0.5)
    before = matrix.to_dense().detach().clone()
    state = {key: tensor.clone() for key, tensor in Csr.random((6, 7), 1.0, density=0.5).state_dict().items()}
    state[name] = state[name].long()
    state[name][0] = value
    with pytest.raises(RuntimeError, match=name):
        matrix.load_state_dict(state)
    assert torch.equal(matrix.to_dense(), before)


def test_bad_parts_are_refused():
    with pytest.raises(ShapeError, match=r"columns run from 0 to 3; a matrix of 3"):
        Csr(torch.zeros(2), torch.tensor([0, 3]), torch.tensor([0, 2]), 3)
    with pytest.raises(ShapeError, match="pointers ascend from 0 to the 2 values"):
        Csr(torch.zeros(2), torch.tensor([0, 1]), torch.tensor([0, 3, 2]), 3)
    with pytest.raises(ShapeError, match=r"\(2,\), \(3,\) and \(2,\)"):
        Csr(torch.zeros(2), torch.zeros(3), torch.tensor([0, 2]), 3)
    with pytest.raises(RankError, match=r"\(0, 1\]"):
        Csr.from_dense(torch.randn(3, 3), 0)
    with pytest.raises(ShapeError, match="NaN"):
        Csr.from_dense(torch.full((3, 3), float("nan")), 0.5)


@pytest.mark.parametrize("train", [True, False])
def test_signals_of_another_width_are_refused(train):
    matrix = Csr.random((12, 8), 1.0, density=0.5).train(train)
    for width in (7, 9, 16, 4):
        with pytest.raises(ShapeError, match=r"rows of 8 numbers, got \(4, "), torch.set_grad_enabled(train):
            matrix(torch.randn(4, width))
