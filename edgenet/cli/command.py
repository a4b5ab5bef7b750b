"""What a sub-command is."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A sub-command.

    Attributes:
        help: its line of help.
        arguments: adds its arguments to a parser.
        run: runs it, and gives the exit code.
        json: whether it has ``--json``; what it prints then is one JSON object.
    """

    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    json: bool = False
