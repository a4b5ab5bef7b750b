"""What every model keeps: each layer with each number of heads, depth, way of joining heads and readout."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import SetTransformerAggregation, SoftmaxAggregation, global_add_pool

from edgenet import from_pretrained
from edgenet.errors import SupportError
from edgenet.models import READOUTS, GraphClassifier, NodeClassifier
from edgenet.models.layers import layer_options
from edgenet.nn import SPECIALIZATIONS
from edgenet.testing import check_model

N, F, CLASSES, HIDDEN = 5, 3, 2, 6  # 6 channels: hybrid filters divide theirs among 1, 2 or 3 heads


@dataclass(frozen=True)
class Case:
    """A layer by name, and how its heads stand."""

    layer: str
    heads: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        joined = {True: "", False: "-mean"}[self.options.get("concat", True)]
        return self.layer if self.heads is None else f"{self.layer}-{self.heads}-heads{joined}"

    def arguments(self, depth: int) -> dict[str, Any]:
        shared = {"layer": self.layer, "hidden_channels": HIDDEN, "num_layers": depth, "activation": "tanh"}
        return {**shared, "heads": self.heads, **self.options}


def cases() -> list[Case]:
    found = []
    for layer in SPECIALIZATIONS:
        known = layer_options(layer)
        if "heads" not in known:
            found.append(Case(layer))
            continue
        bank = {"bank": "heads"} if "bank" in known else {}
        joins = [{"concat": True}, {"concat": False}] if "concat" in known else [{}]
        found += [Case(layer, heads, {**bank, **join}) for heads in (1, 2, 3) for join in joins]
    return found


#: by a name for the test: what is handed over as ``readout``
CHOICES: dict[str, Any] = {
    **{name: name for name in READOUTS},
    "PyG's median": "median",
    "several": ["mean", "max"],
    "a function": lambda x, batch, size: global_add_pool(x, batch, size),
}
every_case = pytest.mark.parametrize("case", cases(), ids=str)
every_depth = pytest.mark.parametrize("depth", [1, 2, 3])


def ring(nodes: int = N) -> Tensor:
    node = torch.arange(nodes)
    onward = torch.stack([node, (node + 1) % nodes])
    return torch.cat([onward, onward.flip(0)], 1)


def graphs(*sizes: int) -> list[Data]:
    return [Data(x=torch.randn(n, F), edge_index=ring(n), num_nodes=n) for n in sizes]


def classifier(case: Case, depth: int, readout: Any) -> GraphClassifier:
    return GraphClassifier(F, CLASSES, readout=readout, num_nodes=N, target_node=2, **case.arguments(depth))


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def check_gradients(model: torch.nn.Module, y: Tensor) -> None:
    y.pow(2).sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not without, f"no gradient reaches {', '.join(without)}"


# ---------------------------------------------------------------- scores of nodes
@every_case
@every_depth
def test_a_node_classifier_scores_nodes_and_every_parameter_learns(case, depth):
    model = NodeClassifier(F, CLASSES, dropout=0.0, **case.arguments(depth))
    y = model(torch.randn(N, F), ring())
    assert y.shape == (N, CLASSES)
    check_gradients(model, y)


@every_case
def test_a_node_classifier_scores_a_batch_as_it_scores_each_graph(case):
    model, some = NodeClassifier(F, CLASSES, **case.arguments(2)).eval(), graphs(N, 4, 6)
    batch = Batch.from_data_list(some)
    if belongs_to_a_graph(model):
        with pytest.raises(SupportError):
            model.bind(ring(), N)(batch.x, batch.edge_index)
        return
    close(model(batch.x, batch.edge_index), torch.cat([model(g.x, g.edge_index) for g in some]))


# ---------------------------------------------------------------- scores of graphs and signals
@every_case
@every_depth
def test_a_graph_classifier_scores_signals_as_each_alone_and_every_parameter_learns(case, depth):
    """Over all readouts: layers of each have the same numbers."""
    x = torch.randn(2, N, F)
    for readout in CHOICES.values():
        model = classifier(case, depth, readout)
        y = model(x, ring())
        assert y.shape == (2, CLASSES)
        check_gradients(model, y)
        close(y, torch.cat([model(signal, ring()) for signal in x]))


@every_case
@every_depth
def test_a_graph_classifier_scores_a_batch_as_it_scores_each_graph(case, depth):
    """In whatever order its nodes come; signals on one graph are a batch of its copies. All readouts, at one depth."""
    some = graphs(N, N)
    batch = Batch.from_data_list(some)
    shuffled = torch.randperm(2 * N)
    rank = shuffled.argsort()
    model = classifier(case, depth, "mean")
    if belongs_to_a_graph(model):
        with pytest.raises(SupportError):
            model.bind(ring(), N)(batch.x, batch.edge_index, batch.batch)
        return
    for name, readout in CHOICES.items() if depth == 2 else [("mean", "mean")]:
        model = classifier(case, depth, readout).eval()
        alone = torch.cat([model(g.x, g.edge_index) for g in some])
        close(model(batch.x, batch.edge_index, batch.batch), alone)
        close(model(batch.x.view(2, N, F), ring()), alone)
        if name not in ("flatten", "node"):  # which know nodes by their place
            close(model(batch.x[shuffled], rank[batch.edge_index], batch.batch[shuffled]), alone)


@every_case
def test_graphs_of_other_sizes_and_without_nodes_are_scored_alike(case):
    some = graphs(3, 6, 4)
    batch = Batch.from_data_list(some)
    if belongs_to_a_graph(classifier(case, 2, "mean")):
        return
    for name, readout in CHOICES.items():
        if name == "flatten":  # for graphs of one size
            continue
        model = classifier(case, 2, readout).eval()
        alone = torch.cat([model(g.x, g.edge_index) for g in some])
        close(model(batch.x, batch.edge_index, batch.batch), alone)
        if name == "node":
            continue
        # graph 1 and the last have no nodes
        spread = torch.tensor([0, 2, 3])[batch.batch]
        y = model(batch.x, batch.edge_index, spread, num_graphs=5)
        close(y[[0, 2, 3]], alone)
        assert y.isfinite().all() and torch.equal(y[1], y[4])


def belongs_to_a_graph(model: GraphClassifier | NodeClassifier) -> bool:
    """Whether its layers have tables or eigenvectors of one graph, which they get when they are bound."""

    def sizes(module: torch.nn.Module) -> dict[str, Any]:
        state = module.state_dict(keep_vars=True)
        return {name: None if is_lazy(value) else value.shape for name, value in state.items()}

    return sizes(copy.deepcopy(model).bind(ring(), N)) != sizes(model)


# ---------------------------------------------------------------- files
@every_case
def test_a_graph_classifier_comes_back_from_a_folder(case, tmp_path):
    x = torch.randn(2, N, F)
    # one readout a case: files hold layers and readouts side by side
    choices = [name for name in CHOICES if name != "a function"]
    readout = CHOICES[choices[cases().index(case) % len(choices)]]
    model = classifier(case, 2, readout).bind(ring(), N).eval()
    y = model(x, ring())
    model.save_pretrained(tmp_path)
    again = GraphClassifier.from_pretrained(tmp_path)
    assert torch.equal(again(x, ring()), y) and again.config() == model.config()


@pytest.mark.parametrize("readout", CHOICES)
def test_every_readout_comes_back_from_a_folder(readout, tmp_path):
    x = torch.randn(2, N, F)
    make = lambda: classifier(Case("gcnn"), 1, CHOICES[readout])  # noqa: E731
    model = make().eval()
    model.save_pretrained(tmp_path)
    again = from_pretrained(tmp_path, model=make()) if readout == "a function" else from_pretrained(tmp_path)
    assert torch.equal(again(x, ring()), model(x, ring()))


@pytest.mark.parametrize("before", [[], ["sum"]], ids=["alone", "beside another"])
def test_aggregations_of_pyg_come_back_from_a_folder(before, tmp_path):
    x, aggregation = torch.randn(2, N, F), SoftmaxAggregation(learn=True)
    model = classifier(Case("gat", 2), 2, [*before, aggregation] if before else aggregation).eval()
    with torch.no_grad():
        for parameter in model.readout.parameters():
            parameter.fill_(0.3)
    model.save_pretrained(tmp_path)
    assert torch.equal(from_pretrained(tmp_path)(x, ring()), model(x, ring()))


# ---------------------------------------------------------------- doors
def by_position(model: GraphClassifier, data: Data) -> Tensor:
    """As PyG's examples of graph classification have it."""
    return model(data.x, data.edge_index, data.batch)


