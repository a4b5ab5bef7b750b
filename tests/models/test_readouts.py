"""Readouts by hand, graphs in batches of every kind, and how a graph classifier is called."""

import copy
import json

import pytest
import torch
import torch_geometric.nn as pyg
from torch import Tensor, nn
from torch_geometric.nn import aggr

from edgenet import from_pretrained
from edgenet.errors import CheckpointError, ConfigError, PlanError, ShapeError
from edgenet.graph import Graph
from edgenet.models import GraphClassifier, Readout
from edgenet.selection import Kept, RemovalPlan, remove_

N, F = 6, 4
RING = torch.tensor([[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0]])
BATCH = torch.tensor([0, 0, 2, 2, 2, 0])  # graph 1 has no nodes


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def classifier(readout, **options) -> GraphClassifier:
    return GraphClassifier(F, 3, layer="gcn", hidden_channels=5, readout=readout, **options).eval()


def hidden(model: GraphClassifier, x: Tensor) -> Tensor:
    return torch.relu(model.convs[0](x, RING))


# ---------------------------------------------------------------- what they give
def test_readouts_of_a_batch_are_what_they_say():
    x = torch.randn(N, F)
    by_hand = {
        "mean": lambda h: h.mean(0),
        "sum": lambda h: h.sum(0),
        "max": lambda h: h.max(0).values,
        "median": lambda h: h.sort(0).values[(len(h) - 1) // 2],
    }
    for readout, function in by_hand.items():
        model = classifier(readout)
        h = hidden(model, x)
        read = torch.stack([function(h[BATCH == 0]), torch.zeros(5), function(h[BATCH == 2])])
        close(model(x, RING, BATCH), model.head(read))


def test_the_attention_readout_is_a_softmax_over_the_nodes_of_a_graph():
    x, model = torch.randn(N, F), classifier("attention")
    h = hidden(model, x)
    read = torch.zeros(3, 5)
    for graph in (0, 2):
        own = h[graph == BATCH]
        read[graph] = (model.readout.gate(own).softmax(0) * own).sum(0)
    close(model(x, RING, BATCH), model.head(read))


def test_one_node_of_every_graph_is_read_and_all_nodes_stand_side_by_side():
    x, batch = torch.randn(N, F), torch.tensor([1, 0, 1, 0, 0, 1])
    node = classifier("node", target_node=1)
    close(node(x, RING, batch), node.head(hidden(node, x)[[3, 2]]))
    flat = classifier("flatten", num_nodes=3)
    close(flat(x, RING, batch), flat.head(hidden(flat, x)[[1, 3, 4, 0, 2, 5]].view(2, -1)))
    with pytest.raises(ShapeError, match="reads node 3, and the graph has 3 nodes"):
        classifier("node", target_node=3)(x, RING, batch)
    assert flat(x[:0], RING[:, :0], batch[:0]).shape == (0, 3)  # no graphs
    with pytest.raises(ConfigError, match="num_nodes is 1 or more, got -3"):
        classifier("flatten", num_nodes=-3)
    with pytest.raises(ConfigError, match="target_node is 0 or more, got -1"):
        classifier("node", target_node=-1)


def test_several_readouts_stand_side_by_side():
    x, model = torch.randn(N, F), classifier(["sum", "max", aggr.MeanAggregation()])
    h = hidden(model, x)
    close(model(x, RING), model.head(torch.cat([h.sum(0), h.amax(0), h.mean(0)]).unsqueeze(0)))
    theirs = classifier(aggr.MultiAggregation(["mean", "std"]))
    assert theirs.head.in_features == 10 and theirs(x, RING, BATCH).shape == (3, 3)


@pytest.mark.parametrize("pool", ["global_add_pool", "global_mean_pool", "global_max_pool"])
def test_pools_of_pyg_are_readouts_and_can_be_named(pool):
    x, function = torch.randn(N, F), getattr(pyg, pool)
    model = classifier(function)
    close(model(x, RING, BATCH), model.head(function(hidden(model, x), BATCH, 3)))
    assert json.loads(json.dumps(classifier(pool).config()))["readout"] == pool
    wrapped = classifier(lambda x, batch, size: function(x, batch, size))
    wrapped.load_state_dict(model.state_dict())
    close(wrapped(x, RING, BATCH), model(x, RING, BATCH))
    signals = torch.randn(2, N, F)
    close(wrapped(signals, RING), model(signals, RING))


def test_a_function_of_two_arguments_and_one_that_widens_are_readouts():
    x = torch.randn(N, F)
    model = classifier(lambda x, batch: torch.cat([pyg.global_add_pool(x, batch), pyg.global_max_pool(x, batch)], 1))
    assert model.head.in_features == 10
    assert model(x, RING, BATCH).shape == (3, 3)


def test_a_readout_whose_width_no_trial_tells_has_it_from_the_first_input():
    def picky(x, batch, size):
        if len(x) < N:
            raise RuntimeError("too few nodes")
        return pyg.global_add_pool(x, batch, size)

    x, model = torch.randn(N, F), classifier(picky)
    assert model(x, RING, BATCH).shape == (3, 3) and model.head.in_features == 5


def test_a_readout_of_ones_own_is_a_subclass_and_learns():
    class Scaled(Readout):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x, batch, size):
            batch = torch.zeros(len(x), dtype=torch.long) if batch is None else batch
            return self.scale * pyg.global_add_pool(x, batch, size)

    model = classifier(Scaled())
    model(torch.randn(N, F), RING, BATCH).sum().backward()
    assert model.readout.scale.grad is not None


