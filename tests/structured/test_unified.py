"""Unified blocks: the nearest choice of blocks, signs that stay, and bits on disk."""

import itertools
import json
import math
import warnings

import pytest
import torch
from oracles import assert_near
from stored import numbered, oracle, tensors
from torch import nn

from edgenet import ops
from edgenet.compress import Budget, compress_, report, search
from edgenet.errors import PlanError, RankError, RankWarning, ShapeError
from edgenet.ops import native
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.structured import Coded, Stacked, Unified, Uniform
from edgenet.structured.block_choice import KEEP, PRUNE, UNIFY, Costs, Counts, forms, tiled, untiled


def exactly(got, want):
    torch.testing.assert_close(got, want, rtol=0, atol=0)


# --- the nearest member -----------------------------------------------------------------------------------------------
@oracle("quantised/unify_projection*.npz")
def test_the_projection_is_that_of_a_loop_over_blocks(stored):
    arrays = tensors(stored)
    for (number,) in numbered(arrays, r"cfg(\d+)"):
        rows, columns, ratio = arrays[f"cfg{number}"].tolist()
        matrix = Unified.from_dense(arrays[f"W{number}"], (int(rows), int(columns)), ratio)
        torch.testing.assert_close(matrix.to_dense(), arrays[f"Z{number}"], rtol=0, atol=1e-12)
        chosen = (matrix.block_kinds() == UNIFY).nonzero().flatten()
        assert chosen.tolist() == sorted(arrays[f"sel{number}"].tolist())


def best_of_all(unify, prune, counts):
    """The least cost, by trying every way to name so many blocks of each kind."""
    blocks, least = range(len(unify)), math.inf
    for pruned in itertools.combinations(blocks, counts.pruned):
        rest = sorted(unify[k] for k in blocks if k not in pruned)
        least = min(least, sum(prune[k] for k in pruned) + sum(rest[: counts.unified]))
    return least


@pytest.mark.parametrize("block", [(2, 2), (2, 4)], ids=["whole", "ragged"])
@pytest.mark.parametrize("seed", range(30))
def test_keep_unify_and_prune_are_chosen_together_at_the_least_cost(seed, block):
    torch.manual_seed(seed)
    weight = torch.randn(6, 6) * torch.rand(6, 1).exp()  # sizes that differ by block
    if seed % 3 == 0:
        weight = weight.round()  # equal costs
    costs = Costs.of(weight, block)
    for ratio, prune in ((0.4, 0.2), (0.8, 0.3), (0.7, 0.7), (1.0, 0.4), (0.5, 0.0), (0.9, 0.6)):
        counts = Counts.of(len(costs.unify), ratio, prune)
        kinds = costs.choice(counts)
        assert [int((kinds == kind).sum()) for kind in (KEEP, UNIFY, PRUNE)] == [*vars(counts).values()]
        best = best_of_all(costs.unify.tolist(), costs.prune.tolist(), counts)
        assert costs.total(kinds) == pytest.approx(best, abs=1e-12)
        dense = Unified.from_dense(weight, block, ratio, prune).to_dense().detach()
        assert float((dense - weight).square().sum()) == pytest.approx(best, abs=1e-12)


def test_a_block_by_hand():
    weight = torch.tensor([[1.0, -3.0, 0.0, 4.0, 5.0], [0.0, 0.0, 9.0, 9.0, -9.0]])
    matrix = Unified.from_dense(weight, (1, 2))
    assert matrix.to_dense().tolist() == [[2.0, -2.0, 2.0, 2.0, 5.0], [0.0, 0.0, 9.0, 9.0, -9.0]]  # sign(0) = +1
    assert matrix.magnitudes.tolist() == [2.0, 2.0, 5.0, 0.0, 9.0, 9.0]


def test_blocks_follow_the_axis_along_which_magnitudes_agree():
    sizes = torch.rand(40) + 0.2
    signs = torch.where(torch.rand(32, 40) < 0.5, 1.0, -1.0)
    assert Unified.from_dense(signs * sizes, entries=16).block == (16, 1)  # a column, an input, has one magnitude
    assert Unified.from_dense((signs * sizes).mT, entries=16).block == (1, 16)
    tiles = torch.rand(8, 10).repeat_interleave(4, 0).repeat_interleave(4, 1) * signs
    assert Unified.from_dense(tiles, entries=16).block == (4, 4)
    assert Unified.from_dense(signs[:1] * sizes, entries=16).block == (1, 16)


