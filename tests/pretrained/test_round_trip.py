"""A model that was saved and loaded is the model, and the file is as large as the report says."""

import hashlib
import json
import struct

import pytest
import safetensors.torch
import torch
import torch_geometric.nn as pyg
from cases import CONVERTER_CASES, STRUCTURE_CASES
from torch import nn

from edgenet.compress import compress_, pool_, report
from edgenet.convert import freeze_attention, to_edgenet
from edgenet.errors import CheckpointError, SupportError
from edgenet.models import GraphClassifier, NodeClassifier
from edgenet.nn import SPECIALIZATIONS, EdgeNetConv, Parallel
from edgenet.phi import PHIS
from edgenet.pretrained import fingerprint, from_pretrained, save_pretrained
from edgenet.pretrained.folder import checksum
from edgenet.structured import Hashed, HashPool, Kronecker, StructuredLinear, shared_pools
from edgenet.testing import GRAPHS

GRAPH = GRAPHS["path"]
N, E = GRAPH.num_nodes, GRAPH.num_edges
X = 5


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def bytes_of_tensors(folder):
    data = (folder / config_of(folder)["file"]).read_bytes()
    return len(data) - 8 - struct.unpack("<Q", data[:8])[0]


def round_trip(model, folder, **options):
    model.eval()
    state = torch.get_rng_state()
    save_pretrained(model, folder)
    again = from_pretrained(folder, **options)
    assert torch.equal(torch.get_rng_state(), state), "saving and loading draw no random numbers"
    assert bytes_of_tensors(folder) == report(model).total.bytes
    assert not again.training and type(again) is type(model)
    return again


def assert_same_state(model, again):
    mine, its = model.state_dict(), again.state_dict()
    assert set(mine) == set(its)
    for name, value in mine.items():
        assert value.dtype == its[name].dtype and torch.equal(value, its[name]), name
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name, p in again.named_parameters() if p.requires_grad} == trained


@pytest.mark.parametrize("layer", SPECIALIZATIONS)
@pytest.mark.parametrize("lazy", [False, True], ids=["sized", "lazy"])
def test_every_layer_comes_back_in_a_model(layer, lazy, tmp_path):
    x = torch.randn(N, X)
    model = NodeClassifier(-1 if lazy else X, 3, layer=layer, hidden_channels=4, skip=True).eval()
    y = model(x, GRAPH.edge_index)
    again = round_trip(model, tmp_path, edges=GRAPH)
    assert torch.equal(again(x, GRAPH.edge_index), y)
    assert_same_state(model, again)
    assert again.config() == model.config()


@pytest.mark.parametrize("case", STRUCTURE_CASES, ids=str)
def test_every_structure_comes_back_in_a_slot(case, tmp_path):
    linear = StructuredLinear(case.build(), torch.randn(case.m))
    model = nn.Sequential(linear).eval()
    x = case.signals(4)
    again = round_trip(model, tmp_path)
    torch.testing.assert_close(again(x), model(x), rtol=1e-13, atol=1e-13)  # packed forms add in another order
    assert type(again[0].weight) is type(linear.weight.pack())


def test_masks_are_kept_where_nothing_is_packed(tmp_path):
    case = next(c for c in STRUCTURE_CASES if c.name == "sparse")
    model = nn.Sequential(StructuredLinear(case.build()))
    save_pretrained(model, tmp_path, pack=False)
    assert_same_state(model, from_pretrained(tmp_path))


