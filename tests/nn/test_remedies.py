"""What cannot be made, or cannot go together, is refused in words: with the values, and what to write instead."""

import pytest
import torch
import torch_geometric.nn as pyg

from edgenet import EdgeNetConv
from edgenet.errors import ConfigError, PlanError, ShapeError
from edgenet.nn import specializations as nets
from edgenet.nn import taps
from edgenet.phi import EdgeVarying

RING = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])

REFUSED = {
    r"dropout belongs to phi='attention' or .*, and this layer has phi='edge_varying'": lambda: EdgeNetConv(
        3, 4, dropout=0.6
    ),
    r"edge_dim belongs to phi='attention' .* this layer has phi='shift'": lambda: EdgeNetConv(
        3, 4, phi="shift", edge_dim=2
    ),
    r"dropout belongs to .* this layer has phi='edge_matrix'": lambda: EdgeNetConv(
        3, 4, phi="edge_matrix", dropout=0.6
    ),
    r"alpha belongs to the taps 'teleport' .* taps=edgenet.nn.taps.Teleport\(": lambda: EdgeNetConv(3, 4, alpha=0.1),
    "Teleport taps keep the width .* 3 channels .* out_channels are 4: set lift='linear'": lambda: EdgeNetConv(
        3, 4, phi="shift", taps="teleport"
    ),
    "Adaptive taps keep the width": lambda: EdgeNetConv(3, 4, phi="shift", taps="adaptive"),
    "Sum taps keep the width": lambda: EdgeNetConv(3, 4, phi="shift", taps="sum", bias=False),
    "the Teleport taps gave 3 channels, .* ask for 4": lambda: EdgeNetConv(-1, 4, phi="shift", taps="teleport")(
        torch.ones(4, 3), RING
    ),
    r"out_channels=-1 .* set bias=False": lambda: EdgeNetConv(3, -1, phi="shift", taps="teleport"),
    r"Teleport taps .* hops=\[0, 1, 2\]; got hops=\[2\]": lambda: EdgeNetConv(
        3, 4, 2, phi="attention", taps="teleport", hops=[2]
    ),
    "Teleport taps .* self_tap=False. Leave both out": lambda: EdgeNetConv(
        3, 4, 2, phi="attention", taps="teleport", self_tap=False
    ),
    r"InitialResidual taps .* hops=\[1, 2\]; got": lambda: EdgeNetConv(
        3, 4, 2, phi="attention", taps="initial_residual", self_tap=True
    ),
    r"Jacobi taps .* hops=\[0, 1\]": lambda: EdgeNetConv(
        3, 4, phi="shift", lift="filter_bank", taps=taps.Jacobi(3, 4), hops=[1]
    ),
    "the initial signal is of torch.float32 and the input of torch.float64: .*initial.to": lambda: nets.gcnii(4, 4)(
        torch.ones(4, 4), RING, initial=torch.ones(4, 4, dtype=torch.float32)
    ),
    "a residual leads to one": lambda: EdgeNetConv(3, -1, phi="shift", taps="teleport", bias=False, residual=True),
    "a coded table holds codes, which do not train; .*'structure': 'uniform'": lambda: nets.edge_varying(
        4, 4, bank="heads", structure="coded"
    ),
    "'structure': 'power_of_two'": lambda: EdgeVarying(structure={"structure": "coded", "quantiser": "power_of_two"}),
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_does_not_go_together_is_refused_with_the_remedy(text):
    with pytest.raises((ConfigError, ShapeError, PlanError), match=text):
        REFUSED[text]()


def test_remedies_work():
    x = torch.randn(4, 3)
    for name in ("teleport", "adaptive", "sum"):
        assert EdgeNetConv(3, 4, 2, phi="shift", taps=name, lift="linear")(x, RING).shape == (4, 4)
        assert EdgeNetConv(3, 3, 2, phi="shift", taps=name)(x, RING).shape == (4, 3)
    assert EdgeNetConv(3, 4, phi="attention", dropout=0.6)(x, RING).shape == (4, 4)


def test_taps_with_a_walk_of_their_own_settle_the_hops():
    assert EdgeNetConv(3, 4, 2, phi="attention", taps="teleport").hops == (0, 1, 2)
    assert EdgeNetConv(3, 3, 2, phi="shift", taps="initial_residual").hops == (1, 2)
    walked = EdgeNetConv(3, 4, 2, phi="attention", taps="teleport", hops=[0, 1, 2])
    assert walked.self_tap


def test_the_arguments_of_pygs_gat_make_our_gat():
    given = {
        "heads": 2, "concat": False, "negative_slope": 0.1, "dropout": 0.0, "add_self_loops": False, "edge_dim": 2,
        "fill_value": 0.5, "bias": True, "residual": True, "flow": "target_to_source",
    }  # fmt: skip
    theirs, ours = pyg.GATConv(5, 3, **given), nets.gat(5, 3, **given)
    x, attr = torch.randn(4, 5), torch.randn(4, 2)
    with torch.no_grad():
        ours.lift.linear.weight.weight.copy_(theirs.lin.weight)
        ours.phi.att_source.weight.copy_(theirs.att_src[0])
        ours.phi.att_target.weight.copy_(theirs.att_dst[0])
        ours.phi.att_edge.weight.copy_(theirs.att_edge[0])
        ours.phi.lift_edge.weight.weight.copy_(theirs.lin_edge.weight)
        ours.root.weight.weight.copy_(theirs.res.weight)
    torch.testing.assert_close(ours(x, RING, attr), theirs(x, RING, attr), rtol=0, atol=1e-12)