def test_forms_are_cut_only_where_none_fits():
    assert forms((64, 64), 16) == [(1, 16), (16, 1), (4, 4)] and forms((64, 64), 24) == [(1, 24), (24, 1), (4, 6)]
    assert forms((10, 64), 16) == [(1, 16), (4, 4)]  # no (10, 1), which has fewer entries and so the smaller error
    assert forms((3, 5), 64) == [(3, 5)] and forms((1, 5), 16) == [(1, 5)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Unified.from_dense(torch.randn(3, 5)).block == (3, 4)  # nobody asked for a size


def test_tiles_are_put_together_again():
    weight = torch.randn(7, 11)
    for block in ((1, 1), (2, 3), (7, 4), (3, 11)):
        exactly(untiled(tiled(weight, block), block, (7, 11)), weight)


# --- training ---------------------------------------------------------------------------------------------------------
def test_the_gradient_of_a_magnitude_is_the_sum_over_its_block_by_sign():
    weight = torch.tensor([[1.0, -3.0], [0.0, 0.0]])
    matrix = Unified.from_dense(weight, (1, 2))
    direction = torch.tensor([[0.5, 0.25], [2.0, 3.0]])
    (matrix.to_dense() * direction).sum().backward()
    assert matrix.magnitudes.grad.tolist() == [0.25, 5.0]  # at 0 it may grow


def test_signs_and_pruned_blocks_stay_while_the_rest_trains():
    torch.manual_seed(1)
    matrix = Unified.from_dense(torch.randn(8, 12), (2, 3), ratio=0.8, prune=0.3)
    before, kinds = matrix.to_dense().detach().clone(), matrix.block_kinds()
    optimizer = torch.optim.Adam(matrix.parameters(), 0.05)
    x, y = torch.randn(60, 12), torch.randn(60, 8)
    for _ in range(40):
        optimizer.zero_grad()
        (matrix(x) - y).square().mean().backward()
        optimizer.step()
    old, new = tiled(before, (2, 3)), tiled(matrix.to_dense().detach(), (2, 3))
    assert (new[kinds == PRUNE] == 0).all() and (kinds == PRUNE).sum() == 5
    shared = new[kinds == UNIFY]
    exactly(shared.abs(), shared[:, :1].abs().expand_as(shared))
    products = old[kinds == UNIFY].sign() * shared.sign()
    assert (products == products[:, :1]).all() and (new[kinds == KEEP] != old[kinds == KEEP]).all()


# --- storage ----------------------------------------------------------------------------------------------------------
@pytest.mark.float32
@pytest.mark.parametrize("entries, bits", [(16, 3.0), (64, 1.5)])
def test_a_weight_takes_a_sign_and_its_share_of_a_magnitude(entries, bits):
    matrix = Unified.from_dense(torch.randn(64, 128), (1, entries))
    assert matrix.bits() == bits * 64 * 128 and matrix.kinds.numel() == 0
    assert sum(t.nbytes for t in matrix.state_dict().values()) * 8 == matrix.bits()


@pytest.mark.float32
def test_a_mask_takes_a_bit_a_block_and_two_where_there_are_three_kinds():
    two, three = (Unified.from_dense(torch.randn(64, 128), (1, 16), 0.75, prune) for prune in (0.0, 0.25))
    assert two.bits() == 128 * 16 * 32 + 384 * (32 + 16) + 512  # kept, unified, mask
    assert three.bits() == 128 * 16 * 32 + 256 * (32 + 16) + 2 * 512
    quantised = Uniform.from_dense(torch.randn(64, 128), {"structure": "unified", "block": (1, 16), "ratio": 0.75}, 8)
    assert quantised.bits() == 128 * 16 * 8 + 384 * (8 + 16) + 512 + 2 * 32  # two scales


@pytest.mark.float32
@pytest.mark.parametrize("more", [{}, {"bits": 8}], ids=str)
def test_a_saved_model_is_as_large_as_its_report_and_gives_the_same(more, tmp_path):
    net = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))
    table = compress_(net, {".*": {"structure": "unified", "ratio": 0.9, "prune": 0.1, **more}})
    x = torch.randn(3, 4, 8, 8)
    save_pretrained(net, tmp_path)
    again = from_pretrained(
        tmp_path, model=nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    )
    with torch.no_grad():
        exactly(again(x), net.eval()(x))
    assert type(again[3].weight) is (Coded if more else Unified)
    stored = table.total.bytes
    size = (tmp_path / "model.safetensors").stat().st_size
    assert stored < size < stored + 4096  # the header with names


