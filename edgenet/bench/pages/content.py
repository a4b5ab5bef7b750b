"""What a reader finds on a page of results: claim, table, protocol, limits, in that order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SHOWN = ("|", "#", "![", "- ")  # how a table, a heading, a picture and a list begin


@dataclass(frozen=True)
class Content:
    """A page of results, made from its rows alone.

    Attributes:
        claim: what was found, in a sentence or two, missed aims included. Its first sentence stands in the index.
        tables: tables, pictures, and headings (``###``) between them.
        protocol: how it was measured, and what chose what.
        limits: what it does not show.
    """

    claim: str
    tables: Sequence[str] | str
    protocol: Sequence[str] | str
    limits: Sequence[str] | str


def from_parts(claim: str, parts: Sequence[str], limits: Sequence[str] | str) -> Content:
    """A page of parts in one row: what stands before the first table, heading or picture is protocol."""
    parts = paragraphs(parts)
    first = next((k for k, part in enumerate(parts) if part.startswith(_SHOWN)), len(parts))
    return Content(claim, parts[first:], parts[:first], limits)


def paragraphs(parts: Sequence[str] | str) -> list[str]:
    """The parts without the empty lines around them, and without those that are empty."""
    return [part.strip("\n") for part in ([parts] if isinstance(parts, str) else parts) if part.strip()]
