"""Layers give the numbers of alegnn, the implementation by the authors of EdgeNets: outputs and all gradients.

The arrays were stored by running it; every file in the folder is a case. Its conventions differ from the paper's and
from PyG's, and some of its lines are slips. The adapters below undo or rebuild them from the library's public parts:

* A signal is (B, F, N); ours is (B, N, F).
* Most layers compute x @ S, in which S[j, i] belongs to the edge j -> i (rows); the edge-varying and the Jacobi filter
  compute S @ x, in which that is S[i, j] (columns). K counts taps.
* S is a stack of E shift operators.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from stored import oracle, tensors
from torch import Tensor, nn

from edgenet import ops
from edgenet.graph import Graph
from edgenet.models import AggregationNetwork
from edgenet.nn import EdgeNetConv, SpectralConv, lift, specializations, taps
from edgenet.nn.graph_signal import (
    Aggregation,
    LocalActivation,
    MaxLocalActivation,
    MaxPoolLocal,
    MedianLocalActivation,
)
from edgenet.nn.taps import Jacobi
from edgenet.phi import Attention, ShiftOperator
from edgenet.structured import StructuredLinear

TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}
#: arrays that no layer of theirs uses: the basis, where every eigenvalue has a coefficient of its own
UNUSED = {"spectral_M20_und_E1": {"splineKernel"}}


class Arrays(dict[str, Tensor]):
    """The arrays of a file, and which of them were asked for."""

    def __init__(self, arrays: dict[str, Tensor]) -> None:
        super().__init__(arrays)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.read.add(name)
        return super().__getitem__(name)


@dataclass
class Adapter:
    """One of their layers made of ours.

    Attributes:
        layers: the parts, filled with their numbers.
        run: (B, N, G) -> (B, N, F).
        gradients: their parameter's name -> the gradient in it, computed from those of our parameters.
        inside: name of an array that stands in the midst of their computation -> the same of ours, of the signal.
    """

    layers: nn.Module
    run: Callable[[Tensor], Tensor]
    gradients: dict[str, Callable[[], Tensor]]
    inside: dict[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)


class Sum(nn.ModuleList):
    """The sum of layers that walk graphs of their own, which ``Parallel``, on one graph, cannot be."""

    def __init__(self, *parts: tuple[nn.Module, Graph, Tensor | None]) -> None:
        super().__init__(part[0] for part in parts)
        self.walks = [part[1:] for part in parts]

    def forward(self, x: Tensor) -> Tensor:
        return sum(conv(x, graph, weight) for conv, (graph, weight) in zip(self, self.walks, strict=True))


def fill(parameter: Tensor, value: Tensor) -> None:
    assert parameter.shape == value.shape, f"{tuple(parameter.shape)} is to be filled with {tuple(value.shape)}"
    with torch.no_grad():
        parameter.copy_(value)


def by_rows(shifts: Tensor, loops: bool = False) -> tuple[Graph, Tensor]:
    """Edges j -> i where any S[j, i] != 0 (or j = i, with ``loops``), and the (edges, E) entries."""
    support = (shifts != 0).any(0)
    if loops:
        support = support | torch.eye(len(support), dtype=torch.bool)
    source, target = support.nonzero().T
    return Graph(torch.stack([source, target]), len(support)), shifts[:, source, target].T


def by_columns(shift: Tensor) -> tuple[Graph, Tensor]:
    """Edges j -> i where S[i, j] != 0, and the entries."""
    target, source = shift.nonzero().T
    return Graph(torch.stack([source, target]), len(shift)), shift[target, source]


# ---------------------------------------------------------------- filters with given shift operators
def polynomial(shifts: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[nn.Module, Graph, Tensor]:
    """sum over e, k of weight[f, e, k, g] x S_e^k."""
    f, e, k, g = weight.shape
    conv = specializations.gcnn(g, f, k - 1, shifts=e, normalize=None, bias=bias is not None)
    fill(conv.taps.linear.weight.weight, weight.transpose(1, 2).flatten(1))
    if bias is not None:
        fill(conv.bias, bias.squeeze(1))
    return conv, *by_rows(shifts)


def of_polynomial(conv: EdgeNetConv, weight: Tensor) -> Callable[[], Tensor]:
    f, e, k, g = weight.shape
    return lambda: conv.taps.linear.weight.weight.grad.view(f, k, e, g).transpose(1, 2)


def lsigf(a: Arrays) -> Adapter:
    conv, graph, values = polynomial(a["S"], a["weight"], a["bias"])
    return Adapter(
        conv,
        lambda x: conv(x, graph, values),
        {"weight": of_polynomial(conv, a["weight"]), "bias": lambda: conv.bias.grad.unsqueeze(1)},
    )


def nvgf(a: Arrays) -> Adapter:
    """Node i has the taps number copyNodes[i]."""
    f, e, k, g, m = a["weight"].shape
    graph, values = by_rows(a["S"])
    mix = taps.NodeVarying(f, k, e * g, groups=a["copyNodes"])
    conv = EdgeNetConv(g, f, phi=ShiftOperator(k - 1, heads=e), taps=mix).bind(graph)
    fill(mix.table.weight, a["weight"].permute(4, 0, 2, 1, 3).flatten(1))
    fill(conv.bias, a["bias"].squeeze(1))
    return Adapter(
        conv,
        lambda x: conv(x, graph, values),
        {
            "weight": lambda: mix.table.weight.grad.view(m, f, k, e, g).permute(1, 3, 2, 4, 0),
            "bias": lambda: conv.bias.grad.unsqueeze(1),
        },
    )


def jarma(a: Arrays) -> Adapter:
    """Jacobi filters by columns, a polynomial by rows. Their last term, x itself, is the start of ours: t + 1 hops."""
    f, e, p, g = a["inverseWeight"].shape
    parts = []
    for i in range(e):
        jacobi = Jacobi(g, f, p)
        fill(jacobi.pole.weight, a["inverseWeight"][:, i].flatten(0, 1))
        fill(jacobi.residue.weight, a["directWeight"][:, i].flatten(0, 1))
        shift = ShiftOperator(int(a["tMax"]) + 1)
        conv = EdgeNetConv(g, f, phi=shift, lift=lift.FilterBank(f * p), taps=jacobi, bias=False)
        parts.append((conv, *by_columns(a["S"][i])))
    poly = polynomial(a["S"], a["filterWeight"], a["bias"])
    layers = Sum(*parts, poly)
    return Adapter(
        layers,
        layers,
        {
            "inverseWeight": lambda: torch.stack([part[0].taps.pole.weight.grad.view(f, p, g) for part in parts], 1),
            "directWeight": lambda: torch.stack([part[0].taps.residue.weight.grad.view(f, p, g) for part in parts], 1),
            "filterWeight": of_polynomial(poly[0], a["filterWeight"]),
            "bias": lambda: poly[0].bias.grad.unsqueeze(1),
        },
    )


# ---------------------------------------------------------------- edge-varying filters
def evgf(a: Arrays) -> Adapter:
    """Their weights fill dense matrices under a mask; ours stand in tables of edges and nodes.

    With M < N nodes of importance a polynomial by rows is added, and the bias a second time.
    """
    f, e, k, g, n, _ = a["weightEV"].shape
    hybrid = "weightLSI" in a
    important = torch.arange(int(a["M"])) if hybrid else None
    parts, slots = [], []
    for i in range(e):
        graph, _ = by_columns(a["S"][i])
        conv = specializations.edge_varying(g, f, k - 1, nodes=important, bias=False).bind(graph)
        weight = a["weightEV"][:, i].movedim(0, 1)  # (K, F, G, N, N)
        row, node_row = conv.phi.where.of_edges(graph, None), conv.phi.where.of_nodes(graph)
        edge, node = (row >= 0).nonzero().squeeze(1), (node_row >= 0).nonzero().squeeze(1)
        source, target = graph.source[edge], graph.target[edge]
        with torch.no_grad():
            columns = weight[1:, ..., target, source].flatten(0, 2).T  # (edges, (K - 1) F G)
            conv.phi.edge_table.weight[row[edge]] = columns
            conv.phi.node_table.weight[node_row[node]] = weight[..., node, node].flatten(0, 2).T
        parts.append((conv, graph, None))
        slots.append((row[edge], source, target, node_row[node], node))
    poly = polynomial(a["S"], a["weightLSI"], 2 * a["bias"]) if hybrid else None
    own_bias = nn.Parameter(a["bias"].squeeze(1).clone())  # ours has one layer for each operator, and one bias
    layers = Sum(*parts, *([poly] if hybrid else []))

    def dense(of: Callable[[Tensor], Tensor]) -> Tensor:
        """What is found of the tables, where it stands in their matrices."""
        found = torch.zeros(e, k, f, g, n, n)
        for i, (row, source, target, node_row, node) in enumerate(slots):
            phi = parts[i][0].phi
            edges, nodes = of(phi.edge_table.weight)[row], of(phi.node_table.weight)[node_row]
            found[i, 1:, ..., target, source] = edges.T.reshape(k - 1, f, g, -1)
            found[i, ..., node, node] = nodes.T.reshape(k, f, g, -1)
        return found.permute(2, 0, 1, 3, 4, 5)

    gradients = {"weightEV": lambda: dense(lambda table: table.grad)}
    inside = {
        "Phi": lambda x: dense(torch.Tensor.detach),
        "mask": lambda x: dense(torch.ones_like)[:1, :, :, :1],
    }
    if hybrid:
        gradients["weightLSI"] = of_polynomial(poly[0], a["weightLSI"])
        gradients["bias"] = lambda: 2 * poly[0].bias.grad.unsqueeze(1)
        return Adapter(layers, layers, gradients, inside)
    gradients["bias"] = lambda: own_bias.grad.unsqueeze(1)
    return Adapter(layers, lambda x: layers(x) + own_bias, gradients, inside)


# ---------------------------------------------------------------- attention
class SenderAttention(Attention):
    """Their softmax runs over the receivers of each sender, and the result is multiplied by S in some layers."""

    def weights(self, score: Tensor, graph: Graph, edge_weight: Tensor | None) -> Tensor:
        alpha = ops.segment_softmax(score, graph.source, graph.num_sources)
        return alpha if edge_weight is None else alpha * edge_weight.repeat(1, alpha.shape[1] // edge_weight.shape[1])


class ApartAttention(SenderAttention):
    """Attention scored by a lift of its own, apart from the one that is walked."""

    def __init__(self, order: int, heads: int, channels: int, in_channels: int) -> None:
        super().__init__(order, heads, channels)
        self.own = StructuredLinear.dense(in_channels, heads * channels)

    def forward(self, x, z, graph, edge_weight=None, edge_attr=None) -> Tensor:
        own = self.own(x).unflatten(-1, (self.heads, self.channels))
        return super().forward(x, own, graph, edge_weight, edge_attr)


def fill_scores(phi: Attention, mixer: Tensor) -> None:
    """Their (T, H, 2F) mixers: the receiver's half first. T is 1 where hops share their attention."""
    target, source = mixer.chunk(2, dim=-1)
    fill(phi.att_source.weight, source.flatten(0, -2))
    fill(phi.att_target.weight, target.flatten(0, -2))


