"""A small graph with its learned edge weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from edgenet.graph import Graph
from edgenet.plots.layout import neighbourhood, node_layout
from edgenet.plots.style import figure_of, saved
from edgenet.plots.weights import EdgeWeights


def edge_weight_picture(
    weights: EdgeWeights, path: str | Path, labels: Tensor | None = None, title: str = "", **options: Any
) -> Path:
    """One graph with its learned edge weights as a PNG.

    Args:
        weights: of ``edge_weights``.
        labels: (N,) class of every node.
        options: of ``draw_edge_weights``.

    Returns:
        The path.

    Raises:
        ConfigError: if matplotlib is not installed.

    Example:
        >>> weights = edgenet.plots.edge_weights(edgenet.NodeClassifier(3, 2), x, edges)
        >>> edgenet.plots.edge_weight_picture(weights, "edges.png", torch.tensor([0, 0, 1, 1])).name
        'edges.png'
    """
    with figure_of(figsize=(8.2, 7.6)) as figure:
        axes = figure.subplots()
        draw_edge_weights(axes, weights, labels, title=title, **options)
        return saved(figure, path)


def draw_edge_weights(
    axes: Any,
    weights: EdgeWeights,
    labels: Tensor | None = None,
    *,
    hop: int = 0,
    head: int | None = None,
    max_nodes: int = 300,
    seed: int = 0,
    title: str = "",
    colour_bar: bool = True,
) -> None:
    """The graph with every edge as wide and as dark as its weight, nodes coloured by class.

    Self-loops are left out. Of a graph of more than ``max_nodes`` nodes, the surroundings of its most linked node are
    drawn, and the title says so.

    Example:
        >>> from matplotlib.figure import Figure
        >>> weights = edgenet.plots.edge_weights(edgenet.NodeClassifier(3, 2), x, edges)
        >>> edgenet.plots.draw_edge_weights(Figure().subplots(), weights, torch.tensor([0, 0, 1, 1]))
    """
    import matplotlib as mpl
    from matplotlib.collections import LineCollection

    count = int(weights.edge_index.max()) + 1 if weights.edge_index.numel() else 0
    count = max(count, 0 if labels is None else len(labels))
    graph = Graph(weights.edge_index.cpu(), count)
    classes = None if labels is None else labels.cpu().numpy().astype(int)
    shown = np.arange(count) if count <= max_nodes else neighbourhood(graph, max_nodes, classes)
    number = np.full(count, -1)
    number[shown] = np.arange(len(shown))
    edges = number[graph.edge_index.numpy()]
    kept = (edges >= 0).all(0) & (edges[0] != edges[1])
    edges, values = edges[:, kept], weights.picked(hop, head)[kept]
    xy = node_layout(edges, len(shown), seed)

    signed = bool(len(values)) and values.min() < -1e-3 * np.abs(values).max()
    high = float(np.quantile(np.abs(values), 0.98)) if len(values) else 1.0
    low = -high if signed else float(np.quantile(values, 0.02)) if len(values) else 0.0
    flat = not high - low > 1e-9 * max(1.0, abs(high))
    colours = mpl.colormaps["RdBu_r" if signed else "inferno_r"]
    if not signed:  # its two ends are lost on white and hard to tell from black
        colours = mpl.colors.LinearSegmentedColormap.from_list("weights", colours(np.linspace(0.12, 0.88, 128)))
    norm = mpl.colors.Normalize(low - flat, high + flat)
    strength = np.abs(values) / max(high, 1e-12) if signed else norm(np.clip(values, low, high)).data
    strength = np.clip(np.asarray(strength, dtype=float), 0, 1)
    order = np.argsort(strength)  # heavy edges on top
    rgba = colours(norm(np.clip(values, low, high)))
    rgba[:, 3] = 0.18 + 0.77 * strength if len(values) else 1
    width = (0.35 + 2.4 * strength**1.3) * min(1.0, 18 / math.sqrt(max(1, len(values))) + 0.2)
    axes.add_collection(
        LineCollection(
            list(_arcs(xy, edges)[order]), colors=rgba[order], linewidths=width[order], capstyle="round", zorder=1
        )
    )
    size = float(np.clip(4200 / max(1, len(shown)), 14, 150))
    face = "#7d8794"
    if classes is not None and len(shown):
        palette = mpl.colormaps["tab10" if classes.max() < 10 else "tab20"]
        face = palette(classes[shown] % palette.N)
        for name in np.unique(classes[shown]):
            axes.scatter([], [], s=32, color=palette(name % palette.N), label=str(name))
        axes.legend(
            title="class", title_fontsize=8, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=10,
            handletextpad=0.0, columnspacing=0.7, borderpad=0,
        )  # fmt: skip
    axes.scatter(*xy.T, s=size, c=face, edgecolors="white", linewidths=0.9, zorder=3)
    axes.set(xlim=(-1.22, 1.22), ylim=(-1.22, 1.22), xticks=[], yticks=[])
    axes.set_aspect("equal")
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    facts = [] if len(shown) == count else [f"{len(shown)} of {count} nodes, around one with many links"]
    facts += [] if classes is None else _within_and_across(values, edges, classes[shown])
    text = axes.text(
        0, 1.01, "\n".join(facts), transform=axes.transAxes, fontsize=8.2, color="#6a707b", va="bottom", linespacing=1.3
    )
    text.set_in_layout(False)  # a long line must not narrow the graph
    axes.set_title(title, pad=6 + 12.5 * len(facts))
    if colour_bar and not flat:
        bar = axes.figure.colorbar(
            mpl.cm.ScalarMappable(norm, colours), ax=axes, fraction=0.03, pad=0.01, shrink=0.55, aspect=22
        )
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7.5, length=0)
        bar.set_label("edge weight" if weights.learned else "edge weight, given", fontsize=8)


def _arcs(xy: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(E, 9, 2) slightly bent lines from source to target, so that the two directions of a link part."""
    start, end = xy[edges[0]], xy[edges[1]]
    across = np.stack([start[:, 1] - end[:, 1], end[:, 0] - start[:, 0]], axis=1)
    middle = (start + end) / 2 + 0.09 * across
    t = np.linspace(0, 1, 9)[None, :, None]
    return (1 - t) ** 2 * start[:, None] + 2 * t * (1 - t) * middle[:, None] + t**2 * end[:, None]


def _within_and_across(values: np.ndarray, edges: np.ndarray, classes: np.ndarray) -> list[str]:
    if not len(values):
        return []
    same = classes[edges[0]] == classes[edges[1]]
    if same.all() or not same.any():
        return []
    return [f"mean weight {values[same].mean():.3f} within a class, {values[~same].mean():.3f} across"]
