"""Leading singular triplets, by whichever way is cheap."""

import pytest
import torch

from edgenet.structured import BlockTerm, LowRank, svd
from edgenet.structured.svd import shared_svd, truncated_svd


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize(
    "shape, rank", [((40, 30), 7), ((700, 600), 3), ((600, 700), 40), ((8, 40000), 5), ((40000, 8), 8)]
)
def test_every_way_gives_torchs_triplets(shape, rank, dtype):
    matrix = torch.randn(shape, dtype=dtype)
    u, s, vh = truncated_svd(matrix, rank)
    whole = torch.linalg.svd(matrix, full_matrices=False)
    torch.testing.assert_close(s, whole.S[:rank], rtol=1e-8, atol=1e-8)
    near = (whole.U[:, :rank] * whole.S[:rank]) @ whole.Vh[:rank]
    torch.testing.assert_close((u * s) @ vh, near, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(u.mH @ u, torch.eye(rank, dtype=dtype), rtol=1e-8, atol=1e-8)


def test_a_large_matrix_of_zeros_has_triplets():
    u, s, vh = truncated_svd(torch.zeros(700, 600), 2)
    assert not s.any() and u.shape == (700, 2) and vh.shape == (2, 600)
    assert torch.equal(u.mH @ u, torch.eye(2))


@pytest.mark.parametrize("weight", [torch.ones(600, 600), 1e12 * torch.eye(600)[:, :5] @ torch.ones(5, 600)])
def test_large_matrices_without_full_rank_have_finite_triplets_and_fits(weight):
    u, s, vh = truncated_svd(weight.double(), 600)
    assert all(float(part.abs().max()) <= 1.1 for part in (u, vh))
    torch.testing.assert_close((u * s) @ vh, weight.double())
    for fitted in (LowRank.from_dense(weight, rank=600), BlockTerm.from_dense(weight, dims=2, rank=60, blocks=8)):
        assert fitted.to_dense().isfinite().all()
    torch.testing.assert_close(LowRank.from_dense(weight, rank=600).to_dense(), weight)


def test_inside_of_shared_a_large_matrix_is_decomposed_once_for_all_ranks(monkeypatch):
    matrix, other = torch.randn(510, 520), torch.randn(510, 520)
    apart = [truncated_svd(matrix, rank) for rank in (3, 40, 510)]
    made = []
    whole = svd._by_gram
    monkeypatch.setattr(svd, "_by_gram", lambda *a: made.append(1) or whole(*a))
    with shared_svd():
        inside = [truncated_svd(matrix.clone(), rank) for rank in (3, 40, 510)]
        assert len(made) == 1
        truncated_svd(other, 2)
        assert len(made) == 2
    for (u, s, vh), (v, t, wh) in zip(apart, inside, strict=True):
        torch.testing.assert_close((u * s) @ vh, (v * t) @ wh, rtol=1e-7, atol=1e-7)
    with shared_svd():
        truncated_svd(matrix, 2)
    assert len(made) == 3, "nothing is kept from one search to the next"


def test_few_decompositions_are_kept_the_latest_that_were_asked_for(monkeypatch):
    made = []
    whole = svd._by_gram
    monkeypatch.setattr(svd, "_by_gram", lambda *a: made.append(1) or whole(*a))
    with shared_svd():
        for k in range(20):
            truncated_svd(torch.full((512, 512), 1.0), 2)
            truncated_svd(torch.full((512, 512), 2.0 + k), 2)
        assert len(made) == 21 and len(svd._KEPT) <= 8
