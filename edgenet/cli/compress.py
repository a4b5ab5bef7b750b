"""``edgenet compress``: structured matrices in the slots of a trained model."""

from __future__ import annotations

import argparse
import copy
from typing import TYPE_CHECKING

from edgenet.cli.command import Command
from edgenet.cli.judge import Judge
from edgenet.cli.models import MODEL, add_output, new_folder, read_model
from edgenet.cli.printing import print_model, print_picture
from edgenet.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn


def arguments(parser: argparse.ArgumentParser) -> None:
    """``compress MODEL --plan FILE | --ratio TIMES | --max-drop SCORE --out FOLDER``."""
    add = parser.add_argument
    add("model", metavar="MODEL", help=MODEL)
    goal = parser.add_mutually_exclusive_group(required=True)
    goal.add_argument("--plan", metavar="PLAN.toml", help="which structure goes into which slots")
    goal.add_argument("--ratio", type=float, help="so many times fewer parameters, family and size chosen by slot")
    goal.add_argument("--max-drop", type=float, help="as few as the metric of --data allows with this loss")
    add("--family", action="append", help="choose from this family alone, or these (default: all)")
    add("--data", metavar="DATASET", help="judge by its validation score, and print its test score")
    add("--fine-tune", type=int, default=0, metavar="EPOCHS", help="train the compressed model on --data")
    add("--lr", type=float, default=0.005, help="learning rate of fine-tuning (default: 0.005)")
    add("--seed", type=int, default=0, help="of all random numbers")
    add_output(parser, "the compressed model, its report and picture")


def run(options: argparse.Namespace) -> int:
    """Compress a model by a plan, to a ratio, or as far as a permitted drop allows; and save it."""
    import torch

    from edgenet.compress import Budget, Plan, compress_, search
    from edgenet.data import load
    from edgenet.pretrained import save_pretrained

    out = new_folder(options)
    if options.fine_tune < 0 or not options.lr > 0:
        raise ConfigError(f"--fine-tune is 0 or more and --lr above 0, got {options.fine_tune} and {options.lr}.")
    for name in ("max_drop", "fine_tune"):
        if getattr(options, name) and not options.data:
            raise ConfigError(f"--{name.replace('_', '-')} needs --data, the data set to judge by.")
    if options.plan and options.family:
        raise ConfigError("--family is for --ratio and --max-drop; a plan names its structures itself.")
    torch.manual_seed(options.seed)
    model = read_model(options.model)
    judge = Judge(load(options.data, root=options.data_root)) if options.data else None
    before = None if judge is None else judge.score(model, "test")
    teacher = copy.deepcopy(model)

    def fine_tune(model: nn.Module) -> None:
        judge.fine_tune(model, teacher, options.fine_tune, options.lr)

    if options.plan:
        report = compress_(model, Plan.from_toml(options.plan), progress=True)
        if options.fine_tune:
            fine_tune(model)
        text = f"compressed by {options.plan}"
    else:
        result = search(
            model, None if judge is None else judge.quality,
            None if options.ratio is None else Budget(ratio=options.ratio), options.max_drop, options.family,
            fine_tune=fine_tune if options.fine_tune else None, seed=options.seed,
        )  # fmt: skip
        model, report, text = result.model, result.report, result.text
    save_pretrained(model, out)
    (out / "report.json").write_text(report.to_json() + "\n", encoding="utf-8")
    print(f"{report}\n\n{text}")
    if judge is not None:
        after = judge.score(model, "test")
        print(f"test {judge.dataset.metric} on {judge.dataset.name}: {before:.4f} before, {after:.4f} now")
    print_picture(report, out / "compression.png")
    print_model(model, out)
    return 0


COMMAND = Command("put structured matrices into a model", arguments, run)
