"""Layers and models inside PyG's machinery: containers, loaders, heterogeneous graphs, explainers."""

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks
from torch_geometric.loader import DataLoader, RandomNodeLoader
from torch_geometric.nn import HeteroConv, MessagePassing, Sequential, summary, to_hetero
from torch_geometric.utils import get_num_hops

from edgenet.graph import Graph
from edgenet.models import NodeClassifier
from edgenet.nn import EdgeNetConv, specializations
from edgenet.phi import EdgeVarying


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def redraw_(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -1, 1)
    return module


def random_data(nodes: int = 12, features: int = 4, density: float = 0.3) -> Data:
    edges = (torch.rand(nodes, nodes) < density).fill_diagonal_(False)
    edge_index = edges.nonzero().T.contiguous()
    return Data(x=torch.randn(nodes, features), edge_index=edge_index, y=torch.randint(3, (nodes,)))


# ---------------------------------------------------------------- containers
def test_layers_run_inside_pygs_sequential():
    data = random_data()
    first, second = specializations.gat(4, 3, heads=2), specializations.gcnn(6, 2)
    model = Sequential("x, edge_index", [(first, "x, edge_index -> x"), nn.ELU(), (second, "x, edge_index -> x")])
    wanted = second(nn.functional.elu(first(data.x, data.edge_index)), data.edge_index)
    close(model(data.x, data.edge_index), wanted)


@pytest.mark.parametrize("layer", ["gcnn", "gat", "edge_varying"])
def test_pygs_summary_lists_a_model(layer):
    data = random_data()
    model = NodeClassifier(4, 3, layer=layer, hidden_channels=5).bind(data)
    table = summary(model, data.x, data.edge_index)
    assert "EdgeNetConv" in table and "[12, 3]" in table


def test_pyg_counts_layers_as_hops():
    assert get_num_hops(NodeClassifier(4, 3, layer="gat", num_layers=3)) == 3


def test_pygs_fast_path_for_messages_is_in_use():
    """PyG falls back without a word where it cannot read a class."""
    conv = specializations.gat(4, 3)
    assert conv.propagate.__module__.endswith("_propagate")


# ---------------------------------------------------------------- heterogeneous graphs
class TestHeterogeneous:
    types = (
        ["paper", "author"],
        [("author", "writes", "paper"), ("paper", "cites", "paper"), ("paper", "by", "author")],
    )

    def signals(self, widths: tuple[int, int] = (4, 4)) -> dict[str, Tensor]:
        return {"paper": torch.randn(6, widths[0]), "author": torch.randn(3, widths[1])}

    def edges(self) -> dict[tuple[str, str, str], Tensor]:
        sizes = {"paper": 6, "author": 3}
        return {
            kind: torch.stack([torch.randint(sizes[kind[0]], (8,)), torch.randint(sizes[kind[2]], (8,))])
            for kind in self.types[1]
        }

    @pytest.mark.parametrize("layer", ["gat", "gatv2"])
    def test_a_model_is_made_heterogeneous(self, layer):
        model = NodeClassifier((-1, -1), 3, layer=layer, hidden_channels=5, dropout=0, add_self_loops=False)
        hetero = to_hetero(model, self.types)
        x, edges = self.signals((4, 7)), self.edges()
        out = hetero(x, edges)
        assert {name: tuple(y.shape) for name, y in out.items()} == {"paper": (6, 3), "author": (3, 3)}
        sum(y.pow(2).sum() for y in out.values()).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in hetero.parameters())

    def test_its_numbers_are_those_of_a_layer_for_each_kind_of_edge(self):
        model = NodeClassifier((4, 4), 3, layer="gat", num_layers=1, dropout=0, add_self_loops=False)
        hetero = to_hetero(model, self.types)
        redraw_(hetero)
        x, edges = self.signals(), self.edges()
        out = hetero(x, edges)
        convs = dict(hetero.convs[0].items()) if hasattr(hetero.convs, "__getitem__") else dict(hetero.convs["0"])
        by_kind = {kind: convs["__".join(kind)]((x[kind[0]], x[kind[2]]), edges[kind]) for kind in self.types[1]}
        close(out["author"], by_kind["paper", "by", "author"])
        close(out["paper"], by_kind["author", "writes", "paper"] + by_kind["paper", "cites", "paper"])

    def test_layers_run_inside_pygs_heteroconv(self):
        kinds = self.types[1]
        convs = {
            kinds[0]: specializations.gat((4, 4), 3, add_self_loops=False),
            kinds[1]: specializations.edge_varying(4, 3),
            kinds[2]: EdgeNetConv((4, 4), 3, phi=EdgeVarying(1, 1, share="hash", buckets=4, self_loops=False)),
        }
        model = HeteroConv(convs, aggr="sum")
        x, edges = self.signals(), self.edges()
        out = model(x, edges)
        close(out["author"], convs[kinds[2]]((x["paper"], x["author"]), edges[kinds[2]]))
        cited = convs[kinds[1]](x["paper"], edges[kinds[1]])
        close(out["paper"], convs[kinds[0]]((x["author"], x["paper"]), edges[kinds[0]]) + cited)


