"""The index of all pages: what each found, when, and by which command."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edgenet.bench.pages.text import STALE, block_of, claim_of, title_of
from edgenet.text import markdown_table

NAME = "README.md"
_HEAD = """# Results

Each page has a claim, tables, protocol and limits. The command that it prints measured the rows beside it
([rows](rows)); `edgenet bench render` makes the page again of them. *Stale*: the code that made a page has changed
since; `edgenet bench stale` lists the files. Where old runs were not kept, a page says that its rows are read off it.
"""


def text(pages: Iterable[Path]) -> str:
    """The index of these pages."""
    lines = []
    for page in pages:
        said = page.read_text(encoding="utf-8")
        facts = block_of(said) or {}
        date = f"{facts.get('date', 'not recorded')}{', stale' * said.startswith(STALE)}"
        lines.append((f"[{title_of(said)}]({page.name})", claim_of(said), date, f"`{_short(facts.get('command'))}`"))
    return _HEAD + "\n" + markdown_table(("page", "what it found", "made", "by"), lines, right=()) + "\n"


def _short(command: str | None) -> str:
    """The command without the environment before it."""
    return "edgenet" + (command or "edgenet").partition("edgenet")[2]