def of_scores(phi: Attention) -> Tensor:
    return torch.cat([phi.att_target.weight.grad, phi.att_source.weight.grad], dim=-1).unflatten(0, (-1, phi.heads))


def attention(conv: EdgeNetConv, graph: Graph, x: Tensor) -> Tensor:
    """(B, H, [K,] N, N) attention from the row to the column, with a hop axis where hops differ."""
    _, (edges, alpha) = conv(x, graph, return_attention_weights=True)
    alpha = alpha.unflatten(-1, (len(x), -1)).movedim((-2, -1), (0, 1))
    dense = alpha.new_zeros(*alpha.shape[:-1], graph.num_nodes, graph.num_nodes)
    dense[..., edges[0], edges[1]] = alpha
    return dense


def merged(y: Tensor, heads: int, concat: bool) -> Tensor:
    """Heads are put side by side, or averaged; then their ReLU, which the stored y has passed."""
    y = y.unflatten(-1, (heads, -1))
    return F.relu(y.flatten(-2) if concat else y.mean(-2))


def gat(a: Arrays) -> Adapter:
    """One head for each (p, e) on the union of supports and the diagonal; summed over e."""
    p, e, f, g = a["weight"].shape
    graph, values = by_rows(a["S"], loops=True)
    phi = SenderAttention(1, p * e, f)
    conv = EdgeNetConv(g, f, phi=phi, add_self_loops=False, bias=False)
    fill(conv.lift.linear.weight.weight, a["weight"].flatten(0, 2))
    fill_scores(phi, a["mixer"].flatten(0, 1).unsqueeze(0))
    shifts = values.repeat(1, p)

    def run(x: Tensor) -> Tensor:
        y = conv(x, graph, shifts).unflatten(-1, (p, e, f)).sum(-2)
        return merged(y.flatten(-2), p, bool(a["concatenate"]))

    return Adapter(
        conv,
        run,
        {
            "weight": lambda: conv.lift.linear.weight.weight.grad.view(p, e, f, g),
            "mixer": lambda: of_scores(phi).view(p, e, 2 * f),
        },
        {"aij": lambda x: attention(conv, graph, x).unflatten(1, (p, e))},
    )


