"""A few damaged files for every reader; ``make fuzz N=10000`` takes more."""

import pytest

from reliability.fuzz import KINDS, fuzz  # isort: skip
from reliability.fuzz_readers import CASES  # isort: skip


@pytest.mark.parametrize("name", CASES)
def test_a_damaged_file_is_refused_in_our_words_or_read_as_a_legal_one(tmp_path, name):
    counts, faults = fuzz(name, 5 if CASES[name].share == 1 else 2, 0, tmp_path)
    assert not faults, faults
    assert sum(counts[kind] for kind in KINDS[:3]) == sum(counts.values())
