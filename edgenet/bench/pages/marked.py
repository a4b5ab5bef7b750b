"""What stands between two marks of a page."""

from __future__ import annotations

from edgenet.errors import ConfigError


def with_marked(text: str, name: str, made: str, page: str) -> str:
    """A text with what was made between ``<!-- name -->`` and ``<!-- /name -->``.

    Args:
        page: what the text is of, for the message.

    Raises:
        ConfigError: if the marks are not there.
    """
    marks = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, begin, rest = text.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise ConfigError(f"{page} has no place for the table: write {' and '.join(marks)}, each on a line.")
    return f"{before}{begin}\n{made}\n{end}{after}"
