"""Pages of results: each made of the rows in the file beside it, with a block that says what made them.

``publish`` writes a page, ``Content`` is what a page consists of. ``check`` finds pages that are not what their rows
make, ``stale`` those whose code has changed since.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from edgenet.bench.pages.content import Content, from_parts
from edgenet.bench.pages.writer import publish

__all__ = ["Content", "from_parts", "publish"]

FOLDER = Path("docs/results")
#: name: what it does. Commands of pages, which measure nothing
EXPERIMENTS = {
    "render": "make pages again of the rows beside them, and the index of all pages; measures nothing",
    "stale": "list the pages whose code has changed since they were made, and which files have",
    "adopt": "keep a page of which no rows are left: read them off its tables, and say so",
}


def arguments(experiments: argparse._SubParsersAction) -> None:
    """A command for each."""
    render, stale, adopt = (experiments.add_parser(name, help=text, description=text)
                            for name, text in EXPERIMENTS.items())  # fmt: skip
    render.add_argument("pages", nargs="*", type=Path, metavar="PAGE", help=f"pages (default: all of {FOLDER})")
    stale.add_argument("--folder", type=Path, default=FOLDER, help=f"where the pages are (default: {FOLDER})")
    stale.add_argument("--write", action="store_true", help="put the line into the pages, or take it out")
    add = adopt.add_argument
    add("page", type=Path, metavar="FILE", help="the page as it is")
    add("--section", help="only what stands between <!-- SECTION --> and <!-- /SECTION -->")
    add("--into", type=Path, metavar="PAGE", help="where it goes (default: where it is)")
    add("--module", action="append", help="a module that made it, as edgenet.bench.results.cora")
    add("--commit", help="the commit whose code made it (default: the last one that changed the page)")
    add("--claim", help="what was found, in a sentence or two, to begin the page")


def run(options: argparse.Namespace) -> int:
    """Run one of the commands; returns the exit code."""
    return import_module(f"{__name__}.{options.name}").run(options)
