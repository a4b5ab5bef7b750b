"""``edgenet data``: list, describe and prepare data sets."""

from __future__ import annotations

import argparse

from edgenet.cli.command import Command
from edgenet.cli.printing import emit, facts_text
from edgenet.cli.values import add_common, add_data_root, new_path
from edgenet.text import plain_table


def arguments(parser: argparse.ArgumentParser) -> None:
    """``data list``, ``data info NAME``, ``data prepare NAME``."""
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
            action.add_argument("--out", type=new_path, help="also write its arrays into this .npz file")
            action.add_argument("--set", dest="options", metavar="OPTION=VALUE", action="append", default=[])
        add_data_root(action)
        add_common(action)


def run(options: argparse.Namespace) -> int:
    """Print what is asked for."""
    from edgenet import data
    from edgenet.config import parse_assignment

    if options.action == "list":
        sets = data.available(options.data_root)
        rows = [[row["name"], row["task"], row["metric"], row["found"], row["title"]] for row in sets]
        emit(options, {"datasets": sets}, plain_table(["name", "task", "metric", "found", "what"], rows, right=()))
        return 0
    if options.action == "info":
        facts = data.describe(options.name, options.data_root)
    else:
        changes = dict(parse_assignment(text) for text in options.options)
        facts = data.prepare(options.name, options.data_root, options.out, **changes)
    emit(options, facts, facts_text(facts))
    return 0


COMMAND = Command("list, describe and prepare data sets", arguments, run, json=True)
