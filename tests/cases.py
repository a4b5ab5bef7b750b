"""What the contract tests walk over: one case or more for every family of the library.

A new structure, phi or taps joins with one entry in its list. The name of a case starts with the name of its family.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch_geometric.nn as pyg
from torch import Tensor, nn

from edgenet.graph import Graph
from edgenet.nn.taps import (
    Adaptive,
    Chebyshev,
    GraphIsomorphism,
    Horner,
    InitialResidual,
    Jacobi,
    Linear,
    Mean,
    NodeVarying,
    Scaled,
    Stacks,
    Sum,
    SumInputs,
    Taps,
    Teleport,
)
from edgenet.phi import (
    Additive,
    Attention,
    AttentionV2,
    DotProduct,
    EdgeAdded,
    EdgeFactored,
    EdgeMatrix,
    EdgeNetwork,
    EdgeTyped,
    EdgeVarying,
    ShiftOperator,
    ShiftProduct,
)
from edgenet.structured import STRUCTURES, Dense, StructuredLinear, Unitary
from edgenet.testing import PhiCase, StructureCase


# --- structures -------------------------------------------------------------------------------------------------------
def _dense(m: int, n: int) -> StructureCase:
    return StructureCase("dense", lambda: Dense(torch.randn(m, n)), m, n, partial(Dense.from_dense))


def _full(name: str, m: int, n: int, options: dict, small: dict, exact: bool = True) -> StructureCase:
    """A family whose members of ``options`` reach every matrix, and a random one of ``small`` options."""
    kind = STRUCTURES[name.split()[0]]
    return StructureCase(
        name, lambda: kind.random((m, n), 0.5, **small), m, n, partial(kind.from_dense, **options), exact
    )  # fmt: skip


def _unitary(n: int) -> StructureCase:
    return StructureCase(
        "unitary", partial(Unitary.random, (n, n)), n, n, partial(Unitary.from_dense), exact=False,
        dtype=torch.complex128, dtypes=(torch.float32, torch.float64),
    )  # fmt: skip


def _rounded(name: str, m: int, n: int, options: dict) -> StructureCase:
    """A quantised matrix, of numbers that float32 has: in less precision, latents near the middle of two levels go to
    the other one."""
    kind, base = STRUCTURES[name.split()[0]], options.get("base", {"structure": "dense"})
    dtypes = (torch.float32, torch.float64) if kind.rounds else StructureCase.dtypes

    def build():
        matrix = kind.random((m, n), 0.5, **options)
        with torch.no_grad():
            for latent in matrix.parameters():
                latent.copy_(latent.float())
        return matrix

    return StructureCase(
        name, build, m, n, partial(kind.from_dense, **options), exact=False,
        dtypes=dtypes, settled=base["structure"] in ("dense", "block_circulant"),
    )  # fmt: skip


_KRONECKER = {"structure": "kronecker", "factor": (2, 3), "terms": 2}
_TRAIN = {"structure": "tensor_train", "rank": 2}
_TERMS = {"structure": "block_term", "blocks": 2, "rank": 2}
_UNIFIED = {"structure": "unified", "block": (1, 4), "ratio": 0.7, "prune": 0.2}
_DOPED = {"structure": "doped", "base": {"structure": "low_rank", "rank": 1}, "density": 0.2}

STRUCTURE_CASES: list[StructureCase] = [
    _dense(5, 3), _dense(1, 7), _dense(4, 1),
    _full("kronecker", 6, 8, {"factor": (2, 4), "terms": 6}, {"factor": (2, 4)}),
    _full("kronecker padded", 5, 7, {"factor": (2, 3), "terms": 6}, {"factor": (2, 3), "terms": 2}),
    _full("kronecker tall", 13, 1, {"factor": (4, 1), "terms": 4}, {"factor": (4, 1), "terms": 2}),
    _full("kronecker three factors", 8, 12, {"factors": [(2, 2), (2, 2), (2, 3)]},
          {"factors": [(2, 2), (2, 2), (2, 3)], "terms": 2}, exact=False),
    _full("tensor_train", 30, 24, {"out_modes": (3, 5, 2), "in_modes": (2, 3, 4)},
          {"out_modes": (3, 5, 2), "in_modes": (2, 3, 4), "rank": (3, 4)}),
    _full("tensor_train padded", 7, 11, {}, {"rank": 2}),
    _full("tensor_train wide", 1, 13, {"dims": 3}, {"dims": 3, "rank": 2}),
    _full("block_term", 30, 24, {"out_modes": (3, 5, 2), "in_modes": (2, 3, 4)},
          {"out_modes": (3, 5, 2), "in_modes": (2, 3, 4), "blocks": 2, "rank": 2}),
    _full("block_term padded", 7, 11, {}, {"blocks": 2, "rank": 3}),
    _full("block_term tall", 13, 2, {}, {"blocks": 2, "rank": 1}),
    _full("low_rank", 7, 11, {"rank": 7}, {"rank": 2}),
    _full("low_rank wide", 1, 13, {"rank": 1}, {"rank": 1}),
    _full("low_rank tall", 13, 2, {"rank": 2}, {"rank": 2}),
    _full("row_split", 12, 9, {"rows": 4, "blocks": 8}, {"rows": 4, "blocks": 2}),
    _full("row_split ragged", 11, 5, {"rows": 0, "blocks": 11}, {"rows": 0, "blocks": 3}),
    _full("row_split wide", 1, 7, {"rows": 1}, {"rows": 0}),
    _full("row_split all dense", 5, 3, {"rows": 5}, {"rows": 5}),
    _full("block_circulant", 12, 8, {"block": 1}, {"block": 4}),
    _full("block_circulant padded", 7, 11, {"block": 1}, {"block": 3}),
    _full("block_circulant wide", 1, 13, {"block": 1}, {"block": 5}),
    _full("block_circulant tall", 13, 2, {"block": 1}, {"block": 2}),
    _full("block_circulant of one block", 5, 3, {"block": 1}, {"block": 5}),
    _full("block_circulant of a kernel", 7, 15, {"block": 1, "places": 3}, {"block": 3, "places": 3}),
    _full("kronecker of a kernel", 6, 28, {"factor": (2, 2), "terms": 4, "places": 4},
          {"factor": (2, 2), "terms": 2, "places": 4}),
    _full("tensor_train of a kernel", 6, 28, {"places": 4}, {"places": 4, "rank": 2}),
    _full("block_term of a kernel", 6, 28, {"places": 4}, {"places": 4, "blocks": 2, "rank": 2}),
    _full("sparse", 7, 11, {"density": 1.0}, {"density": 0.3}),
    _full("sparse wide", 1, 13, {"density": 1.0}, {"density": 0.5}),
    _full("sparse tall", 13, 1, {"density": 1.0}, {"density": 0.5}),
    _full("csr", 7, 11, {"density": 1.0}, {"density": 0.3}),
    _full("csr wide", 1, 13, {"density": 1.0}, {"density": 0.5}),
    _full("csr tall", 13, 1, {"density": 1.0}, {"density": 0.5}),
    _full("doped", 12, 9, {"base": {"structure": "kronecker", "factor": (3, 3)}, "density": 1.0},
          {"base": {"structure": "kronecker", "factor": (3, 3)}, "density": 0.1}),
    _full("doped low_rank", 7, 11, {"base": {"structure": "low_rank", "rank": 7}, "density": 0.1},
          {"base": {"structure": "low_rank", "rank": 1}, "density": 0.2}),
    _full("doped packed", 5, 13, {"base": {"structure": "block_circulant", "block": 1}, "dopant": "csr"},
          {"base": {"structure": "block_circulant", "block": 4}, "density": 0.2, "dopant": "csr"}),
    _full("doped wide", 1, 7, {"base": {"structure": "low_rank", "rank": 1}, "density": 0.3},
          {"base": {"structure": "low_rank", "rank": 1}, "density": 0.3}),
    _full("stacked", 6, 7, {"parts": 3, "base": {"structure": "low_rank", "rank": 2}},
          {"parts": 3, "base": {"structure": "low_rank", "rank": 1}}),
    _full("stacked ragged", 7, 9, {"parts": 2, "base": {"structure": "tensor_train"}},
          {"parts": 2, "base": {"structure": "tensor_train", "rank": 2}}),
    _full("stacked kinds", 8, 6, {"base": [{"structure": "dense"}, {"structure": "csr", "density": 1.0}]},
          {"base": [{"structure": "sparse", "density": 0.4}, {"structure": "block_circulant", "block": 3}]}),
    _full("unified", 7, 11, {"block": (1, 1)}, {"block": (1, 4), "ratio": 0.7, "prune": 0.2}),
    _full("unified columns", 12, 5, {"block": (1, 1)}, {"block": (4, 1), "ratio": 0.6}),
    _full("unified ragged", 5, 13, {"block": (1, 1)}, {"block": (2, 3)}),
    _full("unified pruned", 13, 2, {"block": (1, 1)}, {"block": (3, 2), "ratio": 0.5, "prune": 0.5}),
    _full("unified all restricted", 1, 13, {"entries": 1}, {"block": (1, 3), "prune": 0.4}),
    _unitary(1), _unitary(3), _unitary(5),
    _full("hashed", 5, 7, {"parameters": 73}, {"parameters": 30}),
    _full("hashed tall", 13, 1, {"parameters": 33}, {"parameters": 9}),
    _full("hashed aligned", 12, 4, {"parameters": 85, "aligned": True}, {"parameters": 20, "aligned": True}),
    _full("hashed aligned wide", 2, 19, {"parameters": 66, "aligned": True}, {"parameters": 17, "aligned": True}),
    _rounded("uniform", 5, 7, {}),
    _rounded("uniform by row", 7, 11, {"bits": 3, "per": "row"}),
    _rounded("uniform half step", 13, 2, {"bits": 2, "half_step": True}),
    _rounded("uniform kronecker", 5, 7, {"base": _KRONECKER, "bits": [8, 3], "per": "row"}),
    _rounded("uniform low_rank", 1, 13, {"base": {"structure": "low_rank", "rank": 1}, "bits": 6}),
    _rounded("uniform block_circulant", 7, 11, {"base": {"structure": "block_circulant", "block": 3}, "bits": 4}),
    _rounded("uniform csr", 7, 11, {"base": {"structure": "csr", "density": 0.5}, "bits": 4}),
    _rounded("uniform doped", 7, 11, {"base": _DOPED, "bits": 6}),
    _rounded("uniform unified", 7, 11, {"base": _UNIFIED, "bits": 8}),
    _rounded("fixed_point", 7, 11, {}),
    _rounded("fixed_point block_term", 7, 11, {"base": _TERMS, "bits": 10}),
    _rounded("power_of_two", 7, 11, {"bits": 4}),
    _rounded("power_of_two by row", 13, 2, {"bits": 2, "per": "row"}),
    _rounded("power_of_two tensor_train", 7, 11, {"base": _TRAIN, "bits": 5}),
    _rounded("power_of_two signs", 7, 11, {"bits": 4, "form": "sign_shift"}),
    _rounded("power_of_two signs kronecker", 5, 7, {"base": _KRONECKER, "bits": 3, "form": "sign_shift", "per": "row"}),
    _rounded("binary", 7, 11, {}),
    _rounded("binary tensor", 13, 2, {"per": "tensor", "gate": False}),
    _rounded("binary low_rank", 7, 11, {"base": {"structure": "low_rank", "rank": 4}}),
    _rounded("coded", 7, 11, {"bits": 3}),
    _rounded("coded kronecker", 5, 7, {"base": _KRONECKER, "bits": [8, 3]}),
    _rounded("coded unified", 7, 11, {"base": _UNIFIED, "bits": 8}),
    _rounded("coded doped", 7, 11, {"base": _DOPED, "quantiser": "power_of_two", "form": "sign_shift"}),
    _rounded("coded tensor_train", 7, 11, {"base": _TRAIN, "quantiser": "binary"}),
]  # fmt: skip


# --- phis -------------------------------------------------------------------------------------------------------------
def _entries(phi: EdgeMatrix) -> int:
    return phi.channels**2


def _factors(phi: EdgeFactored) -> int:
    """What a matrix on an edge is made of: one number in a bilinear form, else a coefficient a factor."""
    return 1 if phi.is_bilinear else phi.rank


def _rank_and_one(phi: EdgeNetwork) -> int:
    """A coefficient for every matrix, and one for the constant."""
    return phi.rank + 1


PHI_CASES: list[PhiCase] = [
    PhiCase("shift", partial(ShiftOperator, order=3)),
    PhiCase("shift weighted", partial(ShiftOperator, order=2), columns=0),
    PhiCase("shift with one column", partial(ShiftOperator, order=2), columns=1),
    PhiCase("shift sym", partial(ShiftOperator, order=2, normalize="sym")),
    PhiCase("shift sym weighted", partial(ShiftOperator, order=2, normalize="sym"), columns=0),
    PhiCase("shift rw", partial(ShiftOperator, order=1, normalize="rw"), columns=0),
    PhiCase("shift with 3 columns", partial(ShiftOperator, order=2, heads=3), columns=3),
    PhiCase("shift_product", partial(ShiftProduct, order=3, heads=2)),
    PhiCase("shift_product weighted", partial(ShiftProduct, order=2, heads=1), columns=0),
    PhiCase("edge_varying", partial(EdgeVarying, order=2, heads=3)),
    PhiCase("edge_varying heads read off the signal", partial(EdgeVarying, order=1, heads=-1)),
    PhiCase("edge_varying with initial", partial(EdgeVarying, order=2, heads=2, initial=True)),
    PhiCase("edge_varying without diagonal", partial(EdgeVarying, order=2, heads=2, self_loops=False)),
    PhiCase("edge_varying initial alone", partial(EdgeVarying, order=1, heads=2, self_loops=False, initial=True)),
    PhiCase("edge_varying unseen shared", partial(EdgeVarying, order=2, heads=2, unseen="shared")),
    PhiCase("edge_varying important nodes", partial(EdgeVarying, order=2, heads=2, nodes=0.5)),
    PhiCase("edge_varying times weights", partial(EdgeVarying, order=2, heads=2, times_edge_weight=True), columns=0),
    PhiCase("edge_varying by node", partial(EdgeVarying, order=2, heads=2, share="node", initial=True)),
    PhiCase("edge_varying by type", partial(EdgeVarying, 2, 2, share="type", num_types=3), edge_attr="types"),
    PhiCase("edge_varying by hash", partial(EdgeVarying, order=2, heads=2, share="hash", buckets=8)),
    PhiCase("edge_matrix", partial(EdgeMatrix, order=2, channels=3), channels=1, numbers=_entries),
    PhiCase("edge_factored", partial(EdgeFactored, 2, 4, 4, rank=3), numbers=_factors),
    PhiCase("edge_factored by hash", partial(EdgeFactored, 2, 4, 4, rank=2, share="hash", buckets=4), numbers=_factors),
    PhiCase("edge_factored node_bilinear", partial(EdgeFactored, 2, 4, 4, "node_bilinear", rank=3), numbers=_factors),
    PhiCase("edge_factored kronecker", partial(EdgeFactored, 2, 4, 4, "kronecker", rank=3), numbers=_factors),
    PhiCase("edge_factored doped", partial(EdgeFactored, 1, 4, 4, "doped", base="cp", density=0.1), numbers=_factors),
    PhiCase("edge_factored shared", partial(EdgeFactored, 1, 4, 4, "shared"), numbers=_factors),
    PhiCase("edge_network", partial(EdgeNetwork, 1, 4, 4, rank=3, edge_dim=2), edge_attr=2, numbers=_rank_and_one),
    PhiCase("edge_network of two hops", partial(EdgeNetwork, 2, 4, 4, rank=2, normalize="rw"), columns=0, edge_attr=3,
            numbers=_rank_and_one),
    PhiCase("edge_typed", partial(EdgeTyped, 2, 4, 4, num_types=3), edge_attr="types"),
    PhiCase("edge_typed of bases", partial(EdgeTyped, 2, 4, 4, 3, bases=2, normalize=None), columns=0,
            edge_attr="types", numbers=lambda phi: phi.bases),
    PhiCase("edge_added", partial(EdgeAdded, 2, 2, 4, edge_dim=3), edge_attr=3),
    PhiCase("edge_added as they are", partial(EdgeAdded, 1, 2, 4, None, normalize="rw"), columns=0, edge_attr=4),
    PhiCase("dot_product with edge features", partial(DotProduct, 2, 2, 4, edge_dim=3), edge_attr=3),
    PhiCase("edge_matrix by hash", partial(EdgeMatrix, 1, 2, share="hash", buckets=4), channels=1, numbers=_entries),
    PhiCase("attention", partial(Attention, order=1, heads=3, channels=4)),
    PhiCase("attention shared", partial(Attention, order=3, heads=2, channels=4)),
    PhiCase("attention per hop", partial(Attention, 3, 2, 4, share_hops=False, in_channels=5)),
    PhiCase("attention per hop lazy", partial(Attention, 2, 2, 4, share_hops=False)),
    PhiCase("attention with edge features", partial(Attention, 1, 2, 4, edge_dim=6), edge_attr=6),
    PhiCase("attention times weights", partial(Attention, order=2, heads=2, channels=4), columns=0),
    PhiCase("attention with biases", partial(Attention, 2, 2, 4, share_hops=False, score_bias=True)),
    PhiCase("attention_v2", partial(AttentionV2, order=1, heads=3, channels=4, in_channels=5)),
    PhiCase("attention_v2 shared", partial(AttentionV2, order=3, heads=2, channels=4)),
    PhiCase("attention_v2 one lift", partial(AttentionV2, order=1, heads=2, channels=4, share_weights=True)),
    PhiCase("attention_v2 with edge features", partial(AttentionV2, 1, 2, 4, edge_dim=6), edge_attr=6, columns=0),
    PhiCase("dot_product", partial(DotProduct, order=1, heads=3, channels=4, in_channels=5)),
    PhiCase("dot_product shared", partial(DotProduct, order=3, heads=2, channels=4, bias=False)),
    PhiCase("additive", partial(Additive, order=2, heads=3, in_channels=5)),
    PhiCase("additive lazy", partial(Additive, order=1, heads=2, edge_dim=-1), edge_attr=3),
    PhiCase("additive per hop", partial(Additive, 2, 2, 5, edge_dim=3, share_hops=False), edge_attr=3, columns=2),
    PhiCase("additive of edges", partial(Additive, 2, 2, edge_dim=3, endpoints="none", link="sigmoid"), edge_attr=3),
    PhiCase("additive softmax", partial(Additive, 2, 2, 5, endpoints="source", link="softmax"), columns=0),
    PhiCase("additive normalised", partial(Additive, 2, 1, 5, endpoints="target", link="tanh", normalize="rw")),
    PhiCase("dot_product times weights", partial(DotProduct, order=2, heads=2, channels=4), columns=0),
]


# --- taps -------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class TapsCase:
    """Taps that combine ``taps`` signals of (N, heads, channels) into (N, width)."""

    name: str
    build: Callable[[], Taps]
    width: int
    taps: int = 3
    heads: int = 2
    channels: int = 4

    def signals(self, num_nodes: int) -> list[Tensor]:
        return [torch.randn(num_nodes, self.heads, self.channels) for _ in range(self.taps)]

    def __str__(self) -> str:
        return self.name


TAPS_CASES: list[TapsCase] = [
    TapsCase("sum concat", partial(Sum, "concat"), width=8),
    TapsCase("sum mean", partial(Sum, "mean"), width=4),
    TapsCase("sum sum", partial(Sum, "sum"), width=4),
    TapsCase("sum last", partial(Sum, "concat", last=True), width=8),
    TapsCase("mean", Mean, width=8),
    TapsCase("mean mean", partial(Mean, "mean"), width=4),
    TapsCase("scaled", partial(Scaled, 3), width=8),
    TapsCase("scaled by given numbers", partial(Scaled, 3, learned=False, start=[1, 2, 3]), width=8),
    TapsCase("adaptive", partial(Adaptive, 4), width=8),
    TapsCase("adaptive lazy", partial(Adaptive, merge="sum"), width=4),
    TapsCase("teleport", Teleport, width=8),
    TapsCase("initial_residual", partial(InitialResidual, channels=8), width=8, taps=2),
    TapsCase("linear", lambda: Linear(StructuredLinear.dense(3 * 2 * 4, 5, bias=True)), width=5),
    TapsCase("linear narrower than the signal", lambda: Linear(StructuredLinear.dense(-1, 3)), width=3),
    TapsCase("node_varying", partial(NodeVarying, 5, 3), width=5),
    TapsCase("node_varying groups", partial(NodeVarying, 5, 3, 8, groups=0.5), width=5),
    TapsCase("horner", Horner, width=8, taps=1),
    TapsCase("sum_inputs", partial(SumInputs, 3), width=3, heads=6, channels=1),
    TapsCase("jacobi", partial(Jacobi, 2, 3), width=3, heads=6, channels=1),
    TapsCase("chebyshev", lambda: Chebyshev(StructuredLinear.dense(3 * 2 * 4, 5, bias=True)), width=5),
    TapsCase("graph_isomorphism", partial(GraphIsomorphism, 0.5, learned=True), width=8),
    TapsCase("stacks", partial(Stacks, 8, 4, order=2, stacks=2), width=4),
]


# --- converters -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class ConverterCase:
    """A layer of PyG with options, for 5 input channels, and what it is called with besides ``x`` and ``edge_index``.

    Args:
        weighted: pass (E,) edge weights.
        edge_dim: pass (E, D) edge features; 0 for (E,).
        pair: sizes of the sources' and targets' features; the layer then walks a bipartite graph, too.
        given: more arguments, by name.
        initial: pass the signal that a deep network began with, before the edges.
    """

    name: str
    build: Callable[[], nn.Module]
    weighted: bool = False
    edge_dim: int | None = None
    pair: tuple[int, int] | None = None
    given: Callable[[Graph], dict] | None = None
    initial: bool = False

    def layer(self) -> nn.Module:
        """The layer, every parameter random: PyG starts biases at 0."""
        layer = self.build()
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.normal_()
        return layer

    def inputs(self, graph: Graph) -> tuple[tuple, dict]:
        """Positional and named arguments; the signal first."""
        named, edges = {}, graph.num_edges
        if self.weighted:
            named["edge_weight"] = (torch.rand(edges) + 0.5).requires_grad_()
        if self.edge_dim is not None:
            named["edge_attr"] = torch.randn(edges, *[self.edge_dim] * (self.edge_dim > 0)).requires_grad_()
        if self.given is not None:
            named |= self.given(graph)
        if self.initial:
            first, x = torch.randn(2, graph.num_nodes, 5).unbind()
            return (x.requires_grad_(), first, graph.edge_index), named
        if self.pair is None:
            return (torch.randn(graph.num_nodes, 5).requires_grad_(), graph.edge_index), named
        sides = zip((graph.num_sources, graph.num_nodes), self.pair, strict=True)
        return (tuple(torch.randn(n, width).requires_grad_() for n, width in sides), graph.edge_index), named

    def __str__(self) -> str:
        return self.name


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))


def _types(graph: Graph) -> dict:
    return {"edge_type": torch.arange(graph.num_edges) % 3}


def _nnconv(inputs: object = 5, out: int = 3, hidden: int | None = 4, constant: bool = True, **options) -> nn.Module:
    """Matrices on edges, made of 3 features by a network of one map, or of two."""
    source = inputs[0] if isinstance(inputs, tuple) else inputs
    last = nn.Linear(hidden or 3, source * out, bias=constant)
    network = last if hidden is None else nn.Sequential(nn.Linear(3, hidden), nn.Tanh(), last)
    return pyg.NNConv(inputs, out, network, **options)


def _converter_cases() -> list[ConverterCase]:
    def case(kind: type[nn.Module], label: str = "", inputs: object = 5, out: int = 3, **options: object):
        calls = {key: options.pop(key) for key in ("weighted", "pair", "given") if key in options}
        calls |= {"edge_dim": options.pop("features")} if "features" in options else {}
        name = f"{kind.__name__} {label}".strip()
        return ConverterCase(name, lambda: kind(inputs, out, **options), **calls)

    t2s = {"flow": "target_to_source"}
    cases = [
        case(pyg.GATConv),
        case(pyg.GATConv, "heads", heads=3),
        case(pyg.GATConv, "heads averaged", heads=3, concat=False),
        case(pyg.GATConv, "more channels than inputs", heads=2, out=7),
        case(pyg.GATConv, "without loops and bias", heads=2, add_self_loops=False, bias=False),
        case(pyg.GATConv, "slope and dropout", heads=2, negative_slope=0.05, dropout=0.0),
        case(pyg.GATConv, "residual", heads=2, residual=True),
        case(pyg.GATConv, "residual averaged", heads=2, concat=False, residual=True),
        case(pyg.GATConv, "edge features", heads=2, edge_dim=4, features=4),
        case(pyg.GATConv, "edge numbers", heads=2, edge_dim=1, features=0, fill_value=1.0),
        case(pyg.GATConv, "edge features not given", heads=2, edge_dim=4),
        case(pyg.GATConv, "edge features passed over", heads=2, features=4),
        *(case(pyg.GATConv, f"fill {fill}", heads=2, edge_dim=2, features=2, fill_value=fill)
          for fill in ("add", "sum", "min", "max", 0.5, torch.tensor(2.0))),
        case(pyg.GATConv, "flow", heads=2, **t2s),
        case(pyg.GATConv, "flow with edge features", heads=2, edge_dim=2, features=2, fill_value=0.0, **t2s),
        case(pyg.GATConv, "pair", inputs=(5, 4), heads=2, pair=(5, 4), add_self_loops=False, residual=True),
        case(pyg.GATConv, "pair of one size", inputs=(5, 5), heads=2),
        case(pyg.GATConv, "one lift for a pair", heads=2, pair=(5, 5), add_self_loops=False),
        case(pyg.GATv2Conv),
        case(pyg.GATv2Conv, "heads averaged", heads=3, concat=False),
        case(pyg.GATv2Conv, "without bias", heads=2, bias=False, negative_slope=0.5),
        case(pyg.GATv2Conv, "shared", heads=2, share_weights=True),
        case(pyg.GATv2Conv, "shared pair", heads=2, share_weights=True, pair=(5, 5), add_self_loops=False),
        case(pyg.GATv2Conv, "residual", heads=2, residual=True, add_self_loops=False),
        case(pyg.GATv2Conv, "edge features", heads=2, edge_dim=4, features=4, fill_value="max"),
        case(pyg.GATv2Conv, "flow", heads=2, edge_dim=1, features=0, fill_value=3.0, **t2s),
        case(pyg.GATv2Conv, "pair", inputs=(5, 4), heads=2, pair=(5, 4), add_self_loops=False, residual=True),
        case(pyg.TransformerConv),
        case(pyg.TransformerConv, "heads averaged", heads=3, concat=False),
        case(pyg.TransformerConv, "gate", heads=2, beta=True),
        case(pyg.TransformerConv, "gate averaged", heads=2, beta=True, concat=False, bias=False),
        case(pyg.TransformerConv, "without root", heads=2, root_weight=False, beta=True),
        case(pyg.TransformerConv, "flow", heads=2, **t2s),
        case(pyg.TransformerConv, "pair", inputs=(5, 4), heads=2, pair=(5, 4), beta=True),
        case(pyg.GCNConv),
        case(pyg.GCNConv, "weights", weighted=True),
        case(pyg.GCNConv, "wider", out=8, weighted=True, bias=False),
        case(pyg.GCNConv, "improved", improved=True),
        case(pyg.GCNConv, "improved weights", improved=True, weighted=True),
        case(pyg.GCNConv, "without loops", add_self_loops=False, weighted=True),
        case(pyg.GCNConv, "as given", normalize=False),
        case(pyg.GCNConv, "as given weights", normalize=False, weighted=True),
        case(pyg.GCNConv, "flow", weighted=True, **t2s),
        case(pyg.TAGConv),
        case(pyg.TAGConv, "K=0", K=0),
        case(pyg.TAGConv, "wider", K=2, out=8, weighted=True),
        case(pyg.TAGConv, "as given", K=2, normalize=False, bias=False, weighted=True),
        case(pyg.TAGConv, "flow", K=2, weighted=True, **t2s),
        case(pyg.SGConv),
        case(pyg.SGConv, "K=3", K=3, weighted=True),
        case(pyg.SGConv, "without loops and bias", K=2, add_self_loops=False, bias=False, out=8),
        case(pyg.SGConv, "flow", K=2, weighted=True, **t2s),
        *(ConverterCase(f"APPNP {label}", partial(pyg.APPNP, K, 0.2, **options), weighted=weighted)
          for label, K, weighted, options in (
              ("K=0", 0, False, {}), ("K=5", 5, False, {}), ("weights", 3, True, {}), ("flow", 2, True, t2s),
              ("without loops", 3, True, {"add_self_loops": False}), ("as given", 2, True, {"normalize": False}))),
        case(pyg.ARMAConv),
        case(pyg.ARMAConv, "layers", num_layers=3, weighted=True),
        case(pyg.ARMAConv, "stacks", num_stacks=2, num_layers=2, weighted=True),
        case(pyg.ARMAConv, "shared", num_stacks=2, num_layers=3, shared_weights=True, act=nn.Tanh()),
        case(pyg.ARMAConv, "shared of one layer", num_stacks=2, shared_weights=True, bias=False),
        case(pyg.ARMAConv, "linear", num_stacks=2, num_layers=2, act=None, bias=False),
        case(pyg.ARMAConv, "act of a function", num_layers=2, act=torch.sigmoid),
        case(pyg.ARMAConv, "flow", num_layers=2, weighted=True, **t2s),
        *(case(pyg.ChebConv, f"{K} {normalization}", K=K, normalization=normalization, out=out, weighted=K % 2 == 0)
          for K, out in ((1, 3), (2, 3), (3, 8), (4, 3)) for normalization in ("sym", "rw")),
        case(pyg.ChebConv, "None", K=3, normalization=None, bias=False, weighted=True,
             given=lambda graph: {"lambda_max": torch.tensor(3.5)}),
        case(pyg.ChebConv, "lambda_max", K=3, given=lambda graph: {"lambda_max": 1.5}),
        case(pyg.ChebConv, "lambda_max of every graph", K=3, given=lambda graph: {
            "batch": torch.arange(graph.num_nodes) % 2, "lambda_max": torch.tensor([1.5, 1.75])}),
        case(pyg.ChebConv, "flow", K=3, weighted=True, **t2s),
        case(pyg.SAGEConv),
        case(pyg.SAGEConv, "sum without root", aggr="sum", root_weight=False, out=8),
        case(pyg.SAGEConv, "normalize", normalize=True, bias=False),
        case(pyg.SAGEConv, "project", project=True, aggr=pyg.MeanAggregation()),
        case(pyg.SAGEConv, "flow", **t2s),
        case(pyg.SAGEConv, "pair", inputs=(5, 4), pair=(5, 4)),
        case(pyg.SAGEConv, "pair with project", inputs=(5, 4), pair=(5, 4), project=True),
        ConverterCase("GINConv", lambda: pyg.GINConv(_mlp())),
        ConverterCase("GINConv learned", lambda: pyg.GINConv(_mlp(), eps=0.5, train_eps=True)),
        ConverterCase("GINConv mean", lambda: pyg.GINConv(nn.Linear(5, 3), eps=0.5, aggr="mean")),
        ConverterCase("GINConv flow", lambda: pyg.GINConv(torch.tanh, eps=-0.5, **t2s)),
        ConverterCase("GINConv pair", lambda: pyg.GINConv(nn.Linear(5, 3), train_eps=True), pair=(5, 5)),
        case(pyg.TransformerConv, "edge features", heads=2, edge_dim=4, features=4),
        case(pyg.TransformerConv, "edge features and gate", heads=2, edge_dim=2, features=2, beta=True, concat=False),
        case(pyg.TransformerConv, "flow with edge features", heads=2, edge_dim=2, features=2, **t2s),
        case(pyg.TransformerConv, "pair with edge features", inputs=(5, 4), heads=2, pair=(5, 4), edge_dim=3,
             features=3),
        ConverterCase("GINEConv", lambda: pyg.GINEConv(_mlp()), edge_dim=5),
        ConverterCase("GINEConv lifted", lambda: pyg.GINEConv(_mlp(), eps=0.5, train_eps=True, edge_dim=3), edge_dim=3),
        ConverterCase("GINEConv mean", lambda: pyg.GINEConv(nn.Linear(5, 3), aggr="mean", edge_dim=2), edge_dim=2),
        ConverterCase("GINEConv flow", lambda: pyg.GINEConv(nn.Linear(5, 3), edge_dim=2, **t2s), edge_dim=2),
        ConverterCase("GINEConv pair", lambda: pyg.GINEConv(nn.Linear(5, 3), edge_dim=2), edge_dim=2, pair=(5, 5)),
        *(case(kind, label, num_relations=3, given=_types, **options)
          for kind in (pyg.RGCNConv, pyg.FastRGCNConv)
          for label, options in (
              ("", {}), ("wider", {"out": 8}), ("sum", {"aggr": "sum", "bias": False}), ("bases", {"num_bases": 2}),
              ("wider bases", {"num_bases": 4, "out": 8, "root_weight": False}), ("flow", t2s),
              ("pair", {"inputs": (5, 4), "pair": (5, 4)}))),
        *(ConverterCase(f"NNConv {label}".strip(), partial(_nnconv, **options), edge_dim=options.get("edge_dim", 3),
                        pair=options.get("inputs") if isinstance(options.get("inputs"), tuple) else None)
          for label, options in (
              ("", {}), ("wider", {"out": 8}), ("mean", {"aggr": "mean", "bias": False}), ("one map", {"hidden": None}),
              ("without constant", {"constant": False, "root_weight": False}), ("flow", t2s),
              ("pair", {"inputs": (5, 4)}))),
        *(ConverterCase(f"GCN2Conv {label}".strip(), partial(pyg.GCN2Conv, 5, 0.2, **options), weighted=weighted,
                        initial=True)
          for label, weighted, options in (
              ("", False, {}), ("theta", True, {"theta": 0.5, "layer": 2}), ("two matrices", False,
               {"theta": 0.5, "layer": 3, "shared_weights": False}), ("as given", True, {"normalize": False}),
              ("without loops", True, {"add_self_loops": False}), ("flow", True, t2s))),
    ]  # fmt: skip
    return cases


CONVERTER_CASES: list[ConverterCase] = _converter_cases()
