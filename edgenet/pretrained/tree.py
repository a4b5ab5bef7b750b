"""The tree: every module of a model by what it is made of, and every tensor once.

A node is one of

- ``{"class": ..., "arguments": ..., "attributes": ..., "tensors": ..., "behind": ..., "children": {name: node}}``, a
  module that ``recipe.make`` makes; ``behind`` has the structured matrices behind its tensors;
- ``{"structure": ..., "config": ...}``, a structured matrix;
- ``{"same": path}``, the module that stands at an earlier path;
- ``{"class": ..., "unknown": reason, "children": ...}``, a module that only its owner can make;
- None, where a child is None.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def nodes(tree: Mapping[str, Any] | None, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every node with its path."""
    if isinstance(tree, dict):  # what else a file may have is refused when it is built
        yield path, tree
        for name, child in tree.get("children", {}).items():
            yield from nodes(child, join(path, name))


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def behind_path(path: str, name: str) -> str:
    """Where the structured matrix behind a tensor of a module stands."""
    return join(path, f"parametrizations.{name}.0.matrix")
