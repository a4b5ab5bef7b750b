"""PyG's layers that compute what ours do, in every form in which PyG is given a graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch_geometric.nn
from torch import Tensor

from edgenet.bench.speed import compiling
from edgenet.bench.speed.peer_edges import Edges, Prepared
from edgenet.bench.speed.reference import LayerShape
from edgenet.bench.speed.same_parameters import Parameters, PeerLayer

PLAIN = "edge_index"  # the form that one writes first; in all others loops and weights are made beforehand
COMPILED = "torch.compile"


@dataclass(frozen=True)
class Form:
    """How PyG is given a graph.

    Attributes:
        arguments: of a layer, behind the features.
        needs: the peer that must import besides PyG.
    """

    arguments: Callable[[Prepared], tuple[Any, ...]]
    needs: str = "pyg"


#: form: how the graph is given, for all but the plain one
FORMS = {
    "EdgeIndex": Form(Prepared.edge_indexed),
    "torch.sparse CSR": Form(Prepared.csr),
    "SparseTensor": Form(Prepared.sparse_tensor, "sparse"),
    COMPILED: Form(Prepared.indexed),
}


@dataclass(frozen=True)
class Kind:
    """A layer of PyG.

    Attributes:
        name: of its class.
        graph: what its other forms are given.
        mapping: its parameters made of ours.
        plain, prepared: its options in the plain form and in the others.
    """

    name: str
    graph: Callable[[Edges], Prepared]
    mapping: Callable[[Parameters], dict[str, Tensor]]
    plain: dict[str, Any] = field(default_factory=dict)
    prepared: dict[str, Any] = field(default_factory=dict)


def _gat(ours: Parameters) -> dict[str, Tensor]:
    return {
        "att_src": ours["phi.att_source.weight"][None],
        "att_dst": ours["phi.att_target.weight"][None],
        "lin.weight": ours["lift.linear.weight.weight"],
        "bias": ours["bias"],
    }


def _gatv2(ours: Parameters) -> dict[str, Tensor]:
    return {
        "att": ours["phi.att.weight"][None],
        "lin_l.weight": ours["lift.linear.weight.weight"],
        "lin_l.bias": ours["lift.linear.bias"],
        "lin_r.weight": ours["phi.target.weight.weight"],
        "lin_r.bias": ours["phi.target.bias"],
        "bias": ours["bias"],
    }


def _gcn(ours: Parameters) -> dict[str, Tensor]:
    return {"lin.weight": ours["lift.linear.weight.weight"], "bias": ours["bias"]}


def _tag(ours: Parameters) -> dict[str, Tensor]:
    taps = ours["taps.linear.weight.weight"].chunk(4, dim=1)
    return {f"lins.{k}.weight": tap for k, tap in enumerate(taps)} | {"bias": ours["bias"]}


_ATTENTION: dict[str, Any] = {"graph": lambda edges: edges.looped, "prepared": {"add_self_loops": False}}
#: layer of ours: PyG's
KINDS = {
    "gat": Kind("GATConv", mapping=_gat, **_ATTENTION),
    "gatv2": Kind("GATv2Conv", mapping=_gatv2, **_ATTENTION),
    "gcn": Kind("GCNConv", lambda edges: edges.looped_normalised, _gcn, {"cached": True}, {"normalize": False}),
    "tag": Kind("TAGConv", lambda edges: edges.normalised, _tag, {"K": 3}, {"K": 3, "normalize": False}),
}


def pyg_layer(form: str, shape: LayerShape, edges: Edges, compile: bool = True, **options: Any) -> PeerLayer:
    """PyG's layer in one of its forms.

    Args:
        form: ``PLAIN``, or a name in ``FORMS``.
        compile: False leaves the compiled form to a network, which compiles all of itself.
        **options: of PyG's layer, besides its sizes.
    """
    kind = KINDS[shape.layer]
    own = kind.plain if form == PLAIN else kind.prepared
    heads = {} if shape.heads is None else {"heads": shape.heads}
    conv = getattr(torch_geometric.nn, kind.name)(shape.in_channels, shape.channels, **heads, **own, **options)
    given = (edges.edge_index,) if form == PLAIN else FORMS[form].arguments(kind.graph(edges))
    run = compiling.compiled(conv) if form == COMPILED and compile else conv
    return PeerLayer(f"PyG `{kind.name}`, {form}", conv, lambda x: run(x, *given), kind.mapping)
