"""What a phi promises of its weights: shapes on any graph, what its attributes say, no meaning of order or number."""

from __future__ import annotations

import torch

from edgenet.graph import Graph
from edgenet.testing.contract import Contract, require, same
from edgenet.testing.graphs import GRAPHS
from edgenet.testing.phi.case import PhiCase, on_edges

WEIGHTS: Contract[PhiCase] = Contract()

#: the third of (E, D) edge features, and of no use to a phi that does not read them
_FEATURES = 3


@WEIGHTS.promise("weights", graph=GRAPHS)
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


@WEIGHTS.promise("hop", graph=GRAPHS)
def hop(case: PhiCase, graph: Graph) -> None:
    """A hop keeps the shape of the signal, and makes nothing infinite of it, on any graph."""
    phi = case.build()
    inputs = case.inputs(phi, graph)
    weight, diagonal = phi(*inputs), phi.diagonal(graph)
    more = on_edges(phi, graph, inputs[4])
    z = phi.hop(graph, weight[0], None if diagonal is None else diagonal[0], inputs[1], **more)
    require(z.shape == inputs[1].shape, f"a hop makes {tuple(z.shape)} of a {tuple(inputs[1].shape)} signal")
    require(bool(z.isfinite().all()), "a hop gives what is not finite")


@WEIGHTS.promise("shared hops")
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


@WEIGHTS.promise("follows signal")
def follows_signal(case: PhiCase) -> None:
    """follows_signal is true if the weights depend on the signal, and false if they do not."""
    phi, (x, z, *rest) = case.ready()
    weight = phi(x, z, *rest)
    alike = torch.equal(weight, phi(x + torch.randn_like(x), z + torch.randn_like(z), *rest))
    words = "depend" if not alike else "do not depend"
    require(
        alike != phi.follows_signal, f"follows_signal is {phi.follows_signal}, and its weights {words} on the signal"
    )


@WEIGHTS.promise("edge features")
def edge_features(case: PhiCase) -> str | None:
    """If reads_edge_attr is false, edge features change nothing: the layer refuses them for it."""
    phi, (x, z, graph, edge_weight, _) = case.ready()
    if phi.reads_edge_attr:
        return "it may read edge features"
    bare, features = phi(x, z, graph, edge_weight, None), torch.randn(graph.num_edges, _FEATURES)
    same(phi(x, z, graph, edge_weight, features), bare, "reads_edge_attr is False, and its weights change with them")
    return None


@WEIGHTS.promise("diagonals")
def diagonals(case: PhiCase) -> None:
    """has_diagonal and has_initial say whether diagonal(graph) and initial(graph) give something."""
    phi, (_, _, graph, *_) = case.ready()
    for name, got in (("diagonal", phi.diagonal(graph)), ("initial", phi.initial(graph))):
        said, found = getattr(phi, f"has_{name}"), got is not None
        require(said == found, f"has_{name} is {said}, and {name}(graph) is {'a tensor' if found else 'None'}")


@WEIGHTS.promise("shuffled edges")
def shuffled(case: PhiCase) -> None:
    """Weights travel with their edges when the list is shuffled."""
    phi, (x, z, graph, edge_weight, edge_attr) = case.ready()
    order = torch.randperm(graph.num_edges)
    other = Graph(graph.edge_index[:, order], graph.num_nodes)
    given = [None if value is None else value[order] for value in (edge_weight, edge_attr)]
    want = phi(x, z, graph, edge_weight, edge_attr)[:, order]
    same(phi(x, z, other, *given), want, "on a shuffled edge list, edges have other weights")


@WEIGHTS.promise("relabelled nodes")
def relabelled(case: PhiCase) -> str | None:
    """Weights do not depend on the numbers of the nodes. Tables, which belong to nodes, are looked up by their ids."""
    phi, (x, z, graph, edge_weight, edge_attr) = case.ready()
    order = torch.randperm(graph.num_nodes)  # the new node i is the old node order[i]
    place = torch.empty_like(order).scatter_(0, order, torch.arange(graph.num_nodes))
    other = Graph(place[graph.edge_index], graph.num_nodes, node_id=order)
    got = phi(x[order], z[order], other, edge_weight, edge_attr)
    same(got, phi(x, z, graph, edge_weight, edge_attr), "when nodes are numbered anew, edges have other weights")
    return None
