"""pool_ puts all chosen weights of a model into one pool of exactly the size asked for, or changes nothing."""

import copy
import math

import pytest
import torch
import torch_geometric.nn as pyg
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgenet.compress import decompress_, pool_, report, slots, stored
from edgenet.errors import PlanError, RankError, ShapeError
from edgenet.models import NodeClassifier
from edgenet.structured import Hashed, StructuredLinear, shared_pools

EDGES = torch.tensor([[0, 1, 2, 3, 1], [1, 2, 3, 0, 3]])


def gat():
    """Two layers of attention with sizes that do not factor."""
    return NodeClassifier(29, 7, hidden_channels=8, heads=4, layer="gat")


def mixed():
    return nn.ModuleDict(
        {"fc": nn.Linear(24, 18), "fc2": nn.Linear(18, 12), "table": nn.Embedding(30, 12), "rnn": nn.GRU(12, 12)}
    )


def in_slots(model):
    """Trained numbers in the slots that a pool holds, each once."""
    numbers = [p for slot in slots(model).values() if isinstance(slot.matrix, Hashed) for p in slot.matrix.parameters()]
    return sum(p.numel() for p in {id(p): p for p in numbers}.values())


def unchanged(before, model):
    now = model.state_dict()
    return list(before) == list(now) and all(torch.equal(before[key], now[key]) for key in before)


def state(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


@pytest.mark.parametrize("aligned", [False, True])
@given(share=st.floats(0.25, 0.9))
@settings(max_examples=12)
def test_a_model_trains_as_many_numbers_as_are_asked_for(aligned, share):
    model = gat()
    entries = {name: math.prod(slot.shape) for name, slot in slots(model).items()}
    asked = int(share * sum(entries.values()))
    rest = sum(p.numel() for p in model.parameters()) - sum(entries.values())
    pool = pool_(model, parameters=asked, aligned=aligned)
    assert asked - 1 <= in_slots(model) <= asked
    assert sum(p.numel() for p in model.parameters()) == in_slots(model) + rest
    assert shared_pools(model) == [pool]
    assert sum(row.parameters for row in report(model).rows) == in_slots(model)
    model(torch.randn(4, 29), EDGES).square().sum().backward()
    assert pool.left.grad.abs().sum() > 0


def test_a_ratio_is_of_the_matched_slots():
    model = gat()
    entries = sum(math.prod(slot.shape) for slot in slots(model).values())
    pool_(model, ratio=4)
    assert math.floor(entries / 4) - 1 <= in_slots(model) <= entries / 4


def test_it_reaches_linear_layers_embeddings_tensors_and_layers_of_pyg():
    model = nn.ModuleDict({"net": mixed(), "conv": pyg.GATConv(12, 5, heads=2), "tied": None})
    model["tied"] = model["net"]["fc2"]
    count = len(slots(model))
    pool_(model, ratio=3)
    found = slots(model)
    assert len(found) == count and all(isinstance(slot.matrix, Hashed) for slot in found.values())
    assert model["tied"] is model["net"]["fc2"] and isinstance(model["tied"], StructuredLinear)
    assert len(shared_pools(model)) == 1
    sequence, _ = model["net"]["rnn"](model["net"]["table"](torch.tensor([[0, 3, 29]])))
    assert model["conv"](sequence.flatten(0, 1), torch.tensor([[0, 1], [1, 2]])).isfinite().all()


def test_with_room_enough_the_model_computes_as_before():
    model = mixed().requires_grad_()
    before = [slot.weight().detach().clone() for slot in slots(model).values()]
    size = sum(w.numel() for w in before)
    side = math.isqrt(size - 1) + 1
    height = -(-size // side)
    pool_(model, parameters=(side + height) * min(side, height) + len(before))
    for slot, weight in zip(slots(model).values(), before, strict=True):
        torch.testing.assert_close(slot.weight().detach(), weight, rtol=1e-9, atol=1e-9)


def test_a_fit_is_nearer_than_a_random_pool_of_the_same_variance():
    model, twin = gat(), None
    twin = copy.deepcopy(model)
    weights = {name: slot.weight().detach().clone() for name, slot in slots(model).items()}
    pool_(model, ratio=3)
    pool_(twin, ratio=3, fit=False)
    for name, weight in weights.items():
        fitted, drawn = slots(model)[name].weight().detach(), slots(twin)[name].weight().detach()
        assert (fitted - weight).norm() < weight.norm() < (drawn - weight).norm()
        spread = drawn.square().mean().sqrt() / weight.square().mean().sqrt()
        assert 0.3 < spread < 3  # a small weight reads few numbers


def test_include_and_exclude_choose_slots_by_name():
    model = mixed()
    names = set(slots(model))
    pool_(model, ratio=2, include=r"fc|rnn\.", exclude=r"rnn\.weight_hh")
    pooled = {name for name, slot in slots(model).items() if isinstance(slot.matrix, Hashed)}
    assert pooled == {"fc.weight", "fc2.weight", "rnn.weight_ih_l0"} and set(slots(model)) == names
    assert isinstance(model["table"], nn.Embedding)


def test_copies_files_and_conversions_keep_the_pool_together(tmp_path):
    model = gat()
    pool_(model, ratio=3)
    twin = copy.deepcopy(model)
    assert len(shared_pools(twin)) == 1 and shared_pools(twin) != shared_pools(model)
    torch.save(model.state_dict(), tmp_path / "state.pt")
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    twin.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    x = torch.randn(4, 29)
    assert torch.equal(twin.eval()(x, EDGES), model.eval()(x, EDGES))
    on_disk = stored(model)
    assert sum(t.numel() for t in on_disk.values() if t.is_floating_point()) == sum(
        p.numel() for p in model.parameters()
    ) + sum(b.numel() for b in model.buffers() if b.is_floating_point())
    model.float()
    assert len(shared_pools(model)) == 1 and model(x.float(), EDGES).dtype == torch.float32


def test_a_pool_trains():
    model, x = gat(), torch.randn(4, 29)
    target = torch.tensor([0, 3, 6, 2])
    pool_(model, ratio=3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    model.eval()  # without dropout
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x, EDGES), target)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]


