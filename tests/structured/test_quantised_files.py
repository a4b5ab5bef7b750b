"""Matrices of rounded numbers in codes, in plans and in files."""

import copy
import json
import struct
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune, spectral_norm, weight_norm

from edgenet.compress import Plan, compress_, report
from edgenet.errors import PlanError, RankError, ShapeError
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.structured import (
    Binary,
    Coded,
    Dense,
    FixedPoint,
    Hashed,
    LowRank,
    PowerOfTwo,
    Stacked,
    Uniform,
)
from edgenet.structured.codes import from_bytes, to_bytes


def exactly(got, want):
    torch.testing.assert_close(got, want, rtol=0, atol=0)


# --- packing ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("width", range(1, 17))
def test_codes_come_back_from_their_bits(width):
    codes = torch.randint(0, 2**width, (37,))
    stored = to_bytes(codes, width)
    assert stored.dtype == torch.uint8 and len(stored) == -(-37 * width // 8)
    exactly(from_bytes(stored, width, 37), codes)
    assert to_bytes(torch.tensor([1, 0, 1]), 2).tolist() == [0b010001]


def test_the_packed_form_trains_its_scales():
    packed = Uniform.from_dense(torch.randn(6, 5), base={"structure": "low_rank", "rank": 2}).pack()
    assert [tuple(p.shape) for p in packed.parameters()] == [(1, 1), (1, 1)]
    packed.to_dense().sum().backward()
    assert all(p.grad is not None for p in packed.parameters())


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("make", [Uniform, FixedPoint, PowerOfTwo, partial(PowerOfTwo, form="sign_shift"), Binary])
def test_latents_that_are_not_finite_have_no_code_and_show(make, bad):
    matrix = make(Dense(torch.randn(3, 4)))
    with torch.no_grad():
        matrix.base.weight[0, 0] = bad
    assert matrix.to_dense()[0, 0].isnan()
    with pytest.raises(ShapeError, match=r"base\.weight are NaN"):
        matrix.pack()


def test_a_weight_norm_of_a_row_of_zeros_has_no_code():
    matrix = Uniform(Dense(torch.tensor([[0.0, 0.0], [1.0, 2.0]])))
    nn.utils.parametrizations.weight_norm(matrix.base, "weight")  # 0 / 0
    with pytest.raises(ShapeError, match="NaN"):
        matrix.pack()


def test_a_pool_that_is_quantised_is_stored_in_codes():
    matrix = Uniform(Hashed.random((20, 30), parameters=100), 4)
    assert matrix.bits() < 100 * 8 and type(matrix.base) is Hashed
    exactly(matrix.pack().to_dense(), matrix.to_dense())


def test_a_matrix_is_sparse_in_compressed_rows_before_it_is_quantised():
    matrix = Uniform.from_dense(torch.randn(8, 9), base={"structure": "sparse", "density": 0.25}, bits=4)
    assert (matrix.to_dense() != 0).sum() <= 18 and matrix.num_parameters() == 18
    state = matrix.pack().state_dict()
    assert sorted(state) == ["codes_0", "held_0", "scale_0"] and len(state["held_0"]) == 72 // 8  # a bitmap
    state["held_0"][0] ^= 1
    with pytest.raises(RuntimeError, match="places"):
        matrix.pack().load_state_dict(state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("make", [Uniform, PowerOfTwo, Binary])
def test_packed_and_trained_forms_are_one_to_the_last_bit_in_every_dtype(make, dtype):
    matrix = make(LowRank.random((9, 12), rank=3).to(dtype))
    assert matrix.to_dense().dtype == dtype
    exactly(matrix.pack().to_dense(), matrix.to_dense())


@pytest.mark.parametrize("put_on", [partial(prune.l1_unstructured, amount=0.5), weight_norm, spectral_norm])
def test_what_torch_computes_of_other_tensors_is_packed_as_it_is(put_on):
    matrix = Uniform.from_dense(torch.randn(6, 5), bits=4).eval()
    put_on(matrix.base, "weight")
    packed = matrix.pack()
    exactly(packed.to_dense(), matrix.to_dense())
    assert sorted(packed.state_dict()) == ["codes_0", "scale_0"]
    again = Coded.from_config(packed.config())
    again.load_state_dict(packed.state_dict())
    exactly(again.to_dense(), copy.deepcopy(packed).to_dense())


def test_codes_that_are_no_bytes_are_not_loaded():
    packed = Uniform.from_dense(torch.randn(3, 4)).pack()
    state = packed.state_dict() | {"codes_0": torch.full((12,), 10**6)}
    with pytest.raises(RuntimeError, match="codes are bytes"):
        packed.load_state_dict(state, assign=True)


# --- plans and files --------------------------------------------------------------------------------------------------
PLANS = [
    {"structure": "kronecker", "factor": [8, 8], "bits": 8},
    {"structure": "dense", "bits": 4, "per": "row"},
    {"structure": "dense", "quantiser": "fixed_point", "fraction_bits": 12},
    {"structure": "tensor_train", "rank": 4, "quantiser": "power_of_two", "form": "sign_shift"},
    {"structure": "doped", "base": {"structure": "low_rank", "rank": 2}, "density": 0.02, "quantiser": "binary"},
    {"structure": "binary", "base": {"structure": "block_circulant", "block": 8}},
]


@pytest.mark.parametrize("spec", PLANS, ids=str)
def test_a_plan_puts_a_quantiser_around_a_structure_and_files_hold_its_codes(spec, tmp_path):
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 16)).eval()
    plan = Plan.of({"0": spec})
    (tmp_path / "plan.toml").write_text(plan.to_toml())
    assert Plan.from_toml(tmp_path / "plan.toml").to_toml() == plan.to_toml()
    table = compress_(model, plan)
    matrix = model[0].weight
    assert table.rows[0].bytes == matrix.bits() // 8 and table.rows[0].structure == spec.get(
        "quantiser", "uniform" if "bits" in spec else spec["structure"]
    )
    save_pretrained(model, tmp_path / "saved")
    data = (tmp_path / "saved" / "model.safetensors").read_bytes()
    assert len(data) - 8 - struct.unpack("<Q", data[:8])[0] == report(model).total.bytes == table.total.bytes
    again = from_pretrained(tmp_path / "saved")
    assert type(again[0].weight) is Coded
    x = torch.randn(5, 64)
    exactly(again(x), model(x))
    assert report(again).total.bytes == table.total.bytes


