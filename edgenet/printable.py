"""Printable: text that may come from anywhere, as a terminal may be shown it."""

from __future__ import annotations

import re

# Control characters of C0 (but newline and tab), DEL and C1, of which terminals take commands; marks that turn the
# direction of writing; line ends that only some know; and halves of surrogate pairs, which cannot be printed at all.
_COMMANDS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_BREAKS = re.compile(r"[\t\n]")


def printable(text: object, lines: bool = True) -> str:
    r"""The text with what a terminal would obey or cannot show as ``\u001b``: JSON stays the same JSON.

    Args:
        lines: leave newlines and tabs.

    Example:
        >>> from edgenet.printable import printable
        >>> printable("conv\x1b[2J")
        'conv\\u001b[2J'
    """
    seen = _COMMANDS.sub(_escaped, str(text))
    return seen if lines else _BREAKS.sub(_escaped, seen)


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
