"""The program itself: reads the command line, runs a sub-command, turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import NoReturn

from edgenet import errors
from edgenet._version import __version__
from edgenet.cli.commands import COMMANDS
from edgenet.cli.failures import told
from edgenet.cli.printing import note, say
from edgenet.cli.values import add_common
from edgenet.printable import printable

TERMINATED = 128 + signal.SIGTERM  # the status of a process that it has ended, as shells have it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for what the user can mend, 1 for what was not foreseen, 130
    when interrupted, 143 after SIGTERM."""
    arguments = argparse.Namespace(debug=False, json=False)
    with _plain_warnings():
        return _run(argv, arguments)


def _run(argv: Sequence[str] | None, arguments: argparse.Namespace) -> int:
    warnings.filterwarnings("ignore", "Sparse CS[RC] tensor support is in beta")  # a reader can do nothing about it
    try:
        arguments.parser = parser()
        arguments.parser.parse_args(argv, arguments)
        return COMMANDS[arguments.command].run(arguments)
    except BrokenPipeError:  # `edgenet data list | head`
        sys.stderr.close()
        return 0
    except (KeyboardInterrupt, SystemExit) as stop:
        code = 130 if isinstance(stop, KeyboardInterrupt) else stop.code
        if code not in (130, TERMINATED):  # --help
            raise
        if arguments.debug:
            say(traceback.format_exc(), file=sys.stderr)
        say(f"\nedgenet: interrupted. {_how_to_resume(arguments)}", file=sys.stderr)
        return code
    except Exception as error:
        if arguments.debug:
            say(traceback.format_exc(), file=sys.stderr)
        line, code = told(error)
        if arguments.json:
            say(json.dumps({"error": type(error).__name__, "message": line, "code": code}), file=sys.stderr)
        else:
            note(line)
        return code


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """What warnings say may come from files too."""
    usual = warnings.formatwarning
    warnings.formatwarning = lambda *told, **more: printable(usual(*told, **more))
    try:
        yield
    finally:
        warnings.formatwarning = usual


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