def test_a_pool_is_taken_out_and_made_anew():
    model, x = gat().eval(), torch.randn(4, 29)
    pool_(model, ratio=3)
    y = model(x, EDGES).detach()
    names = decompress_(model)
    assert names == list(slots(model)) and shared_pools(model) == []
    torch.testing.assert_close(model(x, EDGES).detach(), y)
    first = pool_(model, ratio=3)
    second = pool_(model, ratio=2)  # of the dense form of what the first one holds
    assert shared_pools(model) == [second] and second.num_parameters() > first.num_parameters()


def test_frozen_slots_stay_frozen_or_are_refused():
    model = mixed().requires_grad_(False)
    pool = pool_(model, ratio=3)
    assert not pool.left.requires_grad
    model = mixed()
    model["fc"].requires_grad_(False)
    before = state(model)
    with pytest.raises(PlanError, match=r"fc\.weight is frozen.*Leave it out"):
        pool_(model, ratio=3)
    assert unchanged(before, model)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"parameters": 30}, RankError, r"one pool for fc\.weight, .*takes \d+ parameters at least"),
        ({}, RankError, "either parameters= or ratio="),
        ({"parameters": 600, "ratio": 3}, RankError, "either parameters= or ratio="),
        ({"ratio": 3, "include": "conv"}, PlanError, r"include='conv' matches no slot; there are fc\.weight"),
        ({"ratio": 3, "exclude": "conv"}, PlanError, "exclude='conv' matches no slot"),
        ({"ratio": 3, "exclude": ".*"}, PlanError, "leaves nothing"),
        ({"ratio": 3, "include": "("}, PlanError, "no regular expression"),
    ],
)
def test_what_is_refused_changes_nothing(options, error, text):
    model = mixed()
    before = state(model)
    with pytest.raises(error, match=text):
        pool_(model, **options)
    assert unchanged(before, model)


def test_bad_weights_change_nothing():
    model = mixed()
    with torch.no_grad():
        model["fc2"].weight[0, 0] = math.nan
    with pytest.raises(ShapeError, match="NaN"):
        pool_(model, ratio=3)
    model = mixed()
    model["fc2"].half()
    with pytest.raises(ShapeError, match="share a dtype"):
        pool_(model, ratio=3)
    model = nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 3))
    with pytest.raises(PlanError, match="run the model once first"):
        pool_(model, ratio=3)
