"""check_layer finds what is wrong with a layer, and finds nothing where nothing is."""

from functools import partial

import pytest
import torch
from torch import nn
from torch_geometric.nn import GATConv, SAGEConv

from edgenet import EdgeNetConv
from edgenet.errors import ConfigError, ContractError
from edgenet.graph import Graph
from edgenet.structured import StructuredLinear
from edgenet.testing import check_layer, check_model
from edgenet.testing.layer import CHECKS

from testing.parts import Averaging  # isort: skip

GROUPS = list(dict.fromkeys(name.partition(",")[0] for name in CHECKS.checks))


class Plain(EdgeNetConv):
    """A layer of order 1."""

    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels, phi="shift")


def layer(change=None, base=Plain, **members):
    """A layer with members of its own; ``change(self, y, x, edge_index)`` is its output."""

    def forward(self, x, edge_index, edge_values=None, edge_attr=None, **given):
        return change(self, base.forward(self, x, edge_index, edge_values, edge_attr, **given), x, edge_index)

    return type("Broken", (base,), {**members, **({"forward": forward} if change else {})})


class Untouched(Plain):
    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels)
        self.spare = nn.Parameter(torch.ones(3))


class Forgets(Plain):
    """Its factor is drawn, and saved nowhere."""

    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels)
        self.factor = torch.rand(()).item()

    def forward(self, x, edge_index, **given):
        return self.factor * super().forward(x, edge_index, **given)


class Remembers(Plain):
    """Answers in eval mode as it did before."""

    def forward(self, x, edge_index, **given):
        if self.training:
            return super().forward(x, edge_index, **given)
        if not hasattr(self, "answer"):
            self.answer = super().forward(x, edge_index, **given)
        return self.answer


class ReadsPast(nn.Module):
    """Reads the matrix of its linear map, and calls nothing."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.lift = StructuredLinear.dense(in_channels, out_channels)

    def forward(self, x, edge_index):
        return (x.to_dense() if x.layout != torch.strided else x) @ self.lift.weight.to_dense().mT


class Merges(nn.Module):
    """Keeps its weight in eval mode, whatever becomes of it."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels))

    def forward(self, x, edge_index):
        if self.training:
            return x @ self.weight.mT
        if not hasattr(self, "merged"):
            self.merged = self.weight.detach().clone()
        return x @ self.merged.mT


def reset_to_others(self):
    for module in self.modules():
        for name in list(module._parameters):
            if module._parameters[name] is not None:
                module._parameters[name] = nn.Parameter(torch.randn_like(module._parameters[name]))


def shares(self, y, x, edge_index):
    return y - y.mean(0) if x.dim() == 3 else y


def of_graphs(self, y, x, edge_index):
    return 2 * y if isinstance(edge_index, Graph) else y


def of_edges(self, y, x, edge_index):
    return y * edge_index.shape[1] / edge_index.shape[1] if isinstance(edge_index, torch.Tensor) else y


def of_flat_edges(self, y, x, edge_index):
    return y + 0 * edge_index.view(-1)[:0].sum()


def of_a_number(self, y, x, edge_index):
    return y if float(y.detach().sum()) > 0 else 2 * y


def counts(self, y, x, edge_index):
    self.register_buffer("calls", getattr(self, "calls", torch.zeros(())) + 1)
    return y


def walked_twice(self, *given):
    return 2 * Plain._walked(self, *given)


