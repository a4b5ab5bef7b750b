"""Structured deltas on a frozen model: it starts as it was, they alone learn, and merge into the weights."""

import copy

import pytest
import torch
from layers import LAYERS
from torch import nn
from torch_geometric.nn import GCNConv

from edgenet.compress import adapt_, compress_, delta_state, merge_deltas_
from edgenet.errors import PlanError
from edgenet.nn import EdgeNetConv
from edgenet.nn import specializations as nets
from edgenet.structured import STRUCTURES
from edgenet.testing.layer.case import EDGES, NODES

LOW_RANK = {".*": {"structure": "low_rank", "rank": 1}}
#: one of each specialization at once, and the others where there is time
ADAPTED = [
    name if "," not in name else pytest.param(name, marks=pytest.mark.slow)
    for name, case in LAYERS.items()
    if not case.pair
]
#: a unitary matrix is square
FAMILIES = {
    **{name: {} for name in STRUCTURES if name != "unitary"},
    "block_circulant": {"block": 8},
    "csr": {"density": 0.5},
    "doped": {"base": {"structure": "low_rank", "rank": 1}},
    "hashed": {"ratio": 2.0},
    "low_rank": {"rank": 2},
    "row_split": {"rows": 8},
    "sparse": {"density": 0.5},
}


def small(**options):
    return nets.gat(8, 16, heads=2, **options)


@pytest.mark.parametrize("name", ADAPTED)
def test_a_layer_starts_as_it_was_learns_by_its_deltas_and_takes_them_in(name):
    layer, x, more = LAYERS[name].ready()
    before, wanted = {key: p.detach().clone() for key, p in layer.named_parameters()}, layer(x, **more)
    if not any(p.dim() > 1 for p in layer.parameters()):
        with pytest.raises(PlanError, match="matches no weight to add to; there are none"):
            adapt_(layer, LOW_RANK)
        return
    names = adapt_(layer, LOW_RANK)
    assert names == [key for key in names if before[key].dim() > 1]
    torch.testing.assert_close(layer(x, **more), wanted, rtol=1e-10, atol=1e-10)  # through its modules, one by one
    learns = {key: p for key, p in layer.named_parameters() if p.requires_grad}
    assert learns and all(".0.matrix." in key for key in learns)
    slopes = torch.autograd.grad(layer(x, **more).square().sum(), list(learns.values()), materialize_grads=True)
    assert any(slope.any() for slope in slopes)
    with torch.no_grad():
        for p in learns.values():
            p.add_(0.1)
    adapted = layer(x, **more)
    assert not torch.equal(adapted, wanted)
    assert sorted(merge_deltas_(layer)) == sorted(names)
    torch.testing.assert_close(layer(x, **more), adapted, rtol=1e-10, atol=1e-10)
    now = dict(layer.named_parameters())
    assert now.keys() == before.keys() and not any(p.requires_grad for p in now.values())
    assert all(torch.equal(now[key], before[key]) for key in before.keys() - set(names))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_starts_at_nothing(family):
    layer, x = small().eval(), torch.randn(NODES, 8)
    wanted = layer(x, EDGES)
    adapt_(layer, {"lift": {"structure": family, **FAMILIES[family]}})
    torch.testing.assert_close(layer(x, EDGES), wanted, rtol=1e-10, atol=1e-10)


def test_a_training_changes_the_deltas_alone_and_a_small_file_carries_them():
    layer, x = small(), torch.randn(NODES, 8)
    plain = copy.deepcopy(layer)
    plan = {r"lift\.": {"structure": "low_rank", "rank": 1}, ".*": "keep"}
    assert adapt_(layer, plan) == ["lift.linear.weight.weight"]
    optimizer = torch.optim.Adam(filter(lambda p: p.requires_grad, layer.parameters()), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        layer(x, EDGES).square().mean().backward()
        optimizer.step()
    state = delta_state(layer)
    assert sum(t.numel() for t in state.values()) == 2 * (32 + 8), "theta and theta_0"
    twin = copy.deepcopy(plain)
    adapt_(twin, plan)
    assert not twin.load_state_dict(state, strict=False).unexpected_keys
    torch.testing.assert_close(twin.eval()(x, EDGES), layer.eval()(x, EDGES), rtol=1e-12, atol=1e-12)


def test_a_copy_is_merged_by_itself():
    layer, x = small().eval(), torch.randn(NODES, 8)
    adapt_(layer, LOW_RANK)
    twin = copy.deepcopy(layer)
    merge_deltas_(twin)
    torch.testing.assert_close(twin(x, EDGES), layer(x, EDGES), rtol=1e-10, atol=1e-10)
    assert merge_deltas_(layer)


def test_compressed_weights_and_modules_of_torch_take_deltas():
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4))
    compress_(model, {"0": {"structure": "low_rank", "rank": 2}})
    x = torch.randn(3, 8)
    wanted = model(x)
    names = adapt_(model, {".*": {"structure": "low_rank", "rank": 1}})
    assert "2.weight" in names and len(names) == 3
    torch.testing.assert_close(model(x), wanted, rtol=1e-10, atol=1e-10)


def test_what_cannot_be_adapted_is_refused_and_nothing_changes():
    layer = small()
    with pytest.raises(PlanError, match=r"pattern 'nowhere' matches no weight.*lift\.linear\.weight\.weight"):
        adapt_(layer, {"lift": {"structure": "low_rank", "rank": 1}, "nowhere": "keep"})
    assert all(p.requires_grad for p in layer.parameters())
    with pytest.raises(PlanError, match="has no size yet: run the model once, or bind it"):
        adapt_(EdgeNetConv(4, 8), LOW_RANK)
    with pytest.raises(PlanError, match="writes its weight into state_dict by itself"):
        adapt_(GCNConv(4, 8), LOW_RANK)
    tied = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
    tied[1].weight = tied[0].weight
    with pytest.raises(PlanError, match="stands in several places"):
        adapt_(tied, LOW_RANK)
    for call in (merge_deltas_, delta_state):
        with pytest.raises(PlanError, match="has no deltas to"):
            call(layer)
