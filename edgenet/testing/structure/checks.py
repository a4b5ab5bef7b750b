"""check_structure: a family of structured matrices, held to everything that layers, plans and files ask of one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from edgenet.errors import ConfigError
from edgenet.structured import StructuredMatrix
from edgenet.testing.contract import Contract, require
from edgenet.testing.structure.case import SHAPES, StructureCase, cases_of
from edgenet.testing.structure.fitting import FITTING
from edgenet.testing.structure.products import PRODUCTS
from edgenet.testing.structure.slots import SLOTS
from edgenet.testing.structure.storage import STORAGE

#: All of the contract: products, fitting, storage, slots.
CHECKS: Contract[StructureCase] = Contract(PRODUCTS, FITTING, STORAGE, SLOTS)


def check_structure(
    part: type[StructuredMatrix] | StructureCase,
    *,
    shapes: Sequence[tuple[int, int]] = SHAPES,
    options: dict[str, Any] | None = None,
    full: dict[str, Any] | None = None,
    only: Collection[str] | str | None = None,
    skip: Collection[str] | str = (),
) -> None:
    """Hold a family of structured matrices to its contract, in float64 and from a fixed seed.

    Args:
        part: a subclass of ``StructuredMatrix``; or a ``StructureCase``, which says itself how its matrices are made.
        shapes: (m, n) at which its matrices are made; those where its ``ladder`` is empty are left out.
        options: of ``from_dense``. Default: the first and the last of ``ladder`` at every shape.
        full: options at which ``from_dense`` meets every weight; ``{}`` where it always does, None where it never does.
        only, skip: names of checks to run alone, or to leave out: "rows", "dtype, float16", "compile". They are the
            keys of ``edgenet.testing.structure.CHECKS.checks``.

    Raises:
        ContractError: which is an AssertionError; it names every failed check, what differs and what was asked.
        ConfigError: if there is no check of such a name.

    Example:
        >>> edgenet.testing.check_structure(edgenet.structured.LowRank, options={"rank": 2})  # doctest: +SKIP
    """
    CHECKS.chosen(only, skip)
    if not isinstance(part, StructureCase) and not (isinstance(part, type) and issubclass(part, StructuredMatrix)):
        raise ConfigError(f"check_structure takes a subclass of StructuredMatrix or a StructureCase, got {part!r}.")
    cases = [part] if isinstance(part, StructureCase) else list(cases_of(part, shapes, options, full))
    require(bool(cases), f"{part.__name__ if isinstance(part, type) else part} fits none of the shapes {list(shapes)}")
    for case in cases:
        CHECKS.hold_all(case, only, skip)
