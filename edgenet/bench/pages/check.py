"""Pages that are not what their rows make."""

from __future__ import annotations

from pathlib import Path

from edgenet.bench.pages import index, text
from edgenet.bench.pages.record import FOLDER, Record
from edgenet.bench.pages.tables import tables
from edgenet.errors import ConfigError


def pages(folder: Path) -> list[Path]:
    """The pages of results in a folder, without their index."""
    return sorted(page for page in folder.glob("*.md") if page.name != index.NAME)


def some_pages(folder: Path) -> list[Path]:
    """The same, of which there must be one.

    Raises:
        ConfigError: if there is none.
    """
    found = pages(folder)
    if not found:
        raise ConfigError(f"{folder} has no page of results. Name a folder that has, or start in that of the checkout.")
    return found


def problems(folder: Path) -> list[str]:
    """A sentence for every page that lacks its block, differs from its rows, or has none; and for the index."""
    found = [problem for page in pages(folder) if (problem := _problem(page))]
    orphans = [file for file in (folder / FOLDER).glob("*.json") if not (folder / f"{file.stem}.md").exists()]
    found += [f"{file}: there is no page {file.stem}.md; remove these rows." for file in sorted(orphans)]
    listed = folder / index.NAME
    if not listed.exists() or listed.read_text(encoding="utf-8") != index.text(pages(folder)):
        found.append(f"{listed} is not the index of the pages that are there: `edgenet bench render` makes it.")
    return found


def _problem(page: Path) -> str | None:
    said = page.read_text(encoding="utf-8")
    if text.block_of(said) is None:
        return f"{page} has no block that says what made it: write it by edgenet.bench.pages.publish."
    try:
        record = Record.read(page)
        if record.content is None:
            wanted = text.with_block(said, text.block(record, page.stem))
            same = said == wanted and tables(said) == record.rows
            return None if same else f"{page}: {_difference(said, wanted)}" if said != wanted else _cells(page, record)
        wanted = text.page_text(record, page.stem)
    except ConfigError as error:
        return str(error)
    except Exception as error:  # what makes the page has changed, and cannot read its rows
        return f"{page}: {record.content} fails on its rows: {type(error).__name__}: {error}. Measure it again."
    return None if text.without_stale(said) == wanted else f"{page}: {_difference(text.without_stale(said), wanted)}"


def _difference(said: str, wanted: str) -> str:
    mine, theirs = said.splitlines(), wanted.splitlines()
    for line, (one, other) in enumerate(zip(mine, theirs, strict=False), 1):
        if one != other:
            return f"line {line} is {one[:200]!r}; its rows make {other[:200]!r}. Run `edgenet bench render`."
    return f"it has {len(mine)} lines; its rows make {len(theirs)}. Run `edgenet bench render`."


def _cells(page: Path, record: Record) -> str:
    said = tables(page.read_text(encoding="utf-8"))
    for number, (mine, theirs) in enumerate(zip(said, record.rows, strict=False), 1):
        for one, other in zip(mine, theirs, strict=False):
            if one != other:
                return f"{page}: table {number} has the line {one}; its rows have {other}. No number is edited by hand."
    return f"{page}: its tables have other lines than its rows. No table is edited by hand."
