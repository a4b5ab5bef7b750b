"""Graph recurrent networks: beside their formulas over dense matrices, beside torch's cells, and as models to keep."""

from __future__ import annotations

import copy
from itertools import combinations

import pytest
import torch
from torch import Tensor, nn

from edgenet import from_pretrained, save_pretrained
from edgenet.compress import compress_
from edgenet.config import RunConfig
from edgenet.data import load
from edgenet.errors import ConfigError, ShapeError, SupportError
from edgenet.graph import Graph
from edgenet.models import GraphRecurrent
from edgenet.models.graph_recurrent import CELLS, GATES
from edgenet.nn import SPECIALIZATIONS, EdgeNetConv
from edgenet.nn.graph_recurrent import Edges, Gate, GraphMap, GraphRecurrentLayer, NodeRead
from edgenet.nn.recurrent import GRUCell, LSTMCell
from edgenet.structured import LowRank
from edgenet.train import fit, run

N, F, H, OUT, B, T = 5, 3, 4, 2, 3, 4
#: with an isolated node, a self-loop and an edge that stands twice
EDGES = torch.tensor([[0, 1, 1, 2, 3, 2, 2, 0], [1, 0, 2, 1, 2, 3, 2, 1]])
#: without them, and symmetric: for spectral filters
SYMMETRIC = torch.tensor([[0, 1, 1, 2, 2, 3, 3, 4], [1, 0, 2, 1, 3, 2, 4, 3]])
#: layers whose edges have no weights that a gate could scale
NO_EDGE_GATE = ("arma", "spectral")


def model(**options) -> GraphRecurrent:
    options.setdefault("num_nodes", N if options.get("gate") == "time" else None)
    return GraphRecurrent(F, OUT, **{"hidden_channels": H, **options})


def signal(*shape: int) -> Tensor:
    return torch.randn(*(shape or (B, T, N, F)))


def close(a, b) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


# ---------------------------------------------------------------- the formula
def dense(edges: Tensor, weight: Tensor) -> Tensor:
    """(N, N) S with S[i, j] the weight of j -> i."""
    return torch.zeros(N, N).index_put((edges[1], edges[0]), weight, accumulate=True)


def filtered(map, operator: Tensor, x: Tensor) -> Tensor:
    """sum over k of S^k x W_k + b, for (N, F); the layer's taps stand side by side."""
    signals = [x]
    for _ in range(map.conv.order):
        signals.append(operator @ signals[-1])
    return torch.cat(signals, -1) @ map.conv.taps.linear.weight.weight.T + map.conv.bias


def attended(read, hidden: Tensor) -> Tensor:
    """(N, N) attention of receiver i to sender j, on one edge of those that there are; with a self-loop a node."""
    g = hidden @ read.lift.weight.weight.T
    score = nn.functional.leaky_relu(g * read.phi.att_target.weight + (g * read.phi.att_source.weight).T, 0.2)
    count = dense(EDGES, torch.ones(EDGES.shape[1])).fill_diagonal_(1)  # edges that stand twice count twice
    return score.exp() / (count * score.exp()).sum(1, keepdim=True)


def by_hand(net: GraphRecurrent, weight: Tensor, x: Tensor, gate: str | None) -> Tensor:
    """Scores (T, N, OUT) of one sequence of a network of one layer, straight from the formulas."""
    layer, operator = net.layers[0], dense(EDGES, weight)

    def gated(gate_net, state, step):
        if gate_net is None:
            return state, 1.0, operator
        cell = gate_net.cell
        state = (filtered(cell.input_map, operator, step) + filtered(cell.state_map, operator, state)).tanh()
        if gate == "time":
            linear = gate_net.read.linear
            return state, (state.flatten() @ linear.weight.weight[0] + linear.bias).sigmoid(), operator
        if gate == "node":
            return state, filtered(gate_net.read.map, operator, state).sigmoid(), operator
        return state, 1.0, operator * attended(gate_net.read, state)

    h = c = one = other = torch.zeros(N, H)
    scores = []
    for step in x:
        one, q, q_operator = gated(layer.input_gate, one, step)
        other, p, p_operator = gated(layer.state_gate, other, step)
        a = q * filtered(layer.cell.input_map, q_operator, step)
        b = p * filtered(layer.cell.state_map, p_operator, h)
        if layer.cell.gates == 1:
            h = (a + b).tanh()
        elif layer.cell.gates == 3:
            (a_r, a_z, a_n), (b_r, b_z, b_n) = a.chunk(3, -1), b.chunk(3, -1)
            z = (a_z + b_z).sigmoid()
            h = (1 - z) * (a_n + (a_r + b_r).sigmoid() * b_n).tanh() + z * h
        else:
            i, f, g, o = (a + b).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        scores.append(net.head(h))
    return torch.stack(scores)


