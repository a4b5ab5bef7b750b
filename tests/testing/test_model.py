"""check_model finds what is wrong with a model, and finds nothing where nothing is."""

from functools import partial

import pytest
import torch
from torch import nn
from torch_geometric.nn import GAT, GIN, GCNConv, global_mean_pool

from edgenet.errors import ContractError
from edgenet.models import GraphClassifier, NodeClassifier
from edgenet.testing import GRAPHS, check_model, random_graph
from edgenet.testing.model import CHECKS, ModelCase

GROUPS = list(dict.fromkeys(name.partition(",")[0] for name in CHECKS.checks))


class Own(nn.Module):
    """Somebody's graph classifier of PyG's layers."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv, self.head = GCNConv(in_channels, 16), nn.Linear(16, out_channels)

    def forward(self, x, edge_index, batch=None):
        return self.head(global_mean_pool(self.conv(x, edge_index).tanh(), batch))

    def reset_parameters(self):
        self.conv.reset_parameters()
        self.head.reset_parameters()


class Behind(Own):
    """Takes something else third."""

    def forward(self, x, edge_index, scale=None, batch=None):
        y = super().forward(x, edge_index, batch)
        return y if scale is None else 2 * y


class Untouched(Own):
    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels)
        self.spare = nn.Parameter(torch.ones(3))


class Forgets(Own):
    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels)
        self.factor = torch.rand(()).item()

    def forward(self, x, edge_index, batch=None):
        return self.factor * super().forward(x, edge_index, batch)


class Remembers(Own):
    def forward(self, x, edge_index, batch=None):
        if self.training:
            return super().forward(x, edge_index, batch)
        if not hasattr(self, "answer"):
            self.answer = super().forward(x, edge_index, batch)
        return self.answer


def model(change=None, **members):
    """A classifier with members of its own; ``change(y, x, edge_index, batch)`` is its output."""

    def forward(self, x, edge_index, batch=None):
        return change(Own.forward(self, x, edge_index, batch), x, edge_index, batch)

    return type("Broken", (Own,), {**members, **({"forward": forward} if change else {})})


def reset_to_others(self):
    self.head.weight = nn.Parameter(torch.randn_like(self.head.weight))


#: what breaks each check, and a few words of what is then said
BROKEN = {
    "scores": (model(lambda y, *_: y[:, :-1]), r"it gives \(1, 7\), not \(1, 8\)"),
    "batch of graphs": (model(lambda y, *_: y - y.mean(0)), "in a batch"),
    "batch by position": (Behind, r"called as model\(x, edge_index, batch\)"),
    "loader": (model(lambda y, x, e, batch: y if batch is None else y / y.shape[0]), "from a loader"),
    "relabelled nodes": (model(lambda y, x, *_: y + x[0, 0]), "numbered anew"),
    "graph without edges": (model(lambda y, x, e, batch: y * e.shape[1] / e.shape[1]), "not finite"),
    "training step": (Untouched, "no gradient reaches spare"),
    "shuffled edges": (model(lambda y, x, e, batch: y + e[0, 0]), "on a shuffled edge list"),
    "gradients": (Untouched, "no gradient reaches spare"),
    "kept": (Remembers, "after its parameters have changed"),
    "no trace": (model(lambda y, x, e, batch: y + 0 * torch.rand(())), "draws random numbers"),
    "deep copy": (model(__deepcopy__=lambda self, memo: self), "changes with its deep copy"),
    "state dict": (Forgets, "filled with its state_dict"),
    "files": (Forgets, "read from its files"),
    "reset": (model(reset_parameters=reset_to_others), "of which an optimizer does not know"),
    "dtype": (model(lambda y, *_: y.double()), "it gives torch.float64"),
    "compile": (model(lambda y, *_: y if float(y.detach().sum()) > 0 else 2 * y), "raises"),
}

MODELS = {
    "NodeClassifier gat": ModelCase(partial(NodeClassifier, layer="gat", heads=2)),
    "NodeClassifier gcnn": ModelCase(partial(NodeClassifier, layer="gcnn"), weights=1),
    "NodeClassifier edge_varying": ModelCase(partial(NodeClassifier, layer="edge_varying", hidden_channels=4)),
    "GraphClassifier gcnn": ModelCase(GraphClassifier, graphs=True),
    "Own": ModelCase(Own, graphs=True),
}


def test_every_check_has_something_that_it_finds():
    assert list(BROKEN) == GROUPS


@pytest.mark.parametrize("check", GROUPS)
def test_a_fault_is_found_by_its_check_and_told(check):
    kind, says = BROKEN[check]
    with pytest.raises(ContractError, match=says) as told:
        check_model(kind, graphs=True, only=check)
    assert kind.__name__ in str(told.value) and f"check '{check}" in str(told.value)


@pytest.mark.parametrize("check", CHECKS.chosen(skip="compile"))
@pytest.mark.parametrize("name", MODELS)
def test_a_model_keeps_its_contract(name, check):
    beside_the_point = CHECKS.hold(check, MODELS[name])
    if beside_the_point:
        pytest.skip(beside_the_point)


def test_a_model_of_pyg_with_dropout_and_norms_keeps_its_contract():
    check_model(lambda i, o: GAT(i, 16, 2, o, dropout=0.5), skip="compile")
    check_model(lambda i, o: GIN(i, 16, 1, o, norm="batch"), only=("training step", "compile, cold"))


def test_models_of_nodes_and_of_edge_features_are_looked_at():
    check_model(partial(NodeClassifier, layer="gat", edge_dim=3), features=3, skip="compile")


# --- the graphs that all contracts walk over --------------------------------------------------------------------------
def test_there_are_awkward_graphs():
    assert (
        GRAPHS["no_edges"].num_edges == 0 and GRAPHS["zero_nodes"].num_nodes == 0 and GRAPHS["one_node"].num_nodes == 1
    )
    assert (GRAPHS["self_loops"].source == GRAPHS["self_loops"].target).any()
    assert GRAPHS["repeated_edges"].edge_index.unique(dim=1).shape[1] < GRAPHS["repeated_edges"].num_edges
    assert (GRAPHS["isolated_node"].in_degree == 0).any()
    graph = random_graph(9, 20)
    assert (
        graph.num_edges == 20
        and 8 not in graph.edge_index
        and torch.equal(graph.edge_index[:, 0], graph.edge_index[:, 1])
    )
