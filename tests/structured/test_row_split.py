"""RowSplit: dense rows above blocks of rank one."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stored import oracle, tensors

from edgenet.errors import RankError, RankWarning, ShapeError
from edgenet.structured import RowSplit

sizes = st.sampled_from([1, 2, 3, 5, 7, 13, 16, 31])


def near(got, want, digits=1e-10):
    torch.testing.assert_close(got, want, rtol=digits, atol=digits)


def test_row_split_by_hand():
    matrix = RowSplit(
        torch.tensor([[1.0, 2.0]]), torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[10.0, 20.0], [1.0, -1.0]])
    )
    # three rows in two blocks: the first has one row more
    assert matrix.to_dense().tolist() == [[1.0, 2.0], [10.0, 20.0], [20.0, 40.0], [3.0, -3.0]]
    assert matrix(torch.tensor([1.0, 1.0])).tolist() == [3.0, 30.0, 60.0, 0.0]
    assert (matrix.num_parameters(), matrix.multiply_adds(2)) == (9, 18)


@oracle("compression/lmf_hmd*.npz")
def test_the_nearest_one_is_numpys(stored):
    arrays = tensors(stored)
    rows, blocks = int(arrays["free_rows"]), int(arrays["blocks"])
    matrix = RowSplit.from_dense(arrays["W"], rows, blocks)
    near(matrix.to_dense(), arrays["W_hmd"])
    near(matrix(arrays["x"]), arrays["x"] @ arrays["W_hmd"].T)
    assert matrix.num_parameters() == 4 * 9 + 2 * (4 + 9)


@given(
    sizes, sizes, st.floats(0, 1), st.floats(0, 1), st.sampled_from([torch.float64, torch.float32, torch.complex128])
)
def test_every_block_is_the_nearest_of_rank_one_to_its_rows(m, n, rows, blocks, dtype):
    rows = round(rows * (m - 1))
    blocks = max(1, round(blocks * (m - rows)))
    weight, x = torch.randn(m, n, dtype=dtype), torch.randn(4, n, dtype=dtype)
    matrix = RowSplit.from_dense(weight, rows, blocks)
    digits = 1e-4 if dtype == torch.float32 else 1e-10
    dense = matrix.to_dense()
    assert torch.equal(dense[:rows], weight[:rows])
    got = zip(dense[rows:].tensor_split(blocks), weight[rows:].tensor_split(blocks), strict=True)
    for block, wanted in got:
        near((block - wanted).norm(), torch.linalg.svdvals(wanted)[1:].square().sum().sqrt(), digits)
        assert torch.linalg.matrix_rank(block, rtol=1e-4) == 1
    near(matrix(x), x @ dense.mT, digits)
    with torch.no_grad():
        near(matrix.eval()(x), x @ dense.mT, digits)
    assert matrix.num_parameters() == rows * n + blocks * n + m - rows


@given(sizes, sizes, st.integers(0, 31), st.integers(1, 31))
def test_a_random_one_has_the_variance_asked_for(m, n, rows, blocks):
    rows = min(rows, m - 1)
    matrix = RowSplit.random((m, n), 0.25, rows=rows, blocks=min(blocks, m - rows))
    near(matrix.to_dense()[rows:].square().mean().sqrt(), torch.tensor(0.25))


def test_a_random_one_passes_signals_on_with_the_variance_of_a_dense_layer():
    matrix, x = RowSplit.random((512, 300), 300**-0.5, rows=40, blocks=16), torch.randn(2000, 300)
    assert 0.93 < float(matrix.to_dense().detach().std() * 300**0.5) < 1.07
    y = matrix(x).detach()
    assert 0.9 < float(y[:, :40].std()) < 1.1 and 0.9 < float(y[:, 40:].std()) < 1.1


def test_no_dense_row_and_dense_rows_alone_are_members():
    weight = torch.randn(5, 4)
    assert torch.equal(RowSplit.from_dense(weight, 5).to_dense(), weight)
    assert torch.linalg.matrix_rank(RowSplit.from_dense(weight, 0).to_dense()) == 1
    near(RowSplit.from_dense(weight, 0, 5).to_dense(), weight)


def test_sizes_that_are_too_large_are_clipped_with_a_warning():
    with pytest.warns(RankWarning, match=r"dense rows .* 9 .* 5"):
        assert RowSplit.from_dense(torch.randn(5, 4), 9).config() == {"shape": [5, 4], "rows": 5, "blocks": 1}
    with pytest.warns(RankWarning, match=r"blocks .* 4 .* 3"):
        assert RowSplit.from_dense(torch.randn(5, 4), 2, 4).config()["blocks"] == 3


@pytest.mark.parametrize("options", [{"rows": -1}, {"rows": 1.5}, {"rows": False}, {"rows": 2, "blocks": 0}])
def test_what_is_no_size_is_refused(options):
    with pytest.raises(RankError, match="whole number from 1"):
        RowSplit.from_dense(torch.randn(5, 4), **options)


def test_parts_that_do_not_fit_and_weights_that_are_not_finite_are_refused():
    with pytest.raises(RankError, match=r"\(2, 3\), \(1,\) and \(2, 3\)"):
        RowSplit(torch.zeros(2, 3), torch.zeros(1), torch.zeros(2, 3))
    with pytest.raises(RankError, match="a row or more"):
        RowSplit(torch.zeros(2, 3), torch.zeros(1), torch.zeros(0, 3))
    with pytest.raises(ShapeError, match="NaN or infinite"):
        RowSplit.from_dense(torch.full((2, 2), float("inf")), 1)


def test_its_ladder_ascends_and_ends_below_the_dense_matrix():
    for shape in ((300, 200), (7, 11), (4096, 64)):
        counts = [RowSplit.random(shape, 1.0, **options).num_parameters() for options in RowSplit.ladder(shape)]
        assert counts == sorted(set(counts)) and 1 < len(counts) <= 12 and counts[-1] < shape[0] * shape[1]
    assert RowSplit.ladder((1, 50)) == []
