"""The one writer of pages of results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgenet.bench.pages import provenance, syntax
from edgenet.bench.pages.content import Content
from edgenet.bench.pages.record import Record, as_read, name_of
from edgenet.bench.pages.text import page_text
from edgenet.writing import write_text


def publish(
    out: Path,
    title: str,
    content: Callable[[Any], Content],
    rows: Any,
    *,
    settings: Mapping[str, Any],
    seeds: Sequence[int],
    peers: Sequence[str] = ("torch_geometric",),
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write the rows, and then the page that they make.

    Args:
        out: the page. Its rows go to ``rows/NAME.json`` beside it, first: they outlive a page that cannot be made.
        content: makes the page of the rows, and of nothing else; a function of a module.
        rows: JSON-able; every run, with its seed. ``content`` gets them as they come back from a file: keys are text,
            tuples are lists, and None stands for what is no number.
        settings: JSON-able; what the runs were given.
        seeds: of the runs; empty where nothing is drawn.
        peers: packages whose versions matter beside torch's.
        facts: what is not so in this process, in place of what this process says: ``backend``, ``threads``, ...

    Raises:
        ConfigError: if ``content`` cannot be found again by its name.
    """
    name = name_of(content)
    said = {
        **provenance.facts(peers),
        "seeds": list(seeds),
        "settings": dict(settings),
        **({"runs": runs} if (runs := provenance.runs(rows)) else {}),
        **(facts or {}),
    }
    code = provenance.code()
    made_by = syntax.counted(syntax.reached(syntax.imported(), code))
    record = Record(title, as_read(said), as_read(rows), name, syntax.hashes(made_by, code))
    record.write(out)
    write_text(out, page_text(record, out.stem))