@pytest.mark.parametrize(
    "spec",
    [
        {"structure": "doped", "base": {"structure": "low_rank", "rank": 2, "bits": 8}, "density": 0.02},
        {"structure": "stacked", "parts": 2, "base": {"structure": "dense", "quantiser": "binary"}},
        {"structure": "stacked", "base": {"structure": "stacked", "base": {"structure": "dense", "bits": 2}}},
        {"structure": "stacked", "base": [{"structure": "dense", "bits": 2}, {"structure": "low_rank", "rank": 1}]},
    ],
    ids=str,
)  # fmt: skip
def test_a_base_in_a_plan_may_have_bits_as_well(spec, tmp_path):
    model = nn.Sequential(nn.Linear(24, 16)).eval()
    compress_(model, {"0": spec})
    assert any(isinstance(part, Uniform | Binary) for part in model.modules())
    save_pretrained(model, tmp_path)
    x = torch.randn(3, 24)
    # compressed rows and the masked weight that they are of add up in different orders
    torch.testing.assert_close(from_pretrained(tmp_path)(x), model(x), rtol=1e-13, atol=1e-13)


def test_a_plan_says_what_is_wrong():
    for spec, says in [
        ({"structure": "dense", "quantiser": "low_rank"}, "is no quantiser; there are uniform"),
        ({"structure": "dense", "quantiser": "unifrom"}, "unifrom"),
        ({"structure": "dense", "bits": 8, "rank": 2}, "dense has no option 'rank'"),
        ({"structure": "kronecker", "factr": [8, 8], "bits": 8}, "kronecker has no option 'factr'"),
        ({"structure": "binary", "bits": 2}, "binary has no option 'bits'"),
        ({"structure": "dense", "quantiser": "binary", "bits": 1}, "'binary' has codes of one width"),
    ]:
        with pytest.raises(PlanError, match=says) as raised:
            Plan.of({"0": spec})
        assert str(raised.value).count("the rule '0'") == 1
    with pytest.raises(RankError, match="weight, 8 x 8: Uniform has codes of 2 to 8 bits"):
        compress_(nn.Sequential(nn.Linear(8, 8)), {"0": {"structure": "dense", "bits": 9}})


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (Uniform, {"bits": 1}), (Uniform, {"bits": 9}), (Uniform, {"bits": 2.5}), (Uniform, {"bits": [8, 8]}),
        (Uniform, {"bits": "8"}), (Uniform, {"bits": True}), (PowerOfTwo, {"bits": 7}), (PowerOfTwo, {"bits": 1}),
        (FixedPoint, {"bits": 17}), (FixedPoint, {"fraction_bits": 0.5}), (FixedPoint, {"fraction_bits": 1000}),
    ],
)  # fmt: skip
def test_bits_out_of_range_are_refused(make, options):
    with pytest.raises(RankError, match="bits"):
        make.from_dense(torch.randn(3, 4), **options)


def test_whole_numbers_of_numpy_are_bits():
    one = FixedPoint.from_dense(torch.randn(3, 4), bits=np.int64(8), fraction_bits=np.int32(6))
    two = Uniform.from_dense(torch.randn(3, 4), bits=[np.uint8(4)])
    assert json.loads(json.dumps(one.config()))["fraction_bits"] == 6 and json.dumps(two.config()["bits"]) == "4"


def test_what_cannot_be_quantised_is_refused():
    part = LowRank.random((3, 4), rank=1)
    with pytest.raises(PlanError, match="parts of this Stacked share some"):
        Uniform(Stacked([part, part]))
    with pytest.raises(PlanError, match="in no part of it"):
        Uniform(Stacked([part, Binary.random((3, 4))]))
    with pytest.raises(PlanError, match="not quantised yet"):
        Uniform(Binary.random((3, 4)))
    with pytest.raises(PlanError, match="not quantised yet"):
        Uniform(Dense.lazy(3, -1))
    with pytest.raises(PlanError, match="real numbers"):
        Uniform(Dense(torch.randn(3, 4, dtype=torch.complex64)))
    with pytest.raises(PlanError, match="'tensor' or 'row'"):
        Uniform(Dense(torch.randn(3, 4)), per="none")
    with pytest.raises(PlanError, match="latent and sign_shift"):
        PowerOfTwo(Dense(torch.randn(3, 4)), form="Q")
    with pytest.raises(PlanError, match="'low_rank' is no quantiser"):
        Coded.from_dense(torch.randn(3, 4), quantiser="low_rank", rank=1)
    with pytest.raises(PlanError, match="base of a quantised matrix"):
        Uniform.from_dense(torch.randn(3, 4), base={"rank": 2})
