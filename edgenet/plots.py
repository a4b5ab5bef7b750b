"""Pictures: learning curves, edge weights on a small graph, what compression saves and what it costs.

matplotlib is imported when the first picture is drawn, and draws into files only.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import torch
from torch import Tensor, nn

from edgenet.compress import Report, Row
from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv

INK, FAINT, PAPER = "#22252b", "#d7dae0", "#ffffff"
LINES = ("#3566c8", "#d9602b", "#2c9568", "#8d4fb5", "#b58900", "#c23b62")
METRICS = {"accuracy": "accuracy", "micro_f1": "micro F1", "rmse": "RMSE"}
_STYLE = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": "#9aa0aa",
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eceef2",
    "grid.linewidth": 0.8,
    "xtick.color": "#5b616c",
    "ytick.color": "#5b616c",
    "text.color": INK,
    "legend.frameon": False,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
}


@dataclass(frozen=True)
class EdgeWeights:
    """The edge weights of one layer on one graph.

    Attributes:
        edge_index: (2, E).
        values: (K, E, H) by hop and head.
        layer: the layer's number among the model's EdgeNet layers, from 0.
        learned: whether the layer has weights to learn on edges; a shift operator has not.
    """

    edge_index: Tensor
    values: Tensor
    layer: int
    learned: bool

    def picked(self, hop: int = 0, head: int | None = None) -> np.ndarray:
        """(E,) weights of one hop and head; without a head, of the one whose weights differ most from edge to edge."""
        values = self.values[hop]
        if head is None:
            spread = values.sub(values.mean(0)).abs().mean(0) / values.abs().mean(0).clamp_min(1e-12)
            head = int(spread.nan_to_num().argmax())
        return values[:, head].double().cpu().numpy()


def edge_weights(model: nn.Module, *inputs: Any, layer: int = 0) -> EdgeWeights:
    """The edge weights of one ``EdgeNetConv`` inside a model, on the inputs of the model.

    Args:
        model: any module with an ``EdgeNetConv`` in it. Run once in evaluation mode.
        inputs: arguments of the model; a signal comes without a batch.
        layer: which of the layers, in the order in which the model calls them; -1 is the last.

    Raises:
        ShapeError: if the model has no such layer.
    """
    calls: list[tuple[EdgeNetConv, tuple, dict]] = []
    hooks = [
        module.register_forward_pre_hook(lambda m, args, kwargs: calls.append((m, args, kwargs)), with_kwargs=True)
        for module in model.modules()
        if isinstance(module, EdgeNetConv)
    ]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(*inputs)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    if not -len(calls) <= layer < len(calls):
        raise ShapeError(f"the model calls {len(calls)} EdgeNetConv layers; there is no layer {layer} to look into.")
    conv, args, kwargs = calls[layer]
    was_training = conv.training
    with torch.no_grad():
        _, (edge_index, values) = conv.eval()(*args, **{**kwargs, "return_attention_weights": True})
    conv.train(was_training)
    values = values if values.dim() == 3 else values.unsqueeze(0)
    return EdgeWeights(edge_index, values, layer % len(calls), any(p.numel() for p in conv.phi.parameters()))


def neighbourhood(graph: Graph, size: int, labels: np.ndarray | None = None) -> np.ndarray:
    """Up to ``size`` nodes around a node of high in-degree, breadth first, of equals the lower number; sorted.

    Around the node of highest in-degree; with ``labels``, around that of the 64 highest whose surroundings have the
    most even mixture of classes, where the weights between classes can be seen.
    """
    neighbours: list[set[int]] = [set() for _ in range(graph.num_nodes)]
    for a, b in graph.edge_index.t().tolist():
        neighbours[a].add(b)
        neighbours[b].add(a)
    in_order = [sorted(others) for others in neighbours]

    def around(start: int) -> np.ndarray:
        chosen, seen = [start], {start}
        for node in chosen:  # grows while it is walked
            fresh = [other for other in in_order[node] if other not in seen][: size - len(chosen)]
            seen.update(fresh)
            chosen += fresh
        return np.sort(np.array(chosen, dtype=int))

    starts = graph.in_degree.sort(descending=True, stable=True).indices[: 1 if labels is None else 64].tolist()
    pieces = [around(start) for start in starts]
    if labels is None:
        return pieces[0] if pieces else np.zeros(0, dtype=int)
    return max(pieces, key=lambda piece: (len(piece), _evenness(labels[piece])))


def _evenness(classes: np.ndarray) -> float:
    """Entropy of the classes' shares."""
    share = np.unique(classes, return_counts=True)[1] / max(1, len(classes))
    return float(-(share * np.log(share)).sum())


