"""Kinds of values of arguments. A value that does not fit is a line that names it, before anything is begun."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

MOST_SEEDS = 10_000  # a slip of the finger must not fill the memory


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """A whole number from ``low``, to ``high`` where one is given."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < low or (high is not None and value > high):
            most = "" if high is None else f" to {high:,}"
            raise argparse.ArgumentTypeError(f"a whole number from {low}{most} is wanted, got {text!r}")
        return value

    return read


def number(above: float, least: bool = False) -> Callable[[str], float]:
    """A finite number above ``above``; with ``least``, ``above`` itself will do."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < above or (value == above and not least):
            words = f"of at least {above:g}" if least else f"above {above:g}"
            raise argparse.ArgumentTypeError(f"a number {words} is wanted, got {text!r}")
        return value

    return read


def seeds(text: str) -> list[int]:
    """``"3"``: the seeds 0, 1, 2; ``"0,4,7"``: these."""
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    listed = "," in text
    if not numbers or (not listed and not 1 <= numbers[0] <= MOST_SEEDS):
        raise argparse.ArgumentTypeError(
            f"how many seeds, from 1 to {MOST_SEEDS:,}, or a list such as 0,4,7 is wanted, got {text!r}"
        )
    if not listed:
        return list(range(numbers[0]))
    if len(set(numbers)) < len(numbers) or not all(0 <= seed < 2**32 for seed in numbers):
        raise argparse.ArgumentTypeError(f"different whole numbers from 0 to 2^32 - 1 are wanted, got {text!r}")
    return numbers


def fan_out(text: str) -> list[int]:
    """``"10,5"``: neighbours at each hop; -1: all."""
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or not all(count == -1 or count > 0 for count in counts):
        raise argparse.ArgumentTypeError(f"how many neighbours at each hop, such as 10,5, is wanted, got {text!r}")
    return counts


def new_path(text: str) -> str:
    """A file or folder to write."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"a path is wanted, got {text!r}")
    return text


def folder(text: str) -> str:
    """A folder that is there."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"no such folder: {text!r}")
    return text


def add_common(parser: argparse.ArgumentParser, json: bool = True) -> None:
    """``--debug`` and ``--json``. Where a command has commands of its own, those have them too."""
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )
    if json:
        text = "print one JSON object and nothing else"
        parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=text)


def add_data_root(parser: argparse.ArgumentParser) -> None:
    """``--data-root``."""
    parser.add_argument("--data-root", type=folder, metavar="FOLDER", help="folder to look for data in first")


def add_seed(parser: argparse.ArgumentParser) -> None:
    """``--seed``."""
    text = "of all random numbers (default: 0)"
    parser.add_argument("--seed", type=whole(0, 2**32 - 1), default=0, help=text)
