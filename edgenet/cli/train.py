"""``edgenet train``: a model for every seed, on a data set or data of the user's, from a configuration or a run."""

from __future__ import annotations

import argparse
import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenet.cli.command import Command
from edgenet.cli.models import inputs, runs_on
from edgenet.cli.named import check_said, data_of, is_code, models_of
from edgenet.cli.own_data import add_own_data, own_data
from edgenet.cli.printing import emit, note, score, spread
from edgenet.cli.values import add_data_root, fan_out, new_path, seeds, whole
from edgenet.errors import ConfigError, ShapeError
from edgenet.text import plain_table

if TYPE_CHECKING:
    from edgenet.config import RunConfig
    from edgenet.data import Dataset
    from edgenet.train import RunResult


def arguments(parser: argparse.ArgumentParser) -> None:
    """``train [CONFIG.toml|DATASET|RUN] [--data FILE|module:function] [--model LAYER|module:Class]``."""
    add = parser.add_argument
    text = "a configuration, a data set by name, or the folder of a run; may be left out with --data"
    add("target", nargs="?", metavar="CONFIG.toml|DATASET|RUN", help=text)
    named = parser.add_mutually_exclusive_group()
    text = "gat, gcn, gcnn, gcat, edge_varying, dagnn, gcnii, grand, ..., or module:Class, a model of your own"
    named.add_argument("--model", metavar="LAYER", help=text)
    named.add_argument("--preset", metavar="NAME", help="the same, where a data set has settings of that name")
    add_own_data(parser)
    add("--seeds", type=seeds, help="how many (3: seeds 0, 1, 2), or which (0,4,7)")
    add("--epochs", type=whole(1), help="at most so many")
    text = "what a step reads: whole, the graph, or neighbors, some nodes and neighbours that are drawn anew"
    add("--batch", choices=("whole", "neighbors"), help=text)
    text = "with --batch neighbors: how many neighbours at each hop, say 10,5; -1: all (default: 10 at each)"
    add("--fan-out", type=fan_out, metavar="N,N", help=text)
    add("--batch-size", type=whole(1), help="graphs, signals or nodes of one step")
    add("--out", type=new_path, help="folder of the run (default: runs/DATASET-LAYER)")
    found = parser.add_mutually_exclusive_group()
    found.add_argument("--resume", action="store_true", help="go on with a run that was interrupted")
    found.add_argument("--overwrite", action="store_true", help="replace the run in the folder")
    text = "any other setting, for instance optimizer.lr=0.01 or model.options.heads=4"
    add("--set", dest="changes", metavar="TABLE.KEY=VALUE", action="append", default=[], help=text)
    text = "also write every epoch's record there: csv, jsonl, tensorboard, wandb; may be given again"
    add("--log", metavar="SINK", action="append", default=[], help=text)
    add("--no-pictures", action="store_true", help="draw nothing")
    add_data_root(parser)


def run(options: argparse.Namespace) -> int:
    """Train every seed, print the table of their scores, draw the pictures."""
    from edgenet.data import load
    from edgenet.train import data_parallel
    from edgenet.train import run as train

    config, folder = _config(options)
    data, kind = config.dataset.name, config.model.kind
    # for the advice after Ctrl-C
    options.out, options.code = str(folder), {n: v for n, v in (("data", data), ("model", kind)) if v and is_code(v)}
    if options.resume and not (folder / "config.toml").is_file():
        note(f"nothing to resume in {folder}, starting anew.")
    if is_code(data):
        dataset = data_of(data, config.dataset.options)
    else:
        dataset = load(data, root=options.data_root, **config.dataset.options)
    for warning in dataset.info.get("warnings", []) if "learned" in dataset.info else []:
        note(warning)
    models = models_of(kind) if kind is not None and is_code(kind) else None
    _say_defaults(options, config)
    # torch.distributed.run says so: every process of it runs this command, and the first one writes and prints
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ
    with data_parallel() if several else nullcontext(0) as rank:
        result = train(
            config, dataset=dataset, models=models, log=options.log, resume=options.resume,
            overwrite=options.overwrite, progress=not rank,
        )  # fmt: skip
    if rank:
        return 0
    title = f"{_model(config)} on {dataset.name}"
    pictures = [] if options.no_pictures else _pictures(result, dataset, folder, title)
    facts = {"run": str(folder), "title": title, **result.summary(), "pictures": list(map(str, pictures))}
    lines = [_results_table(result, title), *(f"picture: {path}" for path in pictures), f"run:     {folder}"]
    emit(options, facts, *lines)
    return 0


