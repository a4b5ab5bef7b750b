"""BlockTerm: the layer of Ye et al. 2018, its counts, its fit."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stored import numbered, oracle, tensors

from edgenet.errors import RankError, RankWarning
from edgenet.structured import BlockTerm

SMALL = {"out_modes": (3, 5, 2), "in_modes": (2, 3, 4)}


def relative(matrix, weight):
    return float((matrix.to_dense() - weight).detach().norm() / weight.norm())


@oracle("compression/bt_forward*.npz")
def test_forward_of_an_independent_implementation(stored):
    arrays = tensors(stored)
    matrix = BlockTerm(arrays["core"], [arrays[f"A{k}"] for k in range(3)])
    torch.testing.assert_close(matrix.to_dense(), arrays["W"], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(matrix(arrays["x"]), arrays["y"], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(matrix(arrays["x"][:1]), arrays["y_tednet"][:1], rtol=1e-10, atol=1e-12)


@oracle("compression/bt_projection*.npz")
def test_one_block_fits_as_well_as_an_independent_tucker_iteration(stored):
    arrays = tensors(stored)
    weight = arrays["W"]
    for (rank,) in numbered(arrays, r"hooi_relerr_R(\d+)"):
        theirs = float(arrays[f"hooi_relerr_R{rank}"])
        assert relative(BlockTerm.from_dense(weight, 1, rank, **SMALL), weight) <= theirs + 1e-6
        assert relative(BlockTerm.from_dense(weight, 2, rank, **SMALL), weight) < theirs


@oracle("compression/bt_forward*.npz")
def test_planted_blocks_are_found(stored):
    planted = tensors(stored)["W"]
    assert relative(BlockTerm.from_dense(planted, 2, 2, **SMALL), planted) < 1e-6


@pytest.mark.parametrize("rank, parameters", [(1, 722), (2, 1472), (4, 3392)])
def test_the_parameters_of_the_papers_layer(rank, parameters):
    # Ye et al. 2018: 57,600 inputs, 256 hidden units, four gates in the first mode, two blocks
    with torch.device("meta"):
        matrix = BlockTerm.from_config(
            {"shape": [1024, 57600], "blocks": 2, "rank": rank, "out_modes": (16, 4, 4, 4), "in_modes": (8, 20, 20, 18)}
        )
    assert matrix.num_parameters() == parameters


@given(st.integers(1, 20), st.integers(1, 20), st.integers(2, 3))
def test_any_size_is_padded_and_one_block_of_full_rank_is_exact(m, n, dims):
    weight = torch.randn(m, n)
    torch.testing.assert_close(BlockTerm.from_dense(weight, dims=dims).to_dense(), weight, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rows", [1, 2, 40])
@pytest.mark.parametrize("blocks, rank", [(1, 1), (3, 2), (2, 6)])
def test_every_contraction_is_the_dense_product(rows, blocks, rank):
    matrix = BlockTerm.random((30, 24), blocks=blocks, rank=rank, **SMALL)
    x = torch.randn(rows, 24)
    torch.testing.assert_close(matrix(x), x @ matrix.to_dense().mT)


def test_a_random_one_has_the_variance_asked_for():
    matrix = BlockTerm.random((512, 729), std=0.1, blocks=4, rank=4, dims=3)
    assert float(matrix.to_dense().detach().square().mean().sqrt()) == pytest.approx(
        0.1, rel=0.05
    )  # but for the padding


def test_ranks_and_blocks_too_large_are_clipped_with_a_word():
    with pytest.warns(RankWarning, match="Tucker rank"):
        assert BlockTerm.from_dense(torch.randn(4, 4), 1, 99, dims=2).config()["rank"] == 4
    with pytest.warns(RankWarning, match="blocks"):
        assert BlockTerm.from_dense(torch.randn(4, 4), 99, 1, dims=2).config()["blocks"] == 4


def test_what_does_not_fit_is_refused():
    with pytest.raises(RankError, match="got 0"):
        BlockTerm.from_dense(torch.randn(4, 4), 0, 1)
    with pytest.raises(RankError, match="block-term core"):
        BlockTerm(torch.randn(1, 2, 2), [torch.randn(1, 2, 2, 2), torch.randn(1, 2, 2, 3)])


@pytest.mark.parametrize("blocks, rank", [(1, 3), (2, 2), (3, 4), (5, 1)])
def test_of_two_modes_it_is_the_nearest(blocks, rank):
    """Blocks of rank R make every rearranged matrix of rank ``blocks`` R, and no other."""
    weight = torch.randn(12, 20)
    matrix = BlockTerm.from_dense(weight, blocks=blocks, rank=rank, dims=2)
    (p, r), (q, s) = matrix.out_modes, matrix.in_modes
    rearranged = weight.reshape(p, r, q, s).permute(0, 2, 1, 3).reshape(p * q, r * s)
    tail = torch.linalg.svdvals(rearranged)[blocks * rank :]
    torch.testing.assert_close((weight - matrix.to_dense()).norm(), tail.norm())
