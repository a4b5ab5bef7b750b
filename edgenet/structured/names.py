"""The names of the families of structured matrices."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from edgenet.errors import PlanError

#: The families, classes of ``StructuredMatrix``, by the name that plans and the command line use. Filled in
#: ``edgenet.structured``.
STRUCTURES: dict[str, type[Any]] = {}


def name_of(matrix: nn.Module) -> str:
    """The name of its family in ``STRUCTURES``, with parametrisations or without.

    Raises:
        PlanError: if its class is registered under none: a subclass of a family is a family of its own.

    Example:
        >>> edgenet.structured.name_of(edgenet.structured.Dense(torch.ones(2, 3)))
        'dense'
    """
    kind = type(matrix).__mro__[1] if parametrize.is_parametrized(matrix) else type(matrix)
    for name, known in STRUCTURES.items():
        if known is kind:
            return name
    raise PlanError(
        f"{kind.__module__}.{kind.__name__} is no family of structured matrices under any name. If it is one, give it "
        f'a name, edgenet.register("structure", "my_family", {kind.__name__}); if it wraps a matrix, put that into the '
        f"slot."
    )
