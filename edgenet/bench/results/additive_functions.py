"""The functions of one network with readable edge weights: a picture, what each decides, and one edge explained."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from edgenet.bench.results.additive_run import Job, problem, restored
from edgenet.phi.additive import Contributions
from edgenet.plots.style import saved
from edgenet.text import markdown_table


def functions_shown(job: Job, out: Path, which: str) -> list[str]:
    """The picture, how much each function decides, and one edge."""
    network, attr = restored(job)
    graph, names = problem(job["dataset"], job["data_root"])[2], job["features"]
    picture = out.with_name("additive.png")
    wrapped = [textwrap.fill(name, 32) for name in names]
    saved(network.phi.plot(wrapped), picture, dpi=75)
    parts = network.phi.explain(None, graph, attr, names)
    share = shares(parts, graph.target)
    kept = [d for d in share.argsort(descending=True).tolist() if parts.values[0, :, 0, d].any()]
    rows = [(names[d], f"{parts.values[0, :, 0, d].std():.3f}", f"{100 * share[d]:.1f}") for d in kept]
    if not kept:
        return [f"The network of {which} has no functions to draw."]
    header = ("function of", "standard deviation over edges", "share of the variation, %")
    return [
        f"The functions of one network ({which}, the best of its seeds on validation nodes). What they add to the "
        f"logarithm of an edge weight, before the softmax:",
        f"![the functions that are not zero]({picture.name})",
        "How much of the variation of the logarithm of edge weights among the in-edges of a node each accounts for "
        "(its covariance with the sum, over the variance of the sum; the shares add up to 100):",
        markdown_table(header, rows),
        *_edge(parts, attr, names, graph.source, graph.target),
    ]


def shares(parts: Contributions, target: Tensor) -> Tensor:
    """(D,) cov(f_d, sum of f) / var(sum of f) over the edges, all less their mean over the in-edges of a node."""
    values = parts.values[0, :, 0]
    centred = values - _neighbours(values, target)
    total = centred.sum(1)
    return centred.T @ total / total.square().sum().clamp(min=torch.finfo(total.dtype).tiny)


def _neighbours(values: Tensor, target: Tensor) -> Tensor:
    """(E, D) mean over all edges that enter the same node."""
    count = int(target.max()) + 1
    total = values.new_zeros(count, values.shape[1]).index_add(0, target, values)
    return (total / target.bincount(minlength=count).clamp(min=1).unsqueeze(1))[target]


def _edge(parts: Contributions, attr: Tensor, names: Sequence[str], source: Tensor, target: Tensor) -> list[str]:
    """The edge that differs most from the others that enter its node, explained."""
    values = parts.values[0, :, 0]
    mean = _neighbours(values, target)
    apart = (values - mean).sum(1).abs().masked_fill(source == target, 0)
    edge = int(apart.argmax())
    i, j = int(target[edge]), int(source[edge])
    entering = target == i
    weight = float(values.sum(1)[entering].softmax(0)[entering.nonzero().flatten() == edge])
    number = {f"edge {name}": d for d, name in enumerate(names)}
    rows = [
        (name.removeprefix("edge "), f"{attr[edge, d]:.3g}", f"{value:+.3f}", f"{mean[edge, d]:+.3f}")
        for name, value in parts.of_edge(edge)
        for d in [number[name]]
    ]
    total = f"{values[edge].sum():+.3f}", f"{mean[edge].sum():+.3f}"
    return [
        f"The edge from document {j} to document {i}, of all the one that its functions set most apart from the other "
        f"{int(entering.sum()) - 1} that enter its target, by `explain(...).of_edge({edge})`. Its weight is "
        f"{weight:.2g}, where the mean of all would give it {1 / int(entering.sum()):.2g}:",
        markdown_table(
            ("feature", "of this edge", "its function adds", "mean over the edges into its target"),
            [*rows, ("sum", "", *total)],
        ),
    ]