@pytest.mark.parametrize("what", ["counts", "dtype", "no kind"])
def test_bytes_that_name_other_blocks_are_refused(what):
    matrix = Unified.from_dense(torch.randn(8, 12), (2, 3), 0.8, 0.3)
    state = matrix.state_dict()
    if what == "dtype":
        state["signs"] = state["signs"].double()
    else:
        state["kinds"] = torch.full_like(state["kinds"], 255 if what == "no kind" else 0)
    words = "torch.uint8, got torch.float64" if what == "dtype" else r"are \[3, 8, 5\], and the kinds name"
    with pytest.raises(RuntimeError, match=words):
        matrix.load_state_dict(state)
    coded = Uniform(matrix, 4).pack()  # which holds the same bytes
    before = {name: tensor.clone() for name, tensor in coded.state_dict().items()}
    held = {f"held_{j}": state[name] for j, name in enumerate(("signs", "kinds"))}
    with pytest.raises(RuntimeError, match=words):
        coded.load_state_dict({**before, **held})
    assert all(torch.equal(tensor, before[name]) for name, tensor in coded.state_dict().items())


# --- a part of it -----------------------------------------------------------------------------------------------------
def test_whole_blocks_are_kept_and_no_parts_of_them():
    matrix = Unified.from_dense(torch.randn(7, 11), (2, 4), 0.7, 0.2)
    before = matrix.to_dense().detach().clone()
    matrix.keep_(torch.tensor([4, 5, 0, 1, 6]), torch.tensor([4, 5, 6, 7, 8, 9, 10]))
    exactly(matrix.to_dense(), before[[4, 5, 0, 1, 6]][:, 4:])
    assert matrix.shape == (5, 7)
    twin = Unified.from_config(json.loads(json.dumps(matrix.config())))
    twin.load_state_dict(matrix.state_dict())
    exactly(twin.to_dense(), matrix.to_dense())
    for rows in ([0], [1, 0], [0, 1, 2], [4, 0, 1], [1, 2], []):  # the ragged block may only come last
        with pytest.raises(PlanError, match=r"whole blocks|a part must be left"):
            matrix.keep_(torch.tensor(rows, dtype=torch.long))


def test_what_is_left_of_pruned_blocks_alone_is_no_matrix():
    weight = torch.cat([torch.zeros(2, 4), torch.randn(2, 4)])
    matrix = Unified.from_dense(weight, (1, 4), 0.5, 0.5)
    with pytest.raises(PlanError, match="only pruned blocks would be left"):
        matrix.keep_(torch.tensor([0, 1]))
    matrix.keep_(torch.tensor([3, 0]))
    exactly(matrix.to_dense(), weight[[3, 0]])
    matrix.keep_(torch.tensor([0]))
    exactly(matrix.to_dense(), weight[[3]])
    again = Unified.from_config(json.loads(json.dumps(matrix.config())))
    again.load_state_dict(matrix.state_dict())
    exactly(again.to_dense(), weight[[3]])


# --- bad input --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "options, words",
    [
        ({"ratio": 0.0}, "0 < ratio <= 1"),
        ({"ratio": 1.5}, r"ratio of unified blocks is a share of all blocks, in \[0, 1\], got 1.5"),
        ({"ratio": float("nan")}, "got nan"),
        ({"ratio": "all"}, "got 'all'"),
        ({"ratio": True}, "got True"),
        ({"prune": -0.1}, "prune of unified blocks"),
        ({"ratio": 0.3, "prune": 0.4}, "ratio=0.3 and prune=0.4"),
        ({"prune": 1.0}, "not all"),
        ({"block": 16}, r"\(rows, columns\), two whole numbers from 1, or 'auto', got 16"),
        ({"block": (0, 4)}, r"got \(0, 4\)"),
        ({"block": (1, 2, 3)}, "two whole numbers"),
        ({"block": "best"}, "got 'best'"),
        ({"entries": 0}, "entries of a unified block are a whole number from 1, got 0"),
        ({"entries": 2.5}, "got 2.5"),
    ],
    ids=str,
)
def test_options_out_of_range_are_refused(options, words):
    makes = [lambda: Unified.from_dense(torch.randn(4, 6), **options), lambda: Unified.random((4, 6), **options)]
    for make in makes[: 1 if options.get("ratio") == 0 else 2]:  # ``keep_`` may leave kept blocks alone
        with pytest.raises(RankError, match=words):
            make()


def test_a_block_larger_than_the_matrix_is_the_matrix():
    with pytest.warns(RankWarning, match="columns of a unified block 16 is more"):
        matrix = Unified.from_dense(torch.tensor([[1.0, -2.0, 3.0]]), (1, 16))
    assert matrix.block == (1, 3) and matrix.to_dense().tolist() == [[2.0, -2.0, 2.0]]


