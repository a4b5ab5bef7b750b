"""check_phi: edge weights, held to what layers ask of them and to what they say of themselves."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgenet.graph import Graph
from edgenet.phi import Phi
from edgenet.phi.base import LayerSpec
from edgenet.testing.contract import Contract, require, same
from edgenet.testing.derivative import check_gradients
from edgenet.testing.graphs import GRAPHS
from edgenet.testing.structure.storage import saved_and_loaded

DIRECTED = GRAPHS["directed"]
#: (order, heads) at which a class is tried
_SIZES = ((1, 1), (3, 2))
#: the third of (E, D) edge features, and of no use to a phi that does not read them
_FEATURES = 3

Inputs = tuple[Tensor, Tensor, Graph, Tensor | None, Tensor | None]


@dataclass(frozen=True)
class PhiCase:
    """A phi and the inputs it takes.

    Attributes:
        build: makes it, of any order and heads.
        columns: of the given edge weights: None for no weights, 0 for (E,), R for (E, R).
        edge_attr: "types" for integer types 0..2, D for (E, D) features.
        channels: C of the lifted signal.
        numbers: the last axis of its weights, where those are not one for every head.
    """

    name: str
    build: Callable[[], Phi]
    columns: int | None = None
    edge_attr: str | int | None = None
    channels: int = 4
    numbers: Callable[[Any], int] | None = None

    def inputs(self, phi: Phi, graph: Graph, in_channels: int = 5) -> Inputs:
        """(x, z, graph, edge_weight, edge_attr)."""
        n, e = graph.num_nodes, graph.num_edges
        weight = None if self.columns is None else torch.rand(e, *[self.columns] * (self.columns > 0)) + 0.5
        attr = None
        if self.edge_attr == "types":
            attr = torch.arange(e) % 3
        elif isinstance(self.edge_attr, int):
            attr = torch.randn(e, self.edge_attr)
        heads = phi.heads if phi.heads > 0 else 2
        return torch.randn(n, in_channels), torch.randn(n, heads, self.channels), graph, weight, attr

    def ready(self, graph: Graph = DIRECTED) -> tuple[Phi, Inputs]:
        """A phi that has met its graph, its parameters at random, and the inputs it met."""
        phi = self.build()
        inputs = self.inputs(phi, graph)
        phi(*inputs)
        with torch.no_grad():
            for parameter in phi.parameters():
                parameter.normal_()
        return phi, inputs

    def __str__(self) -> str:
        return self.name


#: By name.
CHECKS: Contract[PhiCase] = Contract()


def check_phi(
    part: type[Phi] | Phi | Callable[[], Phi] | PhiCase,
    *,
    columns: int | None = None,
    edge_attr: str | int | None = None,
    channels: int = 4,
    numbers: Callable[[Any], int] | None = None,
    only: Collection[str] | str | None = None,
    skip: Collection[str] | str = (),
) -> None:
    """Hold a phi to its contract, in float64, from a fixed seed, on awkward graphs.

    Args:
        part: a subclass of ``Phi``, which is made by ``for_layer`` for layers of 5 to 4 channels at (order, heads) of
            (1, 1) and (3, 2); or a function of nothing that makes one; or one; or a ``PhiCase``.
        columns, edge_attr, channels, numbers: the inputs that it takes, and the last axis of its weights; see
            ``PhiCase``.
        only, skip: names of checks to run alone, or to leave out; the keys of ``edgenet.testing.phi.CHECKS.checks``.

    Raises:
        ContractError: which is an AssertionError; it names every failed check, what differs and what was asked.
        ConfigError: if there is no check of such a name.
    """
    cases = []
    if isinstance(part, PhiCase):
        cases = [part]
    elif isinstance(part, type):
        for order, heads in _SIZES:
            spec, name = LayerSpec(5, 5, channels, order, heads), f"{part.__name__}(order={order}, heads={heads})"
            build = _of_spec(part, spec)
            cases.append(PhiCase(name, build, columns, edge_attr, channels, numbers))
    else:
        build = (lambda: copy.deepcopy(part).double()) if isinstance(part, Phi) else part
        name = type(part).__name__ if isinstance(part, Phi) else getattr(part, "__name__", str(part))
        cases = [PhiCase(name, build, columns, edge_attr, channels, numbers)]
    for case in cases:
        CHECKS.hold_all(case, only, skip)


def _of_spec(kind: type[Phi], spec: LayerSpec) -> Callable[[], Phi]:
    return lambda: kind.for_layer(spec)


# --- what a phi gives -------------------------------------------------------------------------------------------------
def everything(phi: Phi, inputs: Inputs) -> list[Tensor]:
    """The weights, and the diagonals where there are any."""
    graph = inputs[2]
    parts = phi(*inputs), phi.diagonal(graph), phi.initial(graph)
    return [part for part in parts if part is not None]


def hops(phi: Phi, inputs: Inputs) -> list[Tensor]:
    """The signal after every hop."""
    _, z, graph, *_ = inputs
    weight, diagonal, signals = phi(*inputs), phi.diagonal(graph), []
    for k in range(phi.order):
        z = phi.hop(graph, weight[k], None if diagonal is None else diagonal[k], z, k=k)
        signals.append(z)
    return signals


@CHECKS.promise("weights", graph=GRAPHS)
def weights(case: PhiCase, graph: Graph) -> None:
    """It gives finite (K, E, H) weights on any graph, and (K, N, H) and (N, H) diagonals if it has some."""
    phi = case.build()
    weight = phi(*case.inputs(phi, graph))
    last = phi.heads if case.numbers is None else case.numbers(phi)
    diagonal, initial = phi.diagonal(graph), phi.initial(graph)
    for what, got, wanted in (
        ("the weights have", weight, (phi.order, graph.num_edges, last)),
        ("diagonal(graph) has", diagonal, (phi.order, graph.num_nodes, last)),
        ("initial(graph) has", initial, (graph.num_nodes, last)),
    ):
        if got is not None:
            require(tuple(got.shape) == wanted, f"{what} the shape {tuple(got.shape)}, not {wanted}")
            require(bool(got.isfinite().all()), f"{what} entries that are not finite")


@CHECKS.promise("hop", graph=GRAPHS)
def hop(case: PhiCase, graph: Graph) -> None:
    """A hop keeps the shape of the signal, and makes nothing infinite of it, on any graph."""
    phi = case.build()
    inputs = case.inputs(phi, graph)
    weight, diagonal = phi(*inputs), phi.diagonal(graph)
    z = phi.hop(graph, weight[0], None if diagonal is None else diagonal[0], inputs[1])
    require(z.shape == inputs[1].shape, f"a hop makes {tuple(z.shape)} of a {tuple(inputs[1].shape)} signal")
    require(bool(z.isfinite().all()), "a hop gives what is not finite")


@CHECKS.promise("shared hops")
def shared_hops(case: PhiCase) -> str | None:
    """shares_hops is true: all hops have the same weights, a K axis of stride 0; or false: they differ."""
    phi, inputs = case.ready()
    if phi.order == 1:
        return "there is one hop"
    weight = phi(*inputs)
    if phi.shares_hops:
        require(weight.stride(0) == 0, "shares_hops is True, and the K axis of its weights has not stride 0: expand it")
    else:
        alike = torch.equal(weight[0], weight[1])
        require(not alike, "shares_hops is False, and the first two hops have the same weights")
        require(weight.stride(0) != 0, "shares_hops is False, and the K axis of its weights has stride 0")
    return None


@CHECKS.promise("follows signal")
def follows_signal(case: PhiCase) -> None:
    """follows_signal is true if the weights depend on the signal, and false if they do not."""
    phi, (x, z, *rest) = case.ready()
    weight = phi(x, z, *rest)
    alike = torch.equal(weight, phi(x + torch.randn_like(x), z + torch.randn_like(z), *rest))
    words = "depend" if not alike else "do not depend"
    require(
        alike != phi.follows_signal, f"follows_signal is {phi.follows_signal}, and its weights {words} on the signal"
    )


@CHECKS.promise("edge features")
def edge_features(case: PhiCase) -> str | None:
    """If reads_edge_attr is false, edge features change nothing: the layer refuses them for it."""
    phi, (x, z, graph, edge_weight, _) = case.ready()
    if phi.reads_edge_attr:
        return "it may read edge features"
    bare, features = phi(x, z, graph, edge_weight, None), torch.randn(graph.num_edges, _FEATURES)
    same(phi(x, z, graph, edge_weight, features), bare, "reads_edge_attr is False, and its weights change with them")
    return None


@CHECKS.promise("diagonals")
def diagonals(case: PhiCase) -> None:
    """has_diagonal and has_initial say whether diagonal(graph) and initial(graph) give something."""
    phi, (_, _, graph, *_) = case.ready()
    for name, got in (("diagonal", phi.diagonal(graph)), ("initial", phi.initial(graph))):
        said, found = getattr(phi, f"has_{name}"), got is not None
        require(said == found, f"has_{name} is {said}, and {name}(graph) is {'a tensor' if found else 'None'}")


@CHECKS.promise("shuffled edges")
def shuffled(case: PhiCase) -> None:
    """Weights travel with their edges when the list is shuffled."""
    phi, (x, z, graph, edge_weight, edge_attr) = case.ready()
    order = torch.randperm(graph.num_edges)
    other = Graph(graph.edge_index[:, order], graph.num_nodes)
    given = [None if value is None else value[order] for value in (edge_weight, edge_attr)]
    want = phi(x, z, graph, edge_weight, edge_attr)[:, order]
    same(phi(x, z, other, *given), want, "on a shuffled edge list, edges have other weights")


@CHECKS.promise("relabelled nodes")
def relabelled(case: PhiCase) -> str | None:
    """Weights do not depend on the numbers of the nodes. Tables, which belong to nodes, are looked up by their ids."""
    phi, (x, z, graph, edge_weight, edge_attr) = case.ready()
    order = torch.randperm(graph.num_nodes)  # the new node i is the old node order[i]
    place = torch.empty_like(order).scatter_(0, order, torch.arange(graph.num_nodes))
    other = Graph(place[graph.edge_index], graph.num_nodes, node_id=order)
    got = phi(x[order], z[order], other, edge_weight, edge_attr)
    same(got, phi(x, z, graph, edge_weight, edge_attr), "when nodes are numbered anew, edges have other weights")
    return None


# --- parameters -------------------------------------------------------------------------------------------------------
@CHECKS.promise("gradients")
def gradients(case: PhiCase) -> str | None:
    """The gradients of all it gives are right, by its parameters, which all are reached, and by the signals."""
    phi, inputs = case.ready()
    x, z, *rest = inputs
    # within the signals that it met: at their ends a basis that was made for them may have kinks
    x, z = ((0.9 * signal).requires_grad_() for signal in (x, z))

    def given() -> Tensor:
        met: Any = (x, z, *rest)
        return torch.cat([part.flatten() for part in everything(phi, met) + hops(phi, met)])

    if not given().requires_grad:
        return "it has no parameters and reads no signal"
    check_gradients(given, dict(phi.named_parameters()))
    check_gradients(given, {"x": x, "z": z}, all_reached=False)
    return None


@CHECKS.promise("deep copy")
def deep_copy(case: PhiCase) -> None:
    """A deep copy, before and after it has met a graph, gives the same weights, and is apart."""
    copy.deepcopy(case.build())
    phi, inputs = case.ready()
    before = everything(phi, inputs)
    twin = copy.deepcopy(phi)
    for got, want in zip(everything(twin, inputs), before, strict=True):
        require(torch.equal(got, want), "a deep copy gives other weights")
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)
    for got, want in zip(everything(phi, inputs), before, strict=True):
        require(torch.equal(got, want), "it changes with its deep copy")


@CHECKS.promise("state dict")
def state_dict(case: PhiCase) -> None:
    """Its state_dict, read with weights_only, fills a new one that has met no graph."""
    phi, inputs = case.ready()
    twin = case.build()
    twin.load_state_dict(saved_and_loaded(phi.state_dict()))
    for got, want in zip(everything(twin, inputs), everything(phi, inputs), strict=True):
        require(torch.equal(got, want), "filled with its state_dict, a new one gives other weights")


@CHECKS.promise("reset")
def reset(case: PhiCase) -> None:
    """reset_parameters draws the same from the same seed into the same parameters."""
    phi, inputs = case.ready()
    parameters, drawn = list(phi.parameters()), []
    for _ in range(2):
        torch.manual_seed(3)
        phi.reset_parameters()
        drawn.append(everything(phi, inputs))
    for first, second in zip(*drawn, strict=True):
        require(torch.equal(first, second), "two draws from one seed differ")
        require(bool(first.isfinite().all()), "drawn anew, its weights are not finite")
    kept = [a is b for a, b in zip(parameters, phi.parameters(), strict=True)]
    require(all(kept), "reset_parameters makes other parameters, of which an optimizer does not know")


@CHECKS.promise("dtype", dtype=[torch.float32, torch.bfloat16, torch.float16])
def dtypes(case: PhiCase, dtype: torch.dtype) -> None:
    """It follows a change of dtype, to what the dtype's mantissa leaves."""
    phi, inputs = case.ready()
    wanted = everything(phi, inputs)
    other: Any = [t.to(dtype) if isinstance(t, Tensor) and t.is_floating_point() else t for t in inputs]
    digits = {torch.float32: 1e-4, torch.float16: 5e-2, torch.bfloat16: 4e-1}[dtype]  # through a softmax
    for got, want in zip(everything(phi.to(dtype), other), wanted, strict=True):
        require(got.dtype == dtype, f"after to({dtype}) its weights are of {got.dtype}")
        scale = float(want.detach().abs().max().clamp_min(1)) if want.numel() else 1.0
        same(got.double() / scale, want / scale, f"in {dtype} it gives other weights", digits)
