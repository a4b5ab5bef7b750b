"""Recipe: what a training needs whose weights are rounded: rates of their own, and clipping after every step."""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from edgenet.compress.arguments import flag
from edgenet.compress.callbacks import Callback, Training
from edgenet.compress.matrices import checked_pattern, matching_matrices, others_settled
from edgenet.compress.rates import Rates
from edgenet.errors import PlanError
from edgenet.structured.quantised import Quantised


class Recipe(Callback):
    """Finds the matrices of one family of quantisers in a model, whoever put them in and whenever, and looks after
    their latents. Those that are frozen when the optimizer is made stay as they are.

    Args:
        start: how latents start, one of ``starts``. What is drawn is drawn for every matrix by the training's seed and
            its path, whenever it comes.
        clip: call ``clip_`` of each after every step of the optimizer.
        pattern: of the paths of the matrices (``fc.weight``), for ``re.match``; a tied one has several.

    Raises:
        PlanError: if an argument is out of range, or the pattern no regular expression; in ``on_start``, if no matrix
            matches and no other callback has yet to put structures in; in ``after_step``, if there is none and no other
            callback is going to.
    """

    family: ClassVar[type[Quantised]]
    starts: ClassVar[tuple[str, ...]]

    def __init__(self, start: str, clip: bool = True, pattern: str = ".*") -> None:
        self.kind = type(self).__name__
        if start not in self.starts:
            raise PlanError(f"{self.kind}: start is one of {', '.join(self.starts)}, got {start!r}.")
        self.start, self.clip = start, flag(self.kind, "clip", clip)
        self.pattern = checked_pattern(self.kind, pattern)
        self._seed = 0  # of what is drawn
        self._begun: dict[int, Any] = {}  # by identity: the matrices that are looked after
        self._asked: set[int] = set()  # those whose rates the optimizer has

    @abstractmethod
    def of(self, model: nn.Module, matrices: Mapping[int, Any]) -> Rates:
        """The rates of matrices, by their identities."""

    def begin_(self, matrix: Any, random: torch.Generator) -> None:
        """Called once for every matrix, before it is trained; draws from ``random`` alone."""

    # ---------------------------------------------------------------- hooks
    def on_start(self, training: Training) -> None:
        self._begun, self._asked = {}, set()
        if self.start == "uniform":
            self._seed = int(torch.randint(2**31, ()))
        if others_settled(self, training):
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
        if not self._begun and others_settled(self, training):
            self._matched(training.model)
        if self.clip:
            for matrix in self._begun.values():
                matrix.clip_()

    def state_dict(self) -> dict[str, Any]:
        return {"seed": self._seed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict()``."""
        self._seed = int(state["seed"])

    # ---------------------------------------------------------------- the matrices
    def _begin(self, training: Training) -> None:
        found = self._found(training.model)
        for identity, (path, matrix) in found.items():
            if identity not in self._begun:
                if not all(isinstance(latent, nn.Parameter) for latent in matrix.latents()):
                    raise PlanError(
                        f"{self.kind}: latents of {path} are computed of other tensors (pruned, normalised, "
                        f"parametrised), and cannot be set. Make them final first, or leave the matrix out by pattern."
                    )
                # whenever it comes: there, nobody may draw from the training's own numbers
                self.begin_(matrix, torch.Generator().manual_seed(self._seed + zlib.crc32(path.encode())))
        self._begun = {identity: matrix for identity, (_, matrix) in found.items()}  # not what has been taken out

    def _matched(self, model: nn.Module) -> None:
        if not self._found(model):
            name = self.family.__name__
            every = [(path, module) for path, module in model.named_modules() if isinstance(module, self.family)]
            known = [path if any(p.requires_grad for p in m.parameters()) else f"{path} (frozen)" for path, m in every]
            none = f"none: compress_ with a plan of them first, or put Compress before {self.kind}"
            raise PlanError(
                f"{self.kind}: there is no {name} matrix whose path matches {self.pattern!r}; there are "
                f"{', '.join(known) or none}."
            )

    def _found(self, model: nn.Module) -> dict[int, tuple[str, Any]]:
        """Those that train: of a frozen one a new start, or clipped latents, would change what it computes."""
        found = matching_matrices(model, self.family, self.pattern)
        return {key: both for key, both in found.items() if any(p.requires_grad for p in both[1].parameters())}


def uniform_(tensor: Tensor, low: float, high: float, random: torch.Generator) -> None:
    """Fill a tensor, on whatever device, with numbers from ``low`` to ``high``."""
    tensor.copy_(low + (high - low) * torch.rand(tensor.shape, generator=random, dtype=torch.float64))
