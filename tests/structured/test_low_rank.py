"""LowRank: the truncated singular value decomposition."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stored import numbered, oracle, tensors

from edgenet.errors import RankError, RankWarning, ShapeError
from edgenet.structured import LowRank

sizes = st.sampled_from([1, 2, 3, 5, 7, 13, 16, 31])


def near(got, want, digits=1e-10):
    torch.testing.assert_close(got, want, rtol=digits, atol=digits)


def test_low_rank_by_hand():
    matrix = LowRank(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0, 4.0, 5.0]]))
    assert matrix.to_dense().tolist() == [[3.0, 4.0, 5.0], [6.0, 8.0, 10.0]]
    assert matrix(torch.tensor([1.0, 0.0, 1.0])).tolist() == [8.0, 16.0]
    assert (matrix.num_parameters(), matrix.multiply_adds(7), matrix.bits()) == (5, 35, 5 * 64)


@oracle("compression/lmf_hmd*.npz")
def test_the_nearest_one_is_numpys(stored):
    arrays = tensors(stored)
    for (rank,) in numbered(arrays, r"W_lmf_r(\d+)"):
        near(LowRank.from_dense(arrays["W"], rank).to_dense(), arrays[f"W_lmf_r{rank}"])


@given(sizes, sizes, st.integers(1, 31), st.sampled_from([torch.float64, torch.float32, torch.complex128]))
def test_its_error_is_the_singular_values_left_out(m, n, rank, dtype):
    rank = min(rank, m, n)
    weight, x = torch.randn(m, n, dtype=dtype), torch.randn(4, n, dtype=dtype)
    matrix = LowRank.from_dense(weight, rank)
    assert matrix.to_dense().dtype == dtype and matrix.rank == rank
    digits = 1e-5 if dtype == torch.float32 else 1e-10
    left_out = torch.linalg.svdvals(weight)[rank:].square().sum().sqrt()
    near((weight - matrix.to_dense()).norm(), left_out, 10 * digits)
    near(matrix(x), x @ matrix.to_dense().mT, 10 * digits)
    assert matrix.num_parameters() == rank * (m + n)


@given(sizes, sizes, st.integers(1, 31), st.sampled_from([torch.float64, torch.complex128]))
def test_a_random_one_has_the_variance_asked_for(m, n, rank, dtype):
    matrix = LowRank(torch.zeros(m, min(rank, m, n), dtype=dtype), torch.zeros(min(rank, m, n), n, dtype=dtype))
    matrix.draw_(0.25)
    near(matrix.to_dense().abs().square().mean().sqrt(), torch.tensor(0.25))


def test_a_random_one_passes_signals_on_with_the_variance_of_a_dense_layer():
    matrix, x = LowRank.random((256, 300), 300**-0.5, rank=16), torch.randn(2000, 300)
    assert 0.9 < float(matrix(x).detach().std()) < 1.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_decomposed_in_double(dtype):
    weight = torch.randn(6, 9).to(dtype)
    matrix = LowRank.from_dense(weight, 6)
    assert matrix.left.dtype == dtype
    torch.testing.assert_close(matrix.to_dense().double(), weight.double(), rtol=2e-2, atol=4e-2)  # its mantissa


def test_for_inference_one_row_is_multiplied_as_any_other():
    matrix, x = LowRank.from_dense(torch.randn(9, 5), 3).eval(), torch.randn(1, 5)
    wanted = x @ matrix.to_dense().mT
    with torch.no_grad():
        for lead in ((5,), (1, 5), (1, 1, 5)):
            near(matrix(x.view(lead)), wanted.view(*lead[:-1], 9))


def test_a_rank_that_is_too_large_is_clipped_with_a_warning():
    with pytest.warns(RankWarning, match=r"9 .* 4"):
        matrix = LowRank.from_dense(torch.randn(4, 6), 9)
    assert matrix.config() == {"shape": [4, 6], "rank": 4}


@pytest.mark.parametrize("rank", [0, -1, 2.0, True])
def test_what_is_no_rank_is_refused(rank):
    with pytest.raises(RankError, match=r"from 1 to 4"):
        LowRank.from_dense(torch.randn(4, 6), rank)


def test_factors_that_do_not_fit_and_weights_that_are_not_finite_are_refused():
    with pytest.raises(RankError, match=r"\(3, 2\), \(1, 4\)"):
        LowRank(torch.zeros(3, 2), torch.zeros(1, 4))
    with pytest.raises(ShapeError, match="1 of the 4 entries"):
        LowRank.from_dense(torch.tensor([[1.0, float("nan")], [0.0, 1.0]]), 1)


def test_its_ladder_ascends_and_ends_below_the_dense_matrix():
    counts = [LowRank.random((300, 200), 1.0, **options).num_parameters() for options in LowRank.ladder((300, 200))]
    assert counts == sorted(counts) and counts[0] == 500 and counts[-1] < 300 * 200
    assert LowRank.ladder((1, 50)) == []


def test_its_work_is_that_of_both_factors():
    matrix = LowRank(torch.ones(7, 2), torch.ones(2, 5))
    assert matrix.multiply_adds(3) == 3 * (2 * 5 + 7 * 2)
