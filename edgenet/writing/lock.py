"""One process at a time writes into a folder.

The holder has a lock on the file ``.lock`` in the folder, in which it tells who it is. The system takes the lock from a
process that ends, however it ends, so the file of a dead one holds nobody off. On Linux and macOS that is ``flock``,
which NFS knows too; on Windows ``msvcrt``. Where a file system has no locks, what stands in the file decides: whether
the process of that number is alive, or nobody can say. Two that begin in one instant are then not told apart.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgenet.errors import FolderInUseError, WriteError

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]  # a module elsewhere
try:
    import msvcrt
except ImportError:  # everywhere else
    msvcrt = None  # type: ignore[assignment]  # a module on Windows

NAME = ".lock"
_MOST = 4096  # bytes of a holder's own words that are read
_FAR = 1 << 30  # the byte that Windows locks: behind the text, which others are to read
_LOOK = 0.05  # seconds
_PATIENCE = 600.0  # seconds; where a file system has no locks, the file of a dead one on another machine stays

_open: set[int] = set()


@contextlib.contextmanager
def held(folder: Path, wait: bool = False) -> Iterator[None]:
    """While this lasts, nobody else who asks writes into the folder, which must be there.

    Args:
        wait: until the folder is free, for ten minutes at most, and only then refuse.

    Raises:
        FolderInUseError: if another holds it; with who that is and what to do.
        WriteError: if nothing can be written in the folder.
    """
    path = folder / NAME
    handle, end = _taken(path), time.monotonic() + _PATIENCE
    while handle is None:
        if not wait or time.monotonic() > end:
            raise FolderInUseError(f"{folder}: {_who(_told_in(path))} The lock is {path}.")
        time.sleep(_LOOK)
        handle = _taken(path)
    try:
        yield
    finally:
        if handle in _open:  # else this is a fork, and the folder its parent's
            _open.discard(handle)
            _release(path, handle)


def _taken(path: Path) -> int | None:
    """The handle of the lock; None where another has it."""
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as error:
            raise WriteError.of(path, error) from error
        free = _locked(handle)
        if free is None:
            free = not _alive(_parsed(os.read(handle, _MOST)), handle)
        if free and _stands(path, handle):
            try:
                os.ftruncate(handle, 0)
                os.lseek(handle, 0, os.SEEK_SET)
                os.write(handle, json.dumps(_self()).encode())
            except OSError as error:
                _release(path, handle)
                raise WriteError.of(path, error) from error
            _open.add(handle)
            return handle
        os.close(handle)
        if not free:
            return None  # else the one before removed the file in the meantime


def _locked(handle: int) -> bool | None:
    """Whether the file is locked now by this handle; None where the file system has no locks."""
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return False if isinstance(error, BlockingIOError) else None
        return True
    if msvcrt is None:
        return None
    try:
        os.lseek(handle, _FAR, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        os.lseek(handle, 0, os.SEEK_SET)
    except OSError:
        return False
    return True


def _release(path: Path, handle: int) -> None:
    with contextlib.suppress(OSError):
        path.unlink()  # before it is let go: whoever waits for this file finds that it has gone, and takes another
    with contextlib.suppress(OSError):
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)


def _stands(path: Path, handle: int) -> bool:
    """Whether the file that was opened is still the one of this name."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except OSError:
        return False


def _self() -> dict[str, Any]:
    return {"process": os.getpid(), "machine": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}


def _told_in(path: Path) -> Any:
    try:
        with open(path, "rb") as file:
            return _parsed(file.read(_MOST))
    except OSError:
        return None


def _parsed(text: bytes) -> Any:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) and type(told.get("process")) is int else None


def _who(told: Any) -> str:
    """Who is at work, and what to do."""
    if told is None:
        return "another process is at work in it. Wait for it, or choose another folder."
    machine, number, here = str(told.get("machine"))[:80], told["process"], socket.gethostname()
    if (machine, number) == (here, os.getpid()):
        return "this process is at work in it already, in another thread or call. Wait, or choose another folder."
    where = "" if machine == here else f" on {machine}"
    return (
        f"process {number}{where} is at work in it, since {str(told.get('since'))[:20]}. Wait for it, end it "
        f"(kill {number}{where}), or choose another folder. If it has ended and this stays, remove the lock."
    )


def _alive(told: Any, handle: int) -> bool:
    """Whether the process that tells of itself in an open file may be at work: on another machine nobody knows."""
    if told is None:
        return False
    if told.get("machine") != socket.gethostname():
        return True
    if told["process"] == os.getpid():  # or one before had the same number, as the first of a container has
        return any(os.path.samestat(os.fstat(own), os.fstat(handle)) for own in tuple(_open))
    try:
        os.kill(told["process"], 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # another user's
    return True


def _forget() -> None:
    """A fork, such as a loader's worker, holds nothing: else it would keep the folder of a parent that was killed."""
    for handle in _open:
        with contextlib.suppress(OSError):
            os.close(handle)
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
