"""StandIn: what stands for a module whose class is not here, so that what is inside can be read and compressed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import torch
from torch import nn

from edgenet.errors import CheckpointError


class StandIn(nn.Module):
    """The children and the tensors of a module of somebody's own class, under their names, and no forward pass.

    Saving it writes what the module itself would have written, so that a model can be compressed where its class is not
    at hand, and be loaded where it is.

    Args:
        told: the node of the module in the tree: its class, and why edgenet does not make it.
        children: by name.
        shapes: of its own tensors, by name.
    """

    def __init__(
        self,
        told: Mapping[str, Any],
        children: Mapping[str, nn.Module | None],
        shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        super().__init__()
        self.told = {key: told[key] for key in ("class", "unknown", "buffers", "reads_weights") if key in told}
        self.reads_weights = bool(told.get("reads_weights", False))
        buffers = told.get("buffers", ())
        for name, child in children.items():
            self._modules[name] = child  # whatever the name: no attribute of this class is one of the module's
        for name, shape in shapes.items():
            tensor = torch.empty(shape, device="meta")
            if name in buffers:
                self._buffers[name] = tensor
            else:
                self._parameters[name] = nn.Parameter(tensor)

    def forward(self, *args: Any, **options: Any) -> NoReturn:
        kind = self.told["class"]
        raise CheckpointError(
            f"a {kind} was read without its class, which edgenet does not know, and cannot run. Hand the model over: "
            f"from_pretrained(folder, model=...), with what makes a {str(kind).rpartition('.')[2]}."
        )


def own_tensors(path: str, names: Iterable[str]) -> list[str]:
    """The tensors of the module at a path that are in no child of it, by the names of all."""
    start = f"{path}." if path else ""
    own = [name.removeprefix(start) for name in names if name.startswith(start)]
    return [name for name in own if "." not in name]
