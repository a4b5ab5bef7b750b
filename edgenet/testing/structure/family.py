"""Whether a class can be a family of structured matrices: what plans, searches and files ask of it, asked once."""

from __future__ import annotations

from collections.abc import Iterator

from edgenet.errors import ContractError, PlanError
from edgenet.structured import STRUCTURES, StructuredMatrix
from edgenet.testing.contract import fair
from edgenet.testing.structure.case import StructureCase, case_of, ladder_of
from edgenet.testing.structure.checks import CHECKS

_SHAPES = ((12, 8), (8, 8), (8, 12), (64, 64))
_RESERVED = ("keep",)  # what plans say of slots that stay as they are
#: of the whole contract, what plans, searches and files cannot do without
_NEEDED = ("shape", "config and tensors", "matmul, (2, 5)", "rows", "pack")


def check_family(name: str, cls: type[StructuredMatrix]) -> None:
    """Refuse what cannot be the family ``name``: the quick form of ``check_structure``.

    The smallest and the largest of its own sizes (``ladder``) are made of a random weight, built again from their
    ``config`` and tensors, packed, multiplied and read.

    Raises:
        PlanError: if the name is none, or taken by another class; if the class is abstract; or if one of these fails.
            The text lists all that is missing.
    """
    problems = []
    if not isinstance(name, str) or not name.isidentifier() or name in _RESERVED:
        problems.append(f"the name {name!r} is no word that a plan can use: write letters, digits and underscores")
    elif STRUCTURES.get(name, cls) is not cls:
        problems.append(f"the name {name!r} is taken by {STRUCTURES[name].__name__}: choose another")
    if not (isinstance(cls, type) and issubclass(cls, StructuredMatrix)):
        problems.append(f"{cls!r} is no subclass of StructuredMatrix")
    elif cls.__abstractmethods__:
        problems.append(f"it lacks {', '.join(sorted(cls.__abstractmethods__))}")
    else:
        try:
            for case in _cases(cls):
                for check in _NEEDED:
                    CHECKS.hold(check, case)
        except ContractError as error:
            problems.append(str(error))
        except Exception as error:  # whatever a class of somebody else raises is what is told of it
            problems.append(f"ladder or from_dense raises {type(error).__name__}: {error}")
    if problems:
        raise PlanError(f"{getattr(cls, '__name__', cls)} cannot be the family {name!r}: {'; '.join(problems)}")


def _cases(cls: type[StructuredMatrix]) -> Iterator[StructureCase]:
    """Its smallest and its largest size, at the first shape that it fits."""
    for shape in _SHAPES:
        sizes = ladder_of(cls, shape)
        for options in sizes[:1] + sizes[1:][-1:]:
            with fair():
                made = cls.from_dense(case_of(cls, shape, options).weight(), **options)
            if type(made) is not cls:
                raise ContractError(f"from_dense of a {shape} weight makes a {type(made).__name__}")
            yield case_of(cls, shape, options)
        if sizes:
            return
