"""Budgets: what a file from outside may cost, said before anything is allocated."""

from __future__ import annotations

import contextlib
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
Refusal = type[ValueError]  # a class of ``edgenet.errors``: which one, the caller of a reader says


@dataclass(frozen=True)
class Budget:
    """What a file may cost.

    Attributes:
        bytes: of the file itself.
        elements: items of a text's lists and tables together.
        depth: lists and tables inside each other.
        times, more: what is packed in the file may unpack to ``times`` its bytes and ``more`` bytes.

    Example:
        >>> edgenet.reading.Budget(bytes=10).unpacked(5)
        134217778
    """

    bytes: int
    elements: int = 1_000_000
    depth: int = 64
    times: int = 10
    more: int = 128 * MIB

    def unpacked(self, size: int) -> int:
        """The bytes that a file of that size may unpack to."""
        return self.times * size + self.more


#: settings, plans, reports, results and descriptions of models: what people or edgenet write as text
TEXT = Budget(bytes=64 * MIB, elements=4_000_000)
#: tables, graphs and arrays, which are as large as the data
DATA = Budget(bytes=1 << 40, elements=200_000_000, times=4, more=32 * MIB)
#: tensors of a model or of a training
TENSORS = Budget(bytes=1 << 40, times=1, more=0)


def content(path: Path, budget: Budget, refuse: Refusal) -> bytes:
    """The bytes of a regular file.

    Raises:
        refuse: if it cannot be read, is no regular file (a pipe never ends), or is larger than its budget.
    """
    try:
        size = check_file(path, budget, refuse)
        with open(path, "rb") as file:
            data = file.read(size)  # and not what it has grown by since
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise refuse(f"{path}: cannot be read: {reason}.") from error
    return data


def check_file(path: Path, budget: Budget, refuse: Refusal) -> int:
    """The size of a regular file.

    Raises:
        OSError: if there is none.
        refuse: if it is no regular file, or larger than its budget.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise refuse(f"{path}: cannot be read: {'Is a directory' if path.is_dir() else 'it is no regular file'}.")
    if found.st_size > budget.bytes:
        raise refuse(f"{path}: has {found.st_size} bytes, and such a file may have {budget.bytes}.")
    return found.st_size


@contextlib.contextmanager
def told_of(path: Path, what: str, refuse: Refusal) -> Iterator[None]:
    """Whatever goes wrong inside is said of a file, by an error of its reader.

    Args:
        what: the file is, "no whole .npz file" say.

    Raises:
        refuse: from any exception but those of ``edgenet.errors``, which say it already.
    """
    try:
        yield
    except Exception as error:  # what parsers of damaged files raise is no list that anybody keeps
        if type(error).__module__ == "edgenet.errors":
            raise
        line = (str(error).strip().splitlines() or [""])[0]
        raise refuse(f"{path}: {what}: {line[:200].rstrip('.') or type(error).__name__}.") from error


class Deadline:
    """Seconds of processor time of this thread that making something may take.

    Raises:
        refuse: from ``check``, once they are over.

    Example:
        >>> edgenet.reading.Deadline(60.0, "the model", ValueError).check()
    """

    def __init__(self, seconds: float, what: str, refuse: Refusal) -> None:
        self.seconds, self.what, self.refuse = seconds, what, refuse
        self.end = time.thread_time() + seconds

    def check(self) -> None:
        if time.thread_time() > self.end:
            raise self.refuse(f"{self.what} takes more than {self.seconds:g} seconds to make.")
