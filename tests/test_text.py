"""The one writer of TOML and tables, and the one that guesses what was meant."""

import math
import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenet.compress import Plan
from edgenet.config import RunConfig
from edgenet.errors import ConfigError
from edgenet.selection import RemovalPlan
from edgenet.text import (
    did_you_mean,
    markdown_table,
    near_names,
    plain_table,
    toml_document,
    toml_pairs,
    toml_string,
    toml_tables,
    toml_value,
)

words = st.text(st.characters(exclude_categories=("Cs",)))  # all but halves of surrogate pairs
numbers = st.booleans() | st.integers() | st.floats(allow_nan=False)
values = st.recursive(
    words | numbers,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=6,
)


# --- TOML -------------------------------------------------------------------------------------------------------------
@given(words)
def test_every_text_comes_back(text):
    assert tomllib.loads(f"a = {toml_string(text)}") == {"a": text}


def test_every_single_character_comes_back():
    every = "".join(chr(code) for code in (*range(0x300), 0x2028, 0xFFFE, 0xFFFF, 0x1F600, 0x10FFFF))
    assert tomllib.loads(f"a = {toml_string(every)}") == {"a": every}


@pytest.mark.parametrize("text", ["\ud83d", "a\udcff"])
def test_bytes_that_are_no_text_are_refused(text):
    with pytest.raises(ConfigError, match="no UTF-8"):
        toml_string(text)


@given(values)
def test_every_value_comes_back(value):
    back = tomllib.loads(f"a = {toml_value(value)}")["a"]
    assert back == value and type(back) is type(value)


@given(st.dictionaries(words, values | st.dictionaries(words, values, max_size=3), max_size=4))
def test_every_document_comes_back(content):
    assert tomllib.loads(toml_document(content)) == content


@given(words, st.lists(st.dictionaries(words, values, max_size=3), min_size=1, max_size=3))
def test_every_list_of_tables_comes_back(name, tables):
    assert tomllib.loads(toml_tables(name, tables)) == {name: tables}


def test_values_of_other_libraries_and_none():
    assert toml_value([np.int64(3), np.float32(0.5), (1, "x")]) == '[3, 0.5, [1, "x"]]'
    assert toml_pairs({"a": None, "b": {"c": None, "d": 1}}) == ["b = { d = 1 }"]
    assert math.isnan(tomllib.loads(f"a = {toml_value(math.nan)}")["a"])
    for wrong in (None, [None], object(), 1j, b"x"):
        with pytest.raises(ConfigError, match="TOML"):
            toml_value(wrong)


@pytest.mark.parametrize("pattern", ["\U0001f600.*", "a\x7f", "\x01\t\n", 'q"\\.'])
def test_plans_and_configurations_with_odd_text_come_back(pattern, tmp_path):
    file = tmp_path / "x.toml"
    plan = Plan.of({pattern.replace("\\", "\\\\"): {"structure": "low_rank", "rank": 2}})
    file.write_text(plan.to_toml(), encoding="utf-8")
    assert Plan.from_toml(file) == plan
    removal = RemovalPlan.from_toml(_written(file, toml_tables("layer", [{"name": pattern, "taps": [[0, 0]]}])))
    file.write_text(removal.to_toml(), encoding="utf-8")
    assert RemovalPlan.from_toml(file) == removal
    config = RunConfig.from_dict({"dataset": {"name": pattern}, "model": {"layer": "gat"}})
    file.write_text(config.to_toml(), encoding="utf-8")
    assert RunConfig.from_toml(file) == config


def _written(file, text):
    file.write_text(text, encoding="utf-8")
    return file


def test_options_of_a_plan_with_odd_keys_and_numbers_come_back(tmp_path):
    rule = {"structure": "doped", "base": {"structure": "kronecker", "factor": [2, 2]}, "density": 1e-05}
    file = _written(tmp_path / "x.toml", Plan.of({"a": rule, "b": "keep"}).to_toml())
    assert Plan.from_toml(file).rules == (("a", rule), ("b", "keep"))


# --- tables -----------------------------------------------------------------------------------------------------------
def test_a_plain_table_sets_numbers_to_the_right():
    rows = [["a", "1"], ["long", "-20"]]
    assert plain_table(["x", "number"], rows) == "x     number\n----  ------\na          1\nlong     -20"
    assert plain_table(["x", "n"], rows, right=()) == "x     n\n----  ---\na     1\nlong  -20"
    assert plain_table(["x", "n"], rows, right=(0, 1), rule=1).splitlines() == [
        "   x    n", "----  ---", "   a    1", "----  ---", "long  -20"
    ]  # fmt: skip
    assert plain_table(["x", "n"], rows, full_rule=True).splitlines()[1] == "-" * 9
    assert plain_table(["x", "n"], []) == "x  n\n-  -"


def test_a_markdown_table_escapes_what_would_break_it():
    table = markdown_table(["name", "n"], [["a|b", 1], ["c\nd", None]])
    assert table.splitlines() == ["| name | n |", "|---|---:|", "| a\\|b | 1 |", "| c d | None |"]
    assert markdown_table(["a", "b"], [], right=(0,)) == "| a | b |\n|---:|---|"


# --- names ------------------------------------------------------------------------------------------------------------
def test_what_was_perhaps_meant():
    known = ["low_rank", "kronecker", "row_split"]
    assert did_you_mean("lowrank", known) == " Did you mean 'low_rank'?"
    assert did_you_mean("KRONECKER", known) == " Did you mean 'kronecker'?"
    assert did_you_mean("nothing like it", known) == did_you_mean(3, known) == did_you_mean("x", []) == ""
    assert near_names("ab", ["ac", "aab", "abb"], 2) == ["abb", "aab"]
    assert did_you_mean("ab", ["aab", "abb"], 3) == " Did you mean 'abb' or 'aab'?"
