"""Local pooling: the maximum, lower median or mean around the nodes that are kept."""

import copy

import pytest
import torch

from edgenet import from_pretrained, save_pretrained
from edgenet.errors import ConfigError, ShapeError
from edgenet.nn.graph_signal import MaxPoolLocal, MeanPoolLocal, MedianPoolLocal, by_degree, neighbourhoods
from edgenet.testing import GRAPHS

RHO = {
    MaxPoolLocal: lambda x: x.max(0).values,
    MedianPoolLocal: lambda x: x.median(0).values,
    MeanPoolLocal: lambda x: x.mean(0),
}
kinds = pytest.mark.parametrize("kind", RHO)


@kinds
@pytest.mark.parametrize("hops", [1, 2])
def test_it_is_the_definition_and_so_is_its_gradient(kind, hops):
    graph, nodes = GRAPHS["directed"], [7, 12, 0, 3]
    x, near = torch.randn(13, 3, requires_grad=True), neighbourhoods(graph, hops)
    y = kind(nodes, hops)(x, graph)
    wanted = torch.stack([RHO[kind](x[near.node[near.centre == node]]) for node in nodes])
    torch.testing.assert_close(y, wanted, rtol=1e-10, atol=1e-10)
    r = torch.randn_like(y)
    got, want = torch.autograd.grad(y, x, r)[0], torch.autograd.grad(wanted, x, r)[0]
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
    times = torch.stack([x, -x, 2 * x]).unsqueeze(0)
    torch.testing.assert_close(kind(nodes, hops)(times, graph)[0, 2], kind(nodes, hops)(2 * x, graph))


@kinds
def test_with_all_rows_kept_the_other_nodes_are_zero(kind):
    graph, nodes, x = GRAPHS["isolated_node"], [4, 1], torch.randn(2, 5, 3)
    few, all_rows = kind(nodes)(x, graph), kind(nodes, keep_size=True)(x, graph)
    assert all_rows.shape == x.shape
    torch.testing.assert_close(all_rows[:, nodes], few, rtol=0, atol=0)
    assert not all_rows[:, [0, 2, 3]].any()
    torch.testing.assert_close(few[:, 1], x[:, 1], rtol=0, atol=0)  # node 1 is alone


def test_nodes_come_as_numbers_a_tensor_or_how_many():
    graph, x = GRAPHS["directed"], torch.randn(13, 2)
    torch.testing.assert_close(MaxPoolLocal(3)(x, graph), MaxPoolLocal([0, 1, 2])(x, graph), rtol=0, atol=0)
    best = by_degree(graph)[:4]
    torch.testing.assert_close(MaxPoolLocal(best)(x, graph), MaxPoolLocal(best.tolist())(x, graph), rtol=0, atol=0)


@kinds
def test_it_lasts(kind, tmp_path):
    pool, x = kind([3, 1], 2, keep_size=True, flow="target_to_source"), torch.randn(13, 2)
    y = pool(x, GRAPHS["directed"])
    save_pretrained(pool, tmp_path)
    for again in (copy.deepcopy(pool), from_pretrained(tmp_path)):
        torch.testing.assert_close(again(x, GRAPHS["directed"]), y, rtol=0, atol=0)
    assert pool.float()(x.float(), GRAPHS["directed"]).dtype == torch.float32 and not pool.state_dict()


def test_wrong_nodes_are_refused():
    wrong = {"number 1 of them is -1": [0, -1], "is 1.5": [1.5], "node 2 is named twice": [2, 3, 2], "at least one": []}
    for says, nodes in wrong.items():
        with pytest.raises(ConfigError, match=says):
            MaxPoolLocal(nodes)
    for nodes in ("all", None, 0, torch.tensor(1.5)):
        with pytest.raises(ConfigError, match="node"):
            MaxPoolLocal(nodes)
    with pytest.raises(ConfigError, match="hops"):
        MaxPoolLocal([0], hops=0)
    with pytest.raises(ShapeError, match="node 5 was asked for, and the graph has 5 nodes"):
        MaxPoolLocal([5, 1])(torch.randn(5, 2), GRAPHS["path"])
    with pytest.raises(ShapeError, match="node 0 was asked for, and the graph has 0 nodes"):
        MaxPoolLocal([0])(torch.randn(0, 2), GRAPHS["zero_nodes"])