# ---------------------------------------------------------------- explainers
class Masked:
    """What PyG's explainers do: a factor for every message."""

    def __init__(self, model: nn.Module, mask: Tensor, edge_index: Tensor) -> None:
        self.model, self.mask, self.edge_index = model, mask, edge_index

    def __enter__(self) -> None:
        set_masks(self.model, self.mask, self.edge_index, apply_sigmoid=False)

    def __exit__(self, *exception) -> None:
        clear_masks(self.model)


MASKED = {
    "gcnn": lambda: specializations.gcnn(4, 3, normalize=None),
    "narrow gcnn": lambda: specializations.gcnn(2, 3, normalize=None),
    "gcn": lambda: specializations.gcn(4, 3),
    "gat": lambda: specializations.gat(4, 3, heads=2, add_self_loops=False),
    "gatv2": lambda: specializations.gatv2(4, 3, heads=2),
    "gcat": lambda: specializations.gcat(4, 3, heads=2, add_self_loops=False),
    "edge_varying": lambda: specializations.edge_varying(4, 3),
    "edge_varying-mimo": lambda: specializations.edge_varying(4, 3, bank="mimo"),
    "node_varying": lambda: specializations.node_varying(4, 3),
    "arma": lambda: specializations.arma(4, 3),
    "hybrid": lambda: specializations.hybrid(4, 3),
    "spectral_product": lambda: specializations.spectral_product(4, 3, normalize=None),
    "against the edges": lambda: EdgeNetConv(4, 3, phi="shift", flow="target_to_source"),
}
masked = pytest.mark.parametrize("layer", MASKED)


@masked
def test_a_mask_of_ones_changes_nothing(layer):
    data = random_data(features=2 if layer == "narrow gcnn" else 4)
    conv = redraw_(MASKED[layer]().bind(data))
    y = conv(data.x, data.edge_index)
    with Masked(conv, torch.ones(data.num_edges), data.edge_index):
        close(conv(data.x, data.edge_index), y)
    close(conv(data.x, data.edge_index), y)


@masked
def test_no_message_passes_where_every_edge_is_masked(layer):
    """What is left of the output does not depend on the other nodes."""
    data = random_data(features=2 if layer == "narrow gcnn" else 4)
    conv = redraw_(MASKED[layer]().bind(data))
    with Masked(conv, torch.zeros(data.num_edges), data.edge_index):
        reach = torch.autograd.functional.jacobian(lambda x: conv(x, data.edge_index).sum(-1), data.x).abs().sum(-1)
    if layer not in ("gat", "gatv2"):  # whose own message is weighed against the others'
        assert (reach - torch.diag(reach.diagonal())).abs().max() == 0
    with Masked(conv, torch.zeros(data.num_edges), data.edge_index):
        y = conv(data.x, data.edge_index)
    wanted = {
        "gcnn": lambda: data.x @ conv.taps.linear.weight.to_dense()[:, :4].T + conv.bias,
        "gat": lambda: conv.bias.expand(12, -1),
        "gcat": lambda: conv.taps.weight[0] * conv.lift(data.x).flatten(1) + conv.bias,
    }
    if layer in wanted:
        close(y, wanted[layer]())


