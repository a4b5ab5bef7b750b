"""of_kernel: a structure that is told the places of the kernel that it is for."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

from edgenet.structured.families import Structure
from edgenet.structured.names import STRUCTURES


def of_kernel(make: Structure, places: int) -> Structure:
    """What makes a matrix for a kernel of so many places, whose columns are channels by places.

    A family whose ``from_dense`` has an option ``places`` is told them where nobody has; so is the ``base`` inside of
    another. What is no ``structure(name, **options)`` is as it was.

    Example:
        >>> make = edgenet.structured.of_kernel(edgenet.structured.structure("block_circulant", block=4), 9)
        >>> make(torch.randn(8, 4 * 9)).shape  # circulant among channels, place by place
        (8, 36)
    """
    if places == 1 or not isinstance(make, partial):
        return make
    return partial(make.func, *make.args, **_told(make.keywords, inspect.signature(make.func).parameters, places))


def _told(options: Mapping[str, Any], known: Mapping[str, Any], places: int) -> dict[str, Any]:
    told = dict(options)
    if "places" in known:
        told.setdefault("places", places)
    base = told.get("base")
    if isinstance(base, list | tuple):
        told["base"] = [_base(one, places) for one in base]
    elif base is not None:
        told["base"] = _base(base, places)
    return told


def _base(base: Any, places: int) -> Any:
    if not isinstance(base, Mapping):
        return of_kernel(base, places)
    name = base.get("structure")
    if not isinstance(name, str) or name not in STRUCTURES:  # which its holder refuses
        return base
    return _told(base, inspect.signature(STRUCTURES[name].from_dense).parameters, places)
