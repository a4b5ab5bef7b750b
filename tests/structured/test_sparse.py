"""Sparse: a weight under a mask, which a schedule may move."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._dynamo.testing import CompileCounter

from edgenet.errors import RankError, ShapeError
from edgenet.structured import Csr, Sparse

sizes = st.sampled_from([1, 2, 3, 5, 7, 13, 16, 31])


def near(got, want, digits=1e-10):
    torch.testing.assert_close(got, want, rtol=digits, atol=digits)


def test_sparse_by_hand():
    matrix = Sparse.from_dense(torch.tensor([[1.0, -5.0], [3.0, 0.5]]), 0.5)
    assert matrix.to_dense().tolist() == [[0.0, -5.0], [3.0, 0.0]]
    assert (matrix.num_parameters(), matrix.density, matrix.multiply_adds(3)) == (2, 0.5, 6)
    assert matrix.bits() == 2 * 64 + 8  # values, and a bitmap


@given(sizes, sizes, st.floats(1e-3, 1), st.sampled_from([torch.float64, torch.bfloat16, torch.complex128]))
def test_it_keeps_the_largest_and_as_many_as_asked_for(m, n, density, dtype):
    weight = torch.randn(m, n, dtype=dtype)
    matrix = Sparse.from_dense(weight, density)
    number = max(1, round(density * m * n))
    assert matrix.num_parameters() == number == int(matrix.mask.sum())
    kept, dropped = weight[matrix.mask].abs(), weight[~matrix.mask].abs()
    assert not len(dropped) or kept.min() >= dropped.max()
    assert torch.equal(matrix.to_dense(), torch.where(matrix.mask, weight, 0))
    assert torch.equal(matrix.weight, matrix.to_dense())  # what comes back later starts from 0
    assert Sparse.from_config(matrix.config()).num_parameters() == number  # the share tells the number


def test_the_density_anneals_by_magnitude_and_entries_may_come_back():
    matrix = Sparse.from_dense(torch.tensor([[4.0, 3.0], [2.0, 1.0]]), 1.0)
    for density, wanted in ((0.75, [4, 3, 2, 0]), (0.25, [4, 0, 0, 0])):
        matrix.set_density_(density)
        assert matrix.to_dense().flatten().tolist() == wanted and matrix.density == density
    with torch.no_grad():
        matrix.weight[0, 0] = 0.1
    matrix.set_density_(0.5)
    assert matrix.to_dense().flatten().tolist() == [0, 3, 2, 0]
    assert matrix.config()["density"] == 0.5


def test_entries_outside_the_mask_have_no_gradient():
    matrix = Sparse.random((5, 7), 1.0, density=0.4)
    (matrix(torch.randn(9, 7)) ** 2).sum().backward()
    assert torch.equal(matrix.weight.grad != 0, matrix.mask)


def test_a_compiled_matrix_follows_the_schedule_without_compiling_again():
    matrix, x = Sparse.random((5, 7), 1.0, density=1.0), torch.randn(3, 7)
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(matrix, fullgraph=True, backend=counter)
    for density in (1.0, 0.5, 0.2):
        matrix.set_density_(density)
        near(compiled(x), x @ matrix.to_dense().mT)
    assert counter.frame_count == 1


def test_a_checkpoint_carries_the_mask():
    matrix = Sparse.random((5, 7), 1.0, density=0.4)
    twin = Sparse.from_config({"shape": [5, 7], "density": 0.9})
    twin.load_state_dict(matrix.state_dict())
    assert torch.equal(twin.to_dense(), matrix.to_dense()) and twin.config() == matrix.config()


@pytest.mark.parametrize("batch", [1, 20])
def test_for_inference_large_and_sparse_ones_multiply_through_compressed_rows(monkeypatch, batch):
    x, used = torch.randn(batch, 256), []
    multiply = Csr.matmul_by
    monkeypatch.setattr(Csr, "matmul_by", lambda self, v, x: (used.append(self), multiply(self, v, x))[1])
    for density, through in ((0.05, True), (0.5, False)):
        matrix = Sparse.random((256, 256), 1.0, density=density)
        used.clear()
        near(matrix(x), x @ matrix.to_dense().mT)
        assert not used  # in training
        matrix.eval()
        with torch.inference_mode():
            for _ in range(2):
                near(matrix(x), x @ matrix.to_dense().mT)
            assert bool(used) == through and len(set(used)) <= 1  # kept
        with torch.no_grad():
            matrix.set_density_(density / 2)
            near(matrix(x), x @ matrix.to_dense().mT)  # a new mask is seen
        near(matrix(x), x @ matrix.to_dense().mT)


@given(sizes, sizes, st.floats(0.05, 1))
def test_packed_it_is_the_same_matrix(m, n, density):
    matrix = Sparse.random((m, n), 1.0, density=density)
    packed = matrix.pack()
    assert isinstance(packed, Csr) and torch.equal(packed.to_dense(), matrix.to_dense())
    assert packed.num_parameters() == matrix.num_parameters() and packed.config() == matrix.config()


@pytest.mark.parametrize("kind", [Sparse, Csr])
def test_a_random_one_has_the_variance_asked_for_and_its_places_all_over(kind):
    matrix, x = kind.random((200, 300), 300**-0.5, density=0.2), torch.randn(500, 300)
    dense = matrix.to_dense().detach()
    assert 0.97 < float(dense.std() * 300**0.5) < 1.03
    assert 0.95 < float(matrix(x).detach().std()) < 1.05
    shares = (dense != 0).double()
    assert shares.mean(0).max() < 0.35 and shares.mean(1).max() < 0.35 and int(shares.sum()) == 12000


@pytest.mark.parametrize("density", [0, -0.1, 1.01, float("nan"), True, "half"])
def test_what_is_no_density_is_refused(density):
    with pytest.raises(RankError, match=r"\(0, 1\]"):
        Sparse.from_dense(torch.randn(4, 6), density)
    with pytest.raises(RankError, match=r"\(0, 1\]"):
        Sparse.from_dense(torch.randn(4, 6), 1.0).set_density_(density)


def test_a_mask_that_does_not_fit_and_weights_that_are_not_finite_are_refused():
    with pytest.raises(ShapeError, match=r"\(3, 2\) and \(2, 3\)"):
        Sparse(torch.zeros(3, 2), torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(ShapeError, match="float64"):
        Sparse(torch.zeros(3, 2), torch.ones(3, 2))
    with pytest.raises(ShapeError, match="NaN"):
        Sparse.from_dense(torch.full((3, 3), float("nan")), 0.5)


def test_its_ladder_ascends():
    counts = [Sparse.random((30, 20), 1.0, **options).num_parameters() for options in Sparse.ladder((30, 20))]
    assert counts == sorted(set(counts)) and counts[0] == 1 and len(counts) == 12
