"""The text of a page: made of its record; where its rows were read off it, only its block is."""

from __future__ import annotations

import json
import re
from typing import Any

from edgenet.bench.pages.content import paragraphs
from edgenet.bench.pages.record import READ_OFF, Record

#: the first words of the first line of a page whose code has changed
STALE = "> **Stale:**"
_BLOCK = re.compile(r"^## Provenance\n\n```json\n(?P<json>.*?)\n```\n", re.MULTILINE | re.DOTALL)
_LONGEST = 160  # characters of settings on a page


def page_text(record: Record, name: str) -> str:
    """The page that the rows make.

    Args:
        name: of the page, without its ending.
    """
    content = record.made()
    parts = [
        f"# {record.title}",
        content.claim.strip("\n"),
        *paragraphs(content.tables),
        "## Protocol",
        f"```\n{record.provenance['command']}\n```",
        *paragraphs(content.protocol),
        machine(record.provenance),
        "## Limits",
        *paragraphs(content.limits),
    ]
    return "\n\n".join(parts) + f"\n\n{block(record, name)}"


def machine(facts: dict[str, Any]) -> str:
    """The sentence on where the numbers were measured."""
    versions = ", ".join(f"{name} {number}" for name, number in facts["packages"].items())
    allocators = {"default": "default settings"}
    told = facts["allocator"]
    allocator = allocators.get(told, told) if isinstance(told, str) else "tuned, as in the command"
    runs = facts.get("runs", {})
    made = "; ".join(f"{count} with {settings}" for settings, count in runs.items())
    earlier = len(runs) > 1 or any(f"commit {facts['commit']}," not in f"{settings}," for settings in runs)
    return (
        f"Measured on {facts['processor']} ({facts['cores']} cores), one thread a run where nothing else is said; "
        f"Python {facts['python']}, {versions}; backend of spmm: {facts['backend']}; memory allocator: {allocator}. "
        f"GPU: {facts.get('gpu', 'not measured')}."
        + f" Runs were made under different settings: {made}." * (len(runs) > 1)
        + f" Runs were made before the page: {made}." * (earlier and len(runs) == 1)
    )


def block(record: Record, name: str) -> str:
    """What a page says of its making, for people and machines."""
    last = ("machine", "seeds", "settings", "packages")
    shown = {key: value for key, value in record.provenance.items() if key not in last}
    settings = record.provenance.get("settings", {})
    short = len(json.dumps(settings)) <= _LONGEST
    shown["rows"] = f"rows/{name}.json" + f", {READ_OFF}" * (record.content is None)
    shown["seeds"] = record.provenance.get("seeds", [])
    shown["settings"] = settings if short else f"in rows/{name}.json"
    shown["packages"] = record.provenance.get("packages", {})
    lines = ",\n".join(f" {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in shown.items())
    return f"## Provenance\n\n```json\n{{\n{lines}\n}}\n```\n"


def block_of(text: str) -> dict[str, Any] | None:
    """What stands in the block of a page; None where it has none, or one that is no JSON."""
    found = _BLOCK.search(text)
    try:
        return json.loads(found["json"]) if found else None
    except ValueError:
        return None


def with_block(text: str, new: str) -> str:
    """The page with this block at its end, in place of the one it has."""
    return _BLOCK.sub("", text).rstrip("\n") + f"\n\n{new}"


def without_stale(text: str) -> str:
    """The page without the line that says that its code has changed."""
    return text.partition("\n")[2].lstrip("\n") if text.startswith(STALE) else text


def with_stale(text: str, changed: str) -> str:
    """The page with that line, as its first."""
    return f"{STALE} {changed}\n\n{without_stale(text)}"


def claim_of(text: str) -> str:
    """The first sentence of a page."""
    body = without_stale(text).partition("\n")[2].strip()
    first = " ".join(body.partition("\n\n")[0].split())
    end = re.search(r"(?<=[.!?])\s(?=[A-Z*`\d])", first)
    return first[: end.start()] if end else first


def title_of(text: str) -> str:
    """The heading of a page."""
    return without_stale(text).partition("\n")[0].removeprefix("# ").strip()
