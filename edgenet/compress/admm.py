"""ADMM: train a dense model towards any structure, so that putting the structure in costs little."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgenet.compress.arguments import number, whole
from edgenet.compress.callbacks import Callback, Training
from edgenet.compress.compress import fit
from edgenet.compress.finding import slots
from edgenet.compress.plan import Plan, PlanLike
from edgenet.compress.slot import Slot
from edgenet.errors import PlanError
from edgenet.structured import Structure


class ADMM(Callback):
    """The alternating direction method of multipliers, with a projection onto a family of matrices as its second step.

    For every slot of the plan, with the dense weight W, its structured neighbour Z and the sum U of what was missing::

        W: trained as usual, on loss + rho / 2 ||W - Z + U||^2
        Z = project(W + U)              every so many steps
        U = U + W - Z

    Where W and Z have met, ``compress_(model, plan)`` with the same plan loses nothing. Families are no convex sets, so
    that no convergence is promised; ``residuals`` tells how far it has come. The projection of a family that iterates
    (``Doped``, ``BlockTerm``) costs time: raise ``every``.

    ``edgenet.train.train`` keeps the epoch that validates best, which may be an early one, from before W and Z met:
    compress the model as it is at the end, or choose epochs and patience accordingly.

    Ren et al. 2019 (ADMM-NN) for pruning; Li et al. 2019 (E-RNN) for block-circulant weights.

    Args:
        plan: as for ``compress_``; slots must be dense.
        rho: strength of the pull, above 0. Too weak, and W and Z never meet; too strong, and W meets the nearest Z
            instead of a good one.
        every: steps between two projections. W needs some to follow: with too few, U grows without end.

    Raises:
        PlanError: if ``rho`` or ``every`` is out of range; in ``on_start`` as ``compress_`` does, or if a slot is
            compressed already.
    """

    def __init__(self, plan: PlanLike, rho: float = 0.1, every: int = 20) -> None:
        self.rho, self.every = number("ADMM", "rho", rho, above=True), whole("ADMM", "every", every, 1)
        self.plan = Plan.of(plan)
        self._slots: dict[str, Slot] = {}
        self._structures: dict[str, Structure] = {}
        self.auxiliary: dict[str, Tensor] = {}  # Z
        self.dual: dict[str, Tensor] = {}  # U

    def on_start(self, training: Training) -> None:
        found = slots(training.model)
        self._structures = self.plan.assign(found)
        self._slots = {name: found[name] for name in self._structures}
        for slot in self._slots.values():
            if not slot.is_dense:
                raise PlanError(f"{slot.name} is compressed already, and ADMM trains dense weights: decompress_ it.")
        self.auxiliary = {name: self._project(name, slot.weight().detach()) for name, slot in self._slots.items()}
        self.dual = {name: torch.zeros_like(value) for name, value in self.auxiliary.items()}

    def penalty(self, training: Training) -> Tensor:
        terms = (
            torch.linalg.vector_norm(slot.weight() - self.auxiliary[name] + self.dual[name]) ** 2
            for name, slot in self._slots.items()
        )
        return self.rho / 2 * sum(terms)

    @torch.no_grad()
    def after_step(self, training: Training) -> None:
        if training.step % self.every:
            return
        for name, slot in self._slots.items():
            weight, dual = slot.weight(), self.dual[name]
            self.auxiliary[name] = self._project(name, weight + dual)
            self.dual[name] = dual + weight - self.auxiliary[name]

    @torch.no_grad()
    def residuals(self) -> dict[str, float]:
        """||W - Z|| / ||W|| of every slot."""
        result = {}
        for name, slot in self._slots.items():
            weight = slot.weight()
            gap = torch.linalg.vector_norm(weight - self.auxiliary[name])
            result[name] = float(gap / torch.linalg.vector_norm(weight).clamp_min(torch.finfo(gap.dtype).tiny))
        return result

    def state_dict(self) -> dict[str, Any]:
        return {"auxiliary": dict(self.auxiliary), "dual": dict(self.dual)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict()``.

        Raises:
            PlanError: if it is of other slots.
        """
        for key, now in (("auxiliary", self.auxiliary), ("dual", self.dual)):
            shapes = {name: tuple(value.shape) for name, value in state[key].items()}
            if shapes != {name: tuple(value.shape) for name, value in now.items()}:
                raise PlanError(f"the state of ADMM is of the slots {shapes}, and the plan of {sorted(now)}.")
            for name, value in state[key].items():
                now[name] = value.to(now[name])

    def _project(self, name: str, weight: Tensor) -> Tensor:
        return fit(self._slots[name], self._structures[name], weight)[0].to_dense().detach()