@pytest.mark.parametrize("gate", [None, *GATES])
@pytest.mark.parametrize("cell", CELLS)
def test_it_is_its_formula_and_so_are_its_gradients(cell, gate):
    net = model(cell=cell, gate=gate, order=2, normalize=None)
    weight = torch.rand(EDGES.shape[1]) - 0.3
    for bias in (p for name, p in net.named_parameters() if name.endswith("bias")):
        nn.init.normal_(bias)
    x = signal(2, T, N, F).requires_grad_()
    wanted = torch.stack([by_hand(net, weight, one, gate) for one in x])
    found = net(x, EDGES, weight)
    close(found, wanted)
    inputs = [x, *net.parameters()]
    r = torch.randn_like(wanted)
    close(torch.autograd.grad(found, inputs, r), torch.autograd.grad(wanted, inputs, r))


@pytest.mark.parametrize(("cell", "theirs"), [("elman", nn.RNN), ("gru", nn.GRU), ("lstm", nn.LSTM)])
def test_without_hops_every_node_has_the_network_of_torch(cell, theirs):
    net, other = model(cell=cell, order=0, num_layers=2), theirs(F, H, 2, batch_first=True)
    with torch.no_grad():
        for depth, layer in enumerate(net.layers):
            for map, name in ((layer.cell.input_map, "ih"), (layer.cell.state_map, "hh")):
                map.conv.taps.linear.weight.weight.copy_(getattr(other, f"weight_{name}_l{depth}"))
                map.conv.bias.copy_(getattr(other, f"bias_{name}_l{depth}"))
    x = signal()
    wanted = other(x.transpose(1, 2).flatten(0, 1))[0].unflatten(0, (B, N)).transpose(1, 2)
    close(net(x, EDGES), net.head(wanted))


def test_an_edge_gate_varies_with_the_sequence_and_the_step():
    net = model(gate="edge", cell="elman")
    x = signal()
    read = net.layers[0].input_gate.read
    seen: list[Tensor] = []
    read.register_forward_hook(lambda module, inputs, output: seen.append(output))
    net(x, EDGES)
    assert seen[0].shape == (T, B, EDGES.shape[1])
    assert (seen[0][:, 0] - seen[0][:, 1]).abs().max() > 1e-6
    assert (seen[0][0] - seen[0][1]).abs().max() > 1e-6


# ---------------------------------------------------------------- every layer
def layers_and_gates() -> list[tuple[str, str]]:
    return [(layer, "node" if layer in NO_EDGE_GATE else "edge") for layer in SPECIALIZATIONS]


@pytest.mark.parametrize(("layer", "gate"), layers_and_gates())
def test_of_any_layer_sequences_count_each_for_itself_and_can_be_cut(layer, gate):
    net = model(layer=layer, gate=gate, cell="elman").eval()
    x = signal(2, 3, N, F)
    whole, state = net(x, SYMMETRIC, return_state=True)
    assert whole.shape == (2, 3, N, OUT)
    for place in range(2):
        close(net(x[place], SYMMETRIC), whole[place])
    first, between = net(x[:, :1], SYMMETRIC, return_state=True)
    second, after = net(x[:, 1:], SYMMETRIC, state=between, return_state=True)
    close(torch.cat([first, second], 1), whole)
    close(after, state)
    whole.square().sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("gate", [None, *GATES])
