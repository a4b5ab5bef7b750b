"""The families of structured matrices by their names, and projection onto one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from edgenet.errors import PlanError
from edgenet.structured.base import StructuredMatrix
from edgenet.structured.names import STRUCTURES
from edgenet.text import did_you_mean

#: What makes a structured matrix of a dense weight: ``partial(Kronecker.from_dense, factor=(8, 8))``.
Structure = Callable[[Tensor], StructuredMatrix]


def family(name: str) -> type[StructuredMatrix]:
    """The family of that name.

    Raises:
        PlanError: if there is none; the text lists them.

    Example:
        >>> edgenet.structured.family("low_rank").__name__
        'LowRank'
    """
    if not isinstance(name, str) or name not in STRUCTURES:
        meant = did_you_mean(name, STRUCTURES)
        raise PlanError(f"no structure is called {name!r}; there are {', '.join(STRUCTURES)}.{meant}")
    return STRUCTURES[name]


def structure(name: str, **options: Any) -> Structure:
    """``structure("kronecker", factor=(8, 8))``: the projection onto a family, by name.

    With ``bits``, or with a ``quantiser``, onto that family in rounded numbers.

    Raises:
        PlanError: if there is no such family or quantiser, or an option is unknown or missing; the text lists them.

    Example:
        >>> make = edgenet.structured.structure("kronecker", factor=(4, 4))
        >>> make(torch.randn(16, 16)).num_parameters()
        32
    """
    return of_spec({**options, "structure": name})


def of_spec(spec: Mapping[str, Any]) -> Structure:
    """``structure`` of a name and options in one table; so are the options of what stands inside of it.

    Raises:
        PlanError: as ``structure``.
    """
    options = written_out(spec)
    name, base = options.pop("structure"), options.get("base")
    for inner in base if isinstance(base, list | tuple) else [base]:
        if isinstance(inner, Mapping) and "structure" in inner:
            of_spec(inner)
    make = family(name).from_dense
    _check_options(name, make, options)
    return partial(make, **options)


def _check_options(name: str, make: Structure, options: Mapping[str, Any]) -> None:
    """Refuse an option that a family has not, and the lack of one that it needs."""
    parameters = list(inspect.signature(make).parameters.values())[1:]  # the first is the weight
    known = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
    names = [p.name for p in known]
    has = f"{name} has the options {', '.join(names)}" if names else f"{name} has no options"
    unknown = [key for key in options if key not in names] if known == parameters else []
    missing = [p.name for p in known if p.default is p.empty and p.name not in options]
    if unknown:
        raise PlanError(f"{name} has no option {unknown[0]!r}; {has}.{did_you_mean(unknown[0], names)}")
    if missing:
        raise PlanError(f"{name} needs the option {missing[0]!r}; {has}.")


def named(base: Mapping[str, Any], what: str) -> tuple[str, dict[str, Any]]:
    """The name and the options of ``{"structure": name, **options}``, written out.

    Args:
        what: holds it, for the message.

    Raises:
        PlanError: if it is none.
    """
    if not isinstance(base, Mapping) or "structure" not in base:
        raise PlanError(f"the base of {what} is {{'structure': name, **options}}, got {base!r}.")
    options = written_out(base)
    return options.pop("structure"), options


def written_out(spec: Mapping[str, Any]) -> dict[str, Any]:
    """``{"structure": name, **options, "bits": 8}`` as the quantiser that holds that structure; other specs as they
    are. A family that has such an option itself keeps it.

    Raises:
        PlanError: if the structure or the quantiser is none, or the quantiser has no bits to choose.
    """
    given = [key for key in ("bits", "quantiser") if key in spec]
    if not given:
        return dict(spec)
    kind = family(spec["structure"])
    known = inspect.signature(kind.from_dense).parameters
    if hasattr(kind, "encoded") or all(key in known for key in given) or hasattr(kind, "decoded"):
        return dict(spec)
    name = spec.get("quantiser", "uniform")
    quantisers = [key for key, known in STRUCTURES.items() if hasattr(known, "encoded")]
    if family(name) not in [STRUCTURES[key] for key in quantisers]:
        raise PlanError(f"{name!r} is no quantiser; there are {', '.join(quantisers)}.{did_you_mean(name, quantisers)}")
    options = [key for key in inspect.signature(family(name).from_dense).parameters if key not in ("weight", "base")]
    if "bits" in spec and "bits" not in options:
        raise PlanError(f"{name!r} has codes of one width, and no option 'bits'; it has {', '.join(options)}.")
    own = {key: value for key, value in spec.items() if key in options}
    base = {key: value for key, value in spec.items() if key not in options and key != "quantiser"}
    return {"structure": name, "base": base, **own}


def project(weight: Tensor, structure: Structure) -> Tensor:
    """The dense matrix of the family member that ``structure`` makes of an (m, n) weight. Carries no gradient.

    Example:
        >>> weight = torch.randn(8, 3)
        >>> near = edgenet.structured.project(weight, edgenet.structured.structure("low_rank", rank=1))
        >>> torch.linalg.matrix_rank(near).item()
        1
    """
    with torch.no_grad():
        return structure(weight.detach()).eval().to_dense().detach()  # a dense one is a parameter
