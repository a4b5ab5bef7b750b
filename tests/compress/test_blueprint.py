"""Blueprints: the structures of one model, put empty into a fresh one, take the tensors of the first."""

import json

import pytest
import torch
from cases import STRUCTURE_CASES
from torch import nn

from edgenet.compress import compress_, pool_, slots
from edgenet.compress.blueprint import blueprint, rebuild_
from edgenet.errors import CheckpointError, PlanError
from edgenet.structured import Csr, Hashed, LowRank, Sparse, StructuredLinear


class Net(nn.Module):
    """Two tied layers, one that a bridge is needed for, an embedding and a convolution."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.a, self.b, self.c = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 5)
        self.b.weight = self.a.weight
        self.table, self.cell = nn.Embedding(7, 12), nn.GRUCell(5, 4)

    def forward(self, index):
        return self.cell(self.c(self.b(torch.tanh(self.a(self.table(index))))))


INDEX = torch.tensor([0, 3, 6, 6])
LOW_RANK = {"structure": "low_rank", "rank": 2}


def again(model, names=None, fresh=None):
    """A fresh model with the structures and the tensors of another."""
    told = json.loads(json.dumps(blueprint(model, slots(model) if names is None else names)))
    fresh = Net(seed=9) if fresh is None else fresh
    rebuild_(fresh, told)
    fresh.load_state_dict(model.state_dict())
    return fresh


def same(model, fresh):
    assert torch.equal(model(INDEX), fresh(INDEX))
    mine, theirs = slots(model), slots(fresh)
    assert [slot.names for slot in mine.values()] == [slot.names for slot in theirs.values()]
    for slot, other in zip(mine.values(), theirs.values(), strict=True):
        assert type(slot.matrix) is type(other.matrix)
        assert slot.matrix is None or slot.matrix.config() == other.matrix.config()
    count = lambda net: sum(p.numel() for p in net.parameters())  # noqa: E731
    assert count(model) == count(fresh)


def test_every_family_comes_back():
    for case in STRUCTURE_CASES:
        matrix = case.build()
        model = nn.Sequential(StructuredLinear(matrix))
        fresh = nn.Sequential(nn.Linear(case.n, case.m, bias=model[0].bias is not None))
        told = json.loads(json.dumps(blueprint(model, slots(model))))
        rebuild_(fresh, told)
        fresh.load_state_dict(model.state_dict())
        for name, tensor in model.state_dict().items():
            assert fresh.state_dict()[name].dtype == tensor.dtype, (case, name)
        assert torch.equal(matrix.to_dense(), fresh[0].weight.to_dense()), case


@pytest.mark.parametrize(
    "spec",
    [
        LOW_RANK,
        {"structure": "tensor_train", "rank": 2},
        {"structure": "sparse", "density": 0.3},
        {"structure": "doped", "density": 0.1},
        {"structure": "hashed", "ratio": 2},
        lambda weight: Csr.of(weight, weight.abs() > 0.15),
        lambda weight: LowRank.from_dense(weight, rank=int((torch.linalg.svdvals(weight) > 0.4).sum())),
    ],
    ids=["low_rank", "tensor_train", "sparse", "doped", "hashed", "csr", "rank chosen by the weights"],
)
def test_tied_layers_bridges_and_tables_come_back(spec):
    model = Net()
    compress_(model, {"a|c|table|cell.weight_ih": spec})
    same(model, again(model))


def test_one_pool_stays_one():
    model = Net()
    pool = pool_(model, ratio=4, include="a|c|cell")
    fresh = again(model)
    same(model, fresh)
    views = [slot.matrix for slot in slots(fresh).values() if isinstance(slot.matrix, Hashed)]
    assert len(views) == 4 and all(view.pool is views[0].pool for view in views) and views[0].pool is not pool


def test_a_factor_that_two_matrices_share_stays_shared():
    model = Net()
    compress_(model, {"a|table": LOW_RANK})
    model.table.weight.right = model.a.weight.right
    fresh = again(model)
    same(model, fresh)
    assert fresh.table.weight.right is fresh.a.weight.right is fresh.b.weight.right


def test_a_density_that_has_fallen_comes_back():
    model = Net()
    compress_(model, {"a": {"structure": "doped", "density": 0.5}, "c": {"structure": "sparse", "density": 0.5}})
    for part in model.modules():
        if isinstance(part, Sparse):
            part.set_density_(0.1)
    fresh = again(model)
    same(model, fresh)
    assert fresh.c.weight.density == model.c.weight.density == pytest.approx(0.1)


def test_dtypes_gradients_and_modes_are_those_of_the_place():
    model, fresh = Net().bfloat16(), Net(seed=9).bfloat16().eval()
    compress_(model, {"c": {"structure": "sparse", "density": 0.5}})
    fresh.c.weight.requires_grad_(False)
    fresh = again(model, fresh=fresh)
    assert fresh.c.weight.weight.dtype == torch.bfloat16 and fresh.c.weight.mask.dtype == torch.bool
    assert not fresh.c.weight.weight.requires_grad and fresh.a.weight.requires_grad and not fresh.c.weight.training


def test_what_it_put_in_can_be_taken_out():
    model = Net()
    compress_(model, {"a|cell": LOW_RANK})
    fresh = Net(seed=9)
    before = fresh.state_dict()
    undo = rebuild_(fresh, blueprint(model, slots(model)))
    assert fresh.state_dict().keys() == model.state_dict().keys() != before.keys()
    undo()
    after = fresh.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


def test_a_blueprint_of_another_model_is_refused_and_changes_nothing():
    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 4))
    compress_(model, {".*": LOW_RANK})
    told = blueprint(model, slots(model))
    narrow = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3))
    with pytest.raises(CheckpointError, match=r"low_rank matrix of \[4, 4\] in 1\.weight, which is \(3, 4\)"):
        rebuild_(narrow, told)
    with pytest.raises(CheckpointError, match=r"1\.weight, which is not there"):
        rebuild_(narrow[:1], told)
    unknown = {**told, "matrices": {"0.weight": {**told["matrices"]["0.weight"], "structure": "low_rnak"}}}
    with pytest.raises(PlanError, match="Did you mean 'low_rank'"):
        rebuild_(narrow, unknown)
    assert all(slot.matrix is None for slot in slots(narrow).values())


@pytest.mark.parametrize(
    "spec, change",
    [
        ({"structure": "kronecker"}, lambda config: config["factors"][0].__setitem__(0, 10**9)),
        ({"structure": "tensor_train", "rank": 2}, lambda config: config["out_modes"].__setitem__(0, 10**12)),
        ("pool", lambda config: config["pool"].update(parameters=10**11, size=10**12)),
    ],
    ids=["kronecker", "tensor_train", "pool"],
)
def test_a_blueprint_of_absurd_sizes_is_refused_before_memory_is_taken(spec, change):
    model, fresh = Net(), Net(seed=9)
    if spec == "pool":
        pool_(model, ratio=4, include="c")
    else:
        compress_(model, {"c": spec})
    told = json.loads(json.dumps(blueprint(model, slots(model))))
    change(told["matrices"]["c.weight"]["config"])
    with pytest.raises(CheckpointError, match=r"matrix of \d{10,} numbers in c\.weight, where \(5, 12\)"):
        rebuild_(fresh, told)
    assert slots(fresh)["c.weight"].matrix is None