def test_a_saved_network_is_the_same_one(gate, tmp_path):
    net, x = (
        model(layer="edge_varying", bank="heads", gate=gate, cell="lstm", num_layers=2).bind(SYMMETRIC, N),
        signal(),
    )
    save_pretrained(net, tmp_path)
    again = from_pretrained(tmp_path)
    assert again.config() == net.config() == GraphRecurrent(**net.config()).config()
    close(again(x, SYMMETRIC), net(x, SYMMETRIC))
    close(copy.deepcopy(net)(x, SYMMETRIC), net(x, SYMMETRIC))


@pytest.mark.parametrize(("layer", "options"), [("spectral_product", {}), ("edge_varying", {"bank": "heads"})])
def test_several_heads_and_what_lives_on_nodes_go_with_an_edge_gate(layer, options):
    net, x = model(layer=layer, heads=2, gate="edge", cell="lstm", **options), signal()
    close(torch.stack([net(one, EDGES) for one in x]), net(x, EDGES))


@pytest.mark.parametrize("layer", ["edge_varying", "hybrid"])
def test_a_bank_that_knows_its_heads_from_the_first_input_goes_with_an_edge_gate(layer):
    net, x = GraphRecurrent(-1, OUT, layer=layer, gate="edge", hidden_channels=H), signal()
    close(torch.stack([net(one, EDGES) for one in x]), net(x, EDGES))


@pytest.mark.parametrize("layer", NO_EDGE_GATE)
def test_layers_without_weights_of_edges_have_no_edge_gate(layer):
    with pytest.raises(ConfigError, match="edge gate"):
        model(layer=layer, gate="edge")


def test_layers_that_read_edge_features_or_mix_channels_on_edges_have_no_edge_gate():
    with pytest.raises(ConfigError, match="edge features"):
        model(layer="gat", edge_dim=2, gate="edge")
    with pytest.raises(ConfigError, match="matrix for every edge"):
        model(layer="edge_varying", bank="mimo", gate="edge")


@pytest.mark.parametrize(("options", "count"), [({"heads": 2}, 2), ({"heads": 5, "concat": False}, 5), ({}, 1)])
def test_heads_share_the_numbers_of_a_step_or_are_averaged(options, count):
    net = model(layer="gat", cell="lstm", gate="node", **options)
    conv = net.layers[0].cell.input_map.conv
    assert (conv.heads, conv.out_width) == (count, 4 * H)
    assert net(signal(), EDGES).shape == (B, T, N, OUT)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ConfigError, match="5 heads side by side must divide the 12 numbers"):
        model(layer="gat", heads=5)
    with pytest.raises(ConfigError, match="'gcnn' has no heads"):
        model(heads=2)


def test_several_operators_sparse_adjacencies_and_edge_features_come_as_they_do_to_layers():
    x, weight = signal(), torch.rand(SYMMETRIC.shape[1])
    two = model(shifts=2, normalize=None)
    assert two(x, SYMMETRIC, torch.rand(SYMMETRIC.shape[1], 2)).shape == (B, T, N, OUT)
    plain = model(normalize=None)
    adjacency = torch.sparse_coo_tensor(SYMMETRIC.flip(0), weight, (N, N))
    close(plain(x, adjacency), plain(x, SYMMETRIC, weight))
    featured = model(layer="gat", edge_dim=2)
    assert featured.needs_edge_attr and not plain.needs_edge_attr
    attr = torch.randn(SYMMETRIC.shape[1], 2)
    assert (featured(x, SYMMETRIC, edge_attr=attr) - featured(x, SYMMETRIC, edge_attr=2 * attr)).abs().max() > 1e-6


@pytest.mark.parametrize(("layer", "gate", "counts"), [("gat", None, 0), ("gat", "edge", 0), ("gcnn", "edge", 1)])
def test_values_of_an_adjacency_count_where_they_do_in_the_layer(layer, gate, counts):
    net, x = model(layer=layer, gate=gate), signal()
    adjacency = torch.sparse_coo_tensor(SYMMETRIC.flip(0), torch.rand(SYMMETRIC.shape[1]), (N, N))
    assert ((net(x, adjacency) - net(x, SYMMETRIC)).abs().max() > 1e-6) == counts