def scrambled(weight: Tensor) -> Tensor:
    """(P, E, F, G) -> (P, F, E, G) as their reshape has it, which mixes up outputs and inputs."""
    p, e, f, g = weight.shape
    return weight.permute(0, 3, 1, 2).reshape(p, f, e, g)


def unscrambled(grad: Tensor, p: int, e: int, f: int, g: int) -> Tensor:
    return grad.reshape(p, g, e, f).permute(0, 2, 3, 1)


def gcat(a: Arrays) -> Adapter:
    """A polynomial of the attention matrix, one layer for each operator. What is walked is lifted by a scrambled W."""
    p, e, f, g = a["weight"].shape
    k = a["filterWeight"].shape[1]
    graph, _ = by_rows(a["S"], loops=True)
    lifted = scrambled(a["weight"])
    torch.testing.assert_close(lifted, a["W_eff"], rtol=0, atol=0)
    parts = []
    for i in range(e):
        phi = ApartAttention(k - 1, p, f, g)
        mix = taps.Scaled(k)
        conv = EdgeNetConv(g, f, phi=phi, taps=mix, self_tap=True, add_self_loops=False, bias=False)
        fill(conv.lift.linear.weight.weight, lifted[:, :, i].flatten(0, 1))
        fill(phi.own.weight.weight, a["weight"][:, i].flatten(0, 1))
        fill_scores(phi, a["mixer"][:, i].unsqueeze(0))
        fill(mix.weight, a["filterWeight"][i])
        parts.append((conv, graph, None))
    layers, bias = Sum(*parts), nn.Parameter(a["bias"].squeeze(1).clone())

    def weight_gradient() -> Tensor:
        walked = [part[0].lift.linear.weight.weight.grad.view(p, f, g) for part in parts]
        scored = [part[0].phi.own.weight.weight.grad.view(p, f, g) for part in parts]
        return unscrambled(torch.stack(walked, 2), p, e, f, g) + torch.stack(scored, 1)

    return Adapter(
        layers,
        lambda x: merged(layers(x) + bias.repeat(p), p, bool(a["concatenate"])),
        {
            "weight": weight_gradient,
            "mixer": lambda: torch.stack([of_scores(part[0].phi)[0] for part in parts], 1),
            "filterWeight": lambda: torch.stack([part[0].taps.weight.grad for part in parts]),
            "bias": lambda: bias.grad.unsqueeze(1),
        },
        {"aij": lambda x: torch.stack([attention(part[0], graph, x) for part in parts], 2)},
    )


