"""What the site needs of pages that are read in the repository as well.

Links that lead out of docs/, to a file one can open there, become words and a path. The index of the results, which is
made by ``edgenet bench render``, gets the menu of its pages.
"""

from __future__ import annotations

import re

OUTSIDE = re.compile(
    r"\[([^\]\[]+)\]\((\.\./)+((?:datasets|examples|edgenet|tests)[^)#\s]*|[A-Z]+\.\w+)(?:#[^)\s]*)?\)"
)
RESULTS = "\n\n```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"


def inside(name: str, text: str) -> str:
    """The text of a page as the site has it."""
    text = OUTSIDE.sub(lambda found: f"{found[1]} (`{found[3]}`)", text)
    if name != "results/README":
        return text
    return re.sub(r"\[([^\]\[]+)\]\(rows/?\)", r"\1 (`docs/results/rows/`)", text) + RESULTS


def setup(app) -> None:
    app.connect("source-read", lambda _app, name, source: source.__setitem__(0, inside(name, source[0])))