def test_rows_and_matrices_of_zeros_stay_zero():
    weight = torch.randn(4, 8)
    weight[1] = 0
    for given in (weight, torch.zeros(4, 8)):
        for options in ({}, {"prune": 0.25}, {"ratio": 0.5}, {"block": (1, 8), "ratio": 0.6, "prune": 0.3}):
            dense = Unified.from_dense(given, **{"block": (1, 4), **options}).to_dense()
            assert (dense[1] == 0).all() and dense.isfinite().all()
        assert Unified.from_dense(given).to_dense().isfinite().all()


def test_tensors_that_do_not_fit_and_numbers_without_a_sign_are_refused():
    good = [torch.rand(2), torch.ones(2, 3, dtype=torch.bool), torch.randn(1, 3), torch.tensor([1, 0, 1, 2])]
    assert Unified(*good, (2, 6), (1, 3)).counts == Counts(1, 2, 1)
    for place, other in (
        (0, torch.rand(3)),
        (1, torch.ones(2, 3)),
        (2, torch.randn(1, 2)),
        (3, torch.tensor([1, 1, 1, 0])),
    ):
        bad = [*good]
        bad[place] = other
        with pytest.raises(ShapeError, match=r"unified matrix of shape|the kinds name"):
            Unified(*bad, (2, 6), (1, 3))
    with pytest.raises(ShapeError, match=r"have signs, and a weight of torch\.complex128"):
        Unified.from_dense(torch.randn(4, 4, dtype=torch.complex128))
    with pytest.raises(ShapeError, match="NaN"):
        Unified.from_dense(torch.full((4, 4), torch.nan))


# --- in plans and searches --------------------------------------------------------------------------------------------
def test_a_grouped_kernel_has_blocks_of_each_group():
    net = nn.Sequential(nn.Conv2d(8, 12, 3, groups=2), nn.ReLU(), nn.Conv2d(12, 12, 3, groups=12))
    compress_(net, {"0": {"structure": "unified", "block": [1, 9]}})
    assert isinstance(net[0].weight, Stacked) and all(type(part) is Unified for part in net[0].weight.parts)
    x = torch.randn(2, 8, 9, 9)
    kernel = net[0].weight.to_dense().view(12, 4, 3, 3)
    torch.testing.assert_close(net[0](x), torch.conv2d(x, kernel, net[0].bias, groups=2))


def test_a_search_by_parameters_tries_it_when_it_is_named():
    net = nn.Sequential(nn.Linear(64, 64, bias=False))
    by_name = search(net, budget=Budget(ratio=12, of="parameters"), families="unified", progress=False)
    assert by_name.plan.rules[0][1]["structure"] == "unified" and report(by_name.model).rows[0].ratio >= 12
    others = search(net, budget=Budget(ratio=12, of="parameters"), progress=False)
    # a sign is no parameter, and takes a bit all the same
    assert all(spec["structure"] != "unified" for _, spec in others.plan.rules)


@pytest.mark.skipif(not native.vectorised(), reason="no kernels for vectors on this machine")
def test_a_few_signals_are_multiplied_by_signs_as_they_are_stored(monkeypatch):
    matrix, calls = Unified.from_dense(torch.randn(300, 500, dtype=torch.float32), block=(1, 16)).eval(), []
    known = ops.unified_linear
    monkeypatch.setattr(ops, "unified_linear", lambda *given: calls.append(1) or known(*given))
    x = torch.randn(2, 3, 500, dtype=torch.float32)

    def product():
        calls.clear()
        return matrix(x), len(calls)

    with torch.no_grad():
        y, used = product()
        assert used == 1 and y.shape == (2, 3, 300)
        assert_near(y, x @ matrix.to_dense().mT, tolerance=1e-6)  # float32, summed in another order
        matrix.magnitudes.neg_()  # |m| is what counts
        exactly(product()[0], y)
        matrix.magnitudes.mul_(2.0)
        exactly(product()[0], 2 * y)  # nothing is kept that may grow old
        assert matrix(torch.randn(9, 500, dtype=torch.float32)).shape == (9, 300) and len(calls) == 1
        assert product()[1] == 1
        with torch.autocast("cpu", torch.bfloat16):
            assert product()[0].dtype == torch.bfloat16 and not calls
        matrix.train()
        assert product()[1] == 0
        matrix.eval()
    assert product()[1] == 0 and product()[0].requires_grad
    partly = Unified.from_dense(torch.randn(300, 500, dtype=torch.float32), block=(1, 16), ratio=0.5).eval()
    with torch.no_grad():
        partly(x)
    assert not calls
