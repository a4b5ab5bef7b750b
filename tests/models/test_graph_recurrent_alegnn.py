"""Graph recurrent networks give the numbers of alegnn, by their authors: outputs, and gradients in every parameter.

Every file of the family is a case. Signals there are (B, T, F, N), ours (B, T, N, F); parameters have the names of its
state dict. Gates of edges have a softmax over the receivers of each sender there; the adapter puts that in ours.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from stored import oracle, tensors
from torch import Tensor

from edgenet import ops
from edgenet.graph import Graph
from edgenet.models import GraphRecurrent
from edgenet.nn.recurrent import Cell
from edgenet.phi import Attention

TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}
Arrays = dict[str, Tensor]
#: (ours, its name there, theirs -> the shape of ours)
Pair = tuple[torch.nn.Parameter, str, Callable[[Tensor], Tensor]]


class SenderAttention(Attention):
    """Their softmax runs over the receivers of each sender."""

    def weights(self, score: Tensor, graph: Graph, edge_weight: Tensor | None) -> Tensor:
        return ops.segment_softmax(score, graph.source, graph.num_sources)


def of_taps(weight: Tensor) -> Tensor:
    """(F, E, K, G) -> (F, K E G)."""
    return weight.transpose(1, 2).flatten(1)


def of_cell(cell: Cell, prefix: str = "") -> Iterator[Pair]:
    for map, name, bias in ((cell.input_map, "aWeights", "xBias"), (cell.state_map, "bWeights", "zBias")):
        yield map.conv.taps.linear.weight.weight, prefix + name, of_taps
        yield map.conv.bias, prefix + bias, lambda b: b.squeeze(1)


def of_gate(gate, kind: str, prefix: str) -> Iterator[Pair]:
    yield from of_cell(gate.cell, f"{prefix}GRNN__")
    read = gate.read
    if kind == "time":  # theirs reads (H, N), ours (N, H)
        nodes = read.num_nodes
        yield read.linear.weight.weight, f"{prefix}FC__weight", lambda w: w.unflatten(1, (-1, nodes)).mT.flatten(1)
        yield read.linear.bias, f"{prefix}FC__bias", lambda b: b
    elif kind == "node":
        yield read.map.conv.taps.linear.weight.weight, f"{prefix}GraphFilter__weight", of_taps
        yield read.map.conv.bias, f"{prefix}GraphFilter__bias", lambda b: b.squeeze(1)
    else:  # their mixer has the receiver's number first
        yield read.lift.weight.weight, f"{prefix}GAT__weight", lambda w: w[0, 0]
        yield read.phi.att_target.weight, f"{prefix}GAT__mixer", lambda m: m[0, :, :1]
        yield read.phi.att_source.weight, f"{prefix}GAT__mixer", lambda m: m[0, :, 1:]


def network(a: Arrays, kind: str | None) -> tuple[GraphRecurrent, Graph, Tensor, list[Pair]]:
    """Ours with their numbers; the graph and its weights; and what corresponds to what."""
    hidden, _, taps, features = a["aWeights"].shape
    nodes = a["S"].shape[-1]
    source, target = a["S"][0].nonzero().T
    graph, values = Graph(torch.stack([source, target]), nodes), a["S"][0][source, target]
    model = GraphRecurrent(
        features, hidden, layer="gcnn", order=taps - 1, normalize=None, hidden_channels=hidden, cell="elman", gate=kind,
        num_nodes=nodes,
    )  # fmt: skip
    layer = model.layers[0]
    pairs = list(of_cell(layer.cell))
    if kind is not None:
        pairs += [*of_gate(layer.input_gate, kind, "inputGate"), *of_gate(layer.state_gate, kind, "forgetGate")]
    if kind == "edge":
        for gate in (layer.input_gate, layer.state_gate):
            gate.read.phi.__class__ = SenderAttention
    with torch.no_grad():
        model.head.weight.copy_(torch.eye(hidden))
        model.head.bias.zero_()
        for ours, name, shaped in pairs:
            assert ours.shape == shaped(a[name]).shape, name
            ours.copy_(shaped(a[name]))
    return model, graph, values, pairs


def gate_of(file: Path) -> str | None:
    named = [kind for kind in ("time", "node", "edge") if kind in file.stem.split("_")]
    return named[0] if named else None


@oracle("alegnn/grnn*.npz")
def test_outputs_and_gradients_are_those_of_alegnn(stored):
    a, kind = tensors(stored), gate_of(stored)
    model, graph, values, pairs = network(a, kind)
    x = a["x"].transpose(2, 3).clone().requires_grad_()
    start = a["z0"].transpose(1, 2)  # of the gates' networks, too
    y = model(x, graph, values, state=[(start,) * (1 if kind is None else 3)])
    torch.testing.assert_close(y.transpose(2, 3), a["y"], **TOLERANCE)
    (y.transpose(2, 3) * a["r"]).sum().backward()
    torch.testing.assert_close(x.grad.transpose(2, 3), a["grad_x"], **TOLERANCE)
    assert {name for _, name, _ in pairs} == {name[5:] for name in a if name.startswith("grad_")} - {"x"}
    for ours, name, shaped in pairs:
        wanted = shaped(a[f"grad_{name}"])
        torch.testing.assert_close(ours.grad, wanted, **TOLERANCE, msg=lambda m, n=name: f"gradient in {n}: {m}")


@oracle("alegnn/grnn*.npz")
def test_there_are_as_many_parameters_as_published(stored):
    a, kind = tensors(stored), gate_of(stored)
    hidden, _, taps, features = a["aWeights"].shape
    base, nodes = taps * hidden * (features + hidden) + 2 * hidden, a["S"].shape[-1]
    own = {None: 0, "time": hidden * nodes + 1, "node": taps * hidden + 1, "edge": hidden + 2}[kind]
    layer = network(a, kind)[0].layers[0]
    assert sum(p.numel() for p in layer.parameters()) == (base if kind is None else 3 * base + 2 * own)


def test_there_are_arrays_of_every_gate(oracle_root):
    assert {gate_of(file) for file in (oracle_root / "alegnn").glob("grnn*.npz")} == {None, "time", "node", "edge"}
