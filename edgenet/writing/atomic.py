"""Files that are whole at any moment: the old one, or the new one. Everything that this library writes passes here.

A file is written under another name beside its place, brought to disk, and renamed. A symbolic link in its place is
replaced; what it points to stays. The mode is the system's to give: the umask of the process is not looked at, for
that can be done only by changing it, under the feet of other threads.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from edgenet.errors import WriteError

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_LONGEST = 100  # characters of a name that the temporary one shows: file systems end at 255 bytes


@contextlib.contextmanager
def replaced(path: str | Path) -> Iterator[Path]:
    """A name beside ``path`` to write to. When the block ends, the file takes the place of ``path``.

    Raises:
        WriteError: where the system cannot write, or a device or a pipe would be replaced. What stood at ``path``
            stands there still, as after any error.
    """
    path = Path(path)
    if _is_special(path):
        raise WriteError.of(path, OSError(errno.EINVAL, "it is a device or a pipe, and files are whole ones"))
    temporary = path.with_name(f".{path.name[:_LONGEST]}.{secrets.token_hex(6)}.tmp")
    with _told(path):
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW, 0o666))
        try:
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def write_atomically(path: str | Path, write: Callable[[BinaryIO], Any]) -> None:
    """Call ``write(file)`` on a binary file that takes the place of ``path`` when it is whole and on disk.

    Raises:
        WriteError: as ``replaced``, also where ``write`` makes another error of the system's.
    """
    with replaced(path) as temporary, _Noting(temporary) as file:
        write(file)  # type: ignore[arg-type]  # a file in all that is called


def write_text(path: str | Path, text: str) -> None:
    """The text as UTF-8, line ends as they are.

    Raises:
        WriteError: as ``replaced``.
    """
    write_atomically(path, lambda file: file.write(text.encode()))


class Appended:
    """A text file that is appended to, for records; what is written is with the system at once. A kill, or a full disk,
    may leave the last line in part.

    Args:
        path: of the file, which is made where there is none. No symbolic link is followed.

    Raises:
        WriteError: here and in every method, where the system cannot write.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with _told(self.path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | _NOFOLLOW | _BINARY
            self._handle = os.open(path, flags, 0o666)

    def write(self, text: str) -> None:
        """Append a text."""
        data = memoryview(text.encode())
        with _told(self.path):
            while data:
                data = data[os.write(self._handle, data) :]

    def sync(self) -> None:
        """Return when all of it is on disk."""
        with _told(self.path):
            os.fsync(self._handle)

    def close(self) -> None:
        """The end of it."""
        with _told(self.path):
            os.close(self._handle)


class _Noting:
    """A binary file that keeps the error of the system: torch's writer makes one of its own of it."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb")  # noqa: SIM115  closed below
        self._error: OSError | None = None
        self.seek, self.tell = self._file.seek, self._file.tell

    def write(self, data: Any) -> int:
        return self._try(lambda: self._file.write(data))

    def flush(self) -> None:
        self._try(self._file.flush)

    def _try(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except OSError as error:
            self._error = self._error or error
            raise

    def __enter__(self) -> _Noting:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        try:
            self._file.close()  # which writes what is left
        except OSError as late:
            self._error = self._error or late
        if self._error is not None and (error is None or isinstance(error, Exception)):
            raise self._error


def _is_special(path: Path) -> bool:
    """Whether a file in this place would take that of a device or a pipe, as who is root may."""
    if path.parent == Path("/dev"):  # where also links are, as /dev/stdout
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError.of(path, error) from error


def _sync_folder(folder: Path) -> None:
    """The new name must be on disk too, where the system can say so of a folder."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