def test_the_trial_that_tells_a_width_leaves_norms_as_they_were():
    gate = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 1))
    before = copy.deepcopy(gate.state_dict())
    model = GraphClassifier(F, 3, hidden_channels=5, readout=aggr.AttentionalAggregation(gate))
    assert all(torch.equal(value, before[name]) for name, value in model.readout.aggr.gate_nn.state_dict().items())
    assert model.training and gate.training


@pytest.mark.parametrize("readout", ["attention", aggr.AttentionalAggregation(nn.Linear(5, 1)), ["mean", "attention"]])
def test_parameters_of_a_readout_are_drawn_anew(readout):
    model = classifier(readout)
    before = {name: p.detach().clone() for name, p in model.readout.named_parameters()}
    with torch.no_grad():
        for parameter in model.readout.parameters():
            parameter.fill_(7.0)
    model.reset_parameters()
    assert before and all(p.abs().max() < 7 for p in model.readout.parameters())


# ---------------------------------------------------------------- 16 bits
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("readout", ["mean", "attention"])
def test_many_numbers_of_16_bits_have_the_mean_that_they_have_in_32(dtype, readout):
    """4,000 nodes of value 20 add up to more than float16 holds."""
    x, batch = torch.full((4000, 2), 20.0, dtype=dtype), torch.zeros(4000, dtype=torch.long)
    read = GraphClassifier(F, 3, hidden_channels=2, readout=readout).to(dtype).readout
    for y in (read(x, batch, 1), read(x.unsqueeze(0), None, 1)):
        assert y.dtype == dtype and torch.equal(y, torch.full((1, 2), 20.0, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_aggregations_of_pyg_add_up_numbers_of_16_bits_in_32(dtype):
    x, batch = torch.full((4000, 2), 20.0, dtype=dtype), torch.zeros(4000, dtype=torch.long)
    for readout, wanted in (
        ("MeanAggregation", 20.0),
        (aggr.VarAggregation(), 0.0),
        (aggr.PowerMeanAggregation(), 20.0),
    ):
        read = GraphClassifier(F, 3, hidden_channels=2, readout=readout).to(dtype).readout
        assert torch.equal(read(x, batch, 1), torch.full((1, 2), wanted, dtype=dtype))
    gate = GraphClassifier(F, 3, hidden_channels=2, readout=aggr.AttentionalAggregation(nn.Linear(2, 1))).to(dtype)
    assert gate.readout(x, batch, 1).dtype == dtype  # its own numbers have 16 bits, and so it reads 16


def test_a_sum_of_16_bits_is_rounded_once():
    x, batch = torch.full((4000, 1), 1.0, dtype=torch.bfloat16), torch.zeros(4000, dtype=torch.long)
    read = GraphClassifier(F, 3, hidden_channels=1, readout="sum").readout
    assert read(x, batch, 1).item() == read(x.unsqueeze(0), None, 1).item() == 4000  # one by one, it stops at 256


# ---------------------------------------------------------------- the third argument
def test_a_third_argument_of_whole_numbers_is_the_batch_as_in_pyg():
    x, model = torch.randn(N, F), classifier("mean")
    wanted = model(x, RING, batch=BATCH)
    close(model(x, RING, BATCH), wanted)
    close(model(x, RING, BATCH.int()), wanted)
    close(model(x, Graph(RING, N), BATCH), wanted)


def test_a_third_argument_of_floats_goes_to_the_layers():
    x, weight, model = torch.randn(N, F), torch.rand(N), classifier("mean")
    close(model(x, RING, weight), model(x, RING, edge_weight=weight))
    close(model(x, RING, weight, BATCH), model(x, RING, batch=BATCH, edge_weight=weight))
    close(model(x, RING, edge_weight=torch.full((6,), 2)), model(x, RING, torch.full((6,), 2.0)))
    feature = torch.rand(N, 2)
    model = GraphClassifier(F, 3, layer="gat", edge_dim=2)
    close(model(x, RING, feature, BATCH), model(x, RING, edge_attr=feature, batch=BATCH))


@pytest.mark.parametrize(
    ("x", "third", "batch", "says"),
    [
        (torch.randn(2, N, F), torch.ones(N, dtype=torch.long), None, "Pass others by name"),
        (torch.randn(N, F), torch.ones(N + 1, dtype=torch.long), None, r"\(6,\) whole numbers.*\(7,\)"),
        (torch.randn(N, F), torch.ones(N, dtype=torch.bool), None, "bool"),
        (torch.randn(N, F), BATCH, BATCH, "batch came too"),
    ],
)
def test_a_third_argument_that_could_be_several_things_is_refused(x, third, batch, says):
    with pytest.raises(ShapeError, match=says):
        classifier("mean")(x, RING, third, batch)


@pytest.mark.parametrize(
    ("batch", "num_graphs", "says"),
    [
        (BATCH, 2, "graph 2, and there are 2 graphs"),
        (BATCH - 1, None, "graph -1"),
        (BATCH[:4], None, r"\(4,\)"),
        (BATCH.double(), None, "float64"),
        (None, 3, "num_graphs=3.*pass batch"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(batch, num_graphs, says):
    with pytest.raises(ShapeError, match=says):
        classifier("sum")(torch.randn(N, F), RING, batch=batch, num_graphs=num_graphs)
    with pytest.raises(ShapeError, match="whole numbers"):
        classifier("sum")(torch.randn(2, N, F), RING, batch=BATCH)


# ---------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("readout", "says"),
    [
        ("medain", "got 'medain'. Did you mean 'median'"),
        ("LSTMAggregation", r"arguments of its own.*readout=LSTMAggregation\(...\)"),
        (aggr.SumAggregation, "make one first"),
        (5, "readout of GraphClassifier.*got 5"),
        (nn.Identity(), r"called as readout\(x, batch, size\), and 'Identity'"),
        ([], r"got \[\]"),
    ],
)
def test_readouts_that_are_none_are_refused(readout, says):
    with pytest.raises(ConfigError, match=says):
        classifier(readout)


def test_a_function_that_gives_something_else_is_refused_by_its_name():
    def pool_all(x, batch, size):
        return x.sum(0, keepdim=True)

    with pytest.raises(ShapeError, match=r"pool_all' is to give a row for each of 3 graphs, got \(1, 5\)"):
        classifier(pool_all)(torch.randn(N, F), RING, BATCH)


def test_a_function_is_in_no_file_which_says_its_name_and_what_to_do(tmp_path):
    def my_pool(x, batch, size):
        return pyg.global_add_pool(x, batch, size)

    x, model = torch.randn(N, F), classifier(my_pool)
    with pytest.raises(ConfigError, match="no name that a configuration could hold"):
        model.config()
    model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"my_pool', which no file holds; .*from_pretrained\(folder, model=model"):
        from_pretrained(tmp_path)
    assert torch.equal(from_pretrained(tmp_path, model=classifier(my_pool))(x, RING), model(x, RING))


# ---------------------------------------------------------------- as a module
@pytest.mark.parametrize("make", [lambda: "mean", lambda: "attention", lambda: "median", lambda: aggr.Set2Set(5, 2)])
def test_copies_and_states_keep_the_readout(make):
    x, model = torch.randn(N, F), classifier(make())
    assert torch.equal(copy.deepcopy(model)(x, RING, BATCH), model(x, RING, BATCH))
    fresh = classifier(make())
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(x, RING, BATCH), model(x, RING, BATCH))


def test_features_can_be_counted_at_the_first_input():
    x = torch.randn(N, F)
    lazy = GraphClassifier(-1, 3, layer="gat", heads=2, skip=True, readout="attention").eval()
    assert lazy(x, RING, BATCH).shape == (3, 3)
    known = GraphClassifier(F, 3, layer="gat", heads=2, skip=True, readout="attention").eval()
    known.load_state_dict(lazy.state_dict())
    close(known(x, RING, BATCH), lazy(x, RING, BATCH))


def test_a_graph_classifier_is_compiled_for_a_batch():
    x, model = torch.randn(N, F), classifier("mean")
    compiled = torch.compile(model, backend="eager")
    close(compiled(x, RING, BATCH, num_graphs=3), model(x, RING, BATCH, num_graphs=3))


@pytest.mark.parametrize("readout", ["mean", "node"])
def test_heads_that_leave_the_last_layer_leave_the_map_to_scores_too(readout):
    x, options = torch.randn(N, F), {"layer": "gat", "heads": 3, "hidden_channels": 4, "num_layers": 2}
    model = GraphClassifier(F, 3, readout=readout, target_node=1, **options).eval()
    with torch.no_grad():
        model.head.weight[:, 4:8] = 0  # what head 1 gives is not read
    wanted = model(x, RING)
    remove_(model, RemovalPlan({"convs.1": Kept(((1, 0), (1, 2)))}))
    assert model.head.in_features == 8
    close(model(x, RING), wanted)


def test_heads_stay_where_a_readout_mixes_what_they_give():
    model = GraphClassifier(F, 3, layer="gat", heads=3, readout="attention")
    with pytest.raises(PlanError, match="name it: readers="):
        remove_(model, RemovalPlan({"convs.0": Kept(((1, 0), (1, 2)))}))


def test_aggregations_that_want_graphs_in_order_get_them_so():
    x, order = torch.randn(N, F), torch.tensor([3, 0, 4, 1, 5, 2])
    model = classifier(aggr.SortAggregation(2))
    batch = torch.tensor([0, 0, 0, 1, 1, 1])
    close(model(x[order], order.argsort()[RING], batch[order]), model(x, RING, batch))


@pytest.mark.parametrize("readout", ["mean", "sum", "max", "attention"])
def test_signals_on_a_graph_without_nodes_are_read_as_zeros(readout):
    read = classifier(readout).readout
    assert torch.equal(read(torch.empty(2, 0, 5), None, 2), torch.zeros(2, 5))
