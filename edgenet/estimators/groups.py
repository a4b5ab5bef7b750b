"""Groups of columns, given as a label for each column or as the columns of each group."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from edgenet.errors import ConfigError
from edgenet.estimators.columns import column_name
from edgenet.text import did_you_mean


def read_groups(groups: Any, num_columns: int, names: Sequence[str] | None = None) -> tuple[list[Hashable], np.ndarray]:
    """The groups' labels, and for each column the number of its group.

    Args:
        groups: None, each column by itself; or ``num_columns`` labels, one for each column; or the columns of each
            group, as a list of lists, or as a mapping from labels to lists. Columns are numbers or names. A ``Series``
            of labels whose index are the columns' names is read by name.
        num_columns: p.
        names: of the columns.

    Returns:
        G labels, sorted if one was given for each column (and they can be) and else in the order given; (p,) numbers
        below G.

    Raises:
        ConfigError: if there are not p labels, a group is empty, two overlap, a column is in none, or has no such name.
    """
    if groups is None:
        return list(range(num_columns)), np.arange(num_columns)
    if isinstance(groups, Mapping):
        return _of_columns(groups, num_columns, names)
    if not isinstance(groups, Iterable):
        raise ConfigError(f"groups are a label for each column, or the columns of each group, got {groups!r}.")
    index = getattr(groups, "index", None)  # of a list it is a method
    if names is not None and index is not None and not callable(index) and set(index) & set(names):
        wrong = sorted(set(index) ^ set(names), key=str)
        if wrong:
            raise ConfigError(f"groups is a Series by the columns' names, and {wrong[0]!r} is in one of the two alone.")
        by_name: Any = groups
        groups = [by_name[name] for name in names]
    groups = list(groups)
    if any(isinstance(group, list | tuple | range | set | frozenset | np.ndarray) for group in groups):
        return _of_columns(dict(enumerate(groups)), num_columns, names)
    return _of_labels(groups, num_columns)


def _of_labels(groups: list[Any], num_columns: int) -> tuple[list[Hashable], np.ndarray]:
    """From a label for each column."""
    if len(groups) != num_columns:
        raise ConfigError(f"groups has {len(groups)} labels for {num_columns} columns; give one for each.")
    groups = [label.item() if isinstance(label, np.generic) else label for label in groups]
    unknown = [label for label in groups if label is None or (isinstance(label, float) and math.isnan(label))]
    if unknown:
        raise ConfigError(f"a column's group is {unknown[0]!r}, which is no label. Give each column a group.")
    labels = list(dict.fromkeys(groups))
    with suppress(TypeError):  # labels of several types keep the order in which they come
        labels.sort()
    number = {label: g for g, label in enumerate(labels)}
    return labels, np.array([number[label] for label in groups])


def _of_columns(
    groups: Mapping[Hashable, Any], num_columns: int, names: Sequence[str] | None
) -> tuple[list[Hashable], np.ndarray]:
    """From the columns of each group."""
    owner: dict[int, Hashable] = {}
    for label, columns in groups.items():
        columns = list(columns) if isinstance(columns, set | frozenset) else columns
        columns = np.atleast_1d(np.asarray(columns, dtype=object)).tolist()  # names and numbers, as they are
        if not columns:
            raise ConfigError(f"group {label!r} is empty. Remove it, or give it columns.")
        for column in columns:
            j = _number(column, label, names)
            _check_column(j, label, owner, num_columns, names)
            owner[j] = label
    missing = [column_name(j, names) for j in range(num_columns) if j not in owner]
    if missing:
        raise ConfigError(
            f"{missing[0]} is in no group{f', nor are {len(missing) - 1} more columns' if missing[1:] else ''}. "
            "Give each column a group; one by itself is penalised by its own absolute value."
        )
    labels = list(groups)
    number = {label: g for g, label in enumerate(labels)}
    return labels, np.array([number[owner[j]] for j in range(num_columns)], dtype=int)


def _number(column: Any, label: Hashable, names: Sequence[str] | None) -> Any:
    """The number of a column that is called by its name; what is no name stays what it is."""
    if not isinstance(column, str):
        return column.item() if isinstance(column, np.generic) else column
    if names is None:
        raise ConfigError(f"group {label!r} names {column!r}, and the columns have no names: fit to a DataFrame.")
    known = [str(name) for name in names]
    if column not in known:
        raise ConfigError(f"group {label!r} holds {column!r}, which is no column.{did_you_mean(column, known, 3)}")
    return known.index(column)


def _check_column(
    j: Any, label: Hashable, owner: Mapping[int, Hashable], num_columns: int, names: Sequence[str] | None
) -> None:
    """Refuse what is no column, or belongs to a group already."""
    if not isinstance(j, int) or isinstance(j, bool) or not 0 <= j < num_columns:
        raise ConfigError(f"group {label!r} holds {j!r}, which is no column: they go from 0 to {num_columns - 1}.")
    if j in owner:
        same = "twice in it" if owner[j] == label else f"in group {owner[j]!r} too"
        raise ConfigError(
            f"{column_name(j, names)} of group {label!r} is {same}. Groups do not overlap: leave it in one."
        )
