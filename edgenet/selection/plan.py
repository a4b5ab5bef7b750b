"""Removal plans: which taps and blocks of edges stay in which layers."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgenet import reading
from edgenet.errors import PlanError
from edgenet.selection.blocks import block_names
from edgenet.text import toml_tables


@dataclass(frozen=True)
class Kept:
    """What stays of one layer.

    Attributes:
        taps: (hop, head) of the signals that are still combined.
        blocks: of edges that stay; None: all edges.

    Raises:
        PlanError: if there is no tap, or something else stands where taps and blocks belong.

    Example:
        >>> edgenet.selection.Kept(taps=((0, 0), (2, 0))).taps  # (hop, head)
        ((0, 0), (2, 0))
    """

    taps: tuple[tuple[int, int], ...]
    blocks: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        try:
            pairs = [(_number(hop), _number(head)) for hop, head in self.taps]
        except (TypeError, ValueError):
            pairs = []
        if not pairs:
            raise PlanError(f"taps to keep are pairs (hop, head) from (0, 0), one at least, got {self.taps!r}.")
        object.__setattr__(self, "taps", tuple(sorted(set(pairs))))
        if self.blocks is not None:
            if isinstance(self.blocks, str) or not isinstance(self.blocks, Iterable):
                raise PlanError(f"blocks to keep are a list of names, got {self.blocks!r}.")
            object.__setattr__(self, "blocks", tuple(dict.fromkeys(str(name) for name in self.blocks)))

    @property
    def hops(self) -> list[int]:
        return sorted({hop for hop, _ in self.taps})

    @property
    def heads(self) -> list[int]:
        """Of those at hops from 1; in a plan that keeps the input alone, those at hop 0."""
        return sorted({head for hop, head in self.taps if hop}) or sorted({head for _, head in self.taps})

    def edges(self, labels: Any) -> Tensor:
        """(E,) which edges stay, given the labels that the blocks were made of: filter edge lists and weights by it.

        Raises:
            PlanError: if no edge has the label of a block that is kept.
        """
        names, code = block_names(labels)
        if self.blocks is None:
            return torch.ones(len(code), dtype=torch.bool)
        unknown = [name for name in self.blocks if name not in names]
        if unknown:
            raise PlanError(f"no edge has the label {unknown[0]!r} of a block to keep; there are {', '.join(names)}.")
        return torch.as_tensor(np.isin(code.numpy(), [names.index(name) for name in self.blocks]))


@dataclass(frozen=True)
class RemovalPlan:
    """What stays, layer by layer; ``remove_`` carries it out. Layers that it does not name stay as they are.

    In TOML::

        [[layer]]
        name = "convs.0"
        taps = [[0, 0], [2, 0]]
        blocks = ["near"]

    Attributes:
        layers: path in the model -> ``Kept``; "" for the layer itself.

    Raises:
        PlanError: if there is no layer, or its part of the plan is no ``Kept``.

    Example:
        >>> plan = edgenet.selection.RemovalPlan({"": edgenet.selection.Kept(taps=((2, 0),))})
        >>> print(*edgenet.selection.remove_(edgenet.nn.specializations.gcnn(3, 8, order=4), plan))
        layer: hops 5 -> 1, heads 1 -> 1, taps 5 -> 1, parameters 128 -> 32
    """

    layers: Mapping[str, Kept]

    def __post_init__(self) -> None:
        if not self.layers:
            raise PlanError("a plan without layers removes nothing; name one.")
        for name, kept in self.layers.items():
            if not isinstance(name, str) or not isinstance(kept, Kept):
                raise PlanError(f"a plan maps the paths of layers to Kept(taps, blocks), got {name!r}: {kept!r}.")

    def __or__(self, other: RemovalPlan) -> RemovalPlan:
        """Both plans; of layers in both, what either keeps."""
        layers = dict(self.layers)
        for name, kept in other.layers.items():
            layers[name] = kept if name not in layers else _either(layers[name], kept)
        return RemovalPlan(layers)

    def __str__(self) -> str:
        lines = []
        for name, kept in self.layers.items():
            text = f"{name or 'layer'}: hops {kept.hops}, heads {kept.heads}, {len(kept.taps)} taps"
            lines.append(text + ("" if kept.blocks is None else f", edges of {', '.join(kept.blocks) or 'no block'}"))
        return "\n".join(lines)

    @property
    def kept(self) -> Kept:
        """What stays of the only layer.

        Raises:
            PlanError: if there are more.
        """
        if len(self.layers) > 1:
            raise PlanError(f"this plan has {len(self.layers)} layers; ask for one: plan.layers[name].")
        return next(iter(self.layers.values()))

    def to_toml(self) -> str:
        """The text that ``from_toml`` reads."""
        return toml_tables(
            "layer",
            ({"name": name, "taps": kept.taps, "blocks": kept.blocks} for name, kept in self.layers.items()),
        )

    @classmethod
    def from_toml(cls, path: str | Path) -> RemovalPlan:
        """The plan in a TOML file.

        Raises:
            PlanError: if the file is missing, no TOML, or has anything else in it; with its name.
        """
        content = reading.read_toml(Path(path), PlanError)
        tables = content.pop("layer", None)
        if (
            content
            or not tables
            or not isinstance(tables, list)
            or not all(isinstance(table, dict) for table in tables)
        ):
            raise PlanError(f"{path}: a removal plan holds [[layer]] tables with name, taps and blocks alone.")
        layers = {}
        for number, table in enumerate(tables, 1):
            name, unknown = table.get("name"), sorted(set(table) - {"name", "taps", "blocks"})
            if not isinstance(name, str) or unknown or name in layers:
                wrong = f"has an unknown key {unknown[0]!r}" if unknown else f"has no name of its own, but {name!r}"
                raise PlanError(f"{path}: layer {number} {wrong}; it has a name, taps and blocks.")
            try:
                layers[name] = Kept(table.get("taps", ()), table.get("blocks"))
            except PlanError as error:
                raise PlanError(f"{path}: layer {number}, {name!r}: {error}") from error
        return cls(layers)


def _number(value: Any) -> int:
    """A hop or head as a plain number; floats and truth values are none."""
    number = -1 if isinstance(value, bool | np.bool_) else operator.index(value)
    if number < 0:
        raise ValueError
    return number


def _either(one: Kept, other: Kept) -> Kept:
    blocks = None
    if one.blocks is not None and other.blocks is not None:
        blocks = tuple(dict.fromkeys((*one.blocks, *other.blocks)))
    return Kept((*one.taps, *other.taps), blocks)