def node_layout(edges: np.ndarray, num_nodes: int, seed: int = 0) -> np.ndarray:
    """(N, 2) places of nodes in [-1, 1], linked nodes near each other; the same for the same edges and seed."""
    graph = nx.Graph()
    graph.add_nodes_from(range(num_nodes))
    graph.add_edges_from((int(a), int(b)) for a, b in edges.T if a != b)
    if num_nodes < 2:
        return np.zeros((num_nodes, 2))
    # a little further apart than networkx would have it: dense graphs fold into a ball otherwise
    places = nx.spring_layout(graph, seed=seed, k=2.2 / math.sqrt(num_nodes), iterations=120)
    xy = np.array([places[node] for node in range(num_nodes)])
    xy = xy @ np.linalg.svd(xy - xy.mean(0), full_matrices=False)[2].T  # the long side lies flat
    low, high = np.quantile(xy, (0.01, 0.99), axis=0)
    return np.clip((2 * xy - low - high) / np.maximum(high - low, 1e-12), -1.12, 1.12)


# ---------------------------------------------------------------- drawing on given axes
def draw_curves(
    axes: Any, histories: Mapping[Any, Sequence[Mapping[str, Any]]], key: str, colour: str, label: str = "",
    best: str | None = None,
) -> None:  # fmt: skip
    """The course of one number over the epochs: a faint line a seed, their mean, and a mark on every best epoch.

    Args:
        axes: of matplotlib.
        histories: the records of every seed's epochs.
        key: of the record: "loss", "val", ...
        best: "max" or "min" of this key marks the best epoch, of equals that of the lowest validation loss; None marks
            none.
    """
    curves = [([r["epoch"] for r in records], [r[key] for r in records]) for records in histories.values() if records]
    if not curves:
        return
    for (epochs, values), records in zip(curves, filter(None, histories.values()), strict=True):
        axes.plot(epochs, values, color=colour, linewidth=0.9, alpha=0.35 if len(curves) > 1 else 0.0, zorder=2)
        if best:
            sign = 1 if best == "max" else -1
            at = max(range(len(values)), key=lambda i: (sign * values[i], -records[i].get("val_loss", 0.0)))
            axes.plot(
                epochs[at], values[at], "o", markersize=6.5, color=colour, markeredgecolor="white",
                markeredgewidth=1.2, zorder=5, clip_on=False,
            )  # fmt: skip
    shared = min(len(values) for _, values in curves)  # beyond it the mean would be of fewer seeds
    mean = np.mean([values[:shared] for _, values in curves], axis=0)
    axes.plot(curves[0][0][:shared], mean, color=colour, linewidth=2.0, label=label, zorder=4, solid_capstyle="round")


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
        LineCollection(_arcs(xy, edges)[order], colors=rgba[order], linewidths=width[order], capstyle="round", zorder=1)
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