@pytest.mark.parametrize("case", CONVERTER_CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("converted", [False, True], ids=["pyg", "converted"])
def test_layers_of_pyg_and_what_is_made_of_them_come_back(case, converted, tmp_path):
    layer = case.layer().eval()
    layer = to_edgenet(layer) if converted else layer
    again = round_trip(layer, tmp_path)
    assert_same_state(layer, again)
    if case.pair is None:
        args, given = case.inputs(GRAPH)
        assert torch.equal(again(*args, **given), layer(*args, **given))


@pytest.mark.parametrize("options", [{"out_channels": 3}, {}, {"jk": "cat", "out_channels": 2},
                                     {"norm": "batch_norm", "act": "elu", "jk": "lstm"}], ids=str)  # fmt: skip
@pytest.mark.parametrize("kind", [pyg.GCN, pyg.GraphSAGE, pyg.GIN, pyg.GAT], ids=lambda kind: kind.__name__)
def test_models_of_pyg_come_back_converted_and_compressed(kind, options, tmp_path):
    model = to_edgenet(kind(X, 4, 2, **options)).eval()
    compress_(model, {r"convs.*(linear|lins\.\d)\.weight": {"structure": "low_rank", "rank": 1}})
    x = torch.randn(N, X)
    again = round_trip(model, tmp_path)
    assert torch.equal(again(x, GRAPH.edge_index), model(x, GRAPH.edge_index))
    assert_same_state(model, again)


def test_frozen_attention_comes_back_with_its_graph(tmp_path):
    x = torch.randn(N, X)
    model = freeze_attention(NodeClassifier(X, 3, layer="gat", hidden_channels=4), x, GRAPH.edge_index).eval()
    compress_(model, {r"convs.0.phi.edge_table": {"structure": "low_rank", "rank": 1}})
    again = round_trip(model, tmp_path)
    assert torch.equal(again(x, GRAPH.edge_index), model(x, GRAPH.edge_index))
    looped = GRAPH.with_self_loops()[0]
    assert config_of(tmp_path)["graphs"]["convs.0.phi.where"] == fingerprint(looped.edge_index, N)


def test_attention_of_pyg_that_was_frozen_stays_frozen(tmp_path):
    x = torch.randn(N, X)
    model = freeze_attention(to_edgenet(pyg.GAT(X, 4, 2, 3)), x, GRAPH.edge_index)
    again = round_trip(model, tmp_path)
    assert not any(conv.phi.follows_signal for conv in again.convs)
    assert torch.equal(again(x, GRAPH.edge_index), model.eval()(x, GRAPH.edge_index))


def test_a_fingerprint_is_of_the_sorted_pairs_of_target_and_source():
    edges = torch.tensor([[2, 0, 2, 1], [0, 1, 0, 2]])  # 2 -> 0 twice
    keys = struct.pack("<3q", 0 * 3 + 2, 1 * 3 + 0, 2 * 3 + 1)
    assert fingerprint(edges, 3) == {"num_nodes": 3, "num_edges": 3, "sha256": hashlib.sha256(keys).hexdigest()}
    assert fingerprint(edges.flip(0), 3) != fingerprint(edges, 3)


def test_a_model_with_tables_is_bound_to_its_own_graph_alone(tmp_path):
    model = NodeClassifier(X, 3, layer="edge_varying", hidden_channels=4).bind(GRAPH)
    save_pretrained(model, tmp_path)
    shuffled = GRAPH.edge_index[:, torch.randperm(E)]
    x = torch.randn(N, X)
    again = from_pretrained(tmp_path, edges=shuffled, num_nodes=N)
    torch.testing.assert_close(again(x, shuffled), model.eval()(x, GRAPH.edge_index))
    other = GRAPH.edge_index.clone()
    other[0, 0] = 4
    for graph, nodes in ((other, N), (GRAPH.edge_index, N + 1)):
        with pytest.raises(SupportError, match=rf"saved with tables of {N} nodes, {E} edges.*given is one of {nodes}"):
            from_pretrained(tmp_path, edges=graph, num_nodes=nodes)
        with pytest.raises(SupportError):
            from_pretrained(tmp_path)(torch.randn(nodes, X), graph)


@pytest.mark.parametrize("layer", ["edge_varying", "node_varying", "spectral"])
def test_a_fingerprint_that_is_not_the_tables_is_refused(layer, tmp_path):
    model = NodeClassifier(X, 3, layer=layer)
    model(torch.randn(N, X), GRAPH.edge_index)
    save_pretrained(model, tmp_path)
    config = config_of(tmp_path)
    first = next(iter(config["graphs"].values()))
    first["num_nodes"] += 1
    config["checksum"] = checksum(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="another graph"):
        from_pretrained(tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.complex128], ids=str)