def evgat(a: Arrays) -> Adapter:
    """Attention of its own at each of K hops, and no tap at hop 0; one layer for each operator."""
    p, k, e, f, g = a["weight"].shape
    graph, values = by_rows(a["S"], loops=True)
    parts = []
    for i in range(e):
        phi = SenderAttention(k, p, f, share_hops=False, in_channels=g)
        conv = EdgeNetConv(g, f, phi=phi, self_tap=False, add_self_loops=False, bias=False)
        for hop, linear in enumerate([conv.lift.linear, *phi.lifts]):
            fill(linear.weight.weight, a["weight"][:, hop, i].flatten(0, 1))
        fill_scores(phi, a["mixer"][:, :, i].transpose(0, 1))
        parts.append((conv, graph, values[:, i : i + 1].repeat(1, p)))
    layers, bias = Sum(*parts), nn.Parameter(a["bias"].squeeze(1).clone())

    def weight_gradient() -> Tensor:
        linears = [[part[0].lift.linear, *part[0].phi.lifts] for part in parts]
        grads = [torch.stack([hop.weight.weight.grad.view(p, f, g) for hop in hops], 1) for hops in linears]
        return torch.stack(grads, 2)

    return Adapter(
        layers,
        lambda x: merged(layers(x) + bias.repeat(p), p, bool(a["concatenate"])),
        {
            "weight": weight_gradient,
            "mixer": lambda: torch.stack([of_scores(part[0].phi).transpose(0, 1) for part in parts], 2),
            "bias": lambda: bias.grad.unsqueeze(1),
        },
        {"aij": lambda x: torch.stack([attention(part[0], graph, x) for part in parts], 3)},
    )


