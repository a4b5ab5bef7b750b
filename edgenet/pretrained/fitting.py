"""Fitting: whether a model wants the tensors that a file has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.errors import CheckpointError
from edgenet.pretrained.building import Builder, share_pools
from edgenet.pretrained.limits import Limits
from edgenet.structured.plan_in_state import is_plan


def built(
    tree: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    pools: Mapping[str, str],
    stand_ins: bool = False,
) -> nn.Module:
    """The model on the meta device: sizes, and no numbers."""
    return planned(tree, shapes, pools, stand_ins)[0]


def planned(
    tree: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    pools: Mapping[str, str],
    stand_ins: bool = False,
) -> tuple[nn.Module, Limits]:
    """``built``, and what its constructors have made."""
    builder = Builder(tree, shapes, stand_ins)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = builder.build()
    share_pools(model, pools)
    return model, builder.limits


def check_fit(model: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare what a model wants with what there is.

    Raises:
        CheckpointError: if names or shapes differ.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in tensors_of(model).items()}
    for name in sorted(set(wanted) | set(shapes)):
        if wanted.get(name) != shapes.get(name):
            raise CheckpointError(
                f"the tensors do not fit the model: {name} is {shapes.get(name, 'not there')} and should be "
                f"{wanted.get(name, 'not there')}."
            )


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Those of ``state_dict``, without the plan: the tree tells of the structures here.

    Example:
        >>> sorted(edgenet.pretrained.tensors_of(torch.nn.Linear(3, 2)))
        ['bias', 'weight']
    """
    state = model.state_dict(keep_vars=True)
    return {name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor) and not is_plan(name)}
