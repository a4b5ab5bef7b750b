"""A weight is a parameter, not a module: wherever it stands, it is one slot, counted once, and stays tied."""

import json
import struct
from functools import partial

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn
from torch.nn.utils import parametrizations

from edgenet.compress import (
    ADMM,
    Anneal,
    Budget,
    GroupLasso,
    compress_,
    decompress_,
    pool_,
    replace,
    report,
    search,
    slots,
    stored,
)
from edgenet.convert import to_edgenet
from edgenet.errors import PlanError
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.structured import Dense, Doped, Hashed, LowRank, Sparse, StructuredLinear
from edgenet.structured.bridge import attach_, bridged

from compress.steps import Steps  # isort: skip

search = partial(search, progress=False)
RANK_FOUR = {"structure": "low_rank", "rank": 4}


def numbers(model):
    return sum(p.numel() for p in set(model.parameters()))


def file_bytes(model, folder):
    """Of the tensors in the file; its header left out."""
    save_pretrained(model, folder)
    data = (folder / json.loads((folder / "config.json").read_text())["file"]).read_bytes()
    return len(data) - 8 - struct.unpack("<Q", data[:8])[0]


# ---------------------------------------------------------------- one parameter in two layers
def linear_layers():
    a, b = nn.Linear(32, 32, bias=False), nn.Linear(32, 32, bias=False)
    b.weight = a.weight
    return nn.ModuleList([a, b])


def layers_of_pyg():
    a, b = pyg.GCNConv(32, 32, bias=False), pyg.GCNConv(32, 32, bias=False)
    b.lin.weight = a.lin.weight
    return nn.ModuleList([a, b])


def converted_layers():
    return to_edgenet(layers_of_pyg())


def one_matrix():
    a, b = StructuredLinear.dense(32, 32), StructuredLinear.dense(32, 32)
    b.weight = a.weight
    return nn.ModuleList([a, b])


def one_parameter_of_two_matrices():
    a, b = StructuredLinear.dense(32, 32), StructuredLinear.dense(32, 32)
    b.weight.weight = a.weight.weight
    return nn.ModuleList([a, b])


def a_matrix_and_a_plain_layer():
    a, b = StructuredLinear.dense(32, 32), nn.Linear(32, 32, bias=False)
    b.weight = a.weight.weight
    return nn.ModuleList([a, b])


def a_layer_and_an_attribute():
    model = nn.ModuleList([nn.Linear(32, 32, bias=False), nn.Module()])
    model[1].mixing = model[0].weight
    return model


TIED = [
    linear_layers, layers_of_pyg, converted_layers, one_matrix, one_parameter_of_two_matrices,
    a_matrix_and_a_plain_layer, a_layer_and_an_attribute,
]  # fmt: skip


@pytest.fixture(params=TIED, ids=lambda make: make.__name__)
def tied(request):
    return request.param()


def test_a_tied_weight_is_one_slot_with_two_names(tied):
    (slot,) = slots(tied).values()
    assert len(slot.names) == len(slot.places) == 2 and slot.shape == (32, 32)
    total = report(tied).total
    assert total.parameters == total.parameters_before == numbers(tied) == 1024 and total.ratio == 1


def test_a_search_meets_its_budget_with_the_numbers_that_are_there(tied):
    result = search(tied, budget=Budget(ratio=4, of="parameters"), families=("low_rank",))
    assert result.satisfied and result.size == numbers(result.model) == 256
    assert result.report.total.parameters_before == 1024 and result.report.total.ratio == 4
    assert result.apply_(tied).total.parameters == numbers(tied) == 256


def test_a_byte_budget_is_met_by_the_file(tied, tmp_path):
    result = search(tied, budget=Budget(bytes=2100), families=("low_rank",))
    assert result.satisfied and result.size == result.report.total.bytes <= 2100
    assert file_bytes(result.model, tmp_path) == result.size
    if type(tied[1]) is not nn.Module:  # which nothing can make
        assert numbers(from_pretrained(tmp_path)) == numbers(result.model)


def test_compressing_and_going_back_leave_it_tied(tied):
    compress_(tied, {".*": RANK_FOUR})
    assert numbers(tied) == 256 and len(next(iter(slots(tied).values())).names) == 2
    decompress_(tied)
    assert numbers(tied) == 1024 and len(slots(tied)) == 1
    with torch.no_grad():
        next(iter(slots(tied).values())).weight().zero_()
    assert not any(p.any() for p in tied.parameters())


