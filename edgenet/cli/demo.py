"""``edgenet demo``: train an attention network, convert it, compress it, save it, and say what came out."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgenet.cli.command import Command
from edgenet.cli.models import check_folder
from edgenet.cli.printing import emit, say, score
from edgenet.cli.values import add_data_root, add_seed, new_path, number, whole
from edgenet.errors import ConfigError
from edgenet.text import plain_table


def arguments(parser: argparse.ArgumentParser) -> None:
    """``demo [DATASET]``."""
    add = parser.add_argument
    add("dataset", nargs="?", default="digits", metavar="DATASET", help="default: digits, which needs no network")
    add(
        "--ratio",
        type=number(1, least=True),
        default=65.0,
        help="times fewer bytes in the tensors of the model that is saved (default: 65)",
    )
    add("--epochs", type=whole(1), default=200, help="of training, and of fine-tuning (default: 200)")
    add("--out", type=new_path, help="folder (default: runs/demo-DATASET, which every demo replaces)")
    add("--overwrite", action="store_true", help="replace what an earlier demo left in --out")
    add_seed(parser)
    add_data_root(parser)


def run(options: argparse.Namespace) -> int:
    """Train an attention GNN, convert it, compress it by every family, save the best and read it back."""
    import torch

    from edgenet.data import load
    from edgenet.demo import check_dataset, run_demo

    torch.set_num_threads(1)  # the layers are too small for more to help, and a busy core would hold all others up
    dataset = load(options.dataset, root=options.data_root)
    check_dataset(dataset)
    folder = Path(options.out or f"runs/demo-{dataset.name}")
    for taken in (folder / "model", folder / "demo.png"):
        if taken.exists() and options.out and not options.overwrite:
            raise ConfigError(f"{taken} exists. Replace it with --overwrite, or choose another --out.")
    check_folder(folder)
    first = dataset.train[0]
    begun = (f"{dataset.name}: {first.num_nodes:,} nodes, {first.edge_index.shape[1]:,} edges, "
             f"{dataset.num_features} features, {dataset.num_outputs} classes")  # fmt: skip
    if not options.json:
        say(begun)
    found = run_demo(dataset, folder, options.ratio, options.seed, options.epochs)
    dense, (theirs, ours) = found.edgenet.total, found.forward
    compared = (f"a PyG GAT of {dense.parameters:,} parameters, as an EdgeNet: scores differ by "
                f"{found.difference:.1e}, forward {theirs:.1f} ms -> {ours:.1f} ms\n")  # fmt: skip
    rows = [["none", f"{dense.parameters:,}", f"{dense.bytes:,}", "1.0", "", score(found.accuracy), ""]]
    for one in sorted(found.compressed, key=lambda one: one.times):
        total = one.report.total
        rows.append([one.family.replace("_", " "), f"{total.parameters:,}", f"{total.bytes:,}", f"{one.times:.1f}",
                     score(one.before), score(one.after), score(one.agreement[1])])  # fmt: skip
    header = ["structure, 4 bits", "numbers", "bytes", "times smaller", "test, compressed", "fine-tuned", "agrees"]
    best, folder_bytes = found.best, sum(file.stat().st_size for file in found.saved.iterdir())
    saved = (f"\nsaved and read back: {found.saved}, {best.family.replace('_', ' ')}, {best.report.total.bytes:,} "
             f"bytes of tensors ({folder_bytes:,} with their description), test accuracy {score(best.after)}\n"
             f"picture: {found.picture}")  # fmt: skip
    facts = {
        "dataset": dataset.name, "accuracy": found.accuracy, "difference": found.difference,
        "parameters": dense.parameters, "bytes": dense.bytes, "model": str(found.saved), "picture": str(found.picture),
        "compressed": [
            {"family": one.family, "times": one.times, "bytes": one.report.total.bytes, "test": one.after}
            for one in found.compressed
        ],
        "best": best.family,
    }  # fmt: skip
    emit(options, facts, compared, plain_table(header, rows), saved)
    return 0


COMMAND = Command("train an attention GNN, convert it, compress it, save it", arguments, run, json=True)