def _config(options: argparse.Namespace) -> tuple[RunConfig, Path]:
    """The configuration that the arguments of ``train`` ask for, and the folder of its run."""
    from edgenet.config import RunConfig, parse_assignment
    from edgenet.data import describe
    from edgenet.data.own.names import is_file_name
    from edgenet.presets import preset

    changes = dict(parse_assignment(text) for text in options.changes)
    wanted = options.preset or options.model
    own = wanted is not None and is_code(wanted)
    for name, value in (
        ("model.kind" if own else "model.layer", wanted),
        *((f"dataset.options.{name}", value) for name, value in own_data(options).items()),
        ("training.epochs", options.epochs),
        ("training.seeds", options.seeds),
        ("training.batch", options.batch),
        ("training.fan_out", options.fan_out),
        ("training.batch_size", options.batch_size),
        ("out", options.out),
    ):
        if value is not None:
            changes[name] = value
    if options.target is None:
        if options.data is None:
            raise ConfigError("what is to be trained on? Name a data set, a configuration, a run, or --data FILE.")
        config = _of_data(options.data, wanted, changes)
        return _placed(config, None)
    target = Path(options.target)
    called: str | None = None
    if options.data is not None:
        changes["dataset.name"] = options.data
    if (target / "config.toml").is_file():
        config = RunConfig.from_toml(target / "config.toml", {"out": str(target), **changes})
    elif target.suffix == ".toml" or (target.is_file() and not is_file_name(options.target)):
        config = RunConfig.from_toml(target, changes)
    elif options.data is not None:
        raise ConfigError(f"{options.target} and --data {options.data} are two data sets; name one.")
    elif is_file_name(options.target):
        config = _of_data(options.target, wanted, changes)
    else:
        describe(options.target)  # an unknown name is an error of the name, not of the layer's options
        config, called = preset(options.target, None if own else wanted, changes), wanted
    if config.dataset.name != options.target:
        check_said(config.dataset.name, options.data, "--data")
    check_said(config.model.kind, wanted, "--model")
    return _placed(config, called)


def _of_data(data: str, wanted: str | None, changes: dict[str, Any]) -> RunConfig:
    """The configuration for data of the user's own, of defaults and ``changes``."""
    from edgenet.config import RunConfig, changed
    from edgenet.data import DATASETS
    from edgenet.presets import preset

    if data in DATASETS:
        return preset(data, None if wanted is not None and is_code(wanted) else wanted, changes)
    layer = {} if "model.kind" in changes or "model.layer" in changes else {"layer": "gat"}
    return RunConfig.from_dict(changed({"dataset": {"name": data}, "model": layer}, changes), "the command line")


def _placed(config: RunConfig, called: str | None) -> tuple[RunConfig, Path]:
    """The configuration with its folder; where none is given, one of the names of data and model."""
    plain = config.dataset.name.rpartition(":")[2] if is_code(config.dataset.name) else Path(config.dataset.name).stem
    folder = config.out or f"runs/{plain}-{(called or _model(config)).rpartition(':')[2]}"
    return config.replaced(out=folder), Path(folder)


def _say_defaults(options: argparse.Namespace, config: RunConfig) -> None:
    """Say where settings were asked for by a name that a data set has none of."""
    from edgenet.nn import SPECIALIZATIONS
    from edgenet.presets import PRESETS

    name, data = options.preset or options.model, config.dataset.name
    known = PRESETS.get(data, {})
    fits = name is None or name in known or "" in known or name not in SPECIALIZATIONS
    if fits or (options.preset is None and data not in PRESETS) or (options.target or options.data) != data:
        return
    others = f"; it has some for {', '.join(sorted(known))}" if known else ""
    note(f"{data} has no settings for {name}: defaults train it{others}.")


def _model(config: RunConfig) -> str:
    """What a model is called: by its layer, or by itself where it knows its layers."""
    return str(config.model.kind) if config.model.layer is None else config.model.layer


def _pictures(result: RunResult, dataset: Dataset, folder: Path, title: str) -> list[Path]:
    """Draw what can be drawn of a run; what cannot is said on stderr, and the run stands."""
    paths = []
    for draw in (_learning_curve, _edge_weights):
        try:
            path = draw(result, dataset, folder, title)
        except ConfigError as error:
            note(f"no picture: {error}")
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
    if dataset.task == "edge" or not any(isinstance(module, EdgeNetConv) for module in model.modules()):
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


COMMAND = Command("train a model on a data set, or on data of your own", arguments, run, json=True)
