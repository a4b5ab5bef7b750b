"""The program itself: reads the command line, runs a sub-command, turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import NoReturn

from edgenet import errors
from edgenet._version import __version__
from edgenet.cli.commands import COMMANDS
from edgenet.cli.failures import told
from edgenet.cli.values import add_common


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for what the user can mend, 1 for what was not foreseen, 130
    when interrupted."""
    arguments = argparse.Namespace(debug=False, json=False)
    warnings.filterwarnings("ignore", "Sparse CS[RC] tensor support is in beta")  # a reader can do nothing about it
    try:
        arguments.parser = parser()
        arguments.parser.parse_args(argv, arguments)
        return COMMANDS[arguments.command].run(arguments)
    except BrokenPipeError:  # `edgenet data list | head`
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        if arguments.debug:
            traceback.print_exc()
        print(f"\nedgenet: interrupted. {_how_to_resume(arguments)}", file=sys.stderr)
        return 130
    except Exception as error:
        if arguments.debug:
            traceback.print_exc()
        line, code = told(error)
        if arguments.json:
            print(json.dumps({"error": type(error).__name__, "message": line, "code": code}), file=sys.stderr)
        else:
            print(f"edgenet: {line}", file=sys.stderr)
        return code


class Parser(argparse.ArgumentParser):
    """A parser whose errors are ours: one line and exit code 2, as for all that the user can mend."""

    def error(self, message: str) -> NoReturn:
        """Raises ConfigError."""
        raise errors.ConfigError(f"{message}. See {self.prog} --help.")


def parser() -> Parser:
    """The parser of the whole command line."""
    text = "Graph neural networks whose every edge may carry its own weight."
    whole = Parser(prog="edgenet", description=text)
    whole.add_argument("--version", action="version", version=f"edgenet {__version__}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        # of two arguments of one name, the command's own counts
        sub = commands.add_parser(name, help=command.help, description=command.help, conflict_handler="resolve")
        add_common(sub, command.json)
        command.arguments(sub)
    return whole


def _how_to_resume(arguments: argparse.Namespace) -> str:
    out = getattr(arguments, "out", None)
    if getattr(arguments, "command", None) == "train" and out:
        root = f" --data-root {arguments.data_root}" if arguments.data_root else ""
        code = "".join(f" --{name} {value}" for name, value in getattr(arguments, "code", {}).items())
        return f"Go on with: edgenet train {out} --resume{code}{root}"
    return "Nothing was lost that this command keeps."
