"""Tests by arrays that independent implementations made: every file that fits a test's pattern is a case of it.

``@oracle("compression/kron_forward*.npz")`` runs a test once for each such file, whose path it gets as ``stored``.
Which test reads which files is what these lines say; ``test_oracles.py`` finds the files that fit none.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor


def folder(variable: str, default: str) -> Path:
    """The folder that an environment variable names; by default one beside the checkout, which is then made known."""
    found = Path(os.environ.get(variable) or Path(__file__).resolve().parents[2] / "shared" / default)
    if variable not in os.environ and found.is_dir():
        os.environ[variable] = str(found)  # for edgenet.data.load, in commands that tests start too
    return found


ORACLES = folder("EDGENET_ORACLES", "oracle")
NONE = f"no oracle arrays: {ORACLES} is no folder. Set EDGENET_ORACLES to one."


def oracle(pattern: str, but: str = "") -> Callable:
    """Run a test for every file that fits a pattern; without the folder it is skipped.

    Args:
        pattern: of names below the folder of oracles, as in ``fnmatch``.
        but: of files that another test reads.
    """
    files = [file for file in sorted(ORACLES.glob(pattern)) if not fnmatch(name_of(file), but)]
    cases = [pytest.param(file, id=file.stem) for file in files]
    if not ORACLES.is_dir():
        cases = [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=NONE))]
    return pytest.mark.parametrize("stored", cases, indirect=True)


def name_of(file: Path) -> str:
    return file.relative_to(ORACLES).as_posix()


def tensors(file: Path) -> dict[str, Tensor]:
    """The arrays of numbers in a file."""
    with np.load(file) as stored:
        numbers = {name: stored[name] for name in stored.files if stored[name].dtype.kind in "bifc"}
    return {name: torch.as_tensor(value) for name, value in numbers.items()}


def numbered(names: Iterable[str], pattern: str) -> Iterator[tuple[int, ...]]:
    """The numbers in the names that fit a pattern whole: ``r"W_r(\\d+)_(\\d+)"``; at least one does."""
    found = [match for match in (re.fullmatch(pattern, name) for name in names) if match]
    assert found, f"no array is called {pattern}."
    yield from sorted(tuple(int(number) for number in match.groups()) for match in found)


# --- who reads what ---------------------------------------------------------------------------------------------------
def patterns(tests: Path) -> list[tuple[str, str]]:
    """(pattern, the test file that reads such files) of all ``oracle`` lines below a folder."""
    return [
        (pattern, file.relative_to(tests).as_posix())
        for file in sorted(tests.rglob("test_*.py"))
        for pattern in re.findall(r"^@oracle\(\s*\"([^\"]+)\"", file.read_text(encoding="utf-8"), re.MULTILINE)
    ]


def unread(names: Iterable[str], read: Iterable[tuple[str, str]]) -> list[str]:
    """A sentence for each file that no test reads."""
    known = [pattern for pattern, _ in read]
    return [
        f"{name} is of a kind that no test reads: write one, under @oracle with a pattern that its name fits."
        for name in names
        if not any(fnmatch(name, pattern) for pattern in known)
    ]
