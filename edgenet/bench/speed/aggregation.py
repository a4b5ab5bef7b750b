"""``edgenet bench aggregation``: one hop, out[i, h] = sum over e = (j -> i) of w[e, h] x[j, h], in five ways."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgenet import ops
from edgenet.bench.harness.beside import beside_the_fastest, times
from edgenet.bench.harness.cells import error, milliseconds, times_ours
from edgenet.bench.harness.graphs import sample
from edgenet.bench.harness.peers import import_dgl
from edgenet.bench.harness.performance import Record, Settings, described
from edgenet.bench.harness.timing import BOTH, FORWARD, Implementation, compared
from edgenet.bench.harness.worker import Job
from edgenet.bench.speed import edges, threads
from edgenet.bench.speed.hop import Function, Problem
from edgenet.graph import Graph
from edgenet.ops import backend
from edgenet.text import markdown_table

TITLE = "Aggregation"
#: (heads, channels) by graph
SHAPES = {
    "cora": [(8, 8)],
    "ppi": [(4, 256)],
    "arxiv": [(8, 8), (1, 64), (1, 128)],
    "products8": [(8, 8)],
}
SHUFFLED = ("arxiv", (8, 8))  # measured with its edges in random order too
MESSAGES = 500_000_000  # numbers of (E, H, C) messages above which implementations that hold them are left out
COPY = 11_000_000  # float32 numbers, 44 MB: what is copied to see how fast memory is


def jobs(settings: Settings) -> list[Job]:
    """One for every graph, shape and allocator; then those of two threads and of growth with the edges."""
    found = []
    for malloc in settings.malloc:
        for graph in settings.graphs:
            for heads, channels in SHAPES[graph]:
                for shuffle in (False, True) if (graph, (heads, channels)) == SHUFFLED else (False,):
                    title = f"{heads} x {channels} on {graph}{', shuffled' * shuffle}"
                    shape = {"graph": graph, "heads": heads, "channels": channels, "shuffle": shuffle}
                    found.append(settings.job(__name__, title, malloc, **shape))
    return found + threads.jobs(settings) + edges.jobs(settings)


# ---------------------------------------------------------------- in the worker
def measure(job: Job) -> dict[str, Any]:
    """Time all implementations on one graph and shape, and a copy for the floor."""
    found = sample(job["graph"], job["data_root"], job["shuffle"])
    problem = Problem(found.edge_index, found.num_nodes, job["heads"], job["channels"])
    implementations = [problem.implementation(*entry) for entry in ways(problem.graph, job)]
    numbers = torch.randn(COPY)
    copy = torch.empty_like(numbers)
    copying = Implementation("copy", {"copy": lambda: copy.copy_(numbers)}, lambda: {})
    *rows, copied = compared([*implementations, copying], problem.reference, job["rounds"])
    bandwidth = 2 * 4 * COPY / copied["times"]["copy"]["minimum"]
    floor = {kind: size / bandwidth for kind, size in problem.compulsory_bytes().items()}
    checked = {"checked_heads": problem.checked, "bytes_a_second": bandwidth, "floor_seconds": floor}
    return {"graph": found.facts(), "rows": rows, **checked}


def ways(graph: Graph, job: Job) -> list[tuple[str, Function] | tuple[str, Function, bool]]:
    """(name, function, whether it is differentiable in w) of all implementations; ours first."""
    source, target, nodes = graph.source, graph.target, graph.num_nodes

    def index_add(weight: Tensor, x: Tensor) -> Tensor:
        message = x.index_select(0, source) * weight.unsqueeze(-1)
        return x.new_zeros(nodes, *x.shape[1:]).index_add(0, target, message)

    found: list = [("edgenet `ops.spmm`", lambda weight, x: ops.spmm(graph, weight, x))]
    fits = graph.num_edges * job["heads"] * job["channels"] <= MESSAGES
    if fits:
        found.append(("torch `index_add`", index_add))
    if fits and "scatter" in job["peers"]:
        scatter = backend.torch_scatter().scatter

        def with_scatter(weight: Tensor, x: Tensor) -> Tensor:
            message = x.index_select(0, source) * weight.unsqueeze(-1)
            return scatter(message, target, dim=0, dim_size=nodes, reduce="sum")

        found.append(("torch_scatter `scatter`", with_scatter))
    if "dgl" in job["peers"]:
        dgl = import_dgl()
        dgl_graph = dgl.graph((source, target), num_nodes=nodes)
        found.append(("DGL `u_mul_e_sum`", lambda weight, x: dgl.ops.u_mul_e_sum(dgl_graph, x, weight.unsqueeze(-1))))
    if job["heads"] == 1 and not job["shuffle"]:
        found.append(("torch.sparse CSR `@`", csr_product(graph), False))
    return found


def csr_product(graph: Graph) -> Function:
    """torch.sparse's product, for one head and edges in target order. Its gradient in w would fill an N x N matrix."""
    pointer, column, nodes = graph.rowptr.int(), graph.source.int(), graph.num_nodes

    def product(weight: Tensor, x: Tensor) -> Tensor:
        matrix = torch.sparse_csr_tensor(pointer, column, weight[:, 0], (nodes, nodes), check_invariants=False)
        return (matrix @ x[:, 0]).unsqueeze(1)

    return product


