"""Which layers of which libraries compute what ours do, in which forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from edgenet.bench.speed import dgl_layers
from edgenet.bench.speed.peer_edges import Edges
from edgenet.bench.speed.pyg_layers import COMPILED, FORMS, PLAIN, pyg_layer
from edgenet.bench.speed.reference import LayerShape
from edgenet.bench.speed.same_parameters import PeerLayer


@dataclass(frozen=True)
class PeerForm:
    """A form of a peer's layer.

    Attributes:
        needs: peers that must import.
        build: of the shape of our layer and its graph, and of PyG's and DGL's options of attention.
        compiled: by torch.
    """

    needs: tuple[str, ...]
    build: Callable[..., PeerLayer]
    compiled: bool = False


_PYG = [PeerForm(("pyg",), partial(pyg_layer, PLAIN))] + [
    PeerForm(tuple(dict.fromkeys(("pyg", form.needs))), partial(pyg_layer, name), name == COMPILED)
    for name, form in FORMS.items()
]
#: layer of ours: all forms of the layers that compute the same
PEER_LAYERS: dict[str, list[PeerForm]] = {
    "gat": [*_PYG, PeerForm(("dgl",), dgl_layers.gat)],
    "gatv2": [*_PYG, PeerForm(("dgl",), dgl_layers.gatv2)],
    "gcn": [*_PYG, PeerForm(("dgl",), dgl_layers.gcn)],
    "tag": [*_PYG, PeerForm(("dgl",), dgl_layers.tag)],
}


def peer_forms(layer: str, peers: list[str]) -> list[PeerForm]:
    """The forms that these peers have of a layer of ours."""
    return [form for form in PEER_LAYERS[layer] if set(form.needs) <= set(peers)]


def peer_layers(shape: LayerShape, edges: Edges, peers: list[str]) -> list[PeerLayer]:
    """The layers of these peers that compute what ours does."""
    return [form.build(shape, edges) for form in peer_forms(shape.layer, peers)]
