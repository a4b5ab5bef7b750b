"""Tutorials: a story is a script of examples/, and its page has the script's words, code, output and pictures.

    python docs/site/stories.py [NAME ...]      # runs stories and writes docs/tutorials/NAME.md

A script begins with a docstring, whose first line is the title. Blocks of comments between empty lines are the text of
the page, in Markdown; the rest is code. The page is committed: its numbers were printed by that run.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import platform
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES, PAGES = ROOT / "examples", ROOT / "docs" / "tutorials"


@dataclass
class Cell:
    """A block of text, or of code with what it printed and drew."""

    kind: str
    source: str
    line: int
    output: str = ""
    pictures: list[str] = field(default_factory=list)


def cells(text: str) -> tuple[str, str, list[Cell]]:
    """Title, introduction and cells of a script."""
    head = ast.get_docstring(ast.parse(text)) or ""
    title, _, introduction = head.partition("\n")
    lines = text.splitlines()
    start = ast.parse(text).body[0].end_lineno if head else 0
    found: list[Cell] = []
    for line, block in _blocks(lines, start):
        prose = all(part.startswith("#") for part in block)
        source = "\n".join(re.sub("^# ?", "", part) for part in block) if prose else "\n".join(block)
        if not prose and found and found[-1].kind == "code":
            last = found[-1]
            gap = line - last.line - last.source.count("\n") - 1
            last.source += "\n" * (gap + 1) + source
        else:
            found.append(Cell("text" if prose else "code", source, line))
    return title.strip(), introduction.strip(), found


def _blocks(lines: list[str], start: int) -> list[tuple[int, list[str]]]:
    blocks, block = [], []
    for number, line in enumerate([*lines[start:], ""], start + 1):
        if line.strip():
            block.append(line)
        elif block:
            blocks.append((number - len(block), block))
            block = []
    return blocks


def small(text: str, changes: Mapping[str, Any]) -> str:
    """The script with other values for names that it sets at its top level; lines stay where they are.

    Raises:
        ValueError: if the script sets no such name.
    """
    lines, left = text.splitlines(), dict(changes)
    for node in ast.parse(text).body:
        if not isinstance(node, ast.Assign) or node.end_lineno != node.lineno:
            continue
        target, values = node.targets[0], [node.value]
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            values = node.value.elts
        ids = [name.id if isinstance(name, ast.Name) else "" for name in names]
        if left.keys() & set(ids) and len(names) == len(values):
            new = [repr(left.pop(i)) if i in left else ast.unparse(v) for i, v in zip(ids, values, strict=True)]
            lines[node.lineno - 1] = f"{', '.join(ids)} = {', '.join(new)}"
    if left:
        raise ValueError(f"the story sets no {', '.join(left)}, in a line of its own at the top level.")
    return "\n".join(lines) + "\n"


def play(name: str) -> tuple[str, str, list[Cell]]:
    """Runs a story in a folder of its own, and moves its pictures to the pages."""
    path = EXAMPLES / f"{name}.py"
    title, introduction, found = cells(path.read_text(encoding="utf-8"))
    before, names = Path.cwd(), {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for cell in found:
                if cell.kind == "code":
                    _run(cell, path, names, name)
        finally:
            os.chdir(before)
    return title, introduction, found


def _run(cell: Cell, path: Path, names: dict[str, Any], name: str) -> None:
    seen, printed = set(Path().glob("*.png")), io.StringIO()
    code = compile("\n" * (cell.line - 1) + cell.source, str(path), "exec")
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    cell.output = printed.getvalue().rstrip()
    for picture in sorted(set(Path().glob("*.png")) - seen):
        cell.pictures.append(f"{name}_{picture.name}")
        (PAGES / cell.pictures[-1]).write_bytes(picture.read_bytes())


def page(name: str, title: str, introduction: str, found: list[Cell]) -> str:
    """The page, in Markdown."""
    parts = [f"# {title}", introduction, f"*The script is `examples/{name}.py`.*"]
    for cell in found:
        if cell.kind == "text":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        if cell.output:
            parts.append(f"```text\n{cell.output}\n```")
        parts += [f"![{picture.removesuffix('.png').replace('_', ' ')}]({picture})" for picture in cell.pictures]
    import torch

    made = f"Python {platform.python_version()}, torch {torch.__version__.partition('+')[0]}, one thread"
    parts.append(f"*Output of `python docs/site/stories.py {name}` ({made}). Processors differ in the last digits.*")
    return "\n\n".join(part for part in parts if part) + "\n"


def code_of(text: str) -> list[str]:
    """The code of a page, block by block."""
    return [found[1].rstrip("\n") for found in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]


def main() -> None:
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("MPLBACKEND", "Agg")
    PAGES.mkdir(exist_ok=True)
    for name in sys.argv[1:] or sorted(path.stem for path in EXAMPLES.glob("*.py")):
        (PAGES / f"{name}.md").write_text(page(name, *play(name)), encoding="utf-8")
        print(name)


if __name__ == "__main__":
    main()
