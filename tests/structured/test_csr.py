"""Csr: compressed sparse rows, and the packed index of their places."""

import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgenet import ops
from edgenet.errors import RankError, ShapeError
from edgenet.structured import Csr, Sparse, Uniform, csr

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
    assert (matrix.num_parameters(), matrix.multiply_adds(2), matrix.bits()) == (3, 6, 3 * 64 + 2 * 8)  # a bitmap


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


@pytest.mark.parametrize("number, most", [(255, 15.5), (2560, 12.2), (40000, 8.2), (400_000, 4.9), (1_500_000, 2)])
def test_indices_take_a_few_bits_an_entry(number, most):
    matrix = Csr.random((1500, 2000), density=number / 3_000_000)
    assert list(matrix.state_dict()) == ["values", "index"] and len(matrix.values) == number
    assert matrix.bits() == number * 64 + 8 * len(matrix.index) and 8 * len(matrix.index) <= most * number


def test_a_dopant_of_400_entries_takes_less_than_a_kilobyte():
    """At 8 bits, values and places; one by one these alone would be 400 columns of two bytes and 17 pointers."""
    matrix = Uniform(Csr.random((16, 1433), density=400 / (16 * 1433)), 8)
    assert matrix.num_parameters() == 400 and matrix.bits() / 8 == 400 + 8 + 390


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


@pytest.mark.parametrize("signals", [0, 1, 9])
@pytest.mark.parametrize("mkl", [True, False])
@torch.no_grad()
def test_it_adds_to_signals_side_by_side(signals, mkl, monkeypatch):
    monkeypatch.setattr(csr, "_mkl_serves", lambda *_, real=csr._mkl_serves: mkl and real(*_))
    matrix = Csr.random((50, 60), 1.0, density=0.1).eval()
    y, x = torch.randn(50, signals), torch.randn(60, signals)
    want = y + matrix.to_dense() @ x
    matrix.adder(signals)(y, x)
    near(y, want)


SPOILED = {
    "more ones": lambda index: index.index_fill(0, torch.tensor([0]), 255),
    "no ones": torch.zeros_like,
    "all ones": lambda index: torch.full_like(index, 255),
    "shuffled": lambda index: index.flip(0),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
@pytest.mark.parametrize("density", [0.02, 0.5])
def test_a_file_that_points_outside_is_refused_and_nothing_is_loaded(spoil, density):
    matrix = Csr.random((31, 70), 1.0, density=density)
    before = matrix.to_dense().detach().clone()
    state = {key: tensor.clone() for key, tensor in Csr.random((31, 70), 1.0, density=density).state_dict().items()}
    wrong = spoil(state["index"])
    if density < 0.1 or spoil is not SPOILED["shuffled"]:  # other places of a bitmap are places
        with pytest.raises(RuntimeError, match="places"):
            matrix.load_state_dict({**state, "index": wrong})
        assert torch.equal(matrix.to_dense(), before)
    for other in (state["index"][:-1], state["index"].long()):
        with pytest.raises(RuntimeError, match="index"):
            matrix.load_state_dict({**state, "index": other}, assign=True)


@pytest.mark.parametrize(
    "make", [Csr.of, Sparse, lambda *both: Uniform(Csr.of(*both))], ids=["csr", "sparse", "uniform"]
)
def test_of_rows_without_entries_one_is_left_that_is_zero(make):
    weight = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    matrix = make(weight, weight != 0)
    matrix.keep_(torch.tensor([1]))
    assert matrix.num_parameters() == 1 and matrix.to_dense().tolist() == [[0.0, 0.0]]
    again = type(matrix).from_config(matrix.config())  # whose density is more than 0
    again.load_state_dict(matrix.state_dict())
    assert again.to_dense().tolist() == [[0.0, 0.0]]


def test_bad_parts_are_refused():
    with pytest.raises(ShapeError, match=r"columns run from 0 to 3; a matrix of 3"):
        Csr(torch.zeros(2), torch.tensor([0, 3]), torch.tensor([0, 2]), 3)
    with pytest.raises(ShapeError, match="pointers ascend from 0 to the 2 values"):
        Csr(torch.zeros(2), torch.tensor([0, 1]), torch.tensor([0, 3, 2]), 3)
    with pytest.raises(ShapeError, match="places of entries ascend"):
        Csr(torch.zeros(2), torch.tensor([1, 1]), torch.tensor([0, 2]), 3)
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
