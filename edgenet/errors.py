"""Errors a user can act on. Each is a ValueError whose text names what was wanted, what came, and the next step.

Example:
    >>> layer = edgenet.EdgeNetConv(3, 8, phi="edge_varying").bind(graph)
    >>> layer(x, torch.tensor([[0], [2]]))  # an edge that the table was not made for
    Traceback (most recent call last):
    edgenet.errors.SupportError: ...
"""


class ShapeError(ValueError):
    """A tensor has the wrong shape, dtype or device, or holds values that cannot be used (NaN)."""


class RankError(ValueError):
    """A rank, block size or factorisation does not fit the matrix."""


class RankWarning(UserWarning):
    """A rank is larger than the largest that changes anything, and was set to that."""


class EdgeIndexError(ValueError, IndexError):
    """An edge list is malformed: wrong shape, wrong dtype, or an index that names no node."""


class SupportError(ValueError):
    """An edge lies outside the edges that a table of edge weights was made for, or the table has no graph yet."""


class ConversionError(ValueError):
    """A model has an option that cannot be carried over exactly."""


class PlanError(ValueError):
    """A compression plan names nothing, or names something twice."""


class BackendError(ValueError):
    """A backend was asked for that is unknown or not available here."""


class ConfigError(ValueError):
    """A configuration has an unknown key, or a value out of range."""


class CheckpointError(ValueError):
    """A checkpoint is damaged, of another format version, or belongs to another model."""


class ClassWarning(UserWarning):
    """A model is loaded into one whose classes have other names. What is inside has the same structure."""


class DataError(ValueError):
    """A data file has bad content: truncated, of another layout, or holding what is not data."""


class DatasetNotFoundError(DataError, FileNotFoundError):
    """A data set's files are nowhere they were looked for."""


class ContractError(AssertionError):
    """A part does not keep what its kind promises, as ``edgenet.testing`` found. No ValueError: the part is wrong."""