@pytest.mark.parametrize(
    "layer", ["gcnn", "narrow gcnn", "edge_varying", "edge_varying-mimo", "spectral_product", "against the edges"]
)  # whose edge weights do not depend on the other edges
def test_a_mask_scales_the_messages_of_its_edges(layer):
    """At every hop: as if half of the edges were not there."""
    data = random_data(features=2 if layer == "narrow gcnn" else 4)
    conv = redraw_(MASKED[layer]().bind(data))
    mask = torch.arange(data.num_edges) % 2
    y = conv(data.x, data.edge_index[:, mask == 1].contiguous())
    with Masked(conv, mask.double(), data.edge_index):
        close(conv(data.x, data.edge_index), y)


class Subclass(EdgeNetConv):
    """A layer of a user's own."""


def test_messages_of_a_subclass_are_masked_after_its_base_was_made():
    data = random_data()
    EdgeNetConv(4, 3, phi="shift")
    conv = Subclass(4, 3, phi="shift")
    EdgeNetConv(4, 3, phi="shift")
    assert conv.propagate.__module__.endswith("_propagate")
    with Masked(conv, torch.zeros(data.num_edges), data.edge_index):
        y = conv(data.x, data.edge_index)
    close(y, data.x @ conv.taps.linear.weight.to_dense()[:, :4].T + conv.bias)


@pytest.mark.parametrize("layer", ["gat", "gcnn", "edge_varying"])
def test_pygs_explainer_finds_the_edges_that_matter(layer):
    """Two separate pairs of nodes: the edge of one pair does not matter for the other."""
    edge_index = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
    x = torch.randn(4, 4)
    model = NodeClassifier(4, 3, layer=layer, hidden_channels=5, dropout=0).bind(edge_index, 4)
    redraw_(model)
    explainer = Explainer(
        model, GNNExplainer(epochs=3), explanation_type="model", node_mask_type="attributes", edge_mask_type="object",
        model_config={"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"},
    )  # fmt: skip
    y = model(x, edge_index)
    explanation = explainer(x, edge_index, index=0)
    assert (explanation.edge_mask[:2] > 0).any() and (explanation.edge_mask[2:] == 0).all()
    assert explanation.node_mask.shape == x.shape
    close(model(x, edge_index), y)  # nothing of the explainer stays behind


def test_a_layer_that_was_explained_takes_its_shortcuts_again():
    conv, data = EdgeNetConv(4, 3, phi="attention"), random_data()
    with Masked(conv, torch.zeros(data.num_edges), data.edge_index):
        assert not conv.is_plain()
    assert conv.is_plain() and not conv.is_looked_at()
    conv.propagate = lambda *inputs, **options: None
    assert conv.is_looked_at()


def test_ids_of_sampled_nodes_pass_through_the_explainer():
    data = random_data()
    data.generate_ids()
    model = NodeClassifier(4, 3, layer="edge_varying", hidden_channels=5).bind(data)
    piece = data.subgraph(torch.arange(2, 9))
    explainer = Explainer(
        model, GNNExplainer(epochs=2), explanation_type="model", edge_mask_type="object",
        model_config={"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"},
    )  # fmt: skip
    explanation = explainer(piece.x, piece.edge_index, n_id=piece.n_id, e_id=piece.e_id)
    assert explanation.edge_mask.shape == (piece.num_edges,)


