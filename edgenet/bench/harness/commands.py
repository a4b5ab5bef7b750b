"""What the commands of all experiments share: arguments, and the look at the page before hours of work."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Where data are, and tracebacks."""
    parser.add_argument("--data-root", type=Path, help="folder to look for data in first")
    add_debug_argument(parser)


def add_debug_argument(parser: argparse.ArgumentParser) -> None:
    """Once more than in ``edgenet.cli``, so that it may also stand behind the name."""
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )


def check_writable(path: Path) -> None:
    """Raises OSError now and not after hours of training; leaves no file behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    path.open("a").close()
    if new:
        path.unlink()