# ---------------------------------------------------------------- on the page
LIMITS = (
    "One hop is not a network: layers and training steps have pages of their own. Made graphs have the sizes of "
    "published ones and not their neighbourhoods, and their node numbers carry no locality. Up to two threads were "
    "measured."
)
pictures = edges.pictures


def claim(records: list[Record], settings: Settings) -> str:
    """What was found."""
    own = [result["rows"] for job, result in records if job["measure"] == __name__]
    return beside_the_fastest((times(rows, BOTH) for rows in own), "one hop, forward and backward,")


def parts(records: list[Record], settings: Settings) -> list[str]:
    """The section's paragraphs and tables."""
    own = [record for record in records if record[0]["measure"] == __name__]
    text = [
        "One hop: out[i, h] = sum over e = (j -> i) of w[e, h] x[j, h], with gradients in w and x. *Floor*: the time "
        "in which a copy of 44 MB, measured in the same process, moves each array once (forward: w, x, out, int32 "
        "indices; backward: w, x, dout, dw, dx, two arrays of indices); backward is the difference of the two columns. "
        f"Implementations that hold (E, H, C) messages are left out where those are over {MESSAGES:,} numbers.",
        described(own, settings),
    ]
    for malloc in settings.malloc:
        rows = []
        for job, result in own:
            if job["malloc"] == malloc:
                rows += _rows(job, result)
        if rows:
            header = ("graph", "heads x channels", "implementation", "forward, ms", "× ours", "forward + backward, ms",
                      "× ours", "forward / floor", "backward / floor", "error")  # fmt: skip
            speeds = [result["bytes_a_second"] / 1e9 for job, result in own if job["malloc"] == malloc]
            text += [
                f"### One hop, {malloc} allocator",
                markdown_table(header, rows),
                f"Copy: {min(speeds):.0f} to {max(speeds):.0f} GB/s, read and written, over the processes.",
            ]
    partly = {job["graph"]: result["checked_heads"] for job, result in own if result["checked_heads"] < job["heads"]}
    text += [f"On {graph} the check covers {heads} of the heads." for graph, heads in partly.items()]
    return [*text, *threads.parts(records), *edges.parts(records, settings)]


def _rows(job: Job, result: dict[str, Any]) -> list[tuple[str, ...]]:
    rows, ours = [], result["rows"][0]
    graph = job["graph"] + ", shuffled" * job["shuffle"]
    for row in result["rows"]:
        floors = ("", "")
        if row is ours and milliseconds(row, BOTH) != "-":
            first, both = (row["times"][kind]["minimum"] for kind in (FORWARD, BOTH))
            floor = result["floor_seconds"]
            floors = (f"{first / floor[FORWARD]:.1f}", f"{(both - first) / floor['backward']:.1f}")
        rows.append(
            (
                graph,
                f"{job['heads']} x {job['channels']}",
                row["name"],
                milliseconds(row, FORWARD),
                times_ours(row, ours, FORWARD),
                milliseconds(row, BOTH),
                times_ours(row, ours, BOTH),
                *floors,
                error(row),
            )
        )
    return rows
