"""check_phi: edge weights, held to what layers ask of them and to what they say of themselves."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any

from edgenet.errors import ConfigError
from edgenet.phi import Phi
from edgenet.phi.base import LayerSpec
from edgenet.testing.contract import Contract
from edgenet.testing.phi.case import PhiCase
from edgenet.testing.phi.lasting import LASTING
from edgenet.testing.phi.weights import WEIGHTS

#: (order, heads) at which a class is tried
_SIZES = ((1, 1), (3, 2))
#: All of the contract: weights, life.
CHECKS: Contract[PhiCase] = Contract(WEIGHTS, LASTING)


def check_phi(
    part: type[Phi] | Phi | Callable[[], Phi] | PhiCase,
    *,
    columns: int | None = None,
    edge_attr: str | int | None = None,
    channels: int = 4,
    numbers: Callable[[Any], int] | None = None,
    only: Collection[str] | str | None = None,
    skip: Collection[str] | str = (),
) -> None:
    """Hold a phi to its contract, in float64, from a fixed seed, on awkward graphs.

    Args:
        part: a subclass of ``Phi``, which is made by ``for_layer`` for layers of 5 to 4 channels at (order, heads) of
            (1, 1) and (3, 2); or a function of nothing that makes one; or one; or a ``PhiCase``.
        columns, edge_attr, channels, numbers: the inputs that it takes, and the last axis of its weights; see
            ``PhiCase``.
        only, skip: names of checks to run alone, or to leave out; the keys of ``edgenet.testing.phi.CHECKS.checks``.

    Raises:
        ContractError: which is an AssertionError; it names every failed check, what differs and what was asked.
        ConfigError: if there is no check of such a name, or what is handed in is no phi and makes none.

    Example:
        >>> edgenet.testing.check_phi(edgenet.phi.ShiftOperator)  # seconds  # doctest: +SKIP
    """
    made = isinstance(part, Phi | PhiCase) or (issubclass(part, Phi) if isinstance(part, type) else callable(part))
    if not made:
        raise ConfigError(
            f"check_phi takes a subclass of Phi, one, a function that makes one, or a case; got {part!r}."
        )
    cases = []
    if isinstance(part, PhiCase):
        cases = [part]
    elif isinstance(part, type):
        for order, heads in _SIZES:
            spec, name = LayerSpec(5, 5, channels, order, heads), f"{part.__name__}(order={order}, heads={heads})"
            build = _of_spec(part, spec)
            cases.append(PhiCase(name, build, columns, edge_attr, channels, numbers))
    else:
        build = (lambda: copy.deepcopy(part).double()) if isinstance(part, Phi) else part
        name = type(part).__name__ if isinstance(part, Phi) else getattr(part, "__name__", str(part))
        cases = [PhiCase(name, build, columns, edge_attr, channels, numbers)]
    for case in cases:
        CHECKS.hold_all(case, only, skip)


def _of_spec(kind: type[Phi], spec: LayerSpec) -> Callable[[], Phi]:
    return lambda: kind.for_layer(spec)