# ---------------------------------------------------------------- loaders
@pytest.mark.parametrize("layer", ["edge_varying", "node_varying", "hybrid"])
@pytest.mark.parametrize("ids", [("n_id",), ("n_id", "e_id")], ids="+".join)
def test_sampled_pieces_use_the_weights_of_the_full_graph(layer, ids):
    """A piece has the numbers of the full graph from which all other edges are taken away."""
    data = random_data()
    data.generate_ids()
    options = {} if layer == "edge_varying" else {"normalize": None}  # degrees differ in a piece
    conv = redraw_(getattr(specializations, layer)(4, 3, **options).bind(data))
    pieces = 0
    for piece in RandomNodeLoader(data, num_parts=3, shuffle=True):
        given = {name: piece[name] for name in ids}
        y = conv(piece.x, piece.edge_index, **given)
        close(y, conv(data.x, data.edge_index[:, piece.e_id])[piece.n_id])
        pieces += 1
    assert pieces == 3


def test_an_edge_varying_model_trains_on_sampled_pieces():
    data = random_data(nodes=24, density=0.5)
    data.generate_ids()
    model = NodeClassifier(4, 3, layer="edge_varying", hidden_channels=6, dropout=0).bind(data)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    table = model.convs[0].phi.edge_table.weight
    start, losses = table.detach().clone(), []
    for _ in range(30):
        for piece in RandomNodeLoader(data, num_parts=2, shuffle=True):
            out = model(piece.x, piece.edge_index, n_id=piece.n_id, e_id=piece.e_id)
            loss = nn.functional.cross_entropy(out, piece.y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    assert sum(losses[-4:]) < sum(losses[:4]) / 2
    assert (table != start).any(1).all()  # every edge was met in some piece


def test_the_gradient_of_a_piece_touches_its_own_edges_alone():
    data = random_data()
    data.generate_ids()
    conv = specializations.edge_varying(4, 3).bind(data)
    piece = data.subgraph(torch.arange(5))
    redraw_(conv)(piece.x, piece.edge_index, n_id=piece.n_id, e_id=piece.e_id).pow(2).sum().backward()
    row = conv.phi.where.of_edges(Graph(data.edge_index, data.num_nodes), None)
    touched = conv.phi.edge_table.weight.grad.abs().sum(1).nonzero().flatten()
    assert touched.tolist() == row[piece.e_id].sort().values.tolist()


@pytest.mark.parametrize(
    "layer", ["gcnn", "gcn", "gat", "gatv2", "gcat", "edge_varying_gat", "arma", "spectral_product"]
)
def test_a_batch_of_graphs_is_graphs_one_by_one(layer):
    graphs = [random_data(nodes) for nodes in (5, 1, 8)]
    conv = redraw_(specializations.SPECIALIZATIONS[layer](4, 3))
    batch = next(iter(DataLoader(graphs, batch_size=3)))
    close(conv(batch.x, batch.edge_index), torch.cat([conv(graph.x, graph.edge_index) for graph in graphs]))


def test_weights_shared_by_type_are_legal_on_a_batch_of_graphs():
    graphs = [random_data(nodes) for nodes in (5, 8)]
    for graph in graphs:
        graph.edge_attr = torch.randint(3, (graph.num_edges,))
    conv = redraw_(specializations.edge_varying(4, 3, share="type", num_types=3))
    batch = next(iter(DataLoader(graphs, batch_size=2)))
    one_by_one = [conv(graph.x, graph.edge_index, edge_attr=graph.edge_attr) for graph in graphs]
    close(conv(batch.x, batch.edge_index, edge_attr=batch.edge_attr), torch.cat(one_by_one))


def test_every_layer_that_passes_messages_is_one_of_pygs():
    model = NodeClassifier(4, 3, layer="hybrid", num_layers=2)
    assert sum(isinstance(module, MessagePassing) for module in model.modules()) == 4  # two sums of two
