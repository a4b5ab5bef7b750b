"""Doped: a structured matrix and a sparse one, added."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import oracle, tensors
from torch._dynamo.testing import CompileCounter

from edgenet.errors import PlanError, RankError, ShapeError
from edgenet.structured import Csr, Dense, Doped, Kronecker, LowRank, Sparse, Uniform

LOW_RANK = {"structure": "low_rank", "rank": 1}
BASES = (
    LOW_RANK,
    {"structure": "kronecker", "terms": 1},
    {"structure": "block_circulant", "block": 2},
    {"structure": "row_split", "rows": 0},
    partial(LowRank.from_dense, rank=2),
)


def near(got, want, digits=1e-10):
    torch.testing.assert_close(got, want, rtol=digits, atol=digits)


@pytest.fixture
def arrays(stored):
    return tensors(stored)


@pytest.fixture
def doped(arrays):
    return Doped(Kronecker(arrays["A"], arrays["B"]), Sparse(arrays["S"], arrays["mask"].bool()))


@oracle("compression/doped_kron*.npz")
def test_a_doped_kronecker_product_is_scipys(arrays, doped):
    near(doped(arrays["x"]), arrays["y"])
    near(doped.pack()(arrays["x"]), arrays["y"])
    near(doped.to_dense(), torch.kron(arrays["A"], arrays["B"]) + arrays["S"] * arrays["mask"])
    assert doped.num_parameters() == 9 + 12 + 11


@oracle("compression/doped_kron*.npz")
def test_the_mask_of_largest_magnitude_is_theirs(arrays):
    assert torch.equal(Sparse.from_dense(arrays["S"], 11 / 108).mask, arrays["mask"].bool())


@oracle("compression/doped_kron*.npz")
def test_its_parts_multiply_alone_so_that_rows_of_either_can_be_dropped(arrays, doped):
    base, dopant = doped.base(arrays["x"]), doped.dopant(arrays["x"])
    near(arrays["b_k"] * base / 0.5 + arrays["b_s"] * dopant / 0.5, arrays["y_cmr"])


@oracle("compression/doped_kron*.npz")
@torch.no_grad()
def test_packed_it_adds_both_parts_to_signals_side_by_side(arrays, doped):
    assert doped.eval().adder(2) is None  # whose dopant is not packed
    packed, x = doped.pack().eval(), arrays["x"].mT.contiguous()
    sums = torch.ones(len(doped.to_dense()), x.shape[1])
    packed.adder(x.shape[1])(sums, x)
    near(sums, arrays["y"].mT + 1)
    packed.train().drop_rows_(0.5, 0.5)
    packed.base.eval(), packed.dopant.eval()
    assert packed.adder(2) is None  # which would know nothing of rows that drop out
    assert Doped(LowRank.random((9, 12), rank=2), Csr.random((9, 12), density=0.2)).eval().adder(2) is None


@oracle("compression/doped_kron*.npz")
def test_row_dropout_is_theirs_in_every_way_to_read_it(arrays, doped):
    doped.row_scale = torch.stack([arrays["b_k"], arrays["b_s"]]) / 0.5
    index = torch.tensor([3, 0, 11, 3])
    near(doped(arrays["x"]), arrays["y_cmr"])
    near(arrays["x"] @ doped.to_dense().mT, arrays["y_cmr"])
    near(doped.rows(index), doped.to_dense()[index])
    near(torch.func.functional_call(doped, {}, arrays["x"]), arrays["y_cmr"])
    doped.eval()
    near(doped(arrays["x"]), arrays["y"])
    near(arrays["x"] @ doped.to_dense().mT, arrays["y"])


@oracle("compression/doped_kron*.npz")
def test_rows_drop_out_by_themselves_and_on_average_nothing_is_lost(doped):
    scales = []
    for _ in range(4000):
        doped.drop_rows_(0.2, 0.5)
        scales.append(doped.row_scale.clone())
    scales = torch.stack(scales)
    assert set(scales[:, 0].unique().tolist()) == {0.0, 1.25} and set(scales[:, 1].unique().tolist()) == {0.0, 2.0}
    near(scales.mean(0), torch.ones(2, 12), 0.08)  # 5 standard errors of 4,000 draws
    kept = (scales > 0).double().flatten(1)
    assert (torch.corrcoef(kept.mT) - torch.eye(24)).abs().max() < 0.08  # every row of both by itself; 5 of them


@pytest.mark.parametrize("base", BASES, ids=str)
def test_rows_of_any_base_drop_out(base):
    matrix, x = Doped.from_dense(torch.randn(8, 6), base=base, density=0.5, iterations=1), torch.randn(3, 6)
    parts = matrix.base.to_dense(), matrix.dopant.to_dense()
    matrix.drop_rows_(0.5, 0.5)
    near(matrix.to_dense(), sum(part * row[:, None] for part, row in zip(parts, matrix.row_scale, strict=True)))
    near(matrix(x), x @ matrix.to_dense().mT)


@oracle("compression/doped_kron*.npz")
def test_gradients_pass_the_rows_that_stay(arrays, doped):
    doped.row_scale = torch.stack([arrays["b_k"], arrays["b_s"]]) / 0.5
    y = doped(arrays["x"])
    direction = torch.randn_like(y)
    found = torch.autograd.grad((y * direction).sum(), list(doped.parameters()))
    left = [arrays[name].clone().requires_grad_() for name in ("A", "B", "S")]
    base = torch.kron(left[0], left[1]) * arrays["b_k"][:, None] / 0.5
    whole = base + left[2] * arrays["mask"] * arrays["b_s"][:, None] / 0.5
    wanted = torch.autograd.grad(((arrays["x"] @ whole.mT) * direction).sum(), left)
    for got, want in zip(found, wanted, strict=True):
        near(got.reshape(want.shape), want)
    assert not found[-1][arrays["b_s"] == 0].any() and bool(found[-1][arrays["b_s"] > 0].any())


@oracle("compression/doped_kron*.npz")
def test_masks_stay_until_they_are_drawn_anew_and_leave_no_trace(doped):
    state = doped.state_dict().keys()
    plain = doped.to_dense().detach().clone()
    random = torch.Generator().manual_seed(4)
    doped.drop_rows_(0.5, 0.5, random)
    first, place = doped.to_dense().detach().clone(), doped.row_scale
    assert torch.equal(doped.to_dense(), first) and doped.state_dict().keys() == state
    assert torch.equal(doped.pack().to_dense(), plain) and doped.pack().bits() == doped.bits()
    doped.drop_rows_(0.5, 0.5, random)
    assert doped.row_scale is place and not torch.equal(doped.to_dense(), first)
    assert doped.float().row_scale.dtype == torch.float32
    doped.drop_rows_(0, 0)
    assert doped.row_scale is None
    near(doped.double().to_dense(), plain, 1e-6)  # it was in float32


def test_masks_go_with_the_rows_that_are_kept():
    matrix = Doped.from_dense(torch.randn(6, 5), base=LOW_RANK, density=0.5, iterations=1)
    matrix.row_scale = torch.rand(2, 6)
    before, rows = matrix.to_dense().detach().clone(), torch.tensor([4, 1, 2])
    matrix.keep_(rows, torch.tensor([0, 3]))
    near(matrix.to_dense(), before[rows][:, [0, 3]])


def test_a_quantised_sum_drops_rows_and_packs_without_them():
    base = {"structure": "doped", "base": LOW_RANK, "density": 0.4}
    matrix = Uniform.from_dense(torch.randn(6, 5), base=base, bits=8)
    plain = matrix.to_dense().detach().clone()
    matrix.base.drop_rows_(0.5, 0.5, torch.Generator().manual_seed(1))
    assert not torch.equal(matrix.to_dense(), plain)
    near(matrix.pack().to_dense(), plain)
    assert matrix.pack().state_dict().keys() == matrix.eval().pack().state_dict().keys()


@oracle("compression/doped_kron*.npz")
@pytest.mark.parametrize("rate", [1, -0.1, True, "0.1", None, float("nan")])
def test_rates_that_are_none_are_refused(doped, rate):
    with pytest.raises(RankError, match=r"a rate of row dropout is a number in \[0, 1\), got"):
        doped.drop_rows_(0.1, rate)
    with pytest.raises(RankError, match=r"share of a dopant in the variance is a number in \[0, 1\), got"):
        Doped(doped.base, doped.dopant, rate)


@oracle("compression/doped_kron*.npz")
def test_row_dropout_compiles_once_for_all_masks(doped, arrays):
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(doped, backend=counter, fullgraph=True)
    for _ in range(3):
        doped.drop_rows_(0.5, 0.5)
        near(compiled(arrays["x"]), doped(arrays["x"]))
    assert counter.frame_count == 1


@oracle("compression/doped_kron*.npz")
def test_an_annealed_dopant_changes_the_sum(doped):
    doped.dopant.set_density_(0.05)
    near(doped.to_dense(), doped.base.to_dense() + doped.dopant.weight * doped.dopant.mask)
    assert doped.num_parameters() == 21 + 5 and doped.config()["density"] == 5 / 108


@settings(max_examples=30)
@given(
    st.sampled_from([2, 3, 5, 7, 12]), st.sampled_from([2, 3, 5, 7, 12]), st.sampled_from(BASES), st.floats(0.02, 0.5)
)  # fmt: skip
def test_no_round_of_the_fit_makes_the_error_larger(m, n, base, density):
    weight = torch.randn(m, n)
    errors = [
        float((weight - Doped.from_dense(weight, base=base, density=density, iterations=k).to_dense()).norm().detach())
        for k in (1, 2, 4, 20)
    ]
    assert all(after <= before + 1e-12 for before, after in pairwise(errors))
    near(Doped.from_dense(weight, base=base, density=1.0).to_dense(), weight)


def test_a_planted_sum_is_found():
    planted = torch.randn(30, 1) @ torch.randn(1, 25)
    spikes = torch.zeros(30, 25)
    spikes.view(-1)[torch.randperm(750)[:15]] = 20.0
    found = Doped.from_dense(planted + spikes, base=LOW_RANK, density=15 / 750, iterations=100)
    near(found.to_dense(), planted + spikes, 1e-4)
    assert torch.equal(found.dopant.mask, spikes != 0)
    alone = (LowRank.from_dense(planted + spikes, 1).to_dense() - planted - spikes).norm()
    first = Doped.from_dense(planted + spikes, base=LOW_RANK, density=15 / 750, iterations=1)
    assert (first.to_dense() - planted - spikes).norm() < alone


def test_an_unwilling_base_never_makes_it_worse():
    calls = []

    def worse(weight):  # every fit after the first is bad
        calls.append(weight)
        return Dense(weight * 0.5 if len(calls) == 1 else torch.zeros_like(weight))

    weight = torch.randn(6, 6)
    found = Doped.from_dense(weight, base=worse, density=0.1)
    assert len(calls) == 2 and torch.equal(found.base.to_dense(), weight * 0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.complex128])
def test_it_keeps_the_dtype_of_the_weight(dtype):
    weight, x = torch.randn(6, 8, dtype=dtype), torch.randn(3, 8, dtype=dtype)
    matrix = Doped.from_dense(weight, base=LOW_RANK, density=0.2)
    assert {p.dtype for p in matrix.parameters()} == {dtype} and matrix(x).dtype == dtype
    assert matrix.dopant.num_parameters() == round(0.2 * 48)


@pytest.mark.parametrize("base", [base for base in BASES if not callable(base)])
def test_a_random_one_has_the_variance_asked_for(base):
    matrix, x = Doped.random((128, 160), 160**-0.5, base=base, density=0.1), torch.randn(400, 160)
    assert 0.9 < float(matrix.to_dense().detach().std() * 160**0.5) < 1.1
    assert 0.8 < float(matrix(x).detach().std()) < 1.2


@pytest.mark.parametrize("share", [0.0, 0.2, 0.8])
def test_a_start_is_drawn_with_shares_of_the_variance(share):
    base = {"structure": "kronecker", "factor": (16, 20), "terms": 4}
    matrix = Doped.random((128, 160), 0.3, base=base, density=1.0, share=share)
    parts = [part.to_dense().detach() for part in (matrix.base, matrix.dopant, matrix)]
    assert [float(part.square().mean()) / 0.09 for part in parts] == pytest.approx([1 - share, share, 1], abs=0.05)
    assert matrix.base.terms == (4,) and bool(matrix.dopant.mask.all())
    assert Doped.from_config(matrix.config()).share == matrix.pack().share == share


@pytest.mark.parametrize("base", [LOW_RANK, partial(LowRank.from_dense, rank=2), None], ids=["name", "maker", "none"])
def test_a_random_start_has_the_size_of_the_weight_and_nothing_else_of_it(base):
    weight = 3 * torch.randn(60, 48)
    matrix = Doped.from_dense(weight, base=base, density=1.0, random=True)
    found = matrix.to_dense().detach()
    assert float(found.square().mean()) == pytest.approx(9, rel=0.2)
    assert abs(float((found * weight).mean())) < 0.9  # of 9 where they were alike
    assert bool(matrix.dopant.mask.all()) and not torch.equal(found, weight)
    assert "random" not in matrix.config()


def test_packed_it_has_packed_parts_and_is_rebuilt_from_its_config():
    matrix = Doped.random((12, 9), 0.5, base={"structure": "low_rank", "rank": 2}, density=0.2)
    packed = matrix.pack()
    assert type(packed.base) is LowRank and type(packed.dopant) is Csr
    twin = Doped.from_config(packed.config())
    twin.load_state_dict(packed.state_dict())
    assert torch.equal(twin.to_dense(), matrix.to_dense())
    assert packed.bits() == matrix.bits() == matrix.base.bits() + matrix.dopant.bits()


def test_a_base_that_packs_is_packed():
    matrix = Doped(Sparse.random((5, 4), density=0.3), Sparse.random((5, 4), density=0.3))
    assert type(matrix.pack().base) is Csr
    near(matrix.pack().to_dense(), matrix.to_dense())


def test_a_doped_matrix_can_be_doped():
    matrix = Doped.random((7, 11), 0.5, base={"structure": "doped", "base": LOW_RANK, "density": 0.1}, density=0.1)
    twin = Doped.from_config(matrix.config())
    twin.load_state_dict(matrix.state_dict())
    assert torch.equal(twin.to_dense(), matrix.to_dense()) and type(twin.base) is Doped


def test_by_default_the_base_is_a_kronecker_product():
    assert type(Doped.from_dense(torch.randn(6, 6)).base) is Kronecker
    assert type(Doped.from_config({"shape": [6, 6]}).base) is Kronecker


def test_bad_parts_are_refused():
    with pytest.raises(ShapeError, match=r"\(3, 4\).*\(4, 3\)"):
        Doped(Dense(torch.zeros(3, 4)), Sparse.random((4, 3), density=0.5))
    with pytest.raises(PlanError, match="structure"):
        Doped.from_dense(torch.randn(3, 4), base={"rank": 1})
    with pytest.raises(PlanError, match="low_rank"):
        Doped.from_dense(torch.randn(3, 4), base={"structure": "low_rnk", "rank": 1})
    with pytest.raises(PlanError, match="structure"):
        Doped.from_config({"shape": [3, 4], "base": {"rank": 1}})
    with pytest.raises(RankError, match=r"\(0, 1\]"):
        Doped.from_dense(torch.randn(3, 4), base=LOW_RANK, density=0)
    with pytest.raises(RankError, match="iterations"):
        Doped.from_dense(torch.randn(3, 4), base=LOW_RANK, iterations=0)
    with pytest.raises(RankError, match="iterations"):
        Doped.from_dense(torch.randn(3, 4), base=LOW_RANK, iterations=True)
    with pytest.raises(PlanError, match="random of a doped matrix is true or false, got 1"):
        Doped.from_dense(torch.randn(3, 4), base=LOW_RANK, random=1)
    with pytest.raises(ShapeError, match="NaN"):
        Doped.from_dense(torch.full((3, 3), float("nan")), base=LOW_RANK)


def test_its_ladder_ascends():
    counts = [Doped.random((60, 48), 1.0, **options).num_parameters() for options in Doped.ladder((60, 48))]
    assert counts == sorted(set(counts)) and len(counts) == 12
    assert Doped.ladder((1, 9)) == []
