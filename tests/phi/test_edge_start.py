"""EdgeVarying(start="shift"): a walk of the normalised adjacency that moves away edge by edge."""

import pytest
import torch

from edgenet.errors import ShapeError
from edgenet.nn import EdgeNetConv
from edgenet.nn.specializations import grand
from edgenet.phi import EdgeVarying
from edgenet.testing import GRAPHS

graphs = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


@graphs
def test_it_begins_as_the_shift_operator_and_is_that_again_after_a_reset(graph):
    walk = EdgeNetConv(3, 3, 3, 1, "shift", normalize="sym")
    table = EdgeNetConv(3, 3, 3, 1, "edge_varying", self_loops=False, initial=True, start="shift", lift="identity",
                        taps="linear", bias=True).bind(graph)  # fmt: skip
    table.load_state_dict({**table.state_dict(), **{k: v for k, v in walk.state_dict().items() if "taps" in k}})
    x = torch.randn(graph.num_nodes, 3)
    expected = walk(x, graph)
    torch.testing.assert_close(table(x, graph), expected, rtol=0, atol=1e-6)
    with torch.no_grad():
        for part in table.phi.parameters():
            part.normal_()
    table.phi.reset_parameters()
    if graph.edge_index.unique(dim=1).shape == graph.edge_index.shape:  # repeated edges count once by now
        torch.testing.assert_close(table(x, graph), expected, rtol=0, atol=1e-6)


@graphs
def test_grand_that_learns_its_edges_begins_as_grand(graph):
    fixed, learned = grand(3, 5, order=4), grand(3, 5, order=4, learned=True).bind(graph)
    learned.load_state_dict({**learned.state_dict(), **fixed.state_dict()})
    x = torch.randn(graph.num_nodes, 3)
    torch.testing.assert_close(learned(x, graph), fixed(x, graph), rtol=0, atol=1e-6)
    learned(x, graph).square().sum().backward()
    if graph.num_edges:
        assert learned.phi.edge_table.weight.grad.abs().sum() > 0


def test_other_starts_are_refused():
    with pytest.raises(ShapeError, match=r"tables start 'random' or 'shift', got start='zero'"):
        EdgeVarying(start="zero")
