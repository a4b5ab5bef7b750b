"""residual=True: a linear map of a node's own features is added to what the layer computes."""

import copy

import pytest
import torch

from edgenet import EdgeNetConv, from_pretrained, save_pretrained
from edgenet.errors import ShapeError
from edgenet.nn.keep import keep_inputs_, keep_taps_

RING = torch.tensor([[0, 1, 2, 3, 1], [1, 2, 3, 0, 3]])


def bare(conv: EdgeNetConv) -> EdgeNetConv:
    other = copy.deepcopy(conv)
    other.root = None
    return other


CASES = {
    "edge_varying": lambda i: EdgeNetConv(i, 3, 2, 2, residual=True),
    "attention": lambda i: EdgeNetConv(i, 3, 1, 2, "attention", residual=True, bias=False),
    "attention averaged": lambda i: EdgeNetConv(i, 3, 1, 2, "attention", residual=True, concat=False),
    "shift": lambda i: EdgeNetConv(i, 3, 2, phi="shift", residual=True),
}


@pytest.mark.parametrize("width", [5, -1])
@pytest.mark.parametrize("name", CASES)
def test_it_adds_a_map_of_the_nodes_own_features(name, width):
    conv, x = CASES[name](width), torch.randn(4, 5)
    y = conv(x, RING)
    torch.testing.assert_close(y, bare(conv)(x, RING) + x @ conv.root.weight.to_dense().mT)
    batch = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(conv(batch, RING)[1, 2], conv(batch[1, 2], RING))
    torch.testing.assert_close(conv(x.to_sparse(), RING), y)


def test_on_two_sets_of_nodes_it_reads_the_targets():
    conv = EdgeNetConv((5, 4), 3, 1, 2, "attention", add_self_loops=False, residual=True)
    source, target = torch.randn(6, 5), torch.randn(4, 4)
    want = bare(conv)((source, target), RING) + conv.root(target)
    torch.testing.assert_close(conv((source, target), RING), want)
    blind = EdgeNetConv((5, 4), 3, phi="shift", self_tap=False, residual=True)
    with pytest.raises(ShapeError, match="residual needs the targets' signal"):
        blind((source, None), RING, size=(6, 4))


def test_it_is_drawn_saved_and_made_smaller_with_the_layer(tmp_path):
    conv, x = EdgeNetConv(5, 3, 1, 3, "attention", residual=True), torch.randn(4, 5)
    y = conv(x, RING)
    save_pretrained(conv, tmp_path / "saved")
    torch.testing.assert_close(from_pretrained(tmp_path / "saved").double()(x, RING), y)
    before = conv.root.weight.to_dense().clone()
    kept = keep_taps_(conv, [(1, 0), (1, 2)])
    torch.testing.assert_close(conv(x, RING), y[:, kept])
    keep_inputs_(conv, [0, 3])
    assert conv.root.weight.shape == (6, 2)
    conv.reset_parameters()
    assert not torch.equal(conv.root.weight.to_dense(), before[kept][:, [0, 3]])
