"""The section on Cora of ``edgenet bench quantised``: GCN and GAT forms, in formats of every kind."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from torch import nn

from edgenet.bench.harness.jobs import run_all
from edgenet.bench.results import quantised_table as tables
from edgenet.bench.results.quantised_run import Problem, Row, measured
from edgenet.data import load
from edgenet.models import NodeClassifier
from edgenet.nn import Sign
from edgenet.train import Task

#: the runs of every row, by network
Found = dict[str, list[list[dict[str, Any]]]]
LIMITS = "1,000 test nodes and few seeds: the standard error of the data alone is 1.2 points."
EPOCHS, MORE_SEEDS = 200, 2
LIFTS, FIRST = r"convs\.\d\.lift", r"convs\.0\.lift"
ENTRIES = 64 * 1433  # of the first lift
GCN = {"layer": "gcn", "hidden_channels": 64, "dropout": 0.5}
GAT = {"layer": "gat", "hidden_channels": 8, "heads": 8, "dropout": 0.6, "attention_dropout": 0.6, "activation": "elu"}
TITLES = {"gcn": "GCN form, 2 layers, 64 channels", "gat": "GAT form, 2 layers, 8 heads of 8 channels"}
#: entries of a dopant beside a Kronecker product of 608 numbers, such that the network is so many times smaller
DOPANTS = {10: 8110, 20: 3490}


def signed(in_channels: int, classes: int, **options: Any) -> NodeClassifier:
    """A network whose hidden signal is a sign, after a batch norm. The features are 0 or 1, times a number a node: one
    bit each as they are."""
    model = NodeClassifier(in_channels, classes, **options)
    model.activation = nn.Sequential(nn.BatchNorm1d(model.convs[0].out_width), Sign())
    return model


@lru_cache(maxsize=1)
def citations(data_root: Path | None) -> Problem:
    """Cora's public split."""
    dataset = load("cora", root=data_root)
    task = Task.of(dataset)
    sizes = dataset.num_features, dataset.num_outputs
    common = {"training": {"epochs": EPOCHS}}
    gcn = {**common, "optimizer": {"lr": 0.01, "weight_decay": 5e-4}}
    gat = {**common, "optimizer": {"lr": 0.005, "weight_decay": 5e-4}}
    return Problem(
        "cora",
        task,
        task,
        {
            "gcn": partial(NodeClassifier, *sizes, **GCN),
            "gat": partial(NodeClassifier, *sizes, **GAT),
            "signed gcn": partial(signed, *sizes, **GCN),
            "signed gat": partial(signed, *sizes, **GAT),
        },
        {"gcn": gcn, "gat": gat, "signed gcn": gcn, "signed gat": gat},
    )


def put(pattern: str, spec: dict[str, Any], *rules: dict[str, Any], epoch: int = 0) -> dict[str, Any]:
    """Settings that put a structure into lifts, and rules that train it."""
    compress = {"compress": {"plan": {pattern: spec}, "epoch": epoch}}
    return {**compress, "callback": list(rules)} if rules else compress


