"""Regular expressions that cost no more than they look: names are matched by sets of places, never by backtracking.

``re`` tries one way after another, and for ``((.*)*)*!`` there are exponentially many. Here every part of a pattern is
asked once for every place of the name where it may end (Thompson 1968), which is the same answer to "does it match from
the start on", in polynomial time. The parser is that of ``re``, so patterns mean what they mean there. What no set of
places can follow (back references, atomic groups) is refused.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from re import _constants as codes  # type: ignore[attr-defined]  # the parse trees of re have no public name
from re import _parser  # type: ignore[attr-defined]  # likewise
from typing import Any

from edgenet.errors import PlanError

MOST_CHARACTERS = 100_000  # of a pattern
MOST_STEPS = 1_000_000  # of one match, about a second
_CATEGORIES = {
    codes.CATEGORY_DIGIT: r"\d", codes.CATEGORY_NOT_DIGIT: r"\D", codes.CATEGORY_SPACE: r"\s",
    codes.CATEGORY_NOT_SPACE: r"\S", codes.CATEGORY_WORD: r"\w", codes.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip
_PLACES = {
    codes.AT_BEGINNING: "^", codes.AT_BEGINNING_STRING: r"\A", codes.AT_BOUNDARY: r"\b",
    codes.AT_NON_BOUNDARY: r"\B", codes.AT_END: "$", codes.AT_END_STRING: r"\Z",
}  # fmt: skip
Ends = frozenset[int]
Part = Callable[["_Match", int], Ends]


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern matches a name from its start on, as ``re.match`` does.

    Raises:
        re.error, TypeError: if the pattern is no regular expression, as ``re.compile`` does; also of what is not
            followed here.
        PlanError: if the match takes more than ``MOST_STEPS``.
    """
    return bool(compiled(pattern)(_Match(pattern, name), 0))


@functools.lru_cache(512)
def compiled(pattern: str) -> Part:
    """What a pattern asks of a name; for its errors, before there are names.

    Raises:
        re.error, TypeError: as ``matches``.
    """
    if not isinstance(pattern, str):
        raise TypeError(f"a pattern is a text, got {pattern!r:.80}")
    if len(pattern) > MOST_CHARACTERS:
        raise re.error(f"it has {len(pattern)} characters, and {MOST_CHARACTERS} are read")
    try:
        tree = _parser.parse(pattern)
        return _sequence(tree, tree.state.flags)
    except (RecursionError, OverflowError) as error:
        raise re.error(f"it is nested too deep, or repeats too often ({type(error).__name__})") from error


class _Match:
    """One name, and what is known of it."""

    def __init__(self, pattern: str, name: str) -> None:
        self.pattern, self.name, self.steps = pattern, name, 0
        self.known: dict[tuple[int, int], Ends] = {}

    def step(self) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise PlanError(
                f"the pattern {self.pattern[:80]!r} takes more than {MOST_STEPS} steps on the name "
                f"{self.name[:80]!r}. Nest fewer repetitions."
            )


def _remembered(ask: Part) -> Part:
    """Asks once for every place."""

    def part(match: _Match, start: int) -> Ends:
        key = (id(ask), start)
        if key not in match.known:
            match.known[key] = ask(match, start)
        return match.known[key]

    return part


def _sequence(items: Any, flags: int) -> Part:
    parts = [_part(kind, value, flags) for kind, value in items]

    def ask(match: _Match, start: int) -> Ends:
        ends = frozenset((start,))
        for part in parts:
            ends = _from_all(part, match, ends)
        return ends

    return _remembered(ask)


def _from_all(part: Part, match: _Match, starts: Ends) -> Ends:
    found: set[int] = set()
    for start in starts:
        match.step()
        found |= part(match, start)
    return frozenset(found)


def _part(kind: Any, value: Any, flags: int) -> Part:
    if kind in (codes.LITERAL, codes.NOT_LITERAL, codes.ANY, codes.IN):
        return _atom(_one_character(kind, value), flags)
    if kind is codes.AT:
        return _atom(_PLACES[value], flags)
    if kind is codes.SUBPATTERN:
        _, added, taken, items = value
        return _sequence(items, (flags | added) & ~taken)
    if kind is codes.BRANCH:
        return _branch([_sequence(items, flags) for items in value[1]])
    if kind in (codes.MAX_REPEAT, codes.MIN_REPEAT):  # which way is tried first changes nothing here
        low, high, items = value
        return _repeat(int(low), None if high is codes.MAXREPEAT else int(high), _sequence(items, flags))
    if kind in (codes.ASSERT, codes.ASSERT_NOT):
        direction, items = value
        width = items.getwidth()[0] if direction < 0 else 0
        return _look(width, kind is codes.ASSERT, _sequence(items, flags))
    raise re.error(f"{str(kind).lower().replace('_', ' ')} is not followed here")


def _one_character(kind: Any, value: Any) -> str:
    """The text of what matches one character, from which ``re`` makes the same again."""
    if kind is codes.ANY:
        return "."
    if kind is not codes.IN:
        return f"[{'^' if kind is codes.NOT_LITERAL else ''}{_escaped(value)}]"
    inside = "".join(
        "^" if what is codes.NEGATE
        else _CATEGORIES[of] if what is codes.CATEGORY
        else f"{_escaped(of[0])}-{_escaped(of[1])}" if what is codes.RANGE
        else _escaped(of)
        for what, of in value
    )  # fmt: skip
    return f"[{inside}]"


def _escaped(character: int) -> str:
    return f"\\U{character:08x}"


def _atom(text: str, flags: int) -> Part:
    one = re.compile(text, flags & ~re.DEBUG)

    def ask(match: _Match, start: int) -> Ends:
        found = one.match(match.name, start)
        return frozenset() if found is None else frozenset((found.end(),))

    return _remembered(ask)


def _branch(choices: list[Part]) -> Part:
    def ask(match: _Match, start: int) -> Ends:
        match.step()
        return frozenset().union(*(choice(match, start) for choice in choices))

    return _remembered(ask)


def _repeat(low: int, high: int | None, body: Part) -> Part:
    def ask(match: _Match, start: int) -> Ends:
        enough = len(match.name) + 2  # after so many rounds the set of places stays
        now = frozenset((start,))
        for _ in range(min(low, enough)):
            now = _from_all(body, match, now)
        reached, fresh = now, now
        for _ in range(enough if high is None else min(high - low, enough)):
            fresh = _from_all(body, match, fresh) - reached
            if not fresh:
                break
            reached |= fresh
        return reached

    return _remembered(ask)


def _look(width: int, wanted: bool, inside: Part) -> Part:
    """``(?=...)``, ``(?!...)``, and with a width those that look back."""

    def ask(match: _Match, start: int) -> Ends:
        match.step()
        begin = start - width
        ends = inside(match, begin) if begin >= 0 else frozenset()
        found = start in ends if width else bool(ends)
        return frozenset((start,)) if found == wanted else frozenset()

    return _remembered(ask)
