"""A page of results in sections, each rewritten by the command that measures it and left alone by the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgenet.errors import ConfigError


def write_section(page: Path, title: str, name: str, parts: Sequence[str]) -> str:
    """Put a section in its place on a page, or at the end where it has none yet; all else on the page stays.

    A section stands between ``<!-- name -->`` and ``<!-- /name -->``.

    Args:
        page: the file, made with ``title`` as its heading if it does not exist.
        parts: paragraphs, tables, code blocks.

    Returns:
        The section as written.

    Raises:
        ConfigError: if the page has only one of the two marks of the section, or has them in the wrong order.
    """
    text = page.read_text(encoding="utf-8") if page.exists() else f"# {title}\n"
    before, after = without_section(page, text, name)
    section = "\n\n".join([f"<!-- {name} -->", *(part.strip("\n") for part in parts), f"<!-- /{name} -->"])
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(f"{before}{section}\n{after}", encoding="utf-8")
    return section


def without_section(page: Path, text: str, name: str) -> tuple[str, str]:
    """What stands on a page before and after a section; all of it before, where the section is not there."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if begin not in text and end not in text:
        return text.rstrip("\n") + "\n\n", ""
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ConfigError(
            f"{page}: the section {name!r} stands between one {begin} and one {end} after it; this page has "
            f"{text.count(begin)} and {text.count(end)}. Mend or remove them."
        )
    before, _, rest = text.partition(begin)
    return before, rest.partition(end)[2].removeprefix("\n")
