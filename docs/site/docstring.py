"""Docstrings are plain text with formulas in it; this makes reStructuredText of them that says the same.

What stands between double backticks, and examples, stay. Stars, bars and underscores are letters of formulas. Lines
that are set in are formulas and tables: they keep their shape.
"""

from __future__ import annotations

import re

SECTION = re.compile(r"(Args|Arguments|Attributes|Example|Examples|Note|Raises|Returns|Shapes|Yields):$")
VERBATIM = re.compile(r"\s*(>>>|={3,} )")  # examples and tables, up to the next empty line
LETTERS = re.compile(r"[*|\\]|(?<!`)`(?!`)|_(?!\w)")  # that reStructuredText would read as marks
KEPT = re.compile(r"(``.+?``|`[^`]+ <[^`>]+>`_|:\w+:`[^`]+`)")


def escaped(line: str) -> str:
    """A line whose letters mean themselves, but for what stands between backticks."""
    parts = KEPT.split(line)
    made = LETTERS.sub(_escape, parts[0])
    for kept, after in zip(parts[1::2], parts[2::2], strict=True):
        # a mark ends before a space or a full stop: in ``std``^2 an empty escape stands between
        made += ("\\ " if re.search(r"\w$", made) else "") + kept
        made += ("\\ " if re.match(r"[\w^]", after) else "") + LETTERS.sub(_escape, after)
    return made


def _escape(match: re.Match[str]) -> str:
    return "\\" + match[0]


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def plain(lines: list[str]) -> list[str]:
    """The lines of a docstring, ready for napoleon."""
    made: list[str] = []
    section, index, base = "", 0, 0
    while index < len(lines):
        line = lines[index]
        if not line.strip():
            made.append("")
            index += 1
            continue
        if _depth(line) == 0:
            found = SECTION.match(line)
            section, base = (found[1], 4) if found else ("", 0)
            if found:
                if made and made[-1]:
                    made.append("")
                made.append(line)
                index += 1
                continue
        if VERBATIM.match(line):
            while index < len(lines) and lines[index].strip():
                made.append(lines[index])
                index += 1
            continue
        if line.startswith(".. "):  # a directive, which only docstrings of torch have
            made.append(line)
            index += 1
            while index < len(lines) and (not lines[index].strip() or _depth(lines[index])):
                made.append(lines[index])
                index += 1
            continue
        if section in ("", "Example", "Examples", "Note", "Returns", "Shapes") and _depth(line) > base:
            index = _literal(lines, index, made, base)
            continue
        if section == "Attributes" and _depth(line) == base and ", " in line.partition(":")[0]:
            index = _apart(lines, index, made)
            continue
        if section in ("Args", "Arguments", "Attributes", "Raises"):
            made.append(escaped(line) if _depth(line) > base else _named(line))
        else:
            made.append(escaped(line))
        index += 1
    return made


def _named(line: str) -> str:
    """``name: what`` of a section: the name is left for napoleon."""
    name, colon, what = line.partition(":")
    return f"{name}{colon}{escaped(what)}" if colon else escaped(line)


def _apart(lines: list[str], index: int, made: list[str]) -> int:
    """``first, second: what``, once for each name: Sphinx would read the first as the type of the second."""
    names, _, what = lines[index].partition(":")
    end = index + 1
    while end < len(lines) and _depth(lines[end]) > _depth(lines[index]):
        end += 1
    for name in names.strip().split(", "):
        made.append(f"{' ' * _depth(lines[index])}{name}:{escaped(what)}")
        made += [escaped(line) for line in lines[index + 1 : end]]
    return end


def _literal(lines: list[str], index: int, made: list[str], base: int) -> int:
    """A block that is set in, as it is."""
    space = " " * base
    while made and not made[-1]:
        made.pop()
    made += [""] if made and made[-1].rstrip().endswith("::") else ["", f"{space}::", ""]
    while index < len(lines) and (not lines[index].strip() or _depth(lines[index]) > base):
        made.append(f"    {lines[index]}" if lines[index].strip() else "")
        index += 1
    if made[-1]:
        made.append("")
    return index


def foreign(member: object) -> bool:
    """Whether scikit-learn has put a member on a class of ours; its docstring links to pages of its own site."""
    return str(getattr(member, "__module__", "")).startswith("sklearn.")


def setup(app) -> None:
    def process(_app, _what, _name, _obj, _options, lines: list[str]) -> None:
        lines[:] = plain(lines)

    def skip(_app, _what, _name, obj, _skip, _options) -> bool | None:
        return True if foreign(obj) else None

    app.connect("autodoc-process-docstring", process, priority=100)  # before napoleon
    app.connect("autodoc-skip-member", skip)
