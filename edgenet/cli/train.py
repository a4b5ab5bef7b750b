"""``edgenet train``: a model for every seed, from a configuration, a preset, or the folder of a run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenet.cli.command import Command
from edgenet.cli.printing import score, spread
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
    add(
        "--model", metavar="LAYER", help="gat, gcn, gcnn, gcat, edge_varying, ...; each has its settings for a data set"
    )
    add("--seeds", help="how many (3: seeds 0, 1, 2), or which (0,4,7)")
    add("--epochs", type=int, help="at most so many")
    add("--out", help="folder of the run (default: runs/DATASET-LAYER)")
    add("--resume", action="store_true", help="go on with a run that was interrupted")
    add("--overwrite", action="store_true", help="replace the run in the folder")
    text = "any other setting, for instance optimizer.lr=0.01 or model.options.heads=4"
    add("--set", dest="changes", metavar="TABLE.KEY=VALUE", action="append", default=[], help=text)
    add("--data-root", help="folder to look for data in first")
    add("--no-pictures", action="store_true", help="draw nothing")


def run(options: argparse.Namespace) -> int:
    """Train every seed, print the table of their scores, draw the pictures."""
    from edgenet.data import load
    from edgenet.train import run

    config = _config(options)
    options.out = config.out  # for the advice after Ctrl-C
    if options.resume and not Path(config.out, "config.toml").is_file():
        print(f"edgenet: nothing to resume in {config.out}, starting anew.", file=sys.stderr)
    dataset = load(config.dataset.name, root=options.data_root, **config.dataset.options)
    result = run(config, dataset=dataset, resume=options.resume, overwrite=options.overwrite)
    print(_results_table(result))
    for path in [] if options.no_pictures else _pictures(result, dataset):
        print(f"picture: {path}")
    print(f"run:     {config.out}")
    return 0


def _config(options: argparse.Namespace) -> RunConfig:
    """The configuration that the arguments of ``train`` ask for."""
    from edgenet.config import RunConfig, parse_assignment

    changes = dict(parse_assignment(text) for text in options.changes)
    for name, value in (
        ("model.layer", options.model),
        ("training.epochs", options.epochs),
        ("training.seeds", None if options.seeds is None else _seeds(options.seeds)),
        ("out", options.out),
    ):
        if value is not None:
            changes[name] = value
    target = Path(options.target)
    if target.is_dir() and (target / "config.toml").is_file():
        return RunConfig.from_toml(target / "config.toml", {"out": str(target), **changes})
    if target.suffix == ".toml" or target.is_file():
        config = RunConfig.from_toml(target, changes)
    else:
        from edgenet.data import describe
        from edgenet.presets import preset

        describe(options.target)  # an unknown name is an error of the name, not of the layer's options
        config = preset(options.target, options.model, changes)
    return config if config.out else config.replaced(out=f"runs/{config.dataset.name}-{config.model.layer}")


def _seeds(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
        if not numbers:
            raise ValueError
    except ValueError:
        raise ConfigError(f"--seeds is a number of seeds, or a list such as 0,4,7; got {text!r}.") from None
    return numbers if "," in text else list(range(*numbers))


def _pictures(result: RunResult, dataset: Dataset) -> list[Path]:
    """Draw what can be drawn of a run; what cannot is said on stderr, and the run stands."""
    from edgenet import plots

    title = f"{result.config.model.layer} on {dataset.name}"
    try:
        paths = [
            plots.learning_curve(
                result.histories, result.metric, result.folder / "learning_curve.png", title,
                result.config.training.stop_by,
            )
        ]  # fmt: skip
        weights = _edge_weights(result, dataset)
        if weights is not None:
            number = f"layer {weights.layer + 1}, hop 1 of {len(weights.values)}, seed {result.seeds[0].seed}"
            name = f"{title}: edge weights of {number}"
            paths.append(plots.edge_weight_picture(weights, result.folder / "edge_weights.png", _labels(dataset), name))
        return paths
    except ConfigError as error:
        print(f"edgenet: no picture: {error}", file=sys.stderr)
        return []


def _edge_weights(result: RunResult, dataset: Dataset) -> Any:
    """The edge weights of the first seed's first layer; None for models that have none to show."""
    from edgenet import plots

    model = next(iter(result.models.values()))
    data, like = dataset.train[0], next(model.parameters())
    x, weight = data.x.to(like), data.get("edge_weight")
    try:
        return plots.edge_weights(
            model, x[0] if dataset.task == "signal" else x, data.edge_index.to(like.device),
            None if weight is None else weight.to(like),
        )  # fmt: skip
    except ShapeError:  # a spectral filter walks no edges
        return None


def _labels(dataset: Dataset) -> Any:
    """(N,) class of every node, where nodes have one."""
    return dataset.train[0].y if (dataset.task, dataset.target) == ("node", "class") else None


def _results_table(result: RunResult) -> str:
    rows = [
        [str(r.seed), f"{r.best_epoch}/{r.epochs}", score(r.val), score(r.test), f"{r.seconds:.1f}"]
        for r in result.seeds
    ]
    means = [spread([getattr(r, name) for r in result.seeds]) for name in ("val", "test")]
    rows.append(["mean", "", *means, f"{result.mean('seconds'):.1f}"])
    config, first = result.config, result.seeds[0]
    title = f"{config.model.layer} on {config.dataset.name}, {first.parameters:,} parameters"
    header = ["seed", "best/epochs", f"val {result.metric}", f"test {result.metric}", "seconds"]
    return f"\n{title}\n{plain_table(header, rows, rule=len(rows) - 1)}"


COMMAND = Command("train a model on a data set", arguments, run)
