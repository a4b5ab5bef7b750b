"""Errors of other libraries in words: what torch and numpy say is for who wrote them."""

from __future__ import annotations

import linecache
import re
import sysconfig
from pathlib import Path
from traceback import FrameSummary, extract_tb

#: the folder of the package
PACKAGE = str(Path(__file__).resolve().parent)
_PYTHON = sysconfig.get_paths()["stdlib"]
#: what torch and numpy say, and what is meant
_MEANT: tuple[tuple[str, str], ...] = (
    (r"mat1 and mat2 shapes cannot be multiplied \((\d+)x(\d+) and (\d+)x(\d+)\)",
     "the signal has {1} features, and the map that reads it takes {2}"),
    (r"size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\)",
     "two tensors meet that have {0} and {1} entries along one axis"),
    (r"operands could not be broadcast together with shapes (\(.*?\)) (\(.*?\))", "arrays of {0} and {1} meet"),
    (r"[Ss]izes? of tensors must match except in dimension (\d+)", "tensors of different sizes are put side by side"),
    (r"must have the same dtype|expected (?:scalar type|m1 and m2).*(?:but found|got)", "numbers of two dtypes meet"),
    (r"[Ee]xpected all tensors to be on the same device", "tensors on two devices meet"),
    (r"index (-?\d+) is out of bounds for .*?(?:size|with size) (\d+)", "it looks at place {0} of {1}"),
    (r"index out of range|out of bounds", "an index names a place that is not there"),
    (r"normalized_shape|running_mean should contain (\d+)", "a norm was made for another number of features"),
    (r"(?:[Tt]ried to allocate|[Uu]nable to allocate) ([\d.]+ ?\w+)",
     "there is no memory for {0} more: take smaller batches or widths"),
    (r"not enough memory|out of memory", "there is not enough memory: take smaller batches or widths"),
    (r"does not require grad", "the loss depends on no parameter that wants a gradient"),
    (r"missing (\d+) required (?:positional|keyword-only) arguments?: (.+)", "it is called without {1}"),
    (r"got an unexpected keyword argument '(\w+)'", "it takes no argument {0!r}"),
)  # fmt: skip


def words(error: BaseException) -> str:
    """What an error of others says: what is meant where its text is known, its own text where a line of Python
    raised it outside torch and numpy, else its kind alone."""
    if type(error).__module__ == "edgenet.errors":  # which say it plainly
        return str(error)
    if isinstance(error, MemoryError) and not str(error):
        return "there is not enough memory: take smaller batches or widths"
    if isinstance(error, RecursionError):
        return "it calls itself without an end"
    text = first_line(str(error))
    for pattern, meant in _MEANT:
        match = re.search(pattern, text)
        if match is not None:
            return meant.format(*match.groups())
    frames = extract_tb(error.__traceback__)
    if frames and not _is_numeric(frames[-1].filename) and _raises(frames[-1], error):
        return text or "without a word"
    if frames and is_users(frames[-1].filename) and not isinstance(error, RuntimeError | IndexError):
        return text  # Python's own: a name that is not there, a division by zero
    return f"a {type(error).__name__} inside {_library(frames)}"


def first_line(text: str) -> str:
    """The first line that says something."""
    return (text.strip().splitlines() or [""])[0]


def _raises(frame: FrameSummary, error: BaseException) -> bool:
    line = linecache.getline(frame.filename, frame.lineno or 0).strip()
    return line.startswith("assert" if isinstance(error, AssertionError) else "raise")


def _is_numeric(file: str) -> bool:
    return re.search(r"[\\/](torch|numpy|scipy|torch_geometric|torchmetrics|sklearn|networkx)[\\/]", file) is not None


def is_users(file: str) -> bool:
    """Whether a file is neither ours, nor installed, nor Python's."""
    if file.startswith((PACKAGE, _PYTHON, "<")) or "site-packages" in file or "dist-packages" in file:
        return False
    return Path(file).name not in ("edgenet", "edgenet.exe")  # the script that starts the program


def _library(frames: list[FrameSummary]) -> str:
    for frame in reversed(frames):
        match = re.search(r"site-packages[\\/](\w+)", frame.filename)
        if match is not None:
            return match.group(1)
    return "torch"
