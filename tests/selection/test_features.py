"""The signals that taps combine, as the columns of a regression."""

import numpy as np
import pytest
import torch
from selection.filters import EDGES, GRAPH, NODES, near, random_

from edgenet.errors import ShapeError
from edgenet.nn import EdgeNetConv, specializations
from edgenet.nn.taps import Chebyshev
from edgenet.selection import edge_blocks, tap_features
from edgenet.structured import StructuredLinear


def test_features_of_a_shift_operator_are_its_powers():
    layer, x = specializations.gcnn(3, 2, order=2, normalize="rw"), torch.randn(NODES, 3)
    features = tap_features(layer, x, GRAPH)
    shift = torch.zeros(NODES, NODES).index_put((GRAPH.target, GRAPH.source), torch.ones(EDGES), accumulate=True)
    shift = shift / shift.sum(1, keepdim=True).clamp(min=1)
    near(features.values, torch.cat([x, shift @ x, shift @ shift @ x], 1))
    assert features.groups(("hop",)) == ["hop 0"] * 3 + ["hop 1"] * 3 + ["hop 2"] * 3
    assert [tap.head for tap in features.taps] == [0] * 9


@pytest.mark.parametrize("edge_weight", [None, "two"])
def test_the_taps_of_a_layer_are_linear_in_its_features(edge_weight):
    heads = 1 if edge_weight is None else 2
    layer = random_(specializations.gcnn(3, 2, order=2, shifts=heads, normalize=None))
    weight = None if edge_weight is None else torch.rand(EDGES, 2)
    x = torch.randn(NODES, 3)
    features = tap_features(layer, x, GRAPH, weight)
    assert features.values.shape[1] == 3 * (1 + 2 * heads)  # the input comes once
    mix = layer.taps.linear.weight.weight.detach().unflatten(1, (3, heads, 3))
    taps = torch.cat([mix[:, 0].sum(1), mix[:, 1:].flatten(1)], 1)
    near(torch.as_tensor(features.values) @ taps.t() + layer.bias.detach(), layer(x, GRAPH, weight).detach())


def test_a_batch_gives_a_row_for_every_signal_and_node():
    layer, x = specializations.gcnn(3, 2, order=1), torch.randn(4, NODES, 3)
    features = tap_features(layer, x, GRAPH)
    near(features.values, np.concatenate([tap_features(layer, signal, GRAPH).values for signal in x]))


def test_features_of_attention_are_its_heads_in_eval_mode():
    layer, x = random_(specializations.gat(3, 4, heads=2, dropout=0.5)).train(), torch.randn(NODES, 3)
    features = tap_features(layer, x, GRAPH)
    assert layer.training and layer.phi.training
    near(features.values, (layer.eval()(x, GRAPH) - layer.bias).detach())
    assert features.groups(("head",)) == ["head 0"] * 4 + ["head 1"] * 4


@pytest.mark.parametrize("kind", ["shift", "loops", "table", "attention"])
def test_blocks_of_edges_add_up_to_the_signal(kind):
    layer = {
        "shift": lambda: specializations.gcnn(3, 2, order=2),
        "loops": lambda: EdgeNetConv(3, 2, 2, phi="shift", add_self_loops=True),
        "table": lambda: specializations.edge_varying(3, 2, order=2, bank="heads", heads=2),
        "attention": lambda: specializations.gat(3, 2, heads=2),
    }[kind]()
    x = torch.randn(NODES, 3)
    layer(x, GRAPH)
    random_(layer)
    labels = ["near" if e % 3 else "far" for e in range(EDGES)]
    whole, parts = tap_features(layer, x, GRAPH), tap_features(layer, x, GRAPH, blocks=labels)
    own = {"own"} if kind != "shift" else set()
    assert {tap.block for tap in parts.taps if tap.hop} == {"near", "far"} | own
    for tap in dict.fromkeys(whole.taps):
        mine = [j for j, other in enumerate(parts.taps) if other[:2] == tap[:2]]
        summed = parts.values[:, mine].reshape(NODES, -1, whole.taps.count(tap)).sum(1)
        near(summed, whole.values[:, [j for j, other in enumerate(whole.taps) if other == tap]])
    assert parts.blocks == ("far", "near")


def test_a_block_of_a_shift_operator_is_the_graph_with_its_edges_alone():
    layer, x = specializations.gcnn(3, 2, order=1, normalize=None), torch.randn(NODES, 3)
    weight, labels = torch.rand(EDGES), torch.arange(EDGES) % 2
    features = tap_features(layer, x, GRAPH, weight, blocks=labels)
    for block in ("0", "1"):
        mine = [j for j, tap in enumerate(features.taps) if tap.block == block]
        stay = labels == int(block)
        alone = tap_features(layer, x, GRAPH.edge_index[:, stay], weight[stay])
        near(features.values[:, mine], alone.values[:, 3:])


def test_looking_at_a_layer_leaves_it_as_it_is():
    layer, x = random_(specializations.gcnn(3, 2, order=2)), torch.randn(NODES, 3)
    outputs = []
    layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    before, state = layer(x, GRAPH), {name: value.clone() for name, value in layer.state_dict().items()}
    taps, bias = layer.taps, layer.bias
    tap_features(layer, x, GRAPH, blocks=[0] * EDGES)
    assert layer.taps is taps and layer.bias is bias and list(layer.state_dict()) == list(state)
    assert len(outputs) == 1  # nobody is shown what is no output
    assert torch.equal(layer(x, GRAPH), before)


@pytest.mark.parametrize(
    ("make", "blocks", "text"),
    [
        (lambda: specializations.gat((3, 3), 2), None, "bipartite"),
        (lambda: specializations.edge_varying(3, 2, bank="mimo", order=1), None, "mixes channels"),
        (lambda: specializations.gcnn(3, 2), [0, 1], "label for each of"),
        (lambda: specializations.hybrid(3, 2), None, "got a Parallel"),
        (lambda: specializations.arma(3, 2).convs[1], None, "Jacobi taps"),
        (lambda: EdgeNetConv(3, 2, phi="shift", taps=Chebyshev(StructuredLinear.dense(6, 2))), None, "Chebyshev taps"),
        (lambda: specializations.gcnn(3, 2), ["own"] * EDGES, "another name"),
        (lambda: specializations.gcnn(3, 2), [0.5] * EDGES, "texts or whole numbers"),
    ],
)
def test_what_has_no_features_is_refused(make, blocks, text):
    with pytest.raises(ShapeError, match=text):
        tap_features(make(), torch.randn(NODES, 3), GRAPH, blocks=blocks)


def test_blocks_by_a_number_are_of_equal_size():
    labels = edge_blocks(np.arange(100.0), 4)
    assert sorted(labels.count(label) for label in set(labels)) == [25] * 4 and labels[0] == "0 to 24.75"
    assert edge_blocks([1.0, 1.0, 1.0], 4) == ["1 to 1"] * 3
    assert set(edge_blocks(torch.tensor([0.0, 0.0, 0.0, 5.0]), 2)) == {"0 to 5"}
    with pytest.raises(ShapeError, match="1 that are not finite"):
        edge_blocks([1.0, np.nan])
    with pytest.raises(ShapeError, match=r"2\.5 of them"):
        edge_blocks([1.0, 2.0], 2.5)


@pytest.mark.parametrize("values", [np.linspace(0.999991, 0.999999, 40), np.linspace(10_000.0, 10_001.0, 40)])
def test_blocks_of_numbers_that_are_near_each_other_stay_apart(values):
    labels = edge_blocks(values, 4)
    assert sorted(labels.count(label) for label in set(labels)) == [10] * 4
