"""``edgenet train``: a model for every seed, from a configuration, a preset, or the folder of a run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenet.cli.command import Command
from edgenet.cli.models import inputs, runs_on
from edgenet.cli.printing import score, spread
from edgenet.cli.values import add_data_root, new_path, seeds, whole
from edgenet.errors import ConfigError, ShapeError
from edgenet.text import plain_table

if TYPE_CHECKING:
    from edgenet.config import RunConfig
    from edgenet.data import Dataset
    from edgenet.train import RunResult


def arguments(parser: argparse.ArgumentParser) -> None:
    """``train CONFIG.toml|DATASET|RUN``."""
    add = parser.add_argument
    add("target", metavar="CONFIG.toml|DATASET|RUN", help="a configuration, a data set by name, or the folder of a run")
    text = "gat, gcn, gcnn, gcat, edge_varying, dagnn, gcnii, grand, ...; each has its settings for a data set"
    add("--model", "--preset", metavar="LAYER", help=text)
    add("--seeds", type=seeds, help="how many (3: seeds 0, 1, 2), or which (0,4,7)")
    add("--epochs", type=whole(1), help="at most so many")
    add("--out", type=new_path, help="folder of the run (default: runs/DATASET-LAYER)")
    found = parser.add_mutually_exclusive_group()
    found.add_argument("--resume", action="store_true", help="go on with a run that was interrupted")
    found.add_argument("--overwrite", action="store_true", help="replace the run in the folder")
    text = "any other setting, for instance optimizer.lr=0.01 or model.options.heads=4"
    add("--set", dest="changes", metavar="TABLE.KEY=VALUE", action="append", default=[], help=text)
    add("--no-pictures", action="store_true", help="draw nothing")
    add_data_root(parser)


def run(options: argparse.Namespace) -> int:
    """Train every seed, print the table of their scores, draw the pictures."""
    from edgenet.data import load
    from edgenet.train import run as train

    config, folder = _config(options)
    options.out = str(folder)  # for the advice after Ctrl-C
    if options.resume and not (folder / "config.toml").is_file():
        print(f"edgenet: nothing to resume in {folder}, starting anew.", file=sys.stderr)
    dataset = load(config.dataset.name, root=options.data_root, **config.dataset.options)
    result = train(config, dataset=dataset, resume=options.resume, overwrite=options.overwrite)
    title = f"{_model(config)} on {dataset.name}"
    print(_results_table(result, title))
    for path in [] if options.no_pictures else _pictures(result, dataset, folder, title):
        print(f"picture: {path}")
    print(f"run:     {folder}")
    return 0


def _config(options: argparse.Namespace) -> tuple[RunConfig, Path]:
    """The configuration that the arguments of ``train`` ask for, and the folder of its run."""
    from edgenet.config import RunConfig, parse_assignment
    from edgenet.data import describe
    from edgenet.presets import preset

    changes = dict(parse_assignment(text) for text in options.changes)
    for name, value in (
        ("model.layer", options.model),
        ("training.epochs", options.epochs),
        ("training.seeds", options.seeds),
        ("out", options.out),
    ):
        if value is not None:
            changes[name] = value
    target = Path(options.target)
    called: str | None = None
    if (target / "config.toml").is_file():
        config = RunConfig.from_toml(target / "config.toml", {"out": str(target), **changes})
    elif target.suffix == ".toml" or target.is_file():
        config = RunConfig.from_toml(target, changes)
    else:
        describe(options.target)  # an unknown name is an error of the name, not of the layer's options
        config, called = preset(options.target, options.model, changes), options.model
    folder = config.out or f"runs/{config.dataset.name}-{called or _model(config)}"
    return config.replaced(out=folder), Path(folder)


def _model(config: RunConfig) -> str:
    """What a model is called: by its layer, or by itself where it knows its layers."""
    return config.model.layer or str(config.model.kind)


def _pictures(result: RunResult, dataset: Dataset, folder: Path, title: str) -> list[Path]:
    """Draw what can be drawn of a run; what cannot is said on stderr, and the run stands."""
    paths = []
    for draw in (_learning_curve, _edge_weights):
        try:
            path = draw(result, dataset, folder, title)
        except ConfigError as error:
            print(f"edgenet: no picture: {error}", file=sys.stderr)
        else:
            paths += [] if path is None else [path]
    return paths


def _learning_curve(result: RunResult, dataset: Dataset, folder: Path, title: str) -> Path:
    from edgenet import plots

    file, kept_by = folder / "learning_curve.png", result.config.training.kept_by
    return plots.learning_curve(result.histories, result.metric, file, title, kept_by)


def _edge_weights(result: RunResult, dataset: Dataset, folder: Path, title: str) -> Path | None:
    """The edge weights of the first seed's first layer; None for models that have none to show."""
    from edgenet import plots
    from edgenet.nn import EdgeNetConv

    model, data = result.models[result.seeds[0].seed], dataset.train[0]
    if not any(isinstance(module, EdgeNetConv) for module in model.modules()):
        return None
    x, *rest = inputs(model, data)
    try:
        with runs_on(model, dataset.name):
            weights = plots.edge_weights(model, x[0] if dataset.task == "signal" else x, *rest)
    except ShapeError:  # a spectral filter walks no edges
        return None
    number = f"layer {weights.layer + 1}, hop 1 of {len(weights.values)}, seed {result.seeds[0].seed}"
    name = f"{title}: edge weights of {number}"
    return plots.edge_weight_picture(weights, folder / "edge_weights.png", _labels(dataset), name)


def _labels(dataset: Dataset) -> Any:
    """(N,) class of every node, where nodes have one."""
    return dataset.train[0].y if (dataset.task, dataset.target) == ("node", "class") else None


def _results_table(result: RunResult, title: str) -> str:
    rows = [
        [str(r.seed), f"{r.best_epoch}/{r.epochs}", score(r.val), score(r.test), f"{r.seconds:.1f}"]
        for r in result.seeds
    ]
    means = [spread([getattr(r, name) for r in result.seeds]) for name in ("val", "test")]
    rows.append(["mean", "", *means, f"{result.mean('seconds'):.1f}"])
    header = ["seed", "best/epochs", f"val {result.metric}", f"test {result.metric}", "seconds"]
    table = plain_table(header, rows, rule=len(rows) - 1)
    return f"\n{title}, {result.seeds[0].parameters:,} parameters\n{table}"


COMMAND = Command("train a model on a data set", arguments, run)