# ---------------------------------------------------------------- spectral filters
def spectral(a: Arrays) -> Adapter:
    """With M < N, their spline basis is taken as stored: made at unsorted eigenvalues, and with one row patched."""
    f, _, g, m = a["weight"].shape
    conv = SpectralConv(g, f, m)
    conv.set_transform(a["VH"][0], a["V"][0], torch.eye(m) if m == len(a["V"][0]) else a["splineKernel"][0])
    fill(conv.weight.weight, a["weight"][:, 0].flatten(1))
    fill(conv.bias, a["bias"].squeeze(1))
    graph, values = by_rows(a["S"])
    return Adapter(
        conv,
        lambda x: conv(x, graph, values),
        {"weight": lambda: conv.weight.weight.grad.view(f, 1, g, m), "bias": lambda: conv.bias.grad.unsqueeze(1)},
    )


# ---------------------------------------------------------------- neighbourhoods and sequences
def local_activation(kind: type[LocalActivation], a: Arrays) -> Adapter:
    """Their neighbours are those that the rows of S lead to: along the edges j -> i of S[j, i]."""
    activation = kind(int(a["Khop"]), flow="target_to_source")
    fill(activation.weight, a["weight"].squeeze(0))
    graph, _ = by_rows(a["S"])
    return Adapter(activation, lambda x: activation(x, graph), {"weight": lambda: activation.weight.grad.unsqueeze(0)})


def maxact(a: Arrays) -> Adapter:
    return local_activation(MaxLocalActivation, a)


def medact(a: Arrays) -> Adapter:
    return local_activation(MedianLocalActivation, a)


def maxpool(a: Arrays) -> Adapter:
    """They keep the first nodes of their order."""
    pool = MaxPoolLocal(int(a["Nout"]), int(a["hops"]), flow="target_to_source")
    graph, _ = by_rows(a["S"])
    return Adapter(pool, lambda x: pool(x, graph), {})


