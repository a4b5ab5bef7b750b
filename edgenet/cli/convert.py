"""``edgenet convert``: the PyG layers of a trained model become EdgeNet layers."""

from __future__ import annotations

import argparse

from edgenet.cli.command import Command
from edgenet.cli.models import MODEL, add_output, inputs, new_folder, read_model, runs_on
from edgenet.cli.printing import emit, model_facts
from edgenet.errors import ConfigError


def arguments(parser: argparse.ArgumentParser) -> None:
    """``convert MODEL --out FOLDER``."""
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    text = "turn attention into edge weights on this data set's graph and features"
    parser.add_argument("--freeze", metavar="DATASET", help=text)
    add_output(parser, "the EdgeNet")


def run(options: argparse.Namespace) -> int:
    """Convert, freeze attention into tables where that is asked, and save."""
    from edgenet.convert import freeze_attention, to_edgenet
    from edgenet.data import load
    from edgenet.pretrained import save_pretrained

    out = new_folder(options)
    model = to_edgenet(read_model(options.model)).eval()
    if options.freeze:
        dataset = load(options.freeze, root=options.data_root)
        if dataset.task != "node" or "train_mask" not in dataset.train[0]:
            raise ConfigError(f"attention is frozen on one graph with features, and {dataset.name} has many.")
        data = dataset.train[0]
        with runs_on(model, dataset.name):
            model = freeze_attention(model, *inputs(model, data))
    save_pretrained(model, out)
    facts, line = model_facts(model, out)
    emit(options, {"model": facts}, line)
    return 0


COMMAND = Command("turn a model's PyG layers into EdgeNet layers", arguments, run, json=True)