def powers(bits: int, form: str = "latent") -> dict[str, Any]:
    """Powers of two, trained as DeepShift is, with decay on what multiplies and none on shifts.

    Signs and shifts have no scale, which would keep the size of the first weights; but up to 3 bits nothing remains of
    these without one, and dense weights train first.
    """
    spec = {"structure": "dense", "quantiser": "power_of_two", "bits": bits, "form": form}
    if form == "latent":
        return put(LIFTS, spec)
    rule = {"kind": "shift_recipe", "shift": 0.1, "sign": 0.02, "decay": 5e-4}
    scale, epoch = ("tensor", EPOCHS // 2) if bits <= 3 else ("none", 0)
    return {**put(LIFTS, {**spec, "per": scale}, rule, epoch=epoch), "optimizer": {"name": "radam"}}


def doped(ratio: int) -> dict[str, Any]:
    """A Kronecker product and the entries of a dopant, whose density falls until half of the epochs are over."""
    base = {"structure": "kronecker", "factor": [8, 36]}
    spec = {"structure": "doped", "base": base, "density": 1.0, "iterations": 1}
    span = {"start": 20, "end": EPOCHS // 2, "every": 2}
    fall = {"kind": "anneal", "density": DOPANTS[ratio] / ENTRIES, **span, "rate": 1.0}
    return put(FIRST, spec, fall)


def rows(net: str) -> list[Row]:
    """Every row of a network's table, in order."""
    dense = {"structure": "dense"}
    kronecker = {"structure": "kronecker", "factor": [8, 8], "terms": 2}
    # decay of latents would only tell which of them change their sign
    signs = {
        **put(LIFTS, {**dense, "quantiser": "binary", "per": "row"}, {"kind": "binary_recipe"}),
        "optimizer": {"weight_decay": 0.0},
    }
    made = [
        Row("float", "32 bits", net),
        Row("binary", "weights and activations", f"signed {net}", settings=signs),
        Row("binary", "weights alone, mean per row", net, settings=signs),
        *(Row("power_of_two", f"Q, {bits} bits", net, settings=powers(bits)) for bits in (5, 4, 3, 2)),
        *(Row("power_of_two", f"PS, {bits} bits", net, settings=powers(bits, "sign_shift")) for bits in (5, 4, 3, 2)),
        *(
            Row(
                "unified",
                text,
                net,
                settings=put(FIRST, {"structure": "unified", "block": block, "ratio": 1.0}, epoch=EPOCHS // 4),
            )
            for text, block in (("16 x 1", [16, 1]), ("1 x 16", [1, 16]))
        ),
        *(
            Row("kronecker", text, net, settings=put(FIRST, {**kronecker, **bits}))
            for text, bits in (("25x", {}), ("25x, 8 bits", {"bits": 8}), ("25x, 4 bits", {"bits": 4}))
        ),
        *(Row("doped", f"{ratio}x", net, settings=doped(ratio)) for ratio in DOPANTS),
    ]
    return made


#: what others report, by network and row
PUBLISHED = {
    ("gcn", "32 bits"): "81.5 (Kipf, Welling 2017)",
    ("gat", "32 bits"): "83.0 ± 0.7 (Velickovic et al. 2018)",
    ("gcn", "weights and activations"): "about 30x smaller, 1 to 2 points lower (Bi-GCN, Wang et al. 2021)",
}


def results(seeds: int, runs: Path, processes: int, data_root: Path | None) -> Found:
    """Train what is not trained yet, for ``MORE_SEEDS`` seeds more, as these take seconds: the runs of every row."""
    seeds += MORE_SEEDS
    chosen = {net: rows(net) for net in TITLES}
    jobs = [(citations, row, seed, runs, data_root) for net in TITLES for row in chosen[net] for seed in range(seeds)]
    done = dict(zip(((job[1].file, job[2]) for job in jobs), run_all(jobs, processes, measured), strict=True))
    return {net: [[done[row.file, seed] for seed in range(seeds)] for row in chosen[net]] for net in TITLES}


def settings() -> dict[str, Any]:
    """Of the GCN form's rows."""
    return {f"{row.group} {row.name}": dict(row.settings) for row in rows("gcn") if row.settings}


def claim(found: Found) -> str:
    """What was found: the smallest row of each network that loses less than a point, and the smallest of all."""
    said = []
    for net in TITLES:
        whole = found[net][0]
        named = zip(rows(net), found[net], strict=True)
        sizes = [(each[0]["bytes"], tables.lost(whole, each), f"{row.group} {row.name}") for row, each in named]
        said += [
            f"{net.upper()} form: {name.replace('_', ' ')}, {whole[0]['bytes'] / size:.1f} times smaller, {lost:+.2f} "
            f"points"
            for size, lost, name in sorted({min(one for one in sizes if one[1] > -1), min(sizes)}, reverse=True)
        ]
    return f"The smallest that loses less than a point on Cora, and the smallest of all. {'; '.join(said)}."


def parts(found: Found) -> list[str]:
    """The page's paragraphs and tables."""
    text = [_introduction(len(found["gcn"][0])), tables.checks([*found["gcn"], *found["gat"]]), _NOTES]
    for net, title in TITLES.items():
        quoted = {row.file: PUBLISHED.get((net, row.name), "") for row in rows(net)}
        text += [f"### {title}", tables.table(rows(net), found[net], quoted)]
    return text


def _introduction(seeds: int) -> str:
    return (
        f"Cora, public split: the classes of 140 nodes to train on, 500 nodes to choose settings and the best epoch "
        f"by, 1,000 for the tables. Trained from labels alone, {EPOCHS} epochs each, by `edgenet.fit`. Test accuracy "
        f"in percent, mean ± sample standard deviation over {seeds} seeds (0 to {seeds - 1}); one node is 0.1 points, "
        f"and the standard error of 82 percent of 1,000 nodes 1.2. Published numbers are quoted, not measured here."
    )


_NOTES = (
    "Both lifts are rounded where a row names no size; where it does, and where blocks are unified, the first, of "
    f"{ENTRIES:,} numbers. Attention vectors and biases stay float. *16 x 1*: sixteen outputs share the magnitude of "
    "one feature; *1 x 16* sixteen neighbouring features, which have nothing to do with each other. *Doped*: a "
    "Kronecker product of 608 numbers and the entries of a dopant, so many times fewer parameters in all; its bytes "
    "hold the places of the entries."
)
