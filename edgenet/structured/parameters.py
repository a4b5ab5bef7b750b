"""The parameters of structured matrices: copies that lie in memory in their own order, and lists that can be called."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from edgenet.errors import PlanError


def own_copy(tensor: Tensor) -> Tensor:
    """A copy without history, contiguous: file formats, flat vectors of parameters and sharding want no strides."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def parameter(tensor: Tensor, requires_grad: bool = True) -> nn.Parameter:
    """A parameter that holds an ``own_copy`` of a tensor."""
    return nn.Parameter(own_copy(tensor), requires_grad)


def replace_(module: nn.Module, **tensors: Tensor) -> None:
    """Put other tensors in the place of parameters, as new ones that train where those before did; all, or none.

    Raises:
        PlanError: if one is no parameter, but computed of others.
    """
    refuse_computed(module, *tensors)
    for name, tensor in tensors.items():
        setattr(module, name, parameter(tensor, module._parameters[name].requires_grad))


def refuse_computed(module: nn.Module, *names: str) -> None:
    """
    Raises:
        PlanError: if one of these tensors of a module is no parameter, but computed of others.
    """
    for name in names:
        if name not in module._parameters:
            raise PlanError(
                f"the {name} of this {type(module).__name__} is computed of other tensors (pruned, normalised, "
                f"parametrised), which keep their shape. Make it final first: torch.nn.utils.prune.remove, "
                f"remove_weight_norm or parametrize.remove_parametrizations."
            )


def taken(tensor: Tensor, rows: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
    """These rows and columns of a matrix, in this order; None takes all.

    Raises:
        IndexError: if there is no such row or column.
    """
    for axis, index in enumerate((rows, columns)):
        if index is not None:
            tensor = tensor.index_select(axis, index.to(tensor.device))
    return tensor


class Factors(nn.ParameterList):
    """The factors of one matrix, all of which are read at once, by a call.

    The call is what runs the hooks by which torch prunes a tensor, or normalises it, before it is used. A parameter
    that became a plain tensor that way is found under its name.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__(parameter(tensor) for tensor in tensors)

    __call__ = nn.Module.__call__  # which a ParameterList refuses

    def forward(self) -> tuple[Tensor, ...]:
        return tuple(getattr(self, str(k)) for k in range(len(self)))
