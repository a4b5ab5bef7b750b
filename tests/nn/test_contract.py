"""What every layer promises. A layer joins with an entry in LAYERS."""

from functools import partial

import pytest
from holding import hold
from layers import LAYERS

from edgenet.nn import SPECIALIZATIONS, EdgeNetConv
from edgenet.phi import PHIS
from edgenet.testing.layer import CHECKS, LayerCase

#: told elsewhere, at both widths (test_shortcuts.py), or too slow for every variant (below)
ELSEWHERE = ("modules one by one", "on modules", "on the sum of messages", "on parameters", "compile")
HERE = CHECKS.chosen(skip=ELSEWHERE)
WHOLE = "a spectral filter belongs to|this spectral filter belongs to"
#: what a layer refuses in words, by its name and the check
REFUSED = {
    "edge_varying, doped": {"explained": "no messages that an explainer can weigh"},
    "edge_varying, doped, siso": {"explained": "no messages that an explainer can weigh"},
    "spectral": dict.fromkeys(
        ("shuffled edges, some twice", "relabelled nodes", "batch of graphs", "small graphs", "kept"), WHOLE
    ),
    "to_edgenet, GCNConv": {"edges as, COO": "pass an edge list", "edges as, CSR": "pass an edge list"},
    "to_edgenet, SGConv": {"edges as, COO": "pass an edge list", "edges as, CSR": "pass an edge list"},
    "to_edgenet, ChebConv": {"edges as, COO": "pass edge_index", "edges as, CSR": "pass edge_index"},
}
#: PyG's layer reads its largest eigenvalue off the weights, of which there are none
REFUSED["to_edgenet, ChebConv"]["small graphs, no nodes"] = "max"
#: a layer with every phi, to be compiled
FEATURES = {"edge_network": 3, "edge_added": 3, "edge_typed": -3}  # of those that are made for some
PHI_LAYERS = {
    name: LayerCase(
        partial(EdgeNetConv, order=2, phi=name, **({"num_types": 3} if name == "edge_typed" else {})),
        features=FEATURES.get(name, 0),
        name=name,
    )
    for name in PHIS
}


@pytest.mark.parametrize("name", SPECIALIZATIONS)
def test_every_specialization_has_a_case(name):
    assert any(label.split(",")[0] == name for label in LAYERS), f"{name} has no entry in LAYERS"


@pytest.mark.parametrize("check", HERE)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_keeps_its_contract(name, check):
    hold(CHECKS, check, LAYERS[name], REFUSED.get(name, {}))


@pytest.mark.parametrize("name", PHI_LAYERS)
@pytest.mark.parametrize("warm", ["warm", "cold"])
def test_a_layer_compiles_whole_on_a_graph_built_before(name, warm):
    CHECKS.hold(f"compile, {warm}", PHI_LAYERS[name])