def test_the_penalty_of_admm_counts_a_tied_weight_once(tied):
    admm = ADMM({".*": RANK_FOUR}, rho=0.5, relative=False)
    loop = Steps(tied, torch.optim.SGD(tied.parameters(), 0.1), [admm])
    (slot,) = slots(tied).values()
    gap = slot.weight() - LowRank.from_dense(slot.weight().detach(), rank=4).to_dense()
    torch.testing.assert_close(admm.penalty(loop), 0.25 * gap.square().sum())


def test_the_products_of_all_places_are_counted():
    model = linear_layers()
    row = compress_(model, {".*": RANK_FOUR}).rows[0]
    assert (row.multiply_adds_before, row.multiply_adds) == (2 * 1024, 2 * 256)
    mixed = a_layer_and_an_attribute()  # a tensor that is built, beside a product
    row = compress_(mixed, {".*": RANK_FOUR}).rows[0]
    assert (row.multiply_adds_before, row.multiply_adds) == (2 * 1024, 1024 + 256)


def test_a_proximal_step_takes_a_tied_weight_by_any_of_its_names_and_once():
    for pattern in (r"0\.weight", r"1\.weight", ".*"):
        model = linear_layers()
        lasso = GroupLasso({pattern: "rows"}, penalty=1.0, by_size=False)
        loop = Steps(model, torch.optim.SGD(model.parameters(), 0.01), [lasso])
        before = model[0].weight.detach().clone()
        loop.step_on(0 * model[0].weight.sum())
        size = before.norm(dim=1, keepdim=True)
        torch.testing.assert_close(model[0].weight.detach(), before * (1 - 0.01 / size))
        assert len(lasso.sparsity(model)) == 1


def test_a_schedule_takes_a_matrix_by_any_of_its_names():
    model = one_matrix()
    compress_(model, {".*": {"structure": "sparse", "density": 0.5}})
    Steps(model, None, [Anneal(0.1, 1, 2, initial=0.25, pattern=r"1\.weight")])
    assert model[0].weight.density == 0.25


# ---------------------------------------------------------------- what is shared in part
def shared_factor():
    a, b = StructuredLinear(LowRank.random((32, 32), rank=4)), StructuredLinear(LowRank.random((32, 32), rank=4))
    b.weight.left = a.weight.left
    return nn.ModuleList([a, b, nn.Linear(32, 32, bias=False)])


def shared_base():
    a, b = (StructuredLinear(Doped.random((32, 32), density=0.1, base=RANK_FOUR)) for _ in range(2))
    b.weight.base = a.weight.base
    return nn.ModuleList([a, b, nn.Linear(32, 32, bias=False)])


def shared_pool():
    model = nn.ModuleList([nn.Linear(32, 32, bias=False) for _ in range(3)])
    pool_(model, parameters=900, include="0|1")
    return model


def shared_mask_and_weight():
    a, b = (StructuredLinear(Sparse.random((32, 32), density=0.25)) for _ in range(2))
    b.weight.weight, b.weight.mask = a.weight.weight, a.weight.mask
    return nn.ModuleList([a, b, nn.Linear(32, 32, bias=False)])


def shared_behind_tensors():
    model = nn.ModuleList([nn.GRUCell(8, 8), nn.GRUCell(8, 8), nn.Linear(32, 32, bias=False)])
    matrix = attach_(model[0], "weight_hh", partial(LowRank.from_dense, rank=2))
    attach_(model[1], "weight_hh", matrix)
    return model


PARTLY = [shared_factor, shared_base, shared_pool, shared_mask_and_weight, shared_behind_tensors]


def counted(model):
    """Numbers, of which a mask counts those that it lets through."""
    hidden = {id(m.weight): m.weight.numel() - m.num_parameters() for m in model.modules() if isinstance(m, Sparse)}
    return numbers(model) - sum(hidden.values())


@pytest.mark.parametrize("make", PARTLY, ids=lambda make: make.__name__)
def test_what_is_shared_in_part_is_counted_once(make, tmp_path):
    model = make()
    made = report(model)
    assert made.total.parameters == counted(model)
    assert made.total.bytes == sum(t.numel() * t.element_size() for t in stored(model).values())
    assert made.total.bytes == file_bytes(model, tmp_path)
    again = from_pretrained(tmp_path)
    assert sum(t.numel() for t in set(again.parameters())) == counted(model)


@pytest.mark.parametrize("make", PARTLY, ids=lambda make: make.__name__)
@pytest.mark.parametrize("kind", ["parameters", "bytes", "ratio"])
def test_a_search_beside_it_claims_what_is_there(make, kind, tmp_path):
    model = make()
    before = report(model).total
    goal = {"parameters": numbers(model) - 700, "bytes": before.bytes - 700 * 8}.get(kind, 1.4)
    result = search(model, budget=Budget(**{kind: goal}), families=("low_rank", "kronecker"))
    there = numbers(result.model) if kind == "parameters" else file_bytes(result.model, tmp_path)
    assert result.satisfied and result.size == there
    assert there <= (before.bytes / goal if kind == "ratio" else goal)
    assert result.report.total.parameters_before == before.parameters, "compared with the model that was given"


