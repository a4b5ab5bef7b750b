"""Files of arrays find their tests."""

import numpy as np
import pytest
from stored import numbered, patterns, tensors, unread


def test_patterns_are_read_from_the_lines_above_tests(tmp_path):
    (tmp_path / "structured").mkdir()
    text = '@oracle("compression/kron_*.npz")\ndef test_a(stored): ...\n# @oracle("nothing")\n'
    (tmp_path / "structured" / "test_kron.py").write_text(text + '@oracle("alegnn/*.npz", but="alegnn/g*.npz")\n')
    (tmp_path / "kron.py").write_text(text)  # no test
    assert patterns(tmp_path) == [
        ("compression/kron_*.npz", "structured/test_kron.py"),
        ("alegnn/*.npz", "structured/test_kron.py"),
    ]


@pytest.mark.parametrize(
    "name, is_read",
    [
        ("compression/kron_forward.npz", True),
        ("compression/kron_of_a_new_case.npz", True),
        ("compression/novelty.npz", False),
        ("estimators/kron_forward.npz", False),
        ("compression/kron_forward.json", False),
    ],
)
def test_a_file_of_a_new_kind_is_found(name, is_read):
    problems = unread([name], [("compression/kron_*.npz", "structured/test_kronecker.py")])
    assert problems == [] if is_read else len(problems) == 1 and name in problems[0]


def test_numbers_are_those_in_the_names_of_arrays():
    names = ["W", "W_r2_2", "relerr_r2_2", "W_r10_4", "W_r4_12"]
    assert list(numbered(names, r"W_r(\d+)_(\d+)")) == [(2, 2), (4, 12), (10, 4)]
    with pytest.raises(AssertionError, match="no array is called"):
        list(numbered(names, r"V(\d+)"))


def test_arrays_that_are_no_numbers_are_left_out(tmp_path):
    np.savez(tmp_path / "some.npz", x=np.arange(3), name=np.array("a"), z=np.array([1j]), mask=np.array([True]))
    assert sorted(tensors(tmp_path / "some.npz")) == ["mask", "x", "z"]