def test_nodes_may_be_numbered_anew_and_tables_follow_their_ids():
    x, order = signal(), torch.randperm(N)
    graph = Graph(SYMMETRIC, N)
    for layer in ("gcnn", "gat", "edge_varying"):
        net = model(layer=layer, gate="node")
        wanted = net(x, graph)[:, :, order]
        close(net(x[:, :, order], order.argsort()[SYMMETRIC], n_id=order), wanted)


# ---------------------------------------------------------------- lengths, state, last
@pytest.mark.parametrize("gate", [None, "time", "edge"])
def test_what_comes_after_a_sequence_does_not_count_and_is_not_read(gate):
    net = model(cell="lstm", gate=gate, num_layers=2)
    x, lengths = signal().requires_grad_(), torch.tensor([2, 4, 0])
    padded = x.detach().clone()
    padded[0, 2:] = padded[2] = float("nan")
    padded.requires_grad_()
    found, state = net(padded, EDGES, lengths=lengths, return_state=True)
    short, after = net(x[:1, :2], EDGES, return_state=True)
    close(found[0, :2], short[0])
    assert found[0, 2:].eq(0).all() and found[2].eq(0).all()
    for ours, theirs in zip(state[1], after[1], strict=True):
        close(ours[:1], theirs)
        assert ours[2].eq(0).all()
    found.square().sum().backward()
    assert padded.grad.isfinite().all() and padded.grad[0, 2:].eq(0).all()
    net.last = True
    close(net(padded, EDGES, lengths=lengths)[:2], torch.stack([found[0, 1], found[1, 3]]))


def test_last_gives_the_scores_after_the_last_step():
    net = model(last=True)
    x = signal()
    last = net(x, EDGES)
    net.last = False
    close(last, net(x, EDGES)[:, -1])
    net.last = True
    close(net(x[0], EDGES), last[0])


# ---------------------------------------------------------------- as a model
def test_its_slots_can_be_compressed_and_hooks_on_its_parts_count():
    net, x = model(layer="gcnn", cell="lstm"), signal()
    before = net(x, EDGES)
    path = "layers.0.cell.state_map.conv.taps.linear"
    handle = net.get_submodule(path).register_forward_hook(lambda module, inputs, output: 2 * output)
    doubled = copy.deepcopy(net)
    handle.remove()
    with torch.no_grad():
        net.get_submodule(path).weight.weight.mul_(2)
    assert (doubled(x, EDGES) - before).abs().max() > 1e-6
    close(doubled(x, EDGES), net(x, EDGES))
    compress_(net, {r".*state_map.*": lambda weight: LowRank.from_dense(weight, rank=2)})
    assert type(net.get_submodule(path).weight) is LowRank
    assert net(x, EDGES).shape == before.shape


def test_resetting_draws_all_weights_anew_and_sizes_are_read_off_the_first_input():
    for gate in (None, *GATES):
        net = GraphRecurrent(-1, OUT, hidden_channels=H, gate=gate, num_nodes=N)
        assert net.config()["in_channels"] == -1
        net(signal(), EDGES)
        weights = {name: p.clone() for name, p in net.named_parameters() if p.dim() > 1}
        net.reset_parameters()
        assert [name for name, before in weights.items() if torch.equal(before, net.get_parameter(name))] == []


def test_dropout_and_the_nonlinearity_are_those_asked_for():
    net = model(cell="elman", nonlinearity="relu", dropout=0.5, num_layers=2)
    hidden: list[Tensor] = []
    net.layers[0].register_forward_hook(lambda module, inputs, output: hidden.append(output[0]))
    x = signal()
    assert (net(x, EDGES) - net(x, EDGES)).abs().max() > 1e-6
    assert hidden[0].min() == 0 and hidden[0].max() > 1  # which no tanh gives
    net.eval()
    close(net(x, EDGES), net(x, EDGES))


