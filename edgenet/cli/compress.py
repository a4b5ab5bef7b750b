"""``edgenet compress``: structured matrices in the slots of a trained model."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgenet.cli.command import Command
from edgenet.cli.models import MODEL, add_output, new_folder, read_model, scores
from edgenet.cli.printing import print_model, print_picture
from edgenet.cli.values import add_seed, number, whole
from edgenet.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from edgenet.data import Dataset
    from edgenet.train import Task

_RATE = 0.005  # of fine-tuning


def arguments(parser: argparse.ArgumentParser) -> None:
    """``compress MODEL --plan FILE | --form FORM | --ratio TIMES | --max-drop SCORE --out FOLDER``."""
    add = parser.add_argument
    add("model", metavar="MODEL", help=MODEL)
    goal = parser.add_mutually_exclusive_group(required=True)
    goal.add_argument("--plan", metavar="PLAN.toml", help="which structure goes into which slots")
    goal.add_argument("--form", help="weights of few bits: int8, int4, bnn, deepshift_q, ... as of convert.quantise")
    goal.add_argument("--ratio", type=number(1), help="so many times fewer parameters, family and size chosen by slot")
    goal.add_argument(
        "--max-drop", type=number(0, least=True), help="as few as the metric of --data allows with this loss"
    )
    add("--bits", type=whole(1), help="of a weight, where the name of --form does not say")
    add("--family", action="append", help="choose from this family alone, or these (default: all)")
    add("--data", metavar="DATASET", help="judge by its validation score, and print its test score")
    add("--fine-tune", type=whole(0), default=0, metavar="EPOCHS", help="train the compressed model on --data")
    add("--lr", type=number(0), help=f"learning rate of fine-tuning (default: {_RATE})")
    add_seed(parser)
    add_output(parser, "the compressed model, its report and picture")


def run(options: argparse.Namespace) -> int:
    """Compress a model by a plan, to a form of few bits, to a ratio, or as far as a drop allows; and save it."""
    import torch

    from edgenet.compress import Budget, Plan, compress_, search
    from edgenet.compress import report as reported
    from edgenet.convert import kept, quantise
    from edgenet.data import load
    from edgenet.pretrained import save_pretrained
    from edgenet.train import Task

    out = new_folder(options)
    _check(options)
    torch.manual_seed(options.seed)
    model = read_model(options.model)
    dataset = load(options.data, root=options.data_root) if options.data else None
    task = None if dataset is None else Task.of(dataset)
    before = None if task is None else scores(model, task)["test"]
    tune = None if dataset is None or task is None else _tuning(model, dataset, task, options)
    if options.plan:
        report = compress_(model, Plan.from_toml(options.plan), progress=True)
        if tune is not None:
            tune(model)
        text = f"compressed by {options.plan}"
    elif options.form:
        left = kept(model, options.form)
        model = quantise(model, options.form, bits=options.bits)
        report = reported(model)
        if tune is not None:
            tune(model)
        text = "\n".join([f"converted to {options.form}", *(f"{name} stays: {why}" for name, why in left.items())])
    else:
        result = search(
            model, None if task is None else _quality(task),
            None if options.ratio is None else Budget(ratio=options.ratio), options.max_drop, options.family,
            fine_tune=tune, seed=options.seed,
        )  # fmt: skip
        model, report, text = result.model, result.report, result.text
    save_pretrained(model, out)
    (out / "report.json").write_text(report.to_json() + "\n", encoding="utf-8")
    print(f"{report}\n\n{text}")
    if task is not None:
        after = scores(model, task)["test"]
        print(f"test {task.metric.name} on {task.name}: {before:.4f} before, {after:.4f} now")
    print_picture(report, out / "compression.png")
    print_model(model, out)
    return 0


def _check(options: argparse.Namespace) -> None:
    """What arguments ask of each other."""
    for name, given in (("--max-drop", options.max_drop is not None), ("--fine-tune", options.fine_tune > 0)):
        if given and not options.data:
            raise ConfigError(f"{name} needs --data, the data set to judge by.")
    if options.lr is not None and not options.fine_tune:
        raise ConfigError("--lr is for --fine-tune, the epochs to train the compressed model.")
    if (options.plan or options.form) and options.family:
        raise ConfigError("--family is for --ratio and --max-drop; a plan or a form names its structures itself.")
    if options.bits is not None and not options.form:
        raise ConfigError("--bits is for --form; a plan says bits beside its structures.")


def _quality(task: Task) -> Callable[[nn.Module], float]:
    """The validation score, higher for the better."""
    sign = 1 if task.metric.higher else -1
    return lambda model: sign * scores(model, task)["val"]


def _tuning(
    model: nn.Module, dataset: Dataset, task: Task, options: argparse.Namespace
) -> Callable[[nn.Module], object] | None:
    """What trains a compressed model, on labels and on what the model says as it is now; None for no epochs."""
    from edgenet.compress import Distill
    from edgenet.train import fine_tune

    if not options.fine_tune:
        return None
    rule = Distill(copy.deepcopy(model), target=dataset.target)
    return lambda small: fine_tune(small, task, [rule], epochs=options.fine_tune, lr=options.lr or _RATE)


COMMAND = Command("put structured matrices into a model", arguments, run)
