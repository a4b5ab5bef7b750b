"""``edgenet compress``: structured matrices in the slots of a trained model."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edgenet.cli.command import Command
from edgenet.cli.models import MODEL, add_output, new_folder, read_model, runs_on
from edgenet.cli.printing import print_model, print_picture
from edgenet.cli.values import add_seed, number, whole
from edgenet.errors import ConfigError

if TYPE_CHECKING:
    from edgenet.train import Task


def arguments(parser: argparse.ArgumentParser) -> None:
    """``compress MODEL --plan FILE | --form FORM | --times TIMES | --bytes BYTES | --tolerance DROP | --max-drop DROP
    --out FOLDER``."""
    add = parser.add_argument
    add("model", metavar="MODEL", help=MODEL)
    goal = parser.add_mutually_exclusive_group(required=True)
    goal.add_argument("--plan", metavar="PLAN.toml", help="which structure goes into which slots")
    goal.add_argument("--form", help="weights of few bits: int8, int4, bnn, deepshift_q, ... as of convert.quantise")
    goal.add_argument(
        "--times", "--ratio", type=number(1), help="so many times smaller on disk; family, size and bits are chosen"
    )
    goal.add_argument("--bytes", type=whole(1), help="instead, what the tensors may take on disk")
    goal.add_argument(
        "--tolerance",
        type=number(0, least=True),
        metavar="DROP",
        help="as small as the validation score of --data allows, if with 95 %% confidence no more than this is lost",
    )
    goal.add_argument(
        "--max-drop", type=number(0, least=True), metavar="DROP", help="as small as the metric of --data allows"
    )
    add("--bits", type=whole(1), nargs="+", help="of codes to try, or of a weight where the name of --form is silent")
    add("--family", action="append", help="choose from this family alone, or these (default: all)")
    add("--data", metavar="DATASET", help="train and judge by it, and print its test score, which decides nothing")
    add(
        "--fine-tune",
        type=whole(0),
        metavar="EPOCHS",
        help="train the compressed model on --data, to say what the given one says (default: 600; 0: not at all)",
    )
    add("--lr", type=number(0), help="learning rate of fine-tuning")
    add_seed(parser)
    add_output(parser, "the compressed model, its report and picture")


def run(options: argparse.Namespace) -> int:
    """Compress a model to a size, as far as a drop allows, by a plan, or to a form of few bits; and save it."""
    from edgenet.data import load
    from edgenet.train import Task, compress

    out = new_folder(options)
    _check(options)
    model = read_model(options.model)
    task = Task.of(load(options.data, root=options.data_root)) if options.data else None
    if task is not None:
        with runs_on(model, task.name):
            task.evaluate(model, ("val",))
    made = compress(
        model, task, times=options.times, bytes=options.bytes, tolerance=options.tolerance, max_drop=options.max_drop,
        plan=options.plan, form=options.form, families=options.family, bits=options.bits, epochs=options.fine_tune,
        lr=options.lr, out=out, seed=options.seed,
    )  # fmt: skip
    print(f"{made.report}\n\n{made.text}")
    if task is not None:
        _print_scores(task, made.before, made.after)
    print_picture(made.report, out / "compression.png")
    print_model(made.model, out)
    return 0


def _print_scores(task: Task, before: dict[str, float], after: dict[str, float]) -> None:
    for split in ("val", "test"):
        if split in after:
            print(f"{split} {task.metric.name} on {task.name}: {before[split]:.4f} before, {after[split]:.4f} now")


def _check(options: argparse.Namespace) -> None:
    """What arguments ask of each other."""
    needs = {"--max-drop": options.max_drop, "--tolerance": options.tolerance, "--fine-tune": options.fine_tune}
    for name, given in needs.items():
        if given is not None and not options.data:
            raise ConfigError(f"{name} needs --data, the data set to judge by.")
    if options.lr is not None and (not options.data or options.fine_tune == 0):
        raise ConfigError("--lr is for --fine-tune, the epochs to train the compressed model on --data.")
    if (options.plan or options.form) and options.family:
        raise ConfigError("--family is for a search; a plan or a form names its structures itself.")
    if options.bits is not None and options.plan:
        raise ConfigError("--bits is for a search or --form; a plan says bits beside its structures.")


COMMAND = Command("put structured matrices into a model", arguments, run)