def test_dtypes_stay(dtype, tmp_path):
    if dtype.is_complex:
        model = nn.Sequential(StructuredLinear(Kronecker.from_dense(torch.randn(4, 6, dtype=dtype), factor=(2, 3))))
    else:
        model = NodeClassifier(X, 3, layer="gat", hidden_channels=4).to(dtype)
    assert_same_state(model, round_trip(model, tmp_path))


def test_graph_classifiers_buffers_and_frozen_parameters_come_back(tmp_path):
    model = GraphClassifier(2, 3, layer="gcnn", readout="flatten", num_nodes=N)
    model.head.weight.requires_grad_(False)
    again = round_trip(model, tmp_path)
    assert_same_state(model, again)
    assert not again.head.weight.requires_grad
    norm = nn.Sequential(nn.BatchNorm1d(3), nn.LayerNorm(3), nn.Dropout(0.25))
    norm(torch.randn(7, 3))
    again = round_trip(norm, tmp_path)
    assert_same_state(norm, again)
    assert again[2].p == 0.25


def test_what_is_tied_is_stored_once_and_comes_back_tied(tmp_path):
    class_of = nn.Linear(3, 3)
    model = nn.ModuleDict({"a": class_of, "b": nn.Linear(3, 3), "c": nn.Sequential(class_of)})
    model["b"].weight = class_of.weight
    again = round_trip(model, tmp_path)
    assert again["c"][0] is again["a"] and again["b"] is not again["a"]
    assert again["b"].weight is again["a"].weight and again["b"].bias is not again["a"].bias
    assert set(safetensors.torch.load_file(tmp_path / "model.safetensors")) == {"a.weight", "a.bias", "b.bias"}


def test_tied_slots_get_one_matrix(tmp_path):
    model = nn.ModuleDict({"a": nn.Linear(4, 4, bias=False), "b": nn.Linear(4, 4, bias=False)})
    model["b"].weight = model["a"].weight
    compress_(model, {"a": {"structure": "sparse", "density": 0.5}})
    again = round_trip(model, tmp_path)
    assert again["a"].weight is again["b"].weight


def test_parts_that_overlap_in_memory_are_stored_apart(tmp_path):
    model, numbers = nn.ModuleList([nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)]), torch.randn(3, 3)
    model[0].weight, model[1].weight = nn.Parameter(numbers[:2]), nn.Parameter(numbers[1:])
    save_pretrained(model, tmp_path)
    assert_same_state(model, from_pretrained(tmp_path))


def test_matrices_of_one_hash_pool_read_from_one_pool_again(tmp_path):
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 8)).eval()
    pool_(model, parameters=40)
    again = round_trip(model, tmp_path)
    x = torch.randn(2, 8)
    assert torch.equal(again(x), model(x))
    (pool,) = shared_pools(again)
    assert isinstance(pool, HashPool) and all(
        m.pool is pool for m in again.modules() if isinstance(m, Hashed)
    )  # fmt: skip
    assert sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    "module",
    [nn.LSTM(4, 3, 2, bidirectional=True), nn.GRU(4, 3), nn.RNN(4, 3, nonlinearity="relu")],
    ids=lambda m: type(m).__name__,
)
def test_matrices_behind_tensors_come_back(module, tmp_path):
    model = nn.ModuleDict({"cell": module.double()}).eval()
    compress_(model, {"cell.weight_hh_l0": {"structure": "low_rank", "rank": 1}})
    again = round_trip(model, tmp_path)
    x = torch.randn(2, 5, 4)
    assert torch.equal(again["cell"](x)[0], model["cell"](x)[0])
    assert_same_state(model, again)


def test_attention_of_torch_comes_back(tmp_path):
    model = nn.ModuleDict({"attention": nn.MultiheadAttention(8, 2, bias=False)}).eval()
    x = torch.randn(3, 1, 8)
    assert torch.equal(round_trip(model, tmp_path)["attention"](x, x, x)[0], model["attention"](x, x, x)[0])


