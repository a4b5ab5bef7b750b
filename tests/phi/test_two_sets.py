"""Tables of the edges of a bipartite graph: from sources to targets, each edge with weights of its own."""

import copy

import pytest
import torch
from torch import nn
from torch_geometric.nn import HeteroConv, to_hetero

from edgenet import EdgeNetConv, from_pretrained, save_pretrained
from edgenet.errors import ShapeError, SupportError
from edgenet.graph import Graph
from edgenet.nn import specializations as nets

EDGES = torch.tensor([[0, 1, 4, 3, 0, 2], [1, 0, 2, 1, 1, 2]])  # from 5 sources to 3 targets; 0 -> 1 twice, 2 -> 2
SIZE = (5, 3)
WIDTHS = (4, 2)
MAKERS = {
    "heads": lambda: EdgeNetConv(WIDTHS, 3, heads=2),
    "heads by number": lambda: EdgeNetConv(WIDTHS, 3, heads=2, share="edge_id"),
    "mimo": lambda: nets.edge_varying(WIDTHS, 3, order=1, bank="mimo"),
    "unseen": lambda: EdgeNetConv(WIDTHS, 3, heads=2, unseen="shared"),
}


def signals():
    return torch.randn(SIZE[0], WIDTHS[0]), torch.randn(SIZE[1], WIDTHS[1])


def made(name):
    conv = MAKERS[name]().bind(EDGES, SIZE)
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.normal_()
    return conv


def test_every_edge_weighs_its_source_by_numbers_of_its_own():
    conv, (source, target) = made("heads"), signals()
    z, own = conv.lift(source), conv.lift_target(target)  # (N, H, C)
    table = conv.phi.edge_table.to_dense()
    pairs = sorted({(j, i) for i, j in EDGES.t().tolist()})  # target first; a repeated edge has one row
    assert table.shape == (len(pairs), 2)
    want = own.clone()
    for i, j in EDGES.t().tolist():
        want[j] += table[pairs.index((j, i))][:, None] * z[i]
    torch.testing.assert_close(conv((source, target), EDGES), want.flatten(1) + conv.bias)


@pytest.mark.parametrize("name", MAKERS)
def test_files_copies_and_sampled_pieces_find_the_same_rows(name, tmp_path):
    conv, x = made(name), signals()
    y = conv(x, EDGES)
    fresh = MAKERS[name]()
    fresh.load_state_dict(conv.state_dict())
    torch.testing.assert_close(fresh(x, EDGES), y)
    torch.testing.assert_close(copy.deepcopy(conv)(x, EDGES), y)
    save_pretrained(conv, tmp_path / "saved")
    torch.testing.assert_close(from_pretrained(tmp_path / "saved").double()(x, EDGES), y)
    piece = torch.tensor([3, 0])  # two edges into target 1
    got = conv((x[0][[0, 3]], x[1][[1]]), torch.tensor([[1, 0], [0, 0]]), e_id=piece)
    part = conv(x, EDGES[:, piece], e_id=piece)
    torch.testing.assert_close(got[0], part[1])


def test_the_order_of_edges_means_nothing_and_other_edges_are_refused():
    conv, x = made("heads"), signals()
    torch.testing.assert_close(conv(x, EDGES.flip(1)), conv(x, EDGES))
    with pytest.raises(SupportError, match=r"edge 0 \(2 -> 1\) lies outside"):
        conv(x, torch.tensor([[2], [1]]))
    with pytest.raises(SupportError, match="from 5 sources, and these are from 6"):
        conv((torch.randn(6, 4), x[1]), EDGES)
    with pytest.raises(SupportError, match="from 5 sources, and these are from 3"):
        conv((x[0][:3], x[1]), EDGES[:, [0, 1]])
    same = EdgeNetConv(WIDTHS, 3).bind(EDGES, (5, 5))
    with pytest.raises(ShapeError, match="pass e_id"):  # as many sources as targets, and two sets all the same
        same((x[0], torch.randn(5, 2)), EDGES, n_id=torch.arange(5))
    with pytest.raises(SupportError, match="bound to a graph"):
        conv.phi.bind(Graph(EDGES, 3, 6))
    other = EdgeNetConv(WIDTHS, 3, heads=2).bind(EDGES, (6, 3))
    with pytest.raises(RuntimeError, match="cannot take the table of another"):
        other.load_state_dict(conv.state_dict())
    with pytest.raises(ShapeError, match="pass e_id"):
        conv(x, EDGES, n_id=torch.arange(3))


def test_edges_can_be_taken_out_of_the_table():
    conv, x = made("heads"), signals()
    rows = conv.phi.table_rows
    assert conv.phi.remove_edges_(torch.tensor([4]), torch.tensor([2])) == 1 and conv.phi.table_rows == rows - 1
    kept = torch.tensor([0, 1, 3, 4, 5])
    torch.testing.assert_close(conv(x, EDGES), conv(x, EDGES[:, kept]))


def test_banks_that_have_a_diagonal_are_refused_in_words():
    with pytest.raises(ShapeError, match="'mimo' and 'heads' with form='full'"):
        nets.edge_varying(WIDTHS, 3)
    with pytest.raises(ShapeError, match="got bank='mimo', form='cp'"):
        nets.edge_varying(WIDTHS, 3, bank="mimo", form="cp")


# ---------------------------------------------------------------- many sets of nodes
TYPES = {
    ("author", "writes", "paper"): EDGES,
    ("paper", "cites", "paper"): torch.tensor([[0, 1, 2], [2, 0, 2]]),
    ("paper", "by", "author"): EDGES.flip(0),
}


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = EdgeNetConv((-1, -1), 4, heads=2), EdgeNetConv((-1, -1), 2, phi="edge_matrix")

    def forward(self, x, edge_index):
        return self.second(self.first(x, edge_index).relu(), edge_index)


def hetero_signals():
    source, target = signals()
    return {"author": source, "paper": target}


def test_every_type_of_edges_has_a_table_of_its_own():
    both = to_hetero(Network(), (["author", "paper"], list(TYPES)))
    y = both(hetero_signals(), TYPES)
    assert y["author"].shape == (5, 2) and y["paper"].shape == (3, 2)
    tables = {name: part.phi.edge_table.shape for name, part in both.first.items()}
    assert tables == {
        "author__writes__paper": (5, 2), "paper__cites__paper": (3, 2), "paper__by__author": (5, 2),
    }  # fmt: skip
    sum(v.square().sum() for v in y.values()).backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in both.parameters())
    fresh = to_hetero(Network(), (["author", "paper"], list(TYPES)))
    fresh.load_state_dict(both.state_dict())
    torch.testing.assert_close(fresh(hetero := hetero_signals(), TYPES), both(hetero, TYPES))


def test_a_hetero_conv_adds_what_the_types_give():
    convs = {kind: EdgeNetConv((-1, -1), 4) for kind in TYPES}
    x = hetero_signals()
    y = HeteroConv(convs)(x, TYPES)
    want = sum(convs[kind]((x[kind[0]], x[kind[2]]), TYPES[kind]) for kind in list(TYPES)[:2])
    torch.testing.assert_close(y["paper"], want)

