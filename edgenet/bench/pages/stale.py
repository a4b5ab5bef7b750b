"""Pages whose code has changed since they were made."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgenet.bench.pages import index, syntax
from edgenet.bench.pages.check import pages, some_pages
from edgenet.bench.pages.record import Record
from edgenet.bench.pages.text import with_stale, without_stale
from edgenet.errors import ConfigError
from edgenet.writing import write_text

_NAMED = 3  # files that a page names


def changed(record: Record, code: syntax.Sources) -> list[str]:
    """Files of the code that made a page which are not what they were, or are gone."""
    now = syntax.hashes(record.code, code)
    return [path for path, was in record.code.items() if now.get(path) != was]


def sentence(record: Record, files: list[str]) -> str:
    """What a stale page says."""
    named = ", ".join(f"`{path}`" for path in files[:_NAMED])
    others = len(files) - _NAMED
    return (
        f"made at {record.provenance['commit']}; since then changed {named}"
        + f" and {others} other file{'s' * (others > 1)}" * (others > 0)
        + f", of {len(record.code)} that were read. `edgenet bench stale` lists them."
    )


def run(options: argparse.Namespace) -> int:
    """List the pages, and write the line into them if asked to. Returns 0: a stale page is no fault of the code."""
    code, every = syntax.sources(), some_pages(options.folder)
    count = 0
    for page in every:
        try:
            record = Record.read(page)
        except ConfigError as error:  # the others are listed all the same
            print(error)
            continue
        files = changed(record, code)
        count += bool(files)
        if files:
            print(f"{page}, made {record.provenance['date']} at {record.provenance['commit']}:")
            print("".join(f"  {path}\n" for path in files), end="")
        if not record.code:
            print(f"{page}: nobody recorded which code made it.")
        if options.write:
            said = page.read_text(encoding="utf-8")
            write_text(page, with_stale(said, sentence(record, files)) if files else without_stale(said))
    if options.write:
        _index(options.folder)
    print(f"{count} of {len(every)} pages are stale.")
    return 0


def _index(folder: Path) -> None:
    write_text(folder / index.NAME, index.text(pages(folder)))
