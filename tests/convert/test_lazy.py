"""Lazy PyG layers (-1 channels) are converted before they have run, and start as PyG's start."""

import copy

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn
from torch.nn.parameter import UninitializedParameter, is_lazy

from edgenet import compress, to_edgenet
from edgenet.testing import GRAPHS

EDGES = GRAPHS["directed"].edge_index
BIPARTITE = torch.tensor([[0, 3, 3, 1], [1, 0, 1, 1]])  # 4 sources, 3 targets
SQUARE = {
    "GAT": lambda: pyg.GATConv(-1, 3, heads=2, residual=True),
    "GAT of edges": lambda: pyg.GATConv(-1, 3, heads=2, edge_dim=-1),
    "GATv2": lambda: pyg.GATv2Conv(-1, 3, heads=2, residual=True),
    "GATv2 shared": lambda: pyg.GATv2Conv(-1, 3, share_weights=True),
    "Transformer": lambda: pyg.TransformerConv(-1, 3, heads=2, beta=True),
    "GCN": lambda: pyg.GCNConv(-1, 3),
    "TAG": lambda: pyg.TAGConv(-1, 3, K=0),
    "SG": lambda: pyg.SGConv(-1, 3),
    "ARMA": lambda: pyg.ARMAConv(-1, 3, num_stacks=2, num_layers=3),
    "ARMA of one layer": lambda: pyg.ARMAConv(-1, 3),
    "ARMA shared": lambda: pyg.ARMAConv(-1, 3, 2, 3, shared_weights=True, bias=False),
    "Cheb": lambda: pyg.ChebConv(-1, 3, K=1),
    "SAGE": lambda: pyg.SAGEConv(-1, 3),
    "GIN": lambda: pyg.GINConv(pyg.Linear(-1, 3)),
}
PAIRS = {
    "GAT": lambda: pyg.GATConv((-1, -1), 3, heads=2, residual=True),
    "GATv2": lambda: pyg.GATv2Conv((-1, -1), 3, heads=2),
    "GATv2 of one number": lambda: pyg.GATv2Conv(-1, 3),
    "Transformer": lambda: pyg.TransformerConv((-1, -1), 3),
    "SAGE": lambda: pyg.SAGEConv((-1, -1), 3),
}


def started(layer, *args, **named):
    torch.manual_seed(3)
    return layer(*args, **named)


def both(build, dtype, *args, **named):
    torch.manual_seed(1)
    theirs = build().to(dtype)
    ours = to_edgenet(theirs)
    assert any(map(is_lazy, ours.parameters()))
    wanted = started(theirs, *args, **named)
    torch.testing.assert_close(started(copy.deepcopy(ours), *args, **named), wanted)
    torch.testing.assert_close(started(ours, *args, **named), wanted)
    assert not any(map(is_lazy, ours.parameters())) and not ours.starts
    torch.testing.assert_close(ours(*args, **named), theirs(*args, **named))
    return ours


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", SQUARE)
def test_it_starts_with_the_numbers_that_pyg_draws(name, dtype):
    named = {"edge_attr": torch.randn(47, 2, dtype=dtype)} if "edges" in name else {}
    both(SQUARE[name], dtype, torch.randn(13, 5, dtype=dtype), EDGES, **named)


@pytest.mark.parametrize(
    ("build", "bound"),  # of the uniform draws for one matrix from 50 to 30 channels
    [(lambda: pyg.TAGConv(-1, 30, K=2), 50**-0.5), (lambda: pyg.ChebConv(-1, 30, K=3), (6 / 80) ** 0.5)],
    ids=["TAG", "Cheb"],
)
def test_layers_that_pyg_itself_cannot_run_lazy_start_as_if_they_had_a_size(build, bound):
    theirs, x = build(), torch.randn(13, 50)
    with pytest.raises(ValueError, match="uninitialized"):
        copy.deepcopy(theirs)(x, EDGES)
    ours = to_edgenet(theirs.double())
    assert ours(x, EDGES).shape == (13, 30)
    assert 0.95 * bound < ours.taps.linear.weight.weight.abs().max() <= bound


