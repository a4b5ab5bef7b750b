"""Pictures: the right edges and weights are in them, and they come out as files."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from edgenet import plots
from edgenet.compress import compress_
from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph
from edgenet.models import GraphClassifier, NodeClassifier
from edgenet.nn import EdgeNetConv
from edgenet.plots import compression

EDGES = torch.tensor([[0, 1, 2, 3, 1, 0], [1, 2, 3, 0, 0, 2]])
RECORDS = [{"epoch": e, "loss": 1 / e, "val_loss": 1 / e, "train": 0.6, "val": 0.5, "test": 0.5} for e in (1, 2, 3)]


def is_png(path):
    return path.read_bytes()[:4] == b"\x89PNG"


def test_edge_weights_are_those_that_the_layer_walks_with():
    model = NodeClassifier(5, 3, layer="gat", hidden_channels=4, heads=2).train()
    x = torch.randn(4, 5)
    seen = plots.edge_weights(model, x, EDGES)
    _, (edge_index, alpha) = model.eval().convs[0](x, EDGES, return_attention_weights=True)
    assert torch.equal(seen.edge_index, edge_index) and torch.equal(seen.values[0], alpha)
    assert seen.values.shape == (1, 10, 2) and seen.learned and seen.layer == 0
    sums = torch.zeros(4, 2).index_add(0, edge_index[1], seen.values[0])
    torch.testing.assert_close(sums, torch.ones(4, 2))  # attention: each node's in-edges


def test_looking_leaves_the_model_as_it_was():
    model = NodeClassifier(5, 3, layer="gat", hidden_channels=4).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plots.edge_weights(model, torch.randn(4, 5), EDGES)
    assert model.training and all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_layers_count_in_the_order_of_their_calls():
    model = NodeClassifier(5, 3, layer="edge_varying", bank="heads", heads=2, out_heads=2).bind(EDGES, 4)
    last = plots.edge_weights(model, torch.randn(4, 5), EDGES, layer=-1)
    assert last.layer == 1 and last.values.shape == (2, 6, 2)  # K, E, H
    row = model.convs[1].phi.edge_rows(Graph(EDGES, 4), None)
    table = model.convs[1].phi.edge_table.to_dense()[row].unflatten(1, (2, 2)).movedim(1, 0)
    assert torch.equal(last.values, table)
    with pytest.raises(ShapeError, match="calls 2 EdgeNetConv layers; there is no layer 5"):
        plots.edge_weights(model, torch.randn(4, 5), EDGES, layer=5)


def test_given_weights_are_told_from_learned_ones():
    x = torch.randn(4, 5)
    gcn = plots.edge_weights(NodeClassifier(5, 3, layer="gcn"), x, EDGES)
    own = plots.edge_weights(GraphClassifier(5, 3, layer="edge_varying").bind(EDGES, 4), x, EDGES)
    assert not gcn.learned and own.learned


def test_a_model_without_layers_to_look_into_is_said_so():
    with pytest.raises(ShapeError, match="calls 0 EdgeNetConv layers"):
        plots.edge_weights(nn.Linear(2, 2), torch.randn(3, 2))


def test_the_head_that_tells_edges_apart_is_picked():
    values = torch.stack([torch.ones(6), torch.arange(6.0)], dim=1).unsqueeze(0)
    weights = plots.EdgeWeights(EDGES, values, 0, True)
    assert weights.picked().tolist() == [0, 1, 2, 3, 4, 5] and weights.picked(head=0).tolist() == [1] * 6


def test_a_neighbourhood_is_connected_of_the_size_asked_for_and_the_same_every_time():
    n = 60
    ring = torch.arange(n)
    star = torch.stack([torch.full((5,), 7), torch.arange(30, 35)])
    edges = torch.cat([torch.stack([ring, (ring + 1) % n]), star.flip(0)], dim=1)
    piece = plots.neighbourhood(Graph(edges, n), 9)
    assert 7 in piece and len(piece) == 9 and {30, 31, 32, 33, 34} <= set(piece.tolist())
    assert np.array_equal(piece, plots.neighbourhood(Graph(edges, n), 9))


def test_with_classes_the_surroundings_are_mixed():
    n = 60
    ring = torch.arange(n)
    edges = torch.cat([torch.stack([ring, (ring + 1) % n]), torch.tensor([[10], [12]])], dim=1)  # 12 has 2 in-edges
    labels = (ring >= 30).long().numpy()
    assert len(set(labels[plots.neighbourhood(Graph(edges, n), 9)])) == 1
    assert len(set(labels[plots.neighbourhood(Graph(edges, n), 9, labels)])) == 2


def test_a_layout_is_the_same_for_the_same_seed_and_stays_in_its_box():
    edges = EDGES.numpy()
    assert np.array_equal(plots.node_layout(edges, 4, 1), plots.node_layout(edges, 4, 1))
    assert not np.array_equal(plots.node_layout(edges, 4, 1), plots.node_layout(edges, 4, 2))
    assert np.abs(plots.node_layout(edges, 4)).max() <= 1.12
    assert plots.node_layout(np.zeros((2, 0), int), 1).tolist() == [[0, 0]]


@pytest.mark.parametrize("seeds", [0, 1, 3])
@pytest.mark.parametrize("metric", ["accuracy", "rmse"])
def test_learning_curves_come_out_for_any_number_of_seeds(tmp_path, seeds, metric):
    histories = {seed: RECORDS[: 3 - seed % 2] for seed in range(seeds)}
    assert is_png(plots.learning_curve(histories, metric, tmp_path / "new" / "c.png", "title"))
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["c.png"]


@pytest.mark.parametrize("labels", [None, torch.tensor([0, 1, 1, 12])])
@pytest.mark.parametrize(
    "values", [torch.rand(6), torch.randn(6), torch.ones(6), torch.zeros(6)], ids=["positive", "signed", "equal", "0"]
)
def test_edge_weights_of_any_sign_are_drawn(tmp_path, values, labels):
    weights = plots.EdgeWeights(EDGES, values.reshape(1, 6, 1), 0, True)
    assert is_png(plots.edge_weight_picture(weights, tmp_path / "w.png", labels, "title"))


def test_awkward_graphs_are_drawn(tmp_path):
    none = plots.EdgeWeights(torch.empty(2, 0, dtype=torch.long), torch.empty(1, 0, 1), 0, True)
    loops = plots.EdgeWeights(torch.tensor([[0, 0], [0, 0]]), torch.ones(1, 2, 1), 0, True)
    for weights in (none, loops):
        for labels in (None, torch.zeros(3, dtype=torch.long)):
            assert is_png(plots.edge_weight_picture(weights, tmp_path / "w.png", labels))


def test_of_a_large_graph_a_part_is_drawn_and_the_picture_says_so(tmp_path):
    from matplotlib.figure import Figure

    n = 400
    ring = torch.arange(n)
    weights = plots.EdgeWeights(torch.stack([ring, (ring + 1) % n]), torch.rand(1, n, 1), 0, True)
    axes = Figure().subplots()
    plots.draw_edge_weights(axes, weights, max_nodes=50, title="ring")
    assert any("50 of 400 nodes" in text.get_text() for text in axes.texts)
    assert len(axes.collections[1].get_offsets()) == 50


def test_the_best_epoch_is_marked_and_ties_go_to_the_lower_loss():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    course = [(1, 0.1, 3), (2, 0.9, 2), (3, 0.9, 1), (4, 0.2, 0)]
    records = [{"epoch": epoch, "val": val, "val_loss": loss} for epoch, val, loss in course]
    plots.draw_curves(axes, {0: records}, "val", "black", best="max")
    marks = [line.get_xdata() for line in axes.lines if line.get_marker() == "o"]
    assert [list(np.atleast_1d(mark)) for mark in marks] == [[3]]


def test_without_matplotlib_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match="pip install matplotlib"):
        plots.learning_curve({0: RECORDS}, "accuracy", tmp_path / "c.png")


def test_matplotlib_is_imported_only_to_draw_and_its_backend_is_left_alone(tmp_path):
    code = (
        "import sys, edgenet.plots as p\nassert 'matplotlib' not in sys.modules\n"
        "r = [{'epoch': 1, 'loss': 1.0, 'val_loss': 1.0, 'train': 0.5, 'val': 0.5, 'test': 0.5}]\n"
        "p.learning_curve({0: r}, 'accuracy', sys.argv[1])\nassert 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "c.png"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_plain_convolution_can_be_looked_into():
    conv = EdgeNetConv(3, 2, phi="attention", heads=2)
    assert plots.edge_weights(conv, torch.randn(4, 3), EDGES).values.shape == (1, 10, 2)


# ---------------------------------------------------------------- compression
def test_a_report_is_drawn_with_every_slot_or_the_largest(tmp_path):
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 32), nn.Linear(32, 8, bias=False))
    report = compress_(model, {"0": {"structure": "low_rank", "rank": 4}, "1": {"structure": "kronecker"}})
    path = plots.compression_picture(report, tmp_path / "pictures" / "report.png")
    few = plots.compression_picture(report, tmp_path / "few.png", title="A title", most=1)
    assert is_png(path) and is_png(few)
    assert path.read_bytes()[16:24] != few.read_bytes()[16:24]  # another height
    assert compression._said(report.rows[0]) == f"low_rank, 8.0x smaller, error {report.rows[0].error:.2g}"
    assert compression._said(report.rows[2]) == "dense"


def test_curves_of_quality_against_size_are_drawn(tmp_path):
    curves = {f"family {i}": [(4.0, 0.8 - i / 50), (1.0, 0.81), (16.0, 0.7)] for i in range(8)}
    assert is_png(plots.size_curves(curves, tmp_path / "sizes.png", baseline=0.81, title="Cora"))
    assert is_png(plots.size_curves({}, tmp_path / "none.png"))


def test_byte_curves_draw_a_panel_a_network_and_one_colour_a_name(tmp_path, monkeypatch):
    drawn = []

    def noted(figure, path):
        drawn.append(figure)
        return path

    monkeypatch.setattr("edgenet.plots.bytes.saved", noted)
    small = {"float": [(400, 97.0), (40, 90.0)], "uniform": [(100, 96.0)]}
    panels = {"small": small, "large": {"uniform": [(900, 98.0)]}}
    plots.byte_curves(panels, tmp_path / "bytes.png", lowest=91)
    few, many = drawn[0].axes
    assert [axes.get_title(loc="left") for axes in (few, many)] == ["small", "large"]
    assert few.get_xscale() == "log" and few.lines[0].get_xdata().tolist() == [40, 400]
    assert few.lines[0].get_ydata().tolist() == [91, 97]
    assert few.lines[1].get_color() == many.lines[0].get_color() != few.lines[0].get_color()
