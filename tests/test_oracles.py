"""Every file of arrays that independent implementations made is read by a test: a new file is a new case, or fails."""

from fnmatch import fnmatch
from pathlib import Path

import pytest
from stored import patterns, unread

READ = patterns(Path(__file__).resolve().parent)
NOT_ARRAYS = ("README.md", "alegnn/index.json")


@pytest.fixture
def names(oracle_root):
    return sorted(path.relative_to(oracle_root).as_posix() for path in oracle_root.rglob("*") if path.is_file())


def test_every_file_is_read_by_a_test(names):
    problems = unread([name for name in names if name not in NOT_ARRAYS], READ)
    assert not problems, "\n".join(problems)


def test_every_pattern_is_of_a_file(names):
    for pattern, test in READ:
        assert any(fnmatch(name, pattern) for name in names), f"{test}: no file of the oracles is called {pattern}."


def test_those_that_read_arrays_and_no_others_are_selected_by_the_word(request, names):
    """``pytest -k oracle``: looked at are the tests of this run, all of them where all run."""
    for item in request.session.items:
        reads = {"stored", "oracle_root"} & set(getattr(item, "fixturenames", ()))
        assert bool(reads) == ("oracle" in item.nodeid.lower() or item.get_closest_marker("oracle") is not None), (
            f"{item.nodeid} {'is not selected' if reads else 'reads no arrays: call it something else'}."
        )
