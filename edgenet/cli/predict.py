"""``edgenet predict``: what a trained model says of data, row by row."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenet.cli.command import Command
from edgenet.cli.models import MODEL, check_folder, read_model, runs_on
from edgenet.cli.named import check_said, given_by, is_code, models_of
from edgenet.cli.predictions import FORMS, Predictions
from edgenet.cli.printing import emit
from edgenet.cli.values import add_data_root, new_path
from edgenet.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn
    from torch_geometric.data import Data

    from edgenet.data.own import Learned


def arguments(parser: argparse.ArgumentParser) -> None:
    """``predict MODEL DATA [--out FILE]``."""
    add = parser.add_argument
    add("trained", metavar="MODEL", help=MODEL)
    text = "a file or folder as of train --data, module:function, or a data set by name; answers in it are not read"
    add("data", metavar="DATA", help=text)
    add("--nodes", help="the table of nodes (.csv) beside a table of edges")
    add("--graphs", help="the table of graphs (.csv)")
    add("--model", metavar="module:Class", help="the class, where the model is one of your own")
    add("--out", type=new_path, metavar="FILE", help=f"write there: {', '.join(FORMS)} (default: csv to stdout)")
    add("--overwrite", action="store_true", help="replace the file")
    add_data_root(parser)


def run(options: argparse.Namespace) -> int:
    """Read the model, ask it, and write what it says."""
    import torch

    from edgenet.train import predict

    out = _new_file(options)
    folder = Path(options.trained)
    if not folder.exists():
        read_model(folder)  # says what a model is
    learned, graphs, rows = _questions(options, _learned(folder))
    model = _model(options, folder, learned, graphs)
    whole = learned.task == "graph"
    with runs_on(model, options.data):
        asked = [graphs] if whole else graphs
        scores = torch.cat([predict(model, one, name=options.data) for one in asked])
    made = Predictions.of(rows, scores, learned)
    if out is None:
        emit(options, made.facts(), made.csv_text().rstrip("\n"))
    else:
        made.write(out)
        emit(options, {"out": str(out), "rows": len(scores)}, f"predictions: {out}, {len(scores):,} rows")
    return 0


def _new_file(options: argparse.Namespace) -> Path | None:
    """The file of ``--out``, that it can be written and what it is to hold."""
    if options.out is None:
        return None
    out = Path(options.out)
    if out.suffix.lower() not in FORMS:
        raise ConfigError(f"--out: a file that ends in {', '.join(FORMS)} is wanted, got {options.out!r}.")
    if out.is_dir() or (out.exists() and not options.overwrite):
        raise ConfigError(f"{out} exists. Replace it with --overwrite, or choose another --out.")
    check_folder(out.parent)
    return out


def _learned(folder: Path) -> Learned | None:
    """What the run knows of the data it was trained on; None where that was no user's own."""
    from edgenet.data.own.learned import FILE, Learned

    for place in (folder, folder.parent, folder.parent.parent):  # a run, a seed's, and a seed's model
        if (place / FILE).is_file():
            return Learned.read(place / FILE)
        if (place / "config.toml").is_file():
            break
    return None


def _questions(
    options: argparse.Namespace, learned: Learned | None
) -> tuple[Learned, list[Data], dict[str, list[str]]]:
    """What is known of the answers, the graphs, and the names of the rows."""
    from edgenet.data import DATASETS, load
    from edgenet.data.own import Learned, questions_of

    if options.data in DATASETS:
        dataset = load(options.data, root=options.data_root)
        if dataset.task != "node":
            raise ConfigError(
                f"{options.data} is of {dataset.task}s; predict says something of nodes, edges and graphs."
            )
        names = tuple(map(str, range(dataset.num_outputs)))
        one = "train_mask" in dataset.train[0]
        graphs = dataset.train if one else [*dataset.train, *dataset.val, *dataset.test]
        rows = {"node": [str(node) for data in graphs for node in range(data.num_nodes)]}
        if not one:
            rows = {"graph": [str(k) for k, data in enumerate(graphs) for _ in range(data.num_nodes)], **rows}
        return Learned("node", dataset.target, names, dataset.num_features), graphs, rows
    if learned is None:
        raise ConfigError(
            f"{options.trained}: does not know what it was trained on: there is no data.json beside it. Name the run "
            f"of `edgenet train --data`, or in Python use edgenet.train.predict(model, data)."
        )
    thing: Any = given_by(options.data) if is_code(options.data) else options.data
    asked = questions_of(thing, learned, options.nodes, options.graphs)
    return learned, asked.graphs, asked.rows


def _model(options: argparse.Namespace, folder: Path, learned: Learned, graphs: list[Data]) -> nn.Module:
    """The trained model; one of a user's class is made by it, and then read into."""
    from edgenet.config import RunConfig
    from edgenet.data import Dataset
    from edgenet.data.dataset import METRICS
    from edgenet.train import model_of, read_run_model

    file = next((p / "config.toml" for p in (folder, folder.parent) if (p / "config.toml").is_file()), None)
    config = None if file is None else RunConfig.from_toml(file)
    if options.model is None and (config is None or config.model.kind is None or not is_code(config.model.kind)):
        return read_model(folder)
    if config is None:
        raise ConfigError("--model makes the model as the run's config.toml says: name the folder of a run.")
    check_said(config.model.kind, options.model, "--model")
    if config.model.kind != options.model:
        raise ConfigError(f"--model is for models of your own, and this run trained a {config.model.kind or 'layer'}.")
    sizes = (learned.num_features, learned.num_outputs)
    like = Dataset("data", learned.task, learned.kind, METRICS[learned.kind][0], *sizes, graphs, graphs, graphs)
    return read_run_model(folder, model_of(config, like, models=models_of(options.model)))


COMMAND = Command("predict of data by a trained model", arguments, run, json=True)
