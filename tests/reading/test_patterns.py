"""Patterns of files match what ``re.match`` does, in a time that nobody can blow up."""

import random
import re
import time

import pytest

from edgenet.compress import Plan, compress_
from edgenet.errors import ConfigError, PlanError
from edgenet.models import NodeClassifier
from edgenet.reading.patterns import MOST_CHARACTERS, compiled, matches
from edgenet.train import fit

from train.small_data import nodes  # isort: skip

ATOMS = ["a", "b", ".", "[ab]", "[^a]", r"\w", r"\b", r"\B", "^", "$", r"\.", "[a-b.]", r"\d", r"[\d\s]", "A", r"\Z"]


def drawn(rng, deep):
    kind = rng.randrange(12) if deep else 0
    if kind < 4:
        return rng.choice(ATOMS)
    inside = drawn(rng, deep - 1)
    if kind < 6:
        return inside + drawn(rng, deep - 1)
    if kind == 6:
        return f"({inside}|{drawn(rng, deep - 1)})"
    if kind < 9:
        return f"(?:{inside})" + rng.choice(["*", "+", "?", "*?", "{2}", "{1,2}", "{0,1}", "{2,}", "{3,}?"])
    return rng.choice([f"(?={inside})", f"(?!{inside})", f"(?i:{inside})", "(?<=a)", "(?<!ab)", "(?<=a.)"])


def test_they_match_what_re_matches():
    rng, compared = random.Random(0), 0
    while compared < 6000:
        pattern = drawn(rng, 4)
        try:
            known = re.compile(pattern)
        except re.error:
            continue
        for _ in range(3):
            name = "".join(rng.choice("ab.c1A") for _ in range(rng.randrange(7)))
            assert matches(pattern, name) == bool(known.match(name)), (pattern, name)
            compared += 1


SLOW = ["((.*)*)*!", "(a|a)*!", "(a|aa)+!", ".*.*.*.*.*!", "(.*){1000}!", "(((a{1,100}){1,100}){1,100})!", "(a?){5000}a{5000}"]  # noqa: E501


@pytest.mark.parametrize("pattern", SLOW)
def test_none_takes_long(pattern):
    start = time.process_time()
    assert not matches(pattern, "a" * 120)
    assert time.process_time() - start < 2


def test_a_plan_and_a_decay_with_such_a_pattern_are_answered_at_once():
    start = time.process_time()
    model = NodeClassifier(4, 2, layer="gcn", hidden_channels=4)
    plan = Plan.of({"((.*)*)*!": {"structure": "low_rank", "rank": 1}})
    with pytest.raises(PlanError, match="matches no slot"):
        compress_(model, plan)
    with pytest.raises(ConfigError, match="begins the name of no parameter"):
        fit(model, nodes(), {"optimizer": {"decay_on": {"((.*)*)*!": 0.1}}}, epochs=1, progress=False)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("pattern", [r"(a)\1", "(?P<x>a)(?P=x)", "(?>a*)b", "a*+b", "(a)?(?(1)b|c)"])
def test_what_sets_of_places_cannot_follow_is_refused(pattern):
    with pytest.raises(re.error, match="not followed here"):
        matches(pattern, "aa")
    with pytest.raises(PlanError, match=r"no regular expression.*not followed here"):
        Plan.of({pattern: "keep"})


@pytest.mark.parametrize("pattern", ["(", "[", "a{2,1}", "(" * 5000 + ")" * 5000, "a" * (MOST_CHARACTERS + 1), "*"])
def test_what_is_none_is_refused_as_by_re(pattern):
    with pytest.raises(re.error):
        compiled(pattern)


def test_a_match_that_takes_too_many_steps_is_refused(monkeypatch):
    monkeypatch.setattr("edgenet.reading.patterns.MOST_STEPS", 1000)
    with pytest.raises(PlanError, match=r"'\(\(\.\*\)\*\)\*!' takes more than 1000 steps"):
        matches("((.*)*)*!", "a" * 120)