#: what breaks each check, and a few words of what is then said
BROKEN = {
    "shape": (layer(lambda self, y, *_: y[:, :-1]), "columns were asked for"),
    "shuffled edges": (layer(lambda self, y, x, e: y + e[0, 0]), "on a shuffled edge list"),
    "relabelled nodes": (layer(lambda self, y, *_: y * torch.arange(len(y)).unsqueeze(1)), "numbered anew"),
    "batch of graphs": (layer(lambda self, y, *_: y - y.mean(0)), "than each alone"),
    "batch of signals": (layer(shares), "than each alone"),
    "small graphs": (layer(of_edges), "with no edges, 7 finite rows are wanted"),
    "edges as": (layer(of_graphs), "it gives something else"),
    "strided edges": (layer(of_flat_edges), "view"),
    "sparse features": (layer(lambda self, y, x, _: y if x.layout == torch.strided else 2 * y), "give something else"),
    "explained": (layer(lambda self, y, *_: 2 * y if self.explain else y), "with a mask of ones"),
    "gradients": (Untouched, "no gradient reaches spare"),
    "kept": (Remembers, "after its parameters have changed, .*kept nothing"),
    "no trace": (layer(counts), "in eval mode a call changes calls"),
    "deep copy": (layer(__deepcopy__=lambda self, memo: self), "changes with its deep copy"),
    "state dict": (Forgets, "filled with its state_dict"),
    "files": (Forgets, "read from its files"),
    "reset": (layer(reset_parameters=reset_to_others), "of which an optimizer does not know"),
    "dtype": (layer(lambda self, y, *_: y.double()), "it gives torch.float64"),
    "compile": (layer(of_a_number), "raises"),
    "modules one by one": (layer(_walked=walked_twice), "not what its modules give: output by"),
    "on modules": (ReadsPast, "lift.weight: never called"),
    "on the sum of messages": (layer(is_looked_at=lambda self: False), "aggr_module: .*not as if modules were called"),
    "on parameters": (Merges, "weight: eval: not as if it was in the weights"),
}


def test_every_check_has_something_that_it_finds():
    assert list(BROKEN) == GROUPS


@pytest.mark.parametrize("check", GROUPS)
def test_a_fault_is_found_by_its_check_and_told(check):
    kind, says = BROKEN[check]
    with pytest.raises(ContractError, match=says) as told:
        check_layer(kind, only=check)
    assert kind.__name__ in str(told.value) and f"check '{check}" in str(told.value)


def test_a_layer_with_a_phi_of_a_users_own_keeps_its_contract():
    rare = ("compile", "on modules", "on parameters", "on the sum of messages")
    check_layer(lambda i, o: EdgeNetConv(i, o, phi=Averaging(2, 2)), skip=rare)
    check_layer(Plain, only=("on modules, adapter", "on parameters, mask", "on the sum of messages, forward hook"))


def test_a_layer_that_takes_the_last_weight_of_an_edge_that_stands_twice_is_found():
    class LastWeight(nn.Module):
        def __init__(self, in_channels, out_channels):
            super().__init__()
            self.linear = nn.Linear(in_channels, out_channels)

        def forward(self, x, edge_index, edge_weight):
            dense = x.new_zeros(len(x), len(x))
            dense[edge_index[1], edge_index[0]] = edge_weight
            return dense @ self.linear(x)

    with pytest.raises(ContractError, match="'shuffled edges, some twice': on a shuffled edge list"):
        check_layer(LastWeight, weights=1, only="shuffled edges")


@pytest.mark.parametrize("make", [partial(GATConv, dropout=0.5), SAGEConv], ids=["GATConv", "SAGEConv"])
def test_a_layer_of_pyg_with_or_without_dropout_keeps_what_it_can(make):
    check_layer(make, batches=False, sparse=False, skip=("edges as", "compile, warm"))


def test_layers_of_weights_features_and_pairs_are_looked_at():
    check_layer(partial(EdgeNetConv, phi="shift"), weights=1, only=("shape", "shuffled edges"))
    check_layer(partial(EdgeNetConv, phi="attention", edge_dim=3), features=3, only=("shape", "shuffled edges"))
    pairs = partial(EdgeNetConv, phi="attention", add_self_loops=False)
    check_layer(pairs, pair=True, only=("shape", "relabelled nodes", "small graphs"))


@pytest.mark.parametrize("check", [check_layer, check_model])
def test_a_layer_that_is_made_already_is_refused(check):
    with pytest.raises(
        ConfigError, match=r"a function \(in_channels, out_channels\) or a class.*made already, a Plain"
    ):
        check(Plain(4, 8))
    with pytest.raises(ConfigError, match="got int"):
        check(5)
