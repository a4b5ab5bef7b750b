"""Every layer through every door of ``fit``: one graph, a batch, a list, a loader."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader

from edgenet import fit
from edgenet.cli import main
from edgenet.errors import SupportError
from edgenet.models import GraphClassifier, NodeClassifier
from edgenet.nn import SPECIALIZATIONS

F, CLASSES = 3, 2


def ring(nodes: int) -> Tensor:
    node = torch.arange(nodes)
    onward = torch.stack([node, (node + 1) % nodes])
    return torch.cat([onward, onward.flip(0)], 1)


def graphs(**fields: Callable[[int], Tensor]) -> list[Data]:
    """Five graphs of 4, 5 or 6 nodes, with a class each, and more fields for so many edges."""
    found = []
    for number in range(5):
        nodes = 4 + number % 3
        more = {name: make(2 * nodes) for name, make in fields.items()}
        found.append(Data(x=torch.randn(nodes, F), edge_index=ring(nodes), y=torch.tensor([number % CLASSES]), **more))
    return found


def of_nodes(data: Data) -> Data:
    return Data(x=data.x, edge_index=data.edge_index, y=(torch.arange(len(data.x)) > 0).long())


DOORS: dict[str, Callable[[list[Data]], Any]] = {
    "Data": lambda some: some[0],
    "Batch": Batch.from_data_list,
    "list": list,
    "loader": lambda some: DataLoader(some, batch_size=2),
}


def options(layer: str) -> dict[str, Any]:
    known = inspect.signature(SPECIALIZATIONS[layer]).parameters
    heads = {"heads": 2} if "heads" in known else {}
    return {"layer": layer, "hidden_channels": 8, **heads, **({"bank": "heads"} if "bank" in known else {})}


@pytest.mark.parametrize("layer", SPECIALIZATIONS)
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", [NodeClassifier, GraphClassifier])
def test_every_layer_is_trained_through_every_door(layer, door, kind):
    some = graphs() if kind is GraphClassifier else [of_nodes(data) for data in graphs()]
    model = kind(F, CLASSES, **options(layer))
    before = {name: p.detach().clone() for name, p in model.named_parameters() if not torch.nn.parameter.is_lazy(p)}
    try:
        result = fit(model, DOORS[door](some), epochs=1, lr=0.1, progress=False, seed=0)
    except SupportError as error:  # tables of one graph, and here are five
        assert door in ("list", "loader") and "graph" in str(error)
        return
    assert result.epochs == 1
    moved = [name for name, p in model.named_parameters() if name in before and not torch.equal(p, before[name])]
    assert moved


@pytest.mark.parametrize("layer", ["gcnn", "gat", "hybrid", "spectral"])
@pytest.mark.parametrize("kind", [NodeClassifier, GraphClassifier])
def test_edge_features_that_no_layer_was_made_for_are_left_out(layer, kind):
    """As PyG's models do: nearly all molecules have some."""
    data = graphs(edge_attr=lambda edges: torch.randn(edges, 2))[0]
    data.y = data.y if kind is GraphClassifier else torch.zeros(4, dtype=torch.long)
    assert fit(kind(F, CLASSES, layer=layer), data, epochs=1, progress=False).epochs == 1


def test_edge_features_reach_layers_that_were_made_for_them():
    model = GraphClassifier(F, CLASSES, layer="gat", edge_dim=2)
    before = model.convs[0].phi.lift_edge.weight.weight.detach().clone()
    some = graphs(edge_attr=lambda edges: torch.randn(edges, 2))
    fit(model, some, epochs=1, lr=0.1, progress=False)
    assert not torch.equal(model.convs[0].phi.lift_edge.weight.weight, before)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("model.options.heads=two", "heads of NodeClassifier is a whole number or None, got 'two'"),
        ("model.options.heads=1.5", "heads of NodeClassifier is a whole number or None, got 1.5"),
        ("model.options.headz=2", "has no option 'headz'.*Did you mean 'heads'"),
        ("model.options.out_heads=0", "out_heads is 1 or more, got 0"),
    ],
)
def test_the_command_line_says_which_option_of_a_model_is_wrong(setting, says, capsys, tmp_path):
    assert main(["train", "karate", "--set", setting, "--out", str(tmp_path / "run")]) == 2
    assert re.search(f"ConfigError: .*{says}", capsys.readouterr().err)