@pytest.mark.parametrize("phi", PHIS)
def test_layers_with_changed_options_come_back(phi, tmp_path):
    options = {} if phi in ("edge_matrix", "edge_factored", "edge_network", "edge_typed") else {"heads": 2}
    featured = {"edge_typed": {"num_types": 3}, "edge_network": {"edge_dim": 2}, "edge_added": {"edge_dim": 2}}
    options |= featured.get(phi, {})
    conv = EdgeNetConv(X, 4, 2, phi=phi, loop_weight=0.5, flow="target_to_source", **options).bind(GRAPH)
    conv.fill_value, conv.bias = "max", None  # after it was made
    again = round_trip(conv, tmp_path)
    assert (again.flow, again.loop_weight, again.fill_value, again.bias) == ("target_to_source", 0.5, "max", None)
    given = {"edge_weight": torch.rand(E, 2)} if phi == "shift" else {}
    if conv.needs_edge_attr:
        given["edge_attr"] = torch.arange(E) % 3 if phi == "edge_typed" else torch.randn(E, 2)
    x = torch.randn(N, X)
    assert torch.equal(again(x, GRAPH.edge_index, **given), conv(x, GRAPH.edge_index, **given))


def test_a_sum_of_layers_comes_back(tmp_path):
    model = Parallel(EdgeNetConv(X, 4, phi="attention"), EdgeNetConv(X, 4, phi="attention_v2"))
    assert_same_state(model, round_trip(model, tmp_path))


def test_a_layer_without_its_size_is_not_saved(tmp_path):
    folder = tmp_path / "model"
    for model in (NodeClassifier(-1, 3), NodeClassifier(X, 3, layer="edge_varying"), nn.LazyLinear(3)):
        with pytest.raises(CheckpointError, match=r"no size yet.*Run the model once"):
            save_pretrained(model, folder)
    assert not folder.exists()


class Own(nn.Module):
    """A class that edgenet knows nothing of."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.first, self.list = pyg.GATConv(X, 4), nn.ModuleList([pyg.GATConv(4, 3)])

    def forward(self, x, edge_index):
        return self.scale * self.list[0](self.first(x, edge_index).relu(), edge_index)


def test_a_model_of_ones_own_is_loaded_into_a_fresh_one(tmp_path):
    model, x = to_edgenet(Own()), torch.randn(N, X)
    compress_(model, {"first.lift": {"structure": "low_rank", "rank": 1}})
    save_pretrained(model, tmp_path)
    with pytest.raises(CheckpointError, match=r"Own.*not one.*from_pretrained\(folder, model=model\)"):
        from_pretrained(tmp_path)
    fresh = Own()  # neither converted nor compressed
    again = from_pretrained(tmp_path, model=fresh)
    assert again is fresh
    assert torch.equal(again(x, GRAPH.edge_index), model.eval()(x, GRAPH.edge_index))
    assert_same_state(model, again)
    assert "model=model" in (tmp_path / "README.md").read_text()


def test_a_fresh_model_that_does_not_fit_stays_as_it_was(tmp_path):
    save_pretrained(to_edgenet(Own()), tmp_path)
    without, other = Own(), nn.Linear(2, 2)
    del without.list
    more = Own()
    more.extra = nn.Linear(2, 2)
    larger = Own()
    larger.scale = nn.Parameter(torch.ones(2))
    for model in (without, other, more, larger):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        modules = [id(m) for m in model.modules()]
        with pytest.raises(CheckpointError):
            from_pretrained(tmp_path, model=model)
        assert [id(m) for m in model.modules()] == modules
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_models_have_the_methods(tmp_path):
    model = NodeClassifier(X, 3, hidden_channels=4)
    model.save_pretrained(tmp_path)
    assert_same_state(model, NodeClassifier.from_pretrained(tmp_path))
    with pytest.raises(CheckpointError, match="holds a NodeClassifier, no GraphClassifier"):
        GraphClassifier.from_pretrained(tmp_path)
    for name in ("nowhere", "../a/b", "/a"):
        with pytest.raises(CheckpointError, match="no such folder"):
            NodeClassifier.from_pretrained(name)
