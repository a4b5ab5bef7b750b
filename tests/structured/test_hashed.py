"""HashPool and Hashed: structured multi-hashing."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stored import numbered, oracle
from torch import nn

from edgenet.errors import PlanError, RankError, RankWarning, ShapeError
from edgenet.structured import Hashed, HashPool, StructuredLinear, shared_pools
from edgenet.structured.hash_pool import lay_out
from edgenet.structured.hashed import fit_

sizes = st.sampled_from([1, 2, 3, 7, 12, 19, 31])


def near(got, want, digits=1e-10):
    torch.testing.assert_close(got, want, rtol=digits, atol=digits)


def relative(got, want):
    return float((got - want).detach().norm() / want.norm())


# --- oracles ----------------------------------------------------------------------------------------------------------
@oracle("compression/smh_forward*.npz")
def test_weights_in_a_row_are_read_as_in_the_paper(stored):
    arrays = np.load(stored)
    pool = HashPool(57, parameters=32)
    with torch.no_grad():
        pool.left.copy_(torch.from_numpy(arrays["P"]).mT.flatten())
        pool.right.copy_(torch.from_numpy(arrays["Q"]).flatten())
    offset = 0
    for k, scale in enumerate(arrays["scales"]):
        want = torch.from_numpy(arrays[f"w{k}"])
        want = want if want.dim() == 2 else want[None]
        view = Hashed(pool, offset, tuple(want.shape), scale)
        near(view.to_dense().detach(), want)
        offset += want.numel()


@oracle("compression/smh_fit*.npz")
def test_a_fit_is_as_near_as_the_best_of_many_starts(stored):
    arrays = np.load(stored)
    target = torch.from_numpy(arrays["targets"]).view(19, 3)
    for (hashes,) in numbered(arrays, r"relerr_zero_pad_M(\d+)"):
        error = relative(Hashed.from_dense(target, parameters=16 * hashes + 1).to_dense(), target)
        assert error <= arrays[f"relerr_masked_als_best20_M{hashes}"] * (1 + 1e-6)
        assert error <= arrays[f"relerr_zero_pad_M{hashes}"]


# --- size -------------------------------------------------------------------------------------------------------------
@given(m=sizes, n=sizes, more=st.integers(0, 60), aligned=st.booleans())
def test_the_parameters_are_those_asked_for(m, n, more, aligned):
    size, width, _ = lay_out([(m, n)], aligned)
    width = width or math.isqrt(size - 1) + 1
    height = -(-size // width)
    least = height + width + 1
    asked = least + more % max(1, (height + width) * (min(height, width) - 1) + 1)
    matrix = Hashed.from_dense(torch.randn(m, n), parameters=asked, aligned=aligned)
    spare = (asked - 1) % (height + width) == 1  # one number alone makes no product
    assert matrix.num_parameters() == asked - spare
    if not aligned and m * n == height * width:  # nothing of the tile is left over: every number counts
        for parameter in matrix.parameters():
            slope = torch.autograd.grad((matrix.to_dense() * torch.randn(m, n)).sum(), parameter)[0]
            assert (slope != 0).all()


def test_a_ratio_is_a_number_of_parameters():
    assert Hashed.from_dense(torch.randn(100, 90), ratio=10).num_parameters() == 900
    assert Hashed.from_dense(torch.randn(100, 90), ratio=12.7).num_parameters() == math.floor(9000 / 12.7)


@given(m=sizes, n=sizes, aligned=st.booleans())
def test_more_parameters_never_fit_worse(m, n, aligned):
    weight, errors = torch.randn(m, n), []
    size, width, _ = lay_out([(m, n)], aligned)
    width = width or math.isqrt(size - 1) + 1
    hash_size = -(-size // width) + width
    for hashes in range(1, min(-(-size // width), width) + 1):
        errors.append(relative(Hashed.from_dense(weight, hashes * hash_size + 1, aligned=aligned).to_dense(), weight))
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(errors))
    assert errors[-1] < 1e-10


def test_a_partial_hash_serves():
    weight = torch.randn(20, 20)
    errors = [relative(Hashed.from_dense(weight, 40 * 3 + 1 + more).to_dense(), weight) for more in (0, 10, 20, 40)]
    assert errors == sorted(errors, reverse=True) and errors[0] - errors[2] > 0.1 * (errors[0] - errors[3]) > 0


def test_a_planted_pool_with_a_partial_hash_is_nearly_found_again():
    planted = Hashed.random((11, 13), 1.0, parameters=60).to_dense().detach()
    assert relative(Hashed.from_dense(planted, 60).to_dense(), planted) < 0.02  # least squares by turns are slow here


def test_random_pools_have_the_standard_deviation_asked_for():
    for parameters in (601, 750, 3001):  # whole hashes and partial ones
        stds = [Hashed.random((90, 100), 0.3, parameters=parameters).to_dense().square().mean() for _ in range(20)]
        near(torch.stack(stds).mean().sqrt().detach(), torch.tensor(0.3), 0.03)  # 20 draws


# --- products ---------------------------------------------------------------------------------------------------------
@given(m=sizes, n=sizes, batch=st.sampled_from([1, 4, 50]), training=st.booleans(), hashes=st.integers(1, 3))
def test_aligned_pieces_multiply_as_the_dense_matrix(m, n, batch, training, hashes):
    size, width, _ = lay_out([(m, n)], True)
    hashes = min(hashes, width, size // width)
    matrix = Hashed.random((m, n), parameters=hashes * (width + size // width) + 1, aligned=True).train(training)
    x = torch.randn(batch, n)
    near(matrix(x), x @ matrix.to_dense().mT)
    index = torch.randint(0, m, (3,))
    near(matrix.rows(index), matrix.to_dense()[index])
    near(matrix.rows(index[:0]), torch.zeros(0, n))


def test_an_aligned_matrix_is_not_built_where_its_pieces_are_cheaper(monkeypatch):
    matrix, x = Hashed.random((64, 90), ratio=10, aligned=True).eval(), torch.randn(5, 90)
    want = x @ matrix.to_dense().mT
    monkeypatch.setattr(Hashed, "to_dense", lambda self: pytest.fail("built"))
    near(matrix(x), want)
    assert matrix.multiply_adds(5) < 5 * 64 * 90


def test_a_matrix_that_is_aligned_by_chance_multiplies_by_pieces():
    pool = HashPool(400, parameters=80)
    matrix, x = Hashed(pool, 40, (36, 10)), torch.randn(3, 10)
    assert matrix._low_rank and not Hashed(pool, 41, (3, 10))._low_rank
    near(matrix(x), x @ matrix.to_dense().mT)
    near(matrix.to_dense(), pool.tile().flatten()[40:400].view(36, 10))


def test_rows_of_a_large_table_are_read_without_building_it(monkeypatch):
    for aligned in (False, True):
        table = Hashed.random((200, 7), parameters=200, aligned=aligned)
        index = torch.tensor([199, 0, -1, 17, 17])
        want = table.to_dense()[index]
        with monkeypatch.context() as patch:
            patch.setattr(Hashed, "to_dense", lambda self: pytest.fail("built"))
            near(table.rows(index), want)
            with pytest.raises(IndexError):
                table.rows(torch.tensor([200]))


def test_what_is_kept_follows_the_pool():
    first, second = Hashed.together([torch.randn(6, 5), torch.randn(4, 6)], parameters=30)
    first.eval(), second.eval()
    x = torch.randn(2, 6)
    with torch.no_grad():
        before = second(x)
        assert torch.equal(second(x), before)
        first.pool.right.mul_(2)
        near(second(x), 2 * before)


# --- several matrices -------------------------------------------------------------------------------------------------
@given(shapes=st.lists(st.tuples(sizes, sizes), min_size=1, max_size=4), aligned=st.booleans(), share=st.floats(0, 1))
def test_matrices_of_one_pool_lie_apart_and_keep_the_budget(shapes, aligned, share):
    weights = [torch.randn(m, n) for m, n in shapes]
    size, width, offsets = lay_out(shapes, aligned)
    width = width or math.isqrt(size - 1) + 1
    height = -(-size // width)
    asked = len(shapes) + round((height + width) * (1 + share * (min(height, width) - 1)))
    views = Hashed.together(weights, parameters=asked, aligned=aligned, fit=False)
    model = nn.ModuleList(views)
    assert asked - 1 <= sum(p.numel() for p in model.parameters()) <= asked
    # a number of the tile belongs to one matrix at most
    pool = views[0].pool
    owner = torch.zeros(pool.height * pool.width, dtype=torch.long)
    number = torch.arange(owner.numel()).view(pool.height, pool.width)
    for view in views:
        cells = view._read(number[view._first : view._last])
        assert tuple(cells.shape) == view.shape and cells.unique().numel() == cells.numel()
        owner[cells.flatten()] += 1
        near(view.to_dense(), pool.tile().flatten()[cells] * view.scale)
    assert owner.max() == 1
    if not aligned:
        assert [v.offset for v in views] == offsets and owner.sum() == size


def test_a_joint_fit_divides_each_weight_by_its_own_scale():
    weights = [torch.randn(12, 9), 1000 * torch.randn(9, 14), 1e-3 * torch.randn(14, 6)]
    views = Hashed.together(weights, ratio=2)
    for view, weight in zip(views, weights, strict=True):
        near(view.scale.detach(), weight.square().mean().sqrt()[None])
        assert relative(view.to_dense(), weight) < 0.75  # none is given up
    zero = Hashed.together([torch.zeros(3, 4), torch.randn(4, 4)], parameters=40)[0]
    assert zero.to_dense().isfinite().all() and zero.scale == 1


def test_full_pools_meet_several_weights_exactly():
    weights = [torch.randn(5, 4), torch.randn(3, 7)]
    for view, weight in zip(Hashed.together(weights, parameters=2 + 13 * 6), weights, strict=True):
        near(view.to_dense().detach(), weight)


def test_a_model_counts_a_shared_pool_once_and_keeps_it_together():
    views = Hashed.together([torch.randn(8, 6), torch.randn(6, 8)], parameters=42)
    model = nn.Sequential(*(StructuredLinear(view) for view in views))
    assert sum(p.numel() for p in model.parameters()) == 42
    assert views[0].num_parameters() == views[1].num_parameters() == 41
    assert shared_pools(model) == [views[0].pool]
    twin = copy.deepcopy(model)
    assert twin[0].weight.pool is twin[1].weight.pool is not views[0].pool
    twin.load_state_dict(model.state_dict())
    model.float()
    assert model[0].weight.pool is model[1].weight.pool and model[1].weight.pool.left.dtype == torch.float32
    loss = model(torch.randn(3, 6).float()).square().sum()
    loss.backward()
    assert views[0].pool.left.grad.abs().sum() > 0


def test_a_shared_pool_is_rebuilt_of_configs_and_attached():
    views = Hashed.together([torch.randn(8, 6), torch.randn(6, 8)], parameters=42, aligned=True)
    rebuilt = [Hashed.from_config(view.config()) for view in views]
    assert rebuilt[0].pool is not rebuilt[1].pool
    pool = HashPool.from_config(shared_pools(nn.ModuleList(views))[0].config())
    for twin, view in zip(rebuilt, views, strict=True):
        twin.attach_(pool)
        twin.load_state_dict(view.state_dict())
        near(twin.to_dense(), view.to_dense())
        assert twin.config() == view.config() and twin.pool is pool
    with pytest.raises(ShapeError, match="reads from a pool of"):
        rebuilt[0].attach_(HashPool(96, parameters=40))


def test_a_matrix_with_a_pool_of_its_own_is_in_no_shared_pool():
    matrix = Hashed.from_dense(torch.randn(5, 6), parameters=20)
    assert matrix.owns_pool and shared_pools(nn.ModuleList([matrix])) == []
    assert matrix.config() == {"shape": [5, 6], "parameters": 20, "aligned": False}


def test_a_shared_pool_is_refitted_jointly_or_not_at_all():
    weights = [torch.randn(8, 6), torch.randn(6, 8)]
    views = Hashed.together(weights, parameters=42)
    with pytest.raises(PlanError, match="cannot be fitted alone"):
        views[0].reset_parameters(weights[0])
    before = [view.to_dense().detach().clone() for view in views]
    views[0].reset_parameters()
    fit_(views[0].pool, views, weights)
    for view, want in zip(views, before, strict=True):
        near(view.to_dense().detach(), want)
    with pytest.raises(ShapeError, match=r"\(8, 6\) view"):
        fit_(views[0].pool, views, weights[::-1])
    with pytest.raises(ShapeError, match="another pool"):
        fit_(HashPool(96, parameters=40), views, weights)


# --- dtypes and devices -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.complex64, torch.complex128])
def test_weights_of_any_precision_are_fitted(dtype):
    weight = torch.randn(6, 7, dtype=torch.complex128 if dtype.is_complex else None).to(dtype)
    matrix = Hashed.from_dense(weight, parameters=13 * 6 + 1)
    assert matrix.to_dense().dtype == dtype and not matrix.scale.is_complex()
    digits = 1e-10 if dtype == torch.complex128 else 1e-5 if dtype in (torch.float32, torch.complex64) else 5e-2
    torch.testing.assert_close(matrix.to_dense().detach(), weight, rtol=digits, atol=digits)


def test_it_is_made_on_the_meta_device():
    view = Hashed.together([torch.randn(8, 6), torch.randn(6, 8)], parameters=42)[1]
    with torch.device("meta"):
        twin = Hashed.from_config(view.config())
        own = Hashed.from_config({"shape": [5, 6], "ratio": 1.5})
    assert all(t.is_meta for t in (*twin.parameters(), *own.parameters()))


def test_gradients_pass_gradcheck():
    for matrix in (Hashed.random((5, 4), parameters=15), Hashed.random((8, 3), parameters=21, aligned=True)):
        x = torch.randn(2, matrix.shape[1], requires_grad=True)
        assert torch.autograd.gradcheck(lambda x, *_, w=matrix: w(x), (x, *matrix.parameters()))


# --- what is refused --------------------------------------------------------------------------------------------------
def test_sizes_out_of_range_are_refused_with_the_least():
    with pytest.raises(RankError, match=r"20 parameters at least, one hash, got 19\..*ratio of at most 5"):
        HashPool(100, parameters=19)
    with pytest.raises(RankError, match="20 parameters with 1 for the scales are too few"):
        Hashed.from_dense(torch.randn(10, 10), parameters=20)
    assert Hashed.from_dense(torch.randn(10, 10), parameters=21).num_parameters() == 21
    with pytest.warns(RankWarning, match="the parameters of a hash pool 999"):
        assert HashPool(100, parameters=999).num_parameters() == 200
    for options in ({}, {"parameters": 30, "ratio": 2.0}):
        with pytest.raises(RankError, match="either parameters= or ratio="):
            Hashed.from_dense(torch.randn(10, 10), **options)
    for ratio in (0, -1, math.inf, math.nan):
        with pytest.raises(RankError, match="how many times fewer"):
            HashPool(100, ratio=ratio)
    for parameters in (30.5, True, "30"):
        with pytest.raises(RankError, match="whole number"):
            HashPool(100, parameters=parameters)
    with pytest.raises(RankError, match="1 number at least"):
        HashPool(0, parameters=3)


def test_places_outside_the_pool_are_refused():
    pool = HashPool(100, parameters=40)
    with pytest.raises(ShapeError, match=r"\(9, 10\) matrix at offset 11 takes 90 numbers of a pool that has 100"):
        Hashed(pool, 11, (9, 10))
    with pytest.raises(ShapeError, match="at offset -1"):
        Hashed(pool, -1, (2, 2))
    with pytest.raises(ShapeError, match="rows of 10 that it begins with"):
        Hashed(HashPool(100, parameters=40, width=10), 5, (2, 5))
    with pytest.raises(ShapeError, match="a row and a column"):
        Hashed(pool, 0, (0, 5))


def test_weights_that_cannot_share_a_pool_are_refused():
    with pytest.raises(ShapeError, match="share a dtype"):
        Hashed.together([torch.randn(3, 3), torch.randn(3, 3).float()], ratio=1.1)
    with pytest.raises(ShapeError, match="share a dtype"):
        Hashed.together([], ratio=2)
    with pytest.raises(ShapeError, match="NaN"):
        Hashed.together([torch.full((3, 3), math.nan)], ratio=1)


def test_the_ladder_goes_from_one_hash_to_the_dense_size():
    rungs = Hashed.ladder((40, 30))
    counts = [Hashed.random((40, 30), **options).num_parameters() for options in rungs]
    assert counts == [rung["parameters"] for rung in rungs] and counts[0] == 35 + 35 + 1
    assert counts == sorted(set(counts)) and counts[-1] < 1200 and len(rungs) <= 12