# ---------------------------------------------------------------- whole pictures
def learning_curve(
    histories: Mapping[int, Sequence[Mapping[str, Any]]], metric: str, path: str | Path, title: str = "",
    stop_by: str = "metric",
) -> Path:  # fmt: skip
    """Loss and validation metric of all seeds over the epochs, best epochs marked, as a PNG.

    Args:
        histories: {seed: records} as in ``RunResult.histories``.
        metric: "accuracy", "micro_f1" or "rmse".
        stop_by: which number chose the best epoch, see ``TrainingTable``.

    Returns:
        The path.

    Raises:
        ConfigError: if matplotlib is not installed.
    """
    with _figure(figsize=(10, 3.9)) as figure:
        left, right = figure.subplots(1, 2)
        draw_curves(left, histories, "loss", LINES[0], "training")
        draw_curves(left, histories, "val_loss", LINES[1], "validation", "min" if stop_by == "loss" else None)
        left.set(xlabel="epoch", ylabel="loss", title="Loss")
        if min((r["loss"] for records in histories.values() for r in records), default=0) > 0:
            left.set_yscale("log")
        wanted = None if stop_by == "loss" else ("min" if metric == "rmse" else "max")
        draw_curves(right, histories, "train", LINES[0], "training")
        draw_curves(right, histories, "val", LINES[1], "validation", wanted)
        name = METRICS.get(metric, metric)
        right.set(xlabel="epoch", ylabel=name, title=name[0].upper() + name[1:])
        _show_the_upper_part(right, histories.values(), metric)
        for axes in (left, right):
            axes.margins(x=0.02)
            if histories:
                axes.legend(loc="best", fontsize=8.5)
        marks = "thin: each seed, thick: their mean, dots: best epochs" if len(histories) > 1 else "dot: best epoch"
        figure.suptitle(title or " ", x=0.01, ha="left", fontsize=13, fontweight="bold")
        figure.text(0.99, 0.985, marks, ha="right", va="top", fontsize=8.2, color="#6a707b")
        return _saved(figure, path)


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
    """
    with _figure(figsize=(8.2, 7.6)) as figure:
        axes = figure.subplots()
        draw_edge_weights(axes, weights, labels, title=title, **options)
        return _saved(figure, path)


def compression_picture(report: Report, path: str | Path, title: str = "", most: int = 24) -> Path:
    """What every slot of a model takes before and after compression, as a PNG: bytes as bars, on a logarithmic axis.

    Args:
        report: of ``edgenet.compress``.
        most: slots drawn; of more, those that were largest.

    Returns:
        The path.

    Raises:
        ConfigError: if matplotlib is not installed.
    """
    total = report.total
    rows = sorted(report.rows, key=lambda row: -row.bytes_before)[:most]
    shown = [row for row in report.rows if row in rows] + [report.rest] * (report.rest.bytes > 0) + [total]
    with _figure(figsize=(9.6, 1.3 + 0.42 * len(shown))) as figure:
        axes = figure.subplots()
        families = dict.fromkeys(row.structure for row in rows if row.structure != "dense")
        colours = dict(zip(families, _cycled(LINES, len(families)), strict=True))
        for place, row in enumerate(reversed(shown)):
            colour = INK if row is total else colours.get(row.structure, "#9aa0aa")
            axes.barh(place, row.bytes_before, height=0.74, color=FAINT, zorder=2)
            axes.barh(place, max(row.bytes, 1), height=0.42, color=colour, zorder=3)
            axes.text(
                max(row.bytes_before, row.bytes, 1) * 1.25, place, _said(row), va="center", fontsize=8.4, zorder=4
            )
        axes.set_yticks(range(len(shown)), [row.name for row in reversed(shown)], fontsize=8.6)
        widest = max(max(row.bytes_before, row.bytes, 1) for row in shown)
        least = min(max(row.bytes, 1) for row in shown)
        axes.set_xscale("log")
        axes.set_xlim(least / 2, widest * (2 * widest / least) ** 0.6)  # room for the words
        axes.set_xticks([t for t in axes.get_xticks() if least / 2 <= t <= 2 * widest])
        axes.set_xticks([], minor=True)
        axes.set(xlabel="bytes: before in grey, now in colour")
        axes.grid(False, axis="y")
        axes.set_title(title or f"{total.bytes_before:,} bytes before, {total.bytes:,} now")
        return _saved(figure, path)


def _said(row: Row) -> str:
    """What a bar is to be read with."""
    ratio = row.bytes_before / max(1, row.bytes)
    parts = [row.structure] * bool(row.structure) + (
        [f"{ratio:,.1f}x smaller"] if row.bytes != row.bytes_before else []
    )
    return ", ".join(parts + ([] if row.error is None else [f"error {row.error:.2g}"]))


def size_curves(
    curves: Mapping[str, Sequence[tuple[float, float]]], path: str | Path, metric: str = "accuracy",
    baseline: float | None = None, title: str = "",
) -> Path:  # fmt: skip
    """Quality against compression as a PNG, one curve a family.

    Args:
        curves: {name: (times smaller, metric) points}.
        metric: as in ``METRICS``, or any text.
        baseline: metric of the uncompressed model.

    Returns:
        The path.

    Raises:
        ConfigError: if matplotlib is not installed.
    """
    with _figure(figsize=(8.2, 4.8)) as figure:
        axes = figure.subplots()
        for number, (name, points) in enumerate(curves.items()):
            style = {"color": LINES[number % len(LINES)], "linestyle": ("-", "--", ":")[number // len(LINES) % 3]}
            ratio, value = np.array(sorted(points), dtype=float).reshape(-1, 2).T
            axes.plot(ratio, value, marker="o", markersize=4.5, linewidth=1.8, label=name, zorder=4, **style)
        if baseline is not None:
            axes.axhline(
                baseline, color="#6a707b", linewidth=1.1, linestyle=(0, (4, 3)), label="uncompressed", zorder=2
            )
        axes.set_xscale("log")
        if curves:
            ends = [ratio for points in curves.values() for ratio, _ in points]
            ticks = [10.0**k * sub for k in range(-2, 7) for sub in (1, 2, 5)]
            axes.set_xticks([t for t in ticks if min(ends) / 1.3 <= t <= max(ends) * 1.3])
            axes.xaxis.set_major_formatter("{x:g}x")
            axes.set_xticks([], minor=True)
        axes.set(xlabel="times smaller", ylabel=METRICS.get(metric, metric))
        axes.set_title(title)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8.5, handlelength=3.2)
        return _saved(figure, path)


def _show_the_upper_part(axes: Any, histories: Iterable[Sequence[Mapping[str, Any]]], metric: str) -> None:
    """Leave out the steep beginning of a score, beside which all else would be one flat line."""
    values = [r["val"] for records in histories for r in records]
    if values and metric != "rmse":
        middle, top = float(np.median(values)), axes.get_ylim()[1]
        axes.set_ylim(max(min(values), middle - max(0.1, 2.5 * (max(values) - middle))), min(top, 1.005))


def _cycled(colours: Sequence[str], count: int) -> list[str]:
    return [colours[i % len(colours)] for i in range(count)]


def _saved(figure: Any, path: str | Path) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".picture-") as folder:
        figure.savefig(Path(folder) / "picture.png", dpi=160, metadata={"Software": None})
        (Path(folder) / "picture.png").replace(path)
    return path


@contextlib.contextmanager
def _figure(**options: Any) -> Iterator[Any]:
    """An empty figure in our style. Not by pyplot, which would keep it and choose a window system for it."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            f"pictures need matplotlib, which cannot be imported ({error}): pip install matplotlib. "
            f"All numbers of a run are in its folder all the same."
        ) from error
    with matplotlib.rc_context(_STYLE):
        yield Figure(layout="constrained", **options)