@pytest.mark.float32
def test_it_runs_in_float32_and_under_the_compiler():
    net, x, graph = model(cell="elman"), signal(1, 2, N, F), Graph(EDGES, N)
    wanted = net(x, graph)
    assert wanted.dtype == torch.float32
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, graph), wanted)


# ---------------------------------------------------------------- bad input
def test_graphs_of_another_size_or_with_other_edges_are_refused():
    x = signal()
    with pytest.raises(ShapeError, match="the graph has 7 nodes"):
        model()(x, Graph(EDGES, 7))
    with pytest.raises(ShapeError, match="num_nodes=5, and the graph has 4"):
        model(gate="time")(signal(B, T, 4, F), SYMMETRIC[:, :4])
    tables = model(layer="edge_varying").bind(Graph(SYMMETRIC, N))
    with pytest.raises(SupportError):
        tables(x, torch.tensor([[0], [4]]))


@pytest.mark.parametrize(
    ("shape", "message"),
    [((B, 0, N, F), "T = 0"), ((B, T, N, F + 1), "3"), ((N, F), "sequences of signals")],
)
def test_signals_of_other_shapes_are_refused(shape, message):
    with pytest.raises(ShapeError, match=message):
        model()(signal(*shape), EDGES)


def test_what_are_no_tensors_is_refused():
    for wrong, found in ((signal().tolist(), "a list"), (signal().to_sparse(), "sparse")):
        with pytest.raises(ShapeError, match=rf"sequences of signals.*{found}"):
            model()(wrong, EDGES)
    with pytest.raises(ShapeError, match="state of this layer is 1 tensors"):
        model()(signal(), EDGES, state=[(0,)])


def test_an_empty_batch_has_empty_scores():
    assert model(gate="edge")(signal(0, T, N, F), EDGES).shape == (0, T, N, OUT)


def test_one_step_is_a_sequence():
    net, x = model(), signal()
    close(net(x[:, :1], EDGES), net(x, EDGES)[:, :1])


def test_a_state_that_is_not_finite_is_named_with_its_step():
    x = signal()
    x[1, 2, 3, 0] = float("nan")
    with pytest.raises(ShapeError, match=r"from step 2 on \(sequence 1, node"):
        model()(x, EDGES)


def test_states_and_lengths_that_do_not_fit_are_refused():
    net, x = model(cell="lstm", num_layers=2), signal()
    _, state = net(x, EDGES, return_state=True)
    with pytest.raises(ShapeError, match="2 layers"):
        net(x, EDGES, state=state[:1])
    with pytest.raises(ShapeError, match="2 tensors"):
        net(x, EDGES, state=[one[:1] for one in state])
    with pytest.raises(ShapeError, match=r"\(1, 5, 4\)"):
        net(x[:1], EDGES, state=state)
    for wrong in (
        torch.tensor([1, 2]),
        torch.tensor([1.0, 2.0, 3.0]),
        torch.tensor([1, 2, 9]),
        torch.tensor([-1, 2, 3]),
    ):
        with pytest.raises(ShapeError, match="lengths are"):
            net(x, EDGES, lengths=wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "grup"}, "no cell is called 'grup'.*gru"),
        ({"gate": "nodes"}, "no gate is called 'nodes'.*node"),
        ({"gate": "time", "num_nodes": None}, "needs num_nodes"),
        ({"cell": "gru", "nonlinearity": "relu"}, "cell='elman'"),
        ({"cell": "elman", "nonlinearity": "sin"}, "tanh or relu"),
        ({"dropout": 1.0}, "dropout"),
        ({"hidden_channels": 0}, "hidden_channels"),
        ({"num_layers": 0}, "num_layers"),
        ({"layer": "gcnns"}, "no layer is called"),
        ({"orders": 2}, "no option 'orders'"),
        ({"num_nodes": "5"}, "a whole number"),
    ],
)
def test_options_that_are_not_there_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        GraphRecurrent(F, OUT, **options)


