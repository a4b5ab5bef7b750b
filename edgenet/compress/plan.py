"""Plans: which structure goes into which slots."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from edgenet import reading
from edgenet.compress.finding import matching
from edgenet.compress.slot import Slot
from edgenet.errors import PlanError
from edgenet.reading.patterns import compiled
from edgenet.structured import Structure, StructuredMatrix
from edgenet.structured.families import of_spec
from edgenet.text import toml_tables

#: What goes into a slot: ``{"structure": name, **options}``, the name alone where it needs no options, what makes a
#: structured matrix of a dense weight, or "keep".
Spec = Mapping[str, Any] | str | Callable[[Tensor], StructuredMatrix]


@dataclass(frozen=True)
class Plan:
    """Rules in order. A slot goes by the first rule whose pattern matches one of its names (``re.match``, that is from
    the start on); a slot that none matches stays as it is. A depthwise kernel (a convolution of one channel a group)
    stays too, but where it is named: by a rule that matches depthwise kernels alone.

    In Python a plan may be written as a dict or a list of pairs; in TOML it is::

        [[rule]]
        pattern = 'convs\\.0\\.lift'
        structure = "kronecker"
        factor = [8, 8]

        [[rule]]
        pattern = "head"
        structure = "keep"

    ``bits`` or ``quantiser`` beside any structure put a quantiser around it: ``{"structure": "kronecker", "factor":
    (8, 8), "bits": 8}`` is ``{"structure": "uniform", "base": {"structure": "kronecker", "factor": (8, 8)}, "bits":
    8}``.

    Attributes:
        rules: (pattern, spec) pairs; a dict becomes these.

    Raises:
        PlanError: if a pattern is no regular expression, a structure or an option is unknown, or there is no rule.

    Example:
        >>> plan = edgenet.compress.Plan.of({r".*lift": {"structure": "low_rank", "rank": 2}, ".*": "keep"})
        >>> print(plan.to_toml())
        [[rule]]
        pattern = ".*lift"
        structure = "low_rank"
        rank = 2
        ...
    """

    rules: tuple[tuple[str, Spec], ...]

    def __post_init__(self) -> None:
        if isinstance(self.rules, Mapping):
            object.__setattr__(self, "rules", tuple(self.rules.items()))
        if not self.rules:
            raise PlanError("a plan without rules compresses nothing; give it a pattern and a structure at least.")
        keeps = {"structure": "keep"}
        rules = tuple((pattern, "keep" if spec == keeps else spec) for pattern, spec in self.rules)
        object.__setattr__(self, "rules", rules)
        seen = set()
        for pattern, spec in self.rules:
            try:
                compiled(pattern)
            except (re.error, TypeError) as error:
                raise PlanError(f"the pattern {pattern!r} is no regular expression: {error}.") from error
            if pattern in seen:
                raise PlanError(f"the pattern {pattern!r} has two rules, of which the second never counts.")
            seen.add(pattern)
            resolve(spec, f"the rule {pattern!r}")

    @classmethod
    def of(cls, plan: PlanLike) -> Plan:
        """A plan from any way to write one; a text is the path of a TOML file.

        Raises:
            PlanError: if it is none.
        """
        if isinstance(plan, Plan):
            return plan
        if isinstance(plan, str | Path):
            return cls.from_toml(plan)
        if isinstance(plan, Mapping):
            return cls(tuple(plan.items()))
        try:
            return cls(tuple((pattern, spec) for pattern, spec in plan))
        except (TypeError, ValueError) as error:
            if isinstance(error, PlanError):
                raise
            raise PlanError(
                f"a plan is {{pattern: structure}}, a list of such pairs or the path of a TOML file, got {plan!r}."
            ) from error

    @classmethod
    def from_toml(cls, path: str | Path) -> Plan:
        """The plan in a TOML file.

        Raises:
            PlanError: if the file is missing, no TOML, or has anything but rules in it; with its name.
        """
        content = reading.read_toml(Path(path), PlanError)
        rules, unknown = content.pop("rule", []), sorted(content)
        if unknown or not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
            what = f"has {', '.join(unknown)}" if unknown else "has a 'rule' that is no table"
            raise PlanError(f"{path}: {what}; a plan holds [[rule]] tables with pattern, structure and options alone.")
        pairs = []
        for number, rule in enumerate(rules, 1):
            for key in ("pattern", "structure"):
                if not isinstance(rule.get(key), str):
                    raise PlanError(f"{path}: rule {number} lacks its {key}, a text.")
            pairs.append((rule.pop("pattern"), rule))
        try:
            return cls(tuple(pairs))
        except PlanError as error:
            raise PlanError(f"{path}: {error}") from error

    def to_toml(self) -> str:
        """The text that ``from_toml`` reads.

        Raises:
            PlanError: if a rule is a Python function.
        """
        tables = []
        for pattern, spec in self.rules:
            if not isinstance(spec, Mapping | str):
                raise PlanError(f"the rule {pattern!r} is a Python function, which a file cannot hold.")
            options = {"structure": spec} if isinstance(spec, str) else dict(spec)
            tables.append({"pattern": pattern, **options})
        return toml_tables("rule", tables)

    def assign(self, slots: Mapping[str, Slot]) -> dict[str, Structure]:
        """What goes into which slot, in the order of the slots; those to keep are left out.

        Raises:
            PlanError: if a pattern matches no slot, or only slots that earlier rules have taken; the text names some
                that are near.
        """
        taken: dict[str, int] = {}
        for number, (pattern, spec) in enumerate(self.rules):
            found = matching(slots, pattern)
            # a rule for many layers is not meant for depthwise kernels, in which there is little to save
            found = [slot for slot in found if spec == "keep" or not slot.is_depthwise] or found
            matched = [slot.name for slot in found]
            fresh = [name for name in matched if name not in taken]
            if not fresh and spec != "keep":
                first = self.rules[taken[matched[0]]][0]
                raise PlanError(
                    f"the pattern {pattern!r} matches only slots that earlier rules have taken, {matched[0]} by "
                    f"{first!r}: the first match wins. Put the narrower rule first."
                )
            taken.update(dict.fromkeys(fresh, number))
        specs = {name: resolve(self.rules[taken[name]][1], name) for name in slots if name in taken}
        return {name: slots[name].fitting(spec) for name, spec in specs.items() if spec is not None}


PlanLike = Plan | Mapping[str, Spec] | Iterable[tuple[str, Spec]] | str | Path


def resolve(spec: Spec, where: str) -> Structure | None:
    """What makes a structured matrix of a dense weight; None for "keep".

    Raises:
        PlanError: if the structure or one of its options is unknown or missing; with ``where``.
    """
    if spec == "keep":
        return None
    if isinstance(spec, str):
        spec = {"structure": spec}
    if not isinstance(spec, Mapping):
        if callable(spec):
            return spec
        raise PlanError(
            f"{where}: a structure is {{'structure': name, **options}}, a function or 'keep', got {spec!r}."
        )
    if "structure" not in spec:
        raise PlanError(f"{where}: {dict(spec)} names no structure; write {{'structure': name, **options}}.")
    try:
        return of_spec(spec)
    except PlanError as error:
        if str(error).startswith(where):
            raise
        raise PlanError(f"{where}: {error}") from error