def aggregation(a: Arrays) -> Adapter:
    """Scores of every node, (B, classes, nodes) in their order of axes."""
    f, g, k = a["convW"].shape
    model = AggregationNetwork(
        g, len(a["mlpb"]), nodes=int(a["nNodes"]), length=int(a["maxN"]), channels=[f], kernel_size=k, pool_size=2,
        readout="nodes", normalize=None,
    )  # fmt: skip
    conv, linear = model.convs[0].convs[0], model.head[0]
    for part, name in ((conv, "conv"), (linear, "mlp")):
        fill(part.weight, a[f"{name}W"])
        fill(part.bias, a[f"{name}b"])
    graph, values = by_rows(a["S"])
    return Adapter(
        model,
        lambda x: model(x, graph, values),
        {
            "convW": lambda: conv.weight.grad,
            "convb": lambda: conv.bias.grad,
            "mlpW": lambda: linear.weight.grad,
            "mlpb": lambda: linear.bias.grad,
        },
        {"SN": lambda x: of_units(model.convs[0].aggregation, graph, values)},
    )


def of_units(sequence: Aggregation, graph: Graph, values: Tensor) -> Tensor:
    """(P, 1, N, Q) what each node's number becomes in the sequences: the columns of S^q at the nodes."""
    return sequence(torch.eye(graph.num_nodes), graph, values).transpose(1, 2).unsqueeze(1)


ADAPTERS: dict[str, Callable[[Arrays], Adapter]] = {
    function.__name__: function
    for function in (
        lsigf, nvgf, jarma, evgf, gat, gcat, evgat, spectral, maxact, medact, maxpool, aggregation,
    )
}  # fmt: skip


# ---------------------------------------------------------------- the cases
def family(file: Path) -> str:
    return file.stem.split("_")[0]


# those of recurrent networks: tests/models/test_graph_recurrent_alegnn.py
@oracle("alegnn/*.npz", but="alegnn/grnn*.npz")
def test_outputs_and_gradients_are_those_of_alegnn(stored):
    assert family(stored) in ADAPTERS, f"{stored.name} has no adapter; write one."
    a = Arrays(tensors(stored))
    adapter = ADAPTERS[family(stored)](a)
    x = a["x"].transpose(1, 2).clone().requires_grad_()
    y = adapter.run(x)
    torch.testing.assert_close(y.transpose(1, 2), a["y"], **TOLERANCE)
    (y.transpose(1, 2) * a["r"]).sum().backward()
    torch.testing.assert_close(x.grad.transpose(1, 2), a["grad_x"], **TOLERANCE)
    wanted = {name.removeprefix("grad_") for name in a if name.startswith("grad_")} - {"x"}
    assert set(adapter.gradients) == wanted
    for name, ours in adapter.inside.items():
        got = ours(a["x"].transpose(1, 2))
        torch.testing.assert_close(got, a[name], **TOLERANCE, msg=lambda m, n=name: f"{n}: {m}")
    for name in wanted:
        got = adapter.gradients[name]()
        torch.testing.assert_close(got, a[f"grad_{name}"], **TOLERANCE, msg=lambda m, n=name: f"gradient in {n}: {m}")
    unread = {name for name, value in a.items() if value.dim()} - a.read - UNUSED.get(stored.stem, set())
    assert not unread, f"nobody compares {', '.join(sorted(unread))} of {stored.name}."


def test_every_kind_of_layer_has_stored_arrays(oracle_root):
    assert {family(file) for file in (oracle_root / "alegnn").glob("*.npz")} >= set(ADAPTERS)


@oracle("alegnn/evgf*.npz")
def test_the_tables_hold_a_number_for_each_one_under_the_mask(stored):
    a = Arrays(tensors(stored))
    adapter = evgf(a)
    f, g = a["weightEV"].shape[0], a["weightEV"].shape[3]
    tables = [conv.phi for conv in adapter.layers if hasattr(conv.phi, "edge_table")]
    entries = sum(phi.edge_table.num_parameters() + phi.node_table.num_parameters() for phi in tables)
    assert entries == f * g * int(a["mask"].sum())
