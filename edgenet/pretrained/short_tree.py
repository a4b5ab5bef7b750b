"""The tree in short: a node says only in what it differs from the first one of its class.

Layers of a network are alike. Of the second ``EdgeNetConv`` a file holds the arguments that are not those of the first;
of the second low-rank matrix, the options. Nothing is left out because it is a default: those may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgenet.errors import CheckpointError

_OPTIONS = {"class": "arguments", "structure": "config"}  # what names a kind -> what its nodes differ in
_LIKE = "like_first"


def shortened(node: Any) -> Any:
    """A tree without what its nodes repeat."""
    return _walked(node, {}, _short)


def lengthened(node: Any) -> Any:
    """The tree that ``shortened`` was given.

    Raises:
        CheckpointError: if a node is said to be like a first one, and there is none.
    """
    return _walked(node, {}, _long)


def _walked(node: Any, first: dict[Any, Mapping[str, Any]], change: Any) -> Any:
    if not isinstance(node, dict):
        return node
    node = dict(node)
    for kind, options in _OPTIONS.items():
        if isinstance(node.get(kind), str) and isinstance(node.get(options), dict):
            change(node, (kind, node[kind]), options, first)
    for below in ("behind", "children"):
        if isinstance(node.get(below), dict):
            node[below] = {name: _walked(child, first, change) for name, child in node[below].items()}
    return node


def _short(node: dict[str, Any], key: tuple[str, str], options: str, first: dict[Any, Mapping[str, Any]]) -> None:
    own, reference = node[options], first.get(key)
    if reference is None:
        first[key] = own
    elif own and own.keys() == reference.keys():
        node[options] = {name: value for name, value in own.items() if not _equal(value, reference[name])}
        node[_LIKE] = True


def _long(node: dict[str, Any], key: tuple[str, str], options: str, first: dict[Any, Mapping[str, Any]]) -> None:
    if node.pop(_LIKE, False):
        if key not in first:
            raise CheckpointError(f"a {key[1][:80]} is said to be like the first one, and none stands before it.")
        node[options] = {**first[key], **node[options]}
    first.setdefault(key, node[options])


def _equal(value: Any, other: Any) -> bool:
    """Also in kind: 1, 1.0 and True are three values."""
    return repr(value) == repr(other)
