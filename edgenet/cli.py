"""The command ``edgenet``: train, look at data sets, look at runs, look at the installation.

Sub-commands stand in ``COMMANDS``. torch is imported by the commands that need it, not to print a usage line.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenet import bench, commands_model, errors
from edgenet._version import __version__
from edgenet.text import plain_table

if TYPE_CHECKING:
    from edgenet.config import RunConfig
    from edgenet.data import Dataset
    from edgenet.train import RunResult

ERRORS = tuple(kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception))


@dataclass(frozen=True)
class Command:
    """A sub-command: its line of help, what adds its arguments to a parser, what runs it and gives the exit code."""

    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for what the user can mend, 130 when interrupted."""
    arguments = _parser().parse_args(argv)
    try:
        return COMMANDS[arguments.command].run(arguments)
    except BrokenPipeError:  # `edgenet data list | head`
        sys.stderr.close()
        return 0
    except (*ERRORS, OSError) as error:
        if arguments.debug:
            traceback.print_exc()
        print(f"edgenet: {_told(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if arguments.debug:
            traceback.print_exc()
        print(f"\nedgenet: interrupted. {_how_to_resume(arguments)}", file=sys.stderr)
        return 130


def _told(error: Exception) -> str:
    """One line: our errors say all in their text; those of files have their path and reason."""
    if not isinstance(error, ERRORS) and isinstance(error, OSError) and error.strerror:
        return f"{error.filename or type(error).__name__}: {error.strerror}"
    return f"{type(error).__name__}: {error}"


def _parser() -> argparse.ArgumentParser:
    text = "Graph neural networks whose every edge may carry its own weight."
    parser = argparse.ArgumentParser(prog="edgenet", description=text)
    parser.add_argument("--version", action="version", version=f"edgenet {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.help, description=command.help)
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        command.arguments(sub)
    return parser


# ---------------------------------------------------------------- train
def _train_arguments(parser: argparse.ArgumentParser) -> None:
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


def _train(arguments: argparse.Namespace) -> int:
    from edgenet.data import load
    from edgenet.train import train

    config = _config(arguments)
    arguments.out = config.out  # for the advice after Ctrl-C
    if arguments.resume and not Path(config.out, "config.toml").is_file():
        print(f"edgenet: nothing to resume in {config.out}, starting anew.", file=sys.stderr)
    dataset = load(config.dataset.name, root=arguments.data_root, **config.dataset.options)
    result = train(config, dataset=dataset, resume=arguments.resume, overwrite=arguments.overwrite)
    print(_results_table(result))
    for path in [] if arguments.no_pictures else _pictures(result, dataset):
        print(f"picture: {path}")
    print(f"run:     {config.out}")
    return 0


def _config(arguments: argparse.Namespace) -> RunConfig:
    """The configuration that the arguments of ``train`` ask for."""
    from edgenet.config import RunConfig, parse_assignment

    changes = dict(parse_assignment(text) for text in arguments.changes)
    for name, value in (
        ("model.layer", arguments.model),
        ("training.epochs", arguments.epochs),
        ("training.seeds", None if arguments.seeds is None else _seeds(arguments.seeds)),
        ("out", arguments.out),
    ):
        if value is not None:
            changes[name] = value
    target = Path(arguments.target)
    if target.is_dir() and (target / "config.toml").is_file():
        return RunConfig.from_toml(target / "config.toml", {"out": str(target), **changes})
    if target.suffix == ".toml" or target.is_file():
        config = RunConfig.from_toml(target, changes)
    else:
        from edgenet.data import describe
        from edgenet.presets import preset

        describe(arguments.target)  # an unknown name is an error of the name, not of the layer's options
        config = preset(arguments.target, arguments.model, changes)
    return config if config.out else config.replaced(out=f"runs/{config.dataset.name}-{config.model.layer}")


def _seeds(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
        if not numbers:
            raise ValueError
    except ValueError:
        raise errors.ConfigError(f"--seeds is a number of seeds, or a list such as 0,4,7; got {text!r}.") from None
    return numbers if "," in text else list(range(*numbers))


def _how_to_resume(arguments: argparse.Namespace) -> str:
    out = getattr(arguments, "out", None)
    if arguments.command == "train" and out:
        root = f" --data-root {arguments.data_root}" if arguments.data_root else ""
        return f"Go on with: edgenet train {out} --resume{root}"
    return "Nothing was lost that this command keeps."


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
    except errors.ConfigError as error:
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
    except errors.ShapeError:  # a spectral filter walks no edges
        return None


def _labels(dataset: Dataset) -> Any:
    """(N,) class of every node, where nodes have one."""
    return dataset.train[0].y if (dataset.task, dataset.target) == ("node", "class") else None


def _results_table(result: RunResult) -> str:
    rows = [
        [str(r.seed), f"{r.best_epoch}/{r.epochs}", _score(r.val), _score(r.test), f"{r.seconds:.1f}"]
        for r in result.seeds
    ]
    rows.append(["mean", "", _spread(result, "val"), _spread(result, "test"), f"{result.mean('seconds'):.1f}"])
    config, first = result.config, result.seeds[0]
    title = f"{config.model.layer} on {config.dataset.name}, {first.parameters:,} parameters"
    header = ["seed", "best/epochs", f"val {result.metric}", f"test {result.metric}", "seconds"]
    return f"\n{title}\n{plain_table(header, rows, rule=len(rows) - 1)}"


def _score(value: float) -> str:
    return f"{value:.4f}"


def _spread(result: RunResult, name: str) -> str:
    """mean ± sample standard deviation."""
    return _score(result.mean(name)) + (f" ± {result.std(name):.4f}" if len(result.seeds) > 1 else "")


# ---------------------------------------------------------------- data
def _data_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (
        ("list", "all data sets, and which are here"),
        ("info", "everything known about one"),
        ("prepare", "fetch, check and keep one"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        if name != "list":
            action.add_argument("name", metavar="NAME")
        if name == "prepare":
            action.add_argument("--out", help="also write its arrays into this .npz file")
            action.add_argument("--set", dest="options", metavar="OPTION=VALUE", action="append", default=[])
        action.add_argument("--data-root", help="folder to look in first")


def _data(arguments: argparse.Namespace) -> int:
    from edgenet import data
    from edgenet.config import parse_assignment

    if arguments.action == "list":
        rows = [
            [row["name"], row["task"], row["metric"], row["found"], row["title"]]
            for row in data.available(arguments.data_root)
        ]
        header = ["name", "task", "metric", "found", "what"]
        print(plain_table(header, rows, right=()))
        return 0
    if arguments.action == "info":
        facts = data.describe(arguments.name, arguments.data_root)
    else:
        options = dict(parse_assignment(text) for text in arguments.options)
        facts = data.prepare(arguments.name, arguments.data_root, arguments.out, **options)
    _print_facts(facts)
    return 0


def _print_facts(facts: dict[str, Any], indent: str = "") -> None:
    width = max((len(str(key)) for key in facts), default=0)
    for key, value in facts.items():
        if isinstance(value, dict) and value:
            print(f"{indent}{key}:")
            _print_facts(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], str):
            print(f"{indent}{key}:")
            for item in value:
                print(f"{indent}  {item}")
        elif value not in ("", None, {}, []):
            print(f"{indent}{str(key).ljust(width)}  {value}")


# ---------------------------------------------------------------- inspect
def _inspect_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the folder of a run")


def _inspect(arguments: argparse.Namespace) -> int:
    from statistics import fmean, stdev

    from edgenet import checkpoint
    from edgenet.config import RunConfig
    from edgenet.train import load_model, read_metrics

    folder = Path(arguments.run)
    if not (folder / "config.toml").is_file():
        raise errors.ConfigError(f"{folder}: is no run: it has no config.toml. `edgenet train --out FOLDER` makes one.")
    config = RunConfig.from_toml(folder / "config.toml")
    print(f"# {folder / 'config.toml'}\n{config.to_toml()}")
    rows, tests, model = [], [], None
    for seed in config.training.seeds:
        own = folder / f"seed-{seed}"
        records = read_metrics(own / "metrics.jsonl")
        if (own / "model.pt").exists():
            model, result = load_model(own / "model.pt")
            tests.append(result.test)
            epochs, scores = f"{result.best_epoch}/{result.epochs}", (_score(result.val), _score(result.test))
            rows.append([str(seed), "done", epochs, *scores, f"{result.seconds:.1f}"])
        elif (own / "checkpoint.pt").exists():
            state = checkpoint.load(own / "checkpoint.pt")
            epoch = state.get("epoch") if isinstance(state, dict) else None
            if type(epoch) is not int:
                raise errors.CheckpointError(f"{own / 'checkpoint.pt'}: is no state of a training run: no epoch.")
            rows.append([str(seed), f"can go on from epoch {epoch}", f"-/{len(records)}", "", "", ""])
        else:
            rows.append([str(seed), "not begun" if not records else "no checkpoint", f"-/{len(records)}", "", "", ""])
    if tests:
        spread = f"{fmean(tests):.4f}" + (f" ± {stdev(tests):.4f}" if len(tests) > 1 else "")
        rows.append(["mean", f"{len(tests)} of {len(config.training.seeds)} done", "", "", spread, ""])
    print(
        plain_table(
            ["seed", "state", "best/epochs", "val", "test", "seconds"], rows, rule=len(rows) - 1 if tests else None
        )
    )
    if model is not None:
        trainable = {name for name, p in model.named_parameters() if p.requires_grad}
        tensors = [(name, value) for name, value in model.state_dict().items() if value.numel()]
        parameters = sum(value.numel() for name, value in tensors if name in trainable)
        print(f"\n{type(model).__name__}, {parameters:,} parameters")
        lines = [
            [name, " x ".join(map(str, value.shape)) or "number", str(value.dtype).removeprefix("torch."),
             f"{value.numel():,}", "" if name in trainable else "fixed"]
            for name, value in tensors
        ]  # fmt: skip
        print(plain_table(["tensor", "shape", "dtype", "numbers", ""], lines))
    pictures = sorted(folder.glob("*.png"))
    print("\n" + "\n".join(f"picture: {path}" for path in pictures) if pictures else "\nno pictures yet")
    if len(tests) < len(config.training.seeds):
        print(f"go on with: edgenet train {folder} --resume")
    return 0


# ---------------------------------------------------------------- demo
def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("dataset", nargs="?", default="digits", metavar="DATASET", help="default: digits, which needs no network")
    add("--ratio", type=float, default=10.0, help="times fewer parameters in the model that is saved (default: 10)")
    add("--seed", type=int, default=0, help="of all random numbers")
    add("--epochs", type=int, default=200, help="of training; fine-tuning takes half (default: 200)")
    add("--out", help="folder (default: runs/demo-DATASET, which every demo replaces)")
    add("--overwrite", action="store_true", help="replace what an earlier demo left in --out")
    add("--data-root", help="folder to look for data in first")


def _demo(arguments: argparse.Namespace) -> int:
    """Train an attention GNN, convert it, compress it by every family, save the best and read it back."""
    import torch

    from edgenet import demo
    from edgenet.data import load

    for name, least in (("ratio", 1), ("epochs", 1)):
        if not getattr(arguments, name) >= least:
            raise errors.ConfigError(f"--{name} is at least {least}, got {getattr(arguments, name)}.")
    torch.set_num_threads(1)  # the layers are too small for more to help, and a busy core would hold all others up
    dataset = load(arguments.dataset, root=arguments.data_root)
    folder = Path(arguments.out or f"runs/demo-{dataset.name}")
    for taken in (folder / "model", folder / "demo.png"):
        if taken.exists() and arguments.out and not arguments.overwrite:
            raise errors.ConfigError(f"{taken} exists. Replace it with --overwrite, or choose another --out.")
    first = dataset.train[0]
    print(f"{dataset.name}: {first.num_nodes:,} nodes, {first.edge_index.shape[1]:,} edges, "
          f"{dataset.num_features} features, {dataset.num_outputs} classes", flush=True)  # fmt: skip
    story = demo.tell(dataset, folder, arguments.ratio, arguments.seed, arguments.epochs)
    dense, (theirs, ours) = story.edgenet.total, story.forward
    print(f"a PyG GAT of {dense.parameters:,} parameters, as an EdgeNet: scores differ by {story.difference:.1e}, "
          f"forward {theirs:.1f} ms -> {ours:.1f} ms\n")  # fmt: skip
    rows = [["none", f"{dense.parameters:,}", "1.0", f"{dense.bytes:,}", "", _score(story.accuracy)]]
    for one in sorted(story.compressed, key=lambda one: one.report.total.ratio):
        total = one.report.total
        rows.append([one.family.replace("_", " "), f"{total.parameters:,}", f"{total.ratio:.1f}", f"{total.bytes:,}",
                     _score(one.before), _score(one.after)])  # fmt: skip
    print(plain_table(["structure", "parameters", "times fewer", "bytes", "test, compressed", "fine-tuned"], rows))
    best = story.best
    print(f"\nsaved and read back: {story.saved}, {best.family.replace('_', ' ')}, {best.report.total.parameters:,} "
          f"parameters, test accuracy {_score(best.after)}\npicture: {story.picture}")  # fmt: skip
    return 0


# ---------------------------------------------------------------- doctor
def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON")


def _doctor(arguments: argparse.Namespace) -> int:
    from edgenet import doctor

    facts = doctor.facts()
    if arguments.json:
        print(json.dumps(facts, indent=2))
        return 0
    table, memory = facts.pop("backends"), facts.pop("memory")
    facts["versions"] = {name: number or "not installed" for name, number in facts["versions"].items()}
    facts["cuda"], facts["switches"] = facts["cuda"] or "no device", facts["switches"] or "none set"
    _print_facts({**facts, "memory": _allocator(memory)})
    print(f"\n{_backends_table(table)}")
    return 0


def _allocator(memory: dict[str, Any]) -> str:
    """In a sentence, whether the memory of big tensors stays with the process."""
    cost = f"{memory['milliseconds']} ms"
    if memory["tuned"] is not None:
        cost += f" and {memory['page faults']:,} page faults"
        cost += ": tuned" if memory["tuned"] else ": not tuned, see edgenet.tune_malloc()"
    return f"filling a fresh block of {memory['fresh block, megabytes']} MB takes {cost}"


def _backends_table(table: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Ops x backends. Why one cannot run stands below, once."""
    reasons: dict[str, str] = {}

    def cell(state: dict[str, Any]) -> str:
        if state["why not"]:
            return reasons.setdefault(state["why not"], f"({len(reasons) + 1})")
        return ", ".join(state["runs by itself on"]) or "ready"

    rows = [[op, *map(cell, states.values())] for op, states in table.items()]
    lines = [plain_table(["float32 tensors on", *next(iter(table.values()))], rows)]
    lines.append("\nready: can be asked for, by edgenet.ops.use")
    return "\n".join(lines + [f"{number}: {reason}" for reason, number in reasons.items()])


COMMANDS: dict[str, Command] = {
    "train": Command("train a model on a data set", _train_arguments, _train),
    "data": Command("list, describe and prepare data sets", _data_arguments, _data),
    "inspect": Command("show what came of a run", _inspect_arguments, _inspect),
    "convert": Command(
        "turn a model's PyG layers into EdgeNet layers", commands_model.convert_arguments, commands_model.convert
    ),
    "compress": Command(
        "put structured matrices into a model", commands_model.compress_arguments, commands_model.compress
    ),
    "report": Command("show what every slot of a model takes", commands_model.report_arguments, commands_model.report),
    "demo": Command("train an attention GNN, convert it, compress it, save it", _demo_arguments, _demo),
    "bench": Command("run an experiment of docs/results and write its page", bench.arguments, bench.run),
    "doctor": Command("show what runs on this machine: versions, kernels, backends", _doctor_arguments, _doctor),
}

if __name__ == "__main__":
    sys.exit(main())
