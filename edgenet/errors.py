"""Errors a user can act on. Each is a ValueError whose text names what was wanted, what came, and the next step.

Example:
    >>> layer = edgenet.EdgeNetConv(3, 8, phi="edge_varying").bind(graph)
    >>> layer(x, torch.tensor([[0], [2]]))  # an edge that the table was not made for
    Traceback (most recent call last):
    edgenet.errors.SupportError: ...
"""

from __future__ import annotations

import errno

from edgenet.printable import printable


class _Plain:
    """What is said may come from a file: what a terminal would obey in it is shown and not sent."""

    def __str__(self) -> str:
        return printable(super().__str__())


class ShapeError(_Plain, ValueError):
    """A tensor has the wrong shape, dtype or device, or holds values that cannot be used (NaN)."""


class RankError(_Plain, ValueError):
    """A rank, block size or factorisation does not fit the matrix."""


class RankWarning(_Plain, UserWarning):
    """A rank is larger than the largest that changes anything, and was set to that."""


class EdgeIndexError(_Plain, ValueError, IndexError):
    """An edge list is malformed: wrong shape, wrong dtype, or an index that names no node."""


class SupportError(_Plain, ValueError):
    """An edge lies outside the edges that a table of edge weights was made for, or the table has no graph yet."""


class ConversionError(_Plain, ValueError):
    """A model has an option that cannot be carried over exactly."""


class PlanError(_Plain, ValueError):
    """A compression plan names nothing, or names something twice."""


class BackendError(_Plain, ValueError):
    """A backend was asked for that is unknown or not available here."""


class ConfigError(_Plain, ValueError):
    """A configuration has an unknown key, or a value out of range."""


class CheckpointError(_Plain, ValueError):
    """A checkpoint is damaged, of another format version, or belongs to another model."""


class FolderInUseError(ConfigError):
    """Another process, or another thread, writes into the folder of a training."""


class WriteError(_Plain, ValueError, OSError):
    """The system cannot write a file: no space, no permission, a limit. What stood in its place is still there."""

    @classmethod
    def of(cls, path: object, error: OSError) -> WriteError:
        """What the system says, with the file and the next step."""
        reason = error.strerror or str(error) or type(error).__name__
        made = cls(f"{path}: cannot be written: {reason}. {_remedy(error.errno)}")
        made.errno, made.strerror, made.filename = error.errno, reason, str(path)
        return made

    def __str__(self) -> str:
        return printable(self.args[0]) if self.args else ""


def _remedy(number: int | None) -> str:
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "Make space, or choose another folder."
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Choose a folder that may be written to."
    if number in (errno.EMFILE, errno.ENFILE):
        return "Close files, or raise the limit: ulimit -n."
    if number == errno.ELOOP:
        return "It is a symbolic link, which is not followed: remove it, or name the file it points to."
    return "Choose another place."


class ClassWarning(_Plain, UserWarning):
    """A model is loaded into one whose classes have other names. What is inside has the same structure."""


class DataError(_Plain, ValueError):
    """A data file has bad content: truncated, of another layout, or holding what is not data."""


class DatasetNotFoundError(DataError, FileNotFoundError):
    """A data set's files are nowhere they were looked for."""


class ContractError(_Plain, AssertionError):
    """A part does not keep what its kind promises, as ``edgenet.testing`` found. No ValueError: the part is wrong."""
