"""``edgenet report``: what every slot of a model takes."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgenet.cli.command import Command
from edgenet.cli.models import MODEL, read_model
from edgenet.cli.printing import note, say
from edgenet.cli.values import new_path
from edgenet.errors import ConfigError, PlanError


def arguments(parser: argparse.ArgumentParser) -> None:
    """``report MODEL``."""
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument("--markdown", action="store_true", help="as a table for a page")
    parser.add_argument("--picture", type=new_path, metavar="FILE.png", help="also draw it")


def run(options: argparse.Namespace) -> int:
    """Show what every slot of a model takes."""
    from edgenet import reading
    from edgenet.compress import Report, report

    if options.json and options.markdown:
        raise ConfigError("--json and --markdown are two forms of one report; choose one.")
    if options.picture and Path(options.picture).is_dir():
        raise ConfigError(f"{options.picture} is a folder; --picture names a file, {options.picture}/report.png say.")
    errors, path = {}, Path(options.model) / "report.json"
    if path.is_file():  # which was written when there was something to compare with
        try:
            rows = Report.from_json(reading.content(path, reading.TEXT, PlanError)).rows
        except PlanError as error:
            raise PlanError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
        errors = {row.name.split(" = ")[0]: row.error for row in rows if row.error is not None}
    found = report(read_model(options.model), errors)
    say(found.to_json() if options.json else found.to_markdown() if options.markdown else found)
    if options.picture:
        from edgenet import plots

        plots.compression_picture(found, options.picture)
        note(f"picture: {options.picture}")
    return 0


COMMAND = Command("show what every slot of a model takes", arguments, run, json=True)
