"""Packed files, zip and gzip: what is in them is counted before it is unpacked, and while it is."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgenet.reading.budget import DATA, MIB, Budget, Refusal, check_file, content

_MAX_RATIO = 1032  # deflate makes nothing smaller than this
_MOST_MEMBERS = 1_000_000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextmanager
def opened_zip(
    path: Path, refuse: Refusal, budget: Budget = DATA, packed: bool = True, what: str = "zip file"
) -> Iterator[zipfile.ZipFile]:
    """A zip file whose members have different names, and unpack together to no more than its budget.

    Args:
        packed: whether members may be packed (by deflate).
        what: messages call it.

    Raises:
        refuse: else, or if it is damaged; nothing was unpacked.
    """
    try:
        size = check_file(path, budget, refuse)
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise refuse(f"{path}: cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # zipfile raises BadZipFile, struct.error, NotImplementedError, ...
        raise refuse(
            f"{path}: no whole {what} ({size} bytes; {_line(error)}): truncated, damaged, or something else. "
            f"Nothing in it was run."
        ) from error
    with archive:
        _check_members(path, archive.infolist(), size, refuse, budget, packed)
        yield archive


def _check_members(
    path: Path, members: list[zipfile.ZipInfo], size: int, refuse: Refusal, budget: Budget, packed: bool
) -> None:
    names = {member.filename for member in members}
    if len(names) < len(members) or len(members) > _MOST_MEMBERS:
        raise refuse(f"{path}: refused, two members have one name, or there are too many: {len(members)}.")
    inside = 0
    for member in members:
        if member.compress_type not in _METHODS or (member.compress_type != zipfile.ZIP_STORED and not packed):
            raise refuse(f"{path}: refused, {member.filename[:80]} is compressed, and nothing that is read here is.")
        if member.flag_bits & 1:
            raise refuse(f"{path}: refused, {member.filename[:80]} is encrypted.")
        stored = member.compress_type == zipfile.ZIP_STORED
        if member.compress_size > size or member.file_size > member.compress_size * (1 if stored else _MAX_RATIO):
            raise refuse(
                f"{path}: refused, {member.filename[:80]} claims {member.file_size} bytes of {member.compress_size} "
                f"packed ones, in a file of {size}."
            )
        inside += member.compress_size
    if inside > size:
        raise refuse(f"{path}: refused, its members overlap: {inside} packed bytes in a file of {size}.")
    total = sum(member.file_size for member in members)
    if total > budget.unpacked(size):
        raise refuse(
            f"{path}: refused, its {size} bytes unpack to {total}, and may to {budget.unpacked(size)}. If that is what "
            f"the data are, store them unpacked."
        )


def member(archive: zipfile.ZipFile, name: str, path: Path, refuse: Refusal) -> bytes:
    """The bytes of a member, whose checksum fits.

    Raises:
        refuse: if it is damaged.
    """
    try:
        return archive.read(name)
    except Exception as error:  # BadZipFile, zlib.error, OSError, NotImplementedError, ...
        raise refuse(f"{path}: {name[:80]} cannot be read: {_line(error)}.") from error


def read_into(archive: zipfile.ZipFile, name: str, place: memoryview, path: Path, refuse: Refusal) -> None:
    """The bytes of a member, into memory of just that size; its checksum fits.

    Raises:
        refuse: if it is damaged.
    """
    try:
        with archive.open(name) as file:
            done = 0
            while done < len(place):
                if not (piece := file.read(min(len(place) - done, MIB))):
                    raise EOFError(f"it ends after {done} bytes")
                place[done : done + len(piece)] = piece
                done += len(piece)
            file.read(1)  # which compares the checksum
    except Exception as error:  # as above
        raise refuse(f"{path}: damaged, {name[:80]} cannot be read: {_line(error)}.") from error


def read_gzip(path: Path, refuse: Refusal, budget: Budget, most: int | None = None) -> bytes:
    """The content of a file, which is packed where its name ends in ``.gz``.

    Args:
        most: bytes after which nothing more is unpacked; default: what the budget allows.

    Raises:
        refuse: if it is damaged, or unpacks to more than its budget.
    """
    data = content(path, budget, refuse)
    if path.suffix != ".gz":
        return data if most is None else data[:most]
    allowed = budget.unpacked(len(data))
    try:
        with gzip.open(path) as file:
            unpacked = file.read(allowed + 1 if most is None else most)
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        raise refuse(f"{path}: cannot be read, its packed bytes are damaged: {_line(error)}.") from error
    if len(unpacked) > allowed:
        raise refuse(f"{path}: refused, its {len(data)} bytes unpack to more than {allowed}.")
    return unpacked


def first_bytes(path: Path, count: int) -> bytes:
    """How a file begins; of a folder, a pipe and what cannot be read, nothing."""
    if not path.is_file():
        return b""
    try:
        with open(path, "rb") as file:
            return file.read(count)
    except OSError:
        return b""


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