def by_name(model: GraphClassifier, data: Data) -> Tensor:
    return model(x=data.x, edge_index=data.edge_index, batch=data.batch, num_graphs=getattr(data, "num_graphs", None))


@pytest.mark.parametrize("layer", [case for case in cases() if case.heads in (None, 2)], ids=str)
@pytest.mark.parametrize("call", [by_position, by_name])
def test_data_batches_lists_and_loaders_have_one_score(layer, call):
    model, some = classifier(layer, 2, "mean").eval(), graphs(4, 6, 3, 5)
    if belongs_to_a_graph(model):
        return
    alone = torch.cat([call(model, data) for data in some])
    close(call(model, Batch.from_data_list(some)), alone)
    close(torch.cat([call(model, batch) for batch in DataLoader(some, batch_size=3)]), alone)


def test_an_aggregation_with_weights_of_its_own_learns():
    model = classifier(Case("gat", 2), 1, SetTransformerAggregation(2 * HIDDEN))
    batch = Batch.from_data_list(graphs(3, 4))
    check_gradients(model, model(batch.x, batch.edge_index, batch.batch))


# ---------------------------------------------------------------- what users hold their models to
@pytest.mark.parametrize("readout", [name for name in CHOICES if name not in ("flatten", "node", "a function")])
def test_every_readout_keeps_the_contract_of_models(readout):
    """On awkward graphs, too: without edges, without nodes, of one node. The other two are for graphs of one size."""
    make = partial(GraphClassifier, layer="gat", heads=2, num_layers=2, readout=CHOICES[readout])
    check_model(make, graphs=True, skip="compile")
