"""What is said of errors: ours as they are, those of others in words, and where they come from."""

from __future__ import annotations

import linecache
import os
import re
import sysconfig
from pathlib import Path
from traceback import FrameSummary, extract_tb

from edgenet import errors

OURS = tuple(kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception))
#: exit codes: of what the user can mend, and of a fault that is ours
MENDABLE, FAULT = 2, 1

_PACKAGE = str(Path(__file__).resolve().parents[1])
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
    (r"(?:tried to allocate|[Uu]nable to allocate) ([\d.]+ ?\w+)", "there is no memory for {0} more: take smaller batches or widths"),
    (r"not enough memory|out of memory", "there is not enough memory: take smaller batches or widths"),
    (r"does not require grad", "the loss depends on no parameter that wants a gradient"),
    (r"missing (\d+) required (?:positional|keyword-only) arguments?: (.+)", "it is called without {1}"),
    (r"got an unexpected keyword argument '(\w+)'", "it takes no argument {0!r}"),
)  # fmt: skip


def told(error: BaseException) -> tuple[str, int]:
    """One line about an error, and the exit code."""
    if isinstance(error, OURS):
        return f"{type(error).__name__}: {error}", MENDABLE
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or type(error).__name__}: {error.strerror}", MENDABLE
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"there is not enough memory: {words(error)}. Take smaller batches, fewer channels, or another machine.", MENDABLE
    frames = extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_users(frame.filename)]
    if own:
        said = f"{type(error).__name__}: {words(error)}"
        return f"in your code, {_shown(own[-1])}: {said}. --debug shows the traceback.", MENDABLE
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {_line(str(error))}", MENDABLE
    inside = [frame for frame in frames if frame.filename.startswith(_PACKAGE)]
    where = _shown(inside[-1]) if inside else "the command line"
    return (
        f"{type(error).__name__} in {where}: {words(error)}. This case is not foreseen: --debug shows the traceback, for "
        f"a report."
    ), FAULT


def words(error: BaseException) -> str:
    """What an error of others says: its own text where a line of Python raised it outside torch and numpy, what is meant
    where its text is known, else its kind alone."""
    text = _line(str(error))
    for pattern, meant in _MEANT:
        match = re.search(pattern, text)
        if match is not None:
            return meant.format(*match.groups())
    frames = extract_tb(error.__traceback__)
    if frames and not _is_numeric(frames[-1].filename) and _raises(frames[-1]):
        return text or "without a word"
    if frames and _is_users(frames[-1].filename) and not isinstance(error, RuntimeError | IndexError):
        return text  # Python's own: a name that is not there, a division by zero
    return f"a {type(error).__name__} inside {_library(frames)}"


def _line(text: str) -> str:
    """The first line that says something."""
    return (text.strip().splitlines() or [""])[0]


def _raises(frame: FrameSummary) -> bool:
    return linecache.getline(frame.filename, frame.lineno or 0).strip().startswith(("raise", "assert"))


def _is_numeric(file: str) -> bool:
    return re.search(r"[\\/](torch|numpy|scipy|torch_geometric|torchmetrics|sklearn|networkx)[\\/]", file) is not None


def _is_users(file: str) -> bool:
    """Whether a file is neither ours, nor installed, nor Python's."""
    if file.startswith((_PACKAGE, _PYTHON, "<")) or "site-packages" in file or "dist-packages" in file:
        return False
    return Path(file).name not in ("edgenet", "edgenet.exe")  # the script that starts the program


def _shown(frame: FrameSummary) -> str:
    file = frame.filename
    file = os.path.join("edgenet", os.path.relpath(file, _PACKAGE)) if file.startswith(_PACKAGE) else os.path.relpath(file)
    return f"{file}:{frame.lineno} ({frame.name})"


def _library(frames: list[FrameSummary]) -> str:
    for frame in reversed(frames):
        match = re.search(r"site-packages[\\/](\w+)", frame.filename)
        if match is not None:
            return match.group(1)
    return "torch"
