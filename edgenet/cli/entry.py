"""The program itself: reads the command line, runs a sub-command, turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import NoReturn

from edgenet import errors
from edgenet._version import __version__
from edgenet.cli.commands import COMMANDS

_OURS = tuple(kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception))
#: what the user can mend
MENDABLE: tuple[type[Exception], ...] = (*_OURS, OSError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for what the user can mend, 130 when interrupted."""
    arguments = argparse.Namespace(debug=False)
    warnings.filterwarnings("ignore", "Sparse CS[RC] tensor support is in beta")  # a reader can do nothing about it
    try:
        parser().parse_args(argv, arguments)
        return COMMANDS[arguments.command].run(arguments)
    except BrokenPipeError:  # `edgenet data list | head`
        sys.stderr.close()
        return 0
    except MENDABLE as error:
        if arguments.debug:
            traceback.print_exc()
        print(f"edgenet: {_told(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if arguments.debug:
            traceback.print_exc()
        print(f"\nedgenet: interrupted. {_how_to_resume(arguments)}", file=sys.stderr)
        return 130


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
        sub = commands.add_parser(name, help=command.help, description=command.help)
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        command.arguments(sub)
    return whole


def _told(error: Exception) -> str:
    """One line: our errors say all in their text; those of files have their path and reason."""
    if not isinstance(error, _OURS) and isinstance(error, OSError) and error.strerror:
        return f"{error.filename or type(error).__name__}: {error.strerror}"
    return f"{type(error).__name__}: {error}"


def _how_to_resume(arguments: argparse.Namespace) -> str:
    out = getattr(arguments, "out", None)
    if getattr(arguments, "command", None) == "train" and out:
        root = f" --data-root {arguments.data_root}" if arguments.data_root else ""
        return f"Go on with: edgenet train {out} --resume{root}"
    return "Nothing was lost that this command keeps."