@pytest.mark.parametrize("name", PAIRS)
def test_it_does_between_two_sets_of_nodes_too(name):
    def build():
        layer = PAIRS[name]()
        layer.add_self_loops = False
        return layer

    both(build, torch.float64, (torch.randn(4, 5), torch.randn(3, 2)), BIPARTITE)


def test_edge_features_may_come_later_than_the_signal():
    theirs, x, attr = pyg.GATConv(5, 3, edge_dim=-1).double(), torch.randn(13, 5), torch.randn(47, 2)
    ours = to_edgenet(theirs)
    torch.testing.assert_close(ours(x, EDGES), theirs(x, EDGES))
    assert len(ours.starts) == 1
    torch.testing.assert_close(started(ours, x, EDGES, attr), started(theirs, x, EDGES, attr))


def test_lazy_parameters_are_pygs_own_objects():
    model = nn.ModuleList([pyg.GCNConv(-1, 3)])
    weight = model[0].lin.weight
    to_edgenet(model, inplace=True)
    assert model[0].lift.linear.weight.weight is weight and isinstance(weight, UninitializedParameter)
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    model[0](torch.randn(13, 5), EDGES).sum().backward()
    before = weight.clone()
    optimizer.step()
    assert weight.shape == (3, 5) and not torch.equal(weight, before)


def test_a_refusal_leaves_a_lazy_model_as_it_was():
    model = nn.ModuleList([pyg.ARMAConv(-1, 3), pyg.GCNConv(3, 3, cached=True)])
    with pytest.raises(ValueError, match="cached"):
        to_edgenet(model, inplace=True)
    assert model[0](torch.randn(13, 5), EDGES).shape == (13, 3)


@pytest.mark.parametrize("name", ["GCN", "TAG", "ARMA"])
def test_checkpoints_fill_it(name):
    x, run, fresh = torch.randn(13, 5), to_edgenet(SQUARE[name]()), to_edgenet(SQUARE[name]())
    wanted = run(x, EDGES)
    fresh.load_state_dict(run.state_dict())
    torch.testing.assert_close(fresh(x, EDGES), wanted)


def test_heterogeneous_models_are_converted_lazy():
    metadata = (["a", "b"], [("a", "to", "b"), ("b", "to", "a")])
    x = {"a": torch.randn(6, 5), "b": torch.randn(4, 2)}
    edges = {("a", "to", "b"): torch.tensor([[0, 5, 2], [3, 3, 0]]), ("b", "to", "a"): torch.tensor([[1, 3], [5, 0]])}

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = pyg.SAGEConv((-1, -1), 4), pyg.GATConv((-1, -1), 3, add_self_loops=False)

        def forward(self, x, edge_index):
            return self.two(self.one(x, edge_index).relu(), edge_index)

    theirs = pyg.to_hetero(Two(), metadata)
    ours = to_edgenet(theirs)
    wanted, got = started(theirs, x, edges), started(ours, x, edges)
    assert {kind: value.shape for kind, value in got.items()} == {kind: value.shape for kind, value in wanted.items()}
    later = pyg.to_hetero(to_edgenet(Two()), metadata)(x, edges)
    assert later["a"].shape == (6, 3) and later["b"].shape == (4, 3)


def test_it_is_compressed_after_its_first_pass():
    model = nn.ModuleDict({"conv": to_edgenet(pyg.GCNConv(-1, 3))})
    model["conv"](torch.randn(13, 5), EDGES)
    compress.compress_(model, {r"conv\.lift": {"structure": "low_rank", "rank": 1}})
    assert model["conv"](torch.randn(13, 5), EDGES).shape == (13, 3)


@pytest.mark.parametrize("name", ["GCN", "ARMA"])
def test_a_first_pass_in_inference_mode_leaves_it_trainable(name):
    layer, x = to_edgenet(SQUARE[name]().double()), torch.randn(13, 5)
    with torch.inference_mode():
        layer(x, EDGES)
    layer(x, EDGES).sum().backward()
    optimizer = torch.optim.SGD(layer.parameters(), 1.0)
    before = [parameter.clone() for parameter in layer.parameters() if parameter.grad is not None]
    optimizer.step()
    after = [parameter for parameter in layer.parameters() if parameter.grad is not None]
    assert after and not any(torch.equal(*pair) for pair in zip(before, after, strict=True))
