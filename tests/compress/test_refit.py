"""Data-aware projection, against the Gram-weighted problem solved in another way."""

import pytest
import torch

from edgenet.compress.refit import refit_
from edgenet.errors import ShapeError
from edgenet.structured import BlockCirculant, Dense, Kronecker, LowRank, Sparse, SparseSignal, TensorTrain, Uniform


@pytest.fixture
def weight():
    return torch.randn(6, 10)


@pytest.fixture
def x():
    """Columns of very different size, many zeros."""
    return torch.randn(40, 10) * torch.logspace(0.5, -0.5, 10) * (torch.rand(40, 10) < 0.5)


def lost(matrix, weight, x):
    return ((x @ (matrix.to_dense().detach() - weight).mT).norm() / (x @ weight.mT).norm()).item()


MAKERS = {
    "low_rank": lambda w: LowRank.from_dense(w, 2),
    "kronecker": lambda w: Kronecker.from_dense(w, factor=(2, 5)),
    "tensor_train": lambda w: TensorTrain.from_dense(w, rank=2),
    "block_circulant": lambda w: BlockCirculant.from_dense(w, 2),
    "sparse": lambda w: Sparse.from_dense(w, 0.3),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_less_is_lost_on_the_features_than_by_the_nearest_matrix(make, weight, x):
    matrix = make(weight)
    before = lost(matrix, weight, x)
    after = refit_(matrix, weight, x)
    assert after < 0.97 * before
    assert after == pytest.approx(lost(matrix, weight, x), rel=1e-9)


def test_of_low_rank_it_is_the_truncated_decomposition_of_the_outputs(weight, x):
    matrix = LowRank.from_dense(weight, 2)
    refit_(matrix, weight, x)
    u, s, vh = torch.linalg.svd(x @ weight.mT, full_matrices=False)
    torch.testing.assert_close(x @ matrix.to_dense().mT, (u[:, :2] * s[:2]) @ vh[:2])


def test_of_a_mask_it_is_least_squares_row_by_row(weight, x):
    matrix = Sparse.from_dense(weight, 0.3)
    refit_(matrix, weight, x, steps=2000)
    for row in range(len(weight)):
        free = matrix.mask[row]
        best = torch.linalg.lstsq(x[:, free], x @ weight[row][:, None]).solution[:, 0]
        torch.testing.assert_close(matrix.to_dense()[row, free], best, rtol=1e-5, atol=1e-5)  # iterative


@pytest.mark.parametrize("form", [lambda x: x.to_sparse_csr(), lambda x: SparseSignal.of(x.to_sparse_csr())])
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_sparse_features_give_the_same(form, weight, x):
    dense, sparse = (Kronecker.from_dense(weight, factor=(2, 5)) for _ in range(2))
    assert refit_(sparse, weight, form(x)) == pytest.approx(refit_(dense, weight, x), rel=1e-6)


def test_a_matrix_that_is_exact_or_frozen_stays(weight, x):
    exact, frozen = Dense(weight.clone()), Kronecker.from_dense(weight, factor=(2, 5)).requires_grad_(False)
    before = frozen.to_dense()
    assert refit_(exact, weight, x) == 0 and torch.equal(exact.to_dense(), weight)
    assert refit_(frozen, weight, x) == pytest.approx(lost(frozen, weight, x))
    assert torch.equal(frozen.to_dense(), before)


def test_more_rank_than_outputs_have_is_exact(weight):
    x = torch.randn(3, 10)
    assert refit_(LowRank.from_dense(weight, 4), weight, x) < 1e-7  # the Gram matrix has rank 3: roots of rounding


def test_no_step_makes_it_worse(weight, x):
    matrix = Kronecker.from_dense(weight, factor=(2, 5))
    best = refit_(matrix, weight, x, steps=500)
    assert refit_(matrix, weight, x, steps=1) <= best
    assert all(p.grad is None for p in matrix.parameters())


def test_features_of_another_width_are_refused(weight, x):
    with pytest.raises(ShapeError, match=r"\(N, 10\) features, got \(6, 10\) and \(40, 9\)"):
        refit_(LowRank.from_dense(weight, 2), weight, x[:, 1:])
    with pytest.raises(ShapeError, match="a weight of that shape"):
        refit_(LowRank.from_dense(weight, 2), weight[1:], x)


def test_products_that_are_not_finite_are_refused(weight, x):
    matrix = Kronecker.from_dense(weight, factor=(2, 2))
    x[0, 0] = torch.nan
    with pytest.raises(ShapeError, match="some are not finite"):
        refit_(matrix, weight, x)


def test_of_a_quantised_matrix_the_latents_are_fitted(weight, x):
    matrix = Uniform(Kronecker.from_dense(weight, factor=(2, 5)), bits=8)
    plain = Kronecker.from_dense(weight, factor=(2, 5))
    before = lost(matrix, weight, x)
    after = refit_(matrix, weight, x)
    assert after < 0.97 * before and after == pytest.approx(lost(matrix, weight, x), rel=1e-9)
    refit_(plain, weight, x)
    torch.testing.assert_close(matrix.base.to_dense(), plain.to_dense())