# ---------------------------------------------------------------- training
@pytest.mark.float32
def test_it_learns_a_process_on_a_graph_that_no_polynomial_of_it_follows(tmp_path):
    dataset = load("graph_process", num_nodes=8, steps=400, past=2, neighbours=2)
    torch.manual_seed(0)
    net = GraphRecurrent(1, 1, layer="edge_varying", bank="heads", order=1, hidden_channels=8, last=True)
    found = fit(net, dataset, epochs=10, lr=0.03, batch_size=40, seed=0, folder=tmp_path, progress=False)
    ideal, none = dataset.info["ideal_rmse"], dataset.info["mean_rmse"]
    assert found.test < ideal + 0.5 * (none - ideal)


def test_a_configuration_names_it_or_the_data_do(tmp_path):
    tables = {
        "dataset": {"name": "graph_process", "options": {"num_nodes": 6, "steps": 100}},
        "model": {"layer": "gcnn", "hidden_channels": 3, "options": {"gate": "time", "cell": "elman"}},
        "training": {"epochs": 1, "seeds": [0]},
    }
    found = run(RunConfig.from_dict(tables), progress=False)
    assert type(found.models[0]) is GraphRecurrent
    assert found.models[0].config()["num_nodes"] == 6 and found.models[0].last
    tables["model"]["kind"] = "GraphRecurrent"
    tables["model"]["options"]["cell"] = "gru"
    assert run(RunConfig.from_dict(tables), progress=False).models[0].config()["cell"] == "gru"


def test_hooks_on_a_cell_count_or_are_refused_where_gates_take_it_apart():
    x, called = signal(), []
    net = model()
    before = net(x, EDGES)
    net.layers[0].cell.register_forward_hook(lambda *_: called.append(1))
    close(net(x, EDGES), before)
    assert len(called) == T
    gated = model(gate="node")
    gated.layers[0].cell.register_forward_hook(lambda *_: called.append(1))
    with pytest.raises(ConfigError, match="has hooks, and gates between its maps"):
        gated(x, EDGES)


def test_a_layer_over_parts_of_any_kind_goes_on_from_its_own_state_and_draws_all_of_them():
    def conv(width, channels):
        return GraphMap(EdgeNetConv(width, channels, phi="shift"))

    def gate(cell):
        return Gate(cell, NodeRead(conv(6, 1)))

    projection = nn.Linear(H, 2)
    cell = LSTMCell(conv(F, 4 * H), conv(2, 4 * H), H, projection, 2, peepholes=True)
    gates = gate(GRUCell(conv(F, 18), conv(6, 18), 6)), gate(LSTMCell(conv(F, 24), conv(6, 24), 6))
    x, edges = signal().transpose(0, 1), Edges(Graph(EDGES, N))
    found = {}
    for some in ((None, None), (gates[0], None), (None, gates[1]), gates):
        layer = GraphRecurrentLayer(cell, *some)
        whole, state = layer(x, edges)
        first, between = layer(x[:1], edges)
        second, after = layer(x[1:], edges, between)
        close(torch.cat([first, second]), whole)
        close(after, state)
        found[some] = whole
    assert all((a - b).abs().max() > 1e-6 for a, b in combinations(found.values(), 2))
    nn.init.ones_(cell.peepholes)
    before = {name: p.clone() for name, p in layer.named_parameters() if p.dim() > 1}
    layer.reset_parameters()
    assert [name for name, p in before.items() if torch.equal(p, layer.get_parameter(name))] == []


@pytest.mark.parametrize(("gate", "other"), [("edge", "node"), ("edge", "time"), ("node", "edge")])
def test_gates_of_another_kind_than_their_maps_are_refused(gate, other):
    net, with_gates = model(gate=gate), model(gate=other)
    net.layers[0].input_gate = with_gates.layers[0].input_gate
    with pytest.raises(ConfigError, match=f"gates of {'edges' if gate == 'node' else 'nodes or time'} came to a map"):
        net(signal(), EDGES)
