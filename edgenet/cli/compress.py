"""``edgenet compress``: structured matrices in the slots of a trained model."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from edgenet.cli.command import Command
from edgenet.cli.models import MODEL, add_output, new_folder, read_model, runs_on
from edgenet.cli.own_data import add_own_data, own_data, read_own_data
from edgenet.cli.printing import emit, model_facts, picture_of
from edgenet.cli.values import add_seed, number, whole
from edgenet.errors import ConfigError

if TYPE_CHECKING:
    from edgenet.train import Task


def arguments(parser: argparse.ArgumentParser) -> None:
    """``compress MODEL --plan FILE | --form FORM | [--times TIMES | --bytes BYTES] [--tolerance DROP | --max-drop DROP]
    --out FOLDER``."""
    add = parser.add_argument
    add("model", metavar="MODEL", help=MODEL)
    add("--plan", metavar="PLAN.toml", help="which structure goes into which slots")
    add("--form", help="weights of few bits: int8, int4, bnn, deepshift_q, ... as of convert.quantise")
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--times", "--ratio", type=number(1), help="so many times smaller on disk; family, size and bits are chosen"
    )
    size.add_argument("--bytes", type=whole(1), help="instead, what the tensors may take on disk")
    drop = parser.add_mutually_exclusive_group()
    drop.add_argument(
        "--tolerance",
        type=number(0, least=True),
        metavar="DROP",
        help="as small as the validation score of --data allows, if with 95 %% confidence no more than this is lost; "
        "alone, or at least so many --times smaller",
    )
    drop.add_argument(
        "--max-drop", type=number(0, least=True), metavar="DROP", help="as small as the metric of --data allows"
    )
    add("--bits", type=whole(1), nargs="+", help="of codes to try, or of a weight where the name of --form is silent")
    add("--family", action="append", help="choose from this family alone, or these (default: all)")
    add(
        "--fine-tune",
        type=whole(0),
        metavar="EPOCHS",
        help="train the compressed model on --data, to say what the given one says (default: 600; 0: not at all)",
    )
    add("--lr", type=number(0), help="learning rate of fine-tuning")
    add_own_data(parser, "train and judge by them, and print their test score, which decides nothing")
    add_seed(parser)
    add_output(parser, "the compressed model, its report and picture")


def run(options: argparse.Namespace) -> int:
    """Compress a model to a size, as far as a drop allows, by a plan, or to a form of few bits; and save it."""
    from edgenet.train import Task, compress

    out = new_folder(options)
    _check(options)
    model = read_model(options.model)
    task = Task.of(read_own_data(options)) if options.data else None
    if task is not None:
        with runs_on(model, task.name):
            task.evaluate(model, ("val",))
    made = compress(
        model, task, times=options.times, bytes=options.bytes, tolerance=options.tolerance, max_drop=options.max_drop,
        plan=options.plan, form=options.form, families=options.family, bits=options.bits, epochs=options.fine_tune,
        lr=options.lr, out=out, seed=options.seed,
    )  # fmt: skip
    facts, line = model_facts(made.model, out)
    picture = picture_of(made.report, out / "compression.png")
    judged = {} if task is None else {"metric": task.metric.name, "before": made.before, "after": made.after}
    facts = {"model": facts, "satisfied": made.satisfied, "text": made.text, **judged, "picture": picture}
    facts["report"] = json.loads(made.report.to_json())
    pictures = [] if picture is None else [f"picture: {picture}"]
    emit(options, facts, f"{made.report}\n\n{made.text}", *_scores(task, made.before, made.after), *pictures, line)
    return 0


def _scores(task: Task | None, before: dict[str, float], after: dict[str, float]) -> list[str]:
    return [
        f"{split} {task.metric.name} on {task.name}: {before[split]:.4f} before, {after[split]:.4f} now"
        for split in ("val", "test")
        if task is not None and split in after
    ]


def _check(options: argparse.Namespace) -> None:
    """What arguments ask of each other."""
    sizes = {"--times": options.times, "--bytes": options.bytes}
    drops = {"--tolerance": options.tolerance, "--max-drop": options.max_drop}
    told = [name for name, given in (("--plan", options.plan), ("--form", options.form)) if given is not None]
    wanted = [name for name, given in {**sizes, **drops}.items() if given is not None]
    if len(told) + bool(wanted) != 1:
        raise ConfigError(
            f"one goal is wanted: --plan, --form, or --times or --bytes and --tolerance or --max-drop, one of each or "
            f"one alone; got {' and '.join([*told, *wanted]) or 'none'}."
        )
    needs = {"--max-drop": options.max_drop, "--tolerance": options.tolerance, "--fine-tune": options.fine_tune}
    needs |= {f"--{name}": given for name, given in own_data(options).items()}
    for name, given in needs.items():
        if given is not None and not options.data:
            raise ConfigError(f"{name} needs --data, what to judge by.")
    if options.lr is not None and (not options.data or options.fine_tune == 0):
        raise ConfigError("--lr is for --fine-tune, the epochs to train the compressed model on --data.")
    if (options.plan or options.form) and options.family:
        raise ConfigError("--family is for a search; a plan or a form names its structures itself.")
    if options.bits is not None and options.plan:
        raise ConfigError("--bits is for a search or --form; a plan says bits beside its structures.")


COMMAND = Command("put structured matrices into a model", arguments, run, json=True)