def test_two_matrices_of_one_mask_and_weight_are_one_slot_and_come_back_tied(tmp_path):
    model = shared_mask_and_weight().eval()
    assert next(iter(slots(model).values())).names == ("0.weight", "1.weight")
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path)
    assert again[0].weight.values is again[1].weight.values
    x = torch.randn(3, 32)
    torch.testing.assert_close(again[1](x), model[1](x))


def test_views_of_one_pool_are_slots_of_their_own_even_with_one_scale():
    model = shared_pool()
    model[1].weight.scale = model[0].weight.scale
    assert isinstance(model[0].weight, Hashed) and model[0].weight.offset != model[1].weight.offset
    assert len(slots(model)) == 3


# ---------------------------------------------------------------- what would come apart
def test_a_weight_that_also_stands_where_no_matrix_can_is_refused():
    model = nn.ModuleList([nn.Linear(6, 6, bias=False), StructuredLinear(LowRank.random((6, 6), rank=6))])
    model[1].weight.left = model[0].weight
    with pytest.raises(PlanError, match=r"0\.weight shares its weight with 1\.weight\.left"):
        compress_(model, {"0": {"structure": "low_rank", "rank": 1}})
    assert model[1].weight.left is model[0].weight
    other = nn.ModuleList([nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False), nn.Linear(6, 6)])
    other[1].weight = other[0].weight
    parametrizations.weight_norm(other[1])
    other[0].weight = other[1].parametrizations.weight.original1
    result = search(other, budget=Budget(parameters=80), families=("low_rank",))
    assert list(result.sensitivity) == ["2.weight"] and result.size == numbers(result.model)


def test_a_number_that_a_dense_matrix_keeps_beside_its_entries_is_counted():
    model = nn.ModuleList([StructuredLinear(Dense(torch.randn(8, 8))), nn.Linear(8, 8, bias=False)])
    model[0].weight.pool = nn.Linear(40, 1, bias=False)
    assert report(model).total.parameters == numbers(model) == 64 + 40 + 64


def test_a_bridge_and_a_layer_that_share_a_matrix_are_one_slot():
    model = nn.ModuleList([nn.GRUCell(4, 4), nn.Linear(4, 12, bias=False)])
    model[1].weight = model[0].weight_hh
    (slot,) = [slot for slot in slots(model).values() if len(slot.names) == 2]
    replace(slot, LowRank.from_dense(slot.weight().detach(), rank=2))
    assert bridged(model[0])["weight_hh"] is model[1].weight
    assert report(model).total.parameters == numbers(model)


# ---------------------------------------------------------------- files
@pytest.mark.parametrize(
    "family", ["low_rank", "kronecker", "tensor_train", "block_circulant", "hashed", "sparse", "doped"]
)
def test_a_byte_budget_is_kept_by_the_file_with_every_family(family, tmp_path):
    model = nn.ModuleDict({"table": nn.Embedding(20, 8), "out": nn.Linear(8, 20), "rnn": nn.GRU(8, 8)})
    model["out"].weight = model["table"].weight
    budget = 0.7 * file_bytes(model, tmp_path)
    result = search(model, budget=Budget(bytes=budget), families=family)
    assert result.satisfied and result.size == file_bytes(result.model, tmp_path) <= budget
    assert numbers(from_pretrained(tmp_path)) == result.report.total.parameters


@pytest.mark.parametrize("families", ["sparse", "doped", None], ids=str)
def test_a_budget_of_parameters_is_kept_by_the_numbers_in_memory_with_masks_too(families):
    model = nn.ModuleDict({"table": nn.Embedding(20, 8), "out": nn.Linear(8, 20), "rnn": nn.GRU(8, 8)})
    model["out"].weight = model["table"].weight
    result = search(model, budget=Budget(ratio=1.8, of="parameters"), families=families)
    assert result.satisfied and result.size == numbers(result.model) <= numbers(model) / 1.8
    index = torch.arange(5)
    y = result.model["rnn"](result.model["table"](index))[0]
    assert result.report.total.parameters == result.size and result.apply_(model).total.parameters == result.size
    assert numbers(model) == result.size
    torch.testing.assert_close(model["rnn"](model["table"](index))[0], y)
    y.sum().backward()
    assert all(p.grad is not None for p in (*result.model["table"].parameters(), *result.model["rnn"].parameters()))
