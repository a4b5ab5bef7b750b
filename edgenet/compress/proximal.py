"""Proximal: the callback by which training sets whole groups of weights to zero (rows, heads, hops, functions)."""

from __future__ import annotations

import math
import re
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from edgenet.compress.arguments import flag, number, whole
from edgenet.compress.callbacks import Callback, Training
from edgenet.compress.groups import Groups
from edgenet.errors import PlanError
from edgenet.reading.patterns import compiled, matches
from edgenet.text import markdown_table, near_names


@dataclass(frozen=True)
class GroupRow:
    """How sparse one tensor is.

    Attributes:
        name: its path.
        groups: how many it has.
        kept: (groups,) whether any entry is other than zero.
        entries: of each group.

    Example:
        >>> rule = edgenet.compress.GroupLasso({"weight": "rows"}, penalty=0.1)
        >>> layer = torch.nn.Linear(3, 8)
        >>> rule.on_start(edgenet.compress.Training(layer, [rule]))
    """

    name: str
    kept: Tensor
    entries: int

    @property
    def groups(self) -> int:
        return len(self.kept)

    @property
    def zeros(self) -> int:
        """Groups that are zero."""
        return self.groups - int(self.kept.sum())


class Proximal(Callback):
    """After every optimizer step, W <- prox of lr * penalty * sum over groups of weight * norm(group).

    With gradient descent this is the proximal gradient method: it minimises loss + penalty * sum of norms, and reaches
    exact zeros. With momentum m and dampening a, steps add up to (1 - a) / (1 - m) times those of a gradient that
    stays, and lr is taken that often, so that the minimum is the same. Adam and AdamW divide the step of every entry by
    d = sqrt(v) + eps; the penalty's step is then taken in the same scale, argmin_x sum_i d_i / 2 (x_i - w_i)^2 +
    lr * penalty * norm(x), so that the minimum is that of the same objective (Yun, Lozano, Yang 2021). Of other
    optimizers a warning says that it is not.

    A parameter that has no gradient in a step is shortened too: the gradient of its loss is zero. A step that
    ``torch.amp.GradScaler`` leaves out is none: leave out ``after_step`` with it.

    Args:
        groups: {pattern: groups}; patterns are matched to the names of parameters by ``re.match``, the first that
            matches counts; a tied parameter is taken once, by any of its names. Groups in short form, see
            ``Groups.of``: heads of a lift (H C, F) are ("rows", H), hops of linear taps (F_out, (K + 1) F) are
            ("columns", K + 1), hops of an edge table (E, K H) ("columns", K), and the functions of ``phi.Additive`` are
            "functions" of its coefficients.
        penalty: at least 0.
        by_size: weigh each group by the root of the number of its entries, so that tensors with groups of different
            sizes are treated alike.
        start: optimizer steps to leave alone at the beginning.

    Raises:
        PlanError: if the penalty is out of range; in ``on_optimizer``, if a pattern matches no parameter or groups do
            not fit, or if a parameter has no size yet, is frozen, or is not in the optimizer.
    """

    def __init__(
        self,
        groups: Mapping[str, str | tuple[str, int] | Groups],
        penalty: float,
        by_size: bool = True,
        start: int = 0,
    ) -> None:
        rule = type(self).__name__
        self.strength, self.start = number(rule, "penalty", penalty), whole(rule, "start", start)
        if not isinstance(groups, Mapping) or not groups:
            raise PlanError(f"{rule}: groups are {{pattern: groups}}, one pattern at least, got {groups!r}.")
        self.groups, self.by_size = dict(groups), flag(rule, "by_size", by_size)
        self._found: list[tuple[str, nn.Parameter, Groups]] = []

    @abstractmethod
    def prox(self, flat: Tensor, amount: float, scale: Tensor | None = None) -> Tensor:
        """(groups, entries) -> the same: argmin_x sum_i d_i / 2 |x_i - v_i|^2 + amount * norm(x) for every row v.

        ``scale`` has the (groups, entries) d_i, above 0; None for ones.
        """

    @abstractmethod
    def norm(self, flat: Tensor) -> Tensor:
        """(groups, entries) -> (groups,)."""

    def on_optimizer(self, training: Training) -> None:
        optimizer = training.optimizer
        if optimizer is None:
            raise PlanError(
                f"{type(self).__name__} reads learning rates: call on_optimizer when there is an optimizer."
            )
        self._found, rates = list(self._assigned(training.model)), _rates(optimizer)
        if not isinstance(optimizer, torch.optim.SGD | torch.optim.Adam):  # AdamW is an Adam
            warnings.warn(
                f"{type(optimizer).__name__} takes steps of its own size, of which the penalty's know nothing: "
                f"groups become zero, but not those of penalty={self.strength}. Use SGD, Adam or AdamW for these.",
                stacklevel=2,
            )
        for name, parameter, _ in self._found:
            if not parameter.requires_grad or id(parameter) not in rates:
                raise PlanError(f"{name} is not trained by this optimizer, so that no penalty can act on it.")

    @torch.no_grad()
    def after_step(self, training: Training) -> None:
        optimizer = training.optimizer
        if training.step <= self.start or optimizer is None:
            return
        rates = _rates(optimizer)  # a schedule may have changed them, and a resumed optimizer has other groups
        for _, parameter, groups in self._found:
            flat = groups.flat(parameter)
            amount = rates[id(parameter)] * self.strength * self._weight(flat)
            wide = flat.float() if flat.dtype in (torch.float16, torch.bfloat16) else flat
            scale = _scale(optimizer, parameter)
            if scale is not None:
                scale = groups.flat(scale).to(wide.abs())
            parameter.copy_(groups.unflat(self.prox(wide, amount, scale).to(flat.dtype), parameter))

    def value(self, model: nn.Module) -> Tensor:
        """penalty * sum of weighted norms: what is added to the objective. Differentiable where no group is zero."""
        terms = [
            self._weight(flat) * self.norm(flat).sum()
            for flat in (groups.flat(parameter) for _, parameter, groups in self._assigned(model))
        ]
        return self.strength * torch.stack(terms).sum()

    @torch.no_grad()
    def sparsity(self, model: nn.Module) -> list[GroupRow]:
        """Which groups are left, tensor by tensor."""
        rows = []
        for name, parameter, groups in self._assigned(model):
            flat = groups.flat(parameter)
            rows.append(GroupRow(name, (flat != 0).any(1), flat.shape[1]))
        return rows

    def report(self, model: nn.Module) -> str:
        """A table of ``sparsity`` in markdown."""
        rows = self.sparsity(model)
        cells: list[tuple[object, ...]] = [
            (r.name, r.groups, r.entries, f"{r.zeros} ({r.zeros / r.groups:.0%})") for r in rows
        ]
        groups, zeros = sum(r.groups for r in rows), sum(r.zeros for r in rows)
        cells.append(("all", groups, "", f"{zeros} ({zeros / max(groups, 1):.0%})"))
        return markdown_table(("parameter", "groups", "of entries", "zero"), cells, right=())

    def _weight(self, flat: Tensor) -> float:
        return math.sqrt(flat.shape[1]) if self.by_size else 1.0

    def _assigned(self, model: nn.Module) -> Iterator[tuple[str, nn.Parameter, Groups]]:
        names: dict[nn.Parameter, list[str]] = {}  # tied ones have several, and are one
        for name, parameter in model.named_parameters(remove_duplicate=False):
            names.setdefault(parameter, []).append(name)
        self._check_patterns([name for own in names.values() for name in own])
        for parameter, own in names.items():
            spec = next((groups for pattern, groups in self.groups.items() if _matches(pattern, own)), None)
            if spec is None:
                continue
            if is_lazy(parameter):
                raise PlanError(f"the size of {own[0]} is not known yet: run the model once first.")
            yield own[0], parameter, Groups.of(spec, tuple(parameter.shape))

    def _check_patterns(self, names: list[str]) -> None:
        for pattern in self.groups:
            try:
                compiled(pattern)
            except re.error as error:
                raise PlanError(f"the pattern {pattern!r} is no regular expression: {error}.") from error
            if not _matches(pattern, names):
                near = near_names(pattern.replace("\\", ""), names, cutoff=0.3)
                known = ", ".join(near or names[:8]) or "none"
                raise PlanError(f"the pattern {pattern!r} matches no parameter; there are {known}.")


def _matches(pattern: str, names: list[str]) -> bool:
    return any(matches(pattern, name) for name in names)


def _rates(optimizer: torch.optim.Optimizer) -> dict[int, float]:
    """The learning rate of every parameter, by its id; with momentum, what a gradient that stays adds up to."""
    return {id(p): _rate(group) for group in optimizer.param_groups for p in group["params"]}


def _rate(group: dict[str, Any]) -> float:
    rate, momentum = float(group["lr"]), float(group.get("momentum", 0.0))
    return rate * (1 - group.get("dampening", 0.0)) / (1 - momentum) if 0 < momentum < 1 else rate


def _scale(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> Tensor | None:
    """What Adam divides the step of every entry by; None for optimizers that do not."""
    state = optimizer.state.get(parameter, {})
    if not isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW) or "exp_avg_sq" not in state:
        return None
    setting = next(g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))
    square = state["max_exp_avg_sq"] if setting["amsgrad"] else state["exp_avg_sq"]
    if parameter.is_complex():
        raise PlanError("Adam scales the two parts of complex numbers apart, and group norms do not; use SGD.")
    return (square / (1 - setting["betas"][1] ** float(state["step"]))).sqrt() + setting["eps"]
