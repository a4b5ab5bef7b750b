"""Make pages again of the rows beside them."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgenet.bench.pages import FOLDER, index, text
from edgenet.bench.pages.check import pages, some_pages
from edgenet.bench.pages.record import Record, rows_file
from edgenet.errors import ConfigError
from edgenet.writing import write_text


def render(page: Path) -> bool:
    """Make a page again; what was read off it stays, and gets its block again. Returns whether it has changed.

    Raises:
        ConfigError: if it has no rows, or the rows were read off a page that is gone.
    """
    record = Record.read(page)
    said = page.read_text(encoding="utf-8") if page.exists() else ""
    if record.content is None and not said:
        raise ConfigError(f"{page} is gone, and its words with it: {rows_file(page)} holds its tables alone.")
    if record.content is None:
        new = text.with_block(said, text.block(record, page.stem))
    else:
        new = text.page_text(record, page.stem)
        if said.startswith(text.STALE):
            new = said.partition("\n")[0] + "\n\n" + new
    write_text(page, new)
    return new != said


def run(options: argparse.Namespace) -> int:
    """Make the pages, and the index of the folders they lie in."""
    chosen = options.pages or some_pages(FOLDER)
    for page in chosen:
        if render(page):
            print(f"written: {page}")
    for folder in sorted({page.parent for page in chosen}):
        write_text(folder / index.NAME, index.text(pages(folder)))
    return 0
