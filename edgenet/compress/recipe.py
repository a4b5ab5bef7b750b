"""Recipe: what a training needs whose weights are rounded: rates of their own, and clipping after every step."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from edgenet.compress.arguments import flag
from edgenet.compress.callbacks import Callback, Training
from edgenet.compress.rates import Rates
from edgenet.errors import PlanError
from edgenet.structured.quantised import Quantised


class Recipe(Callback):
    """Finds the matrices of one family of quantisers in a model, whoever put them in and whenever, and looks after
    their latents.

    Args:
        clip: call ``clip_`` of each after every step of the optimizer.
        pattern: of the paths of the matrices (``fc.weight``), for ``re.match``; a tied one has several.

    Raises:
        PlanError: if the pattern is no regular expression; in ``on_start``, if no matrix matches and no other callback
            has yet to put structures in; in ``after_step``, if there is none and no other callback is going to.
    """

    family: ClassVar[type[Quantised]]

    def __init__(self, clip: bool = True, pattern: str = ".*") -> None:
        self.kind = type(self).__name__
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise PlanError(f"{self.kind}: the pattern {pattern!r} is no regular expression: {error}.") from error
        self.clip, self.pattern = flag(self.kind, "clip", clip), pattern
        self._begun: dict[int, Any] = {}  # by identity: the matrices that are looked after
        self._asked: set[int] = set()  # those whose rates the optimizer has

    @abstractmethod
    def of(self, model: nn.Module, matrices: Mapping[int, Any]) -> Rates:
        """The rates of matrices, by their identities."""

    def begin_(self, path: str, matrix: Any) -> None:
        """Called once for every matrix, before it is trained; draws no random numbers of torch's own generator."""

    # ---------------------------------------------------------------- hooks
    def on_start(self, training: Training) -> None:
        self._begun, self._asked = {}, set()
        if self._all_there(training):
            self._matched(training.model)
        self._begin(training)

    def rates(self, training: Training) -> Rates:
        found = {identity: matrix for identity, (_, matrix) in self._found(training.model).items()}
        self._asked = set(found)
        return self.of(training.model, found)

    def on_optimizer(self, training: Training) -> None:
        self._begin(training)
        if set(self._begun) - self._asked:
            raise PlanError(
                f"{self.kind}: this loop has not asked for the rates of its matrices: call "
                f"training.regroup_(optimizer) when the optimizer has been made, or train with edgenet.fit."
            )

    def after_step(self, training: Training) -> None:
        if not self._begun and self._all_there(training):
            self._matched(training.model)
        if self.clip:
            for matrix in self._begun.values():
                matrix.clip_()

    # ---------------------------------------------------------------- finding
    def _all_there(self, training: Training) -> bool:
        """Whether no other callback is to put structures in."""
        others = (c for c in training.callbacks if c is not self and hasattr(c, "settled"))
        return all(callback.settled(training) for callback in others)

    def _begin(self, training: Training) -> None:
        found = self._found(training.model)
        for identity, (path, matrix) in found.items():
            if identity not in self._begun:
                if not all(isinstance(latent, nn.Parameter) for latent in matrix.latents()):
                    raise PlanError(
                        f"{self.kind}: latents of {path} are computed of other tensors (pruned, normalised, "
                        f"parametrised), and cannot be set. Make them final first, or leave the matrix out by pattern."
                    )
                self.begin_(path, matrix)
        self._begun = {identity: matrix for identity, (_, matrix) in found.items()}  # not what has been taken out

    def _matched(self, model: nn.Module) -> None:
        if not self._found(model):
            name = self.family.__name__
            known = [path for path, module in model.named_modules() if isinstance(module, self.family)]
            none = f"none: compress_ with a plan of them first, or put Compress before {self.kind}"
            raise PlanError(
                f"{self.kind}: there is no {name} matrix whose path matches {self.pattern!r}; there are "
                f"{', '.join(known) or none}."
            )

    def _found(self, model: nn.Module) -> dict[int, tuple[str, Any]]:
        """The matrices that match, each once, with one of their paths."""
        paths = model.named_modules(remove_duplicate=False)
        return {id(m): (path, m) for path, m in paths if isinstance(m, self.family) and re.match(self.pattern, path)}
