"""ADMM: train a dense model towards any structure, so that putting the structure in costs little."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from edgenet.compress.arguments import flag, number, whole
from edgenet.compress.blueprint import blueprint, rebuild_
from edgenet.compress.callbacks import Callback, Training
from edgenet.compress.compress import fill, fit
from edgenet.compress.finding import slots
from edgenet.compress.plan import Plan, PlanLike
from edgenet.compress.slot import Slot
from edgenet.errors import PlanError
from edgenet.structured import Structure


class ADMM(Callback):
    """The alternating direction method of multipliers, with a projection onto a family of matrices as its second step.

    For every slot of the plan, with the dense weight W, its structured neighbour Z and the sum U of what was missing::

        W: trained as usual, on loss + rho / 2 ||W - Z + U||^2 / ||W_0||^2
        Z = project(W + U)              every so many steps
        U = U + W - Z
        rho = grow * rho, U = U / grow  every so many epochs

    W_0 is the weight that a slot started with: the same rho is as strong in a small convolution before a batch norm as
    in a large linear map, whatever their scale. Without ``relative`` the pull is rho / 2 ||W - Z + U||^2. U is the dual
    over rho, so that a larger rho comes with a smaller U (Boyd et al. 2011, section 3.4.1).

    Where W and Z have met, ``compress_(model, plan)`` with the same plan loses nothing. Families are no convex sets, so
    that no convergence is promised. ``residuals`` tells how far it has come, and the record of an epoch has the largest
    as "admm_residual": choose rho so that it ends at 0.03 to 0.1. The projection of a family that iterates (``Doped``,
    ``BlockTerm``) costs time: raise ``every``.

    With ``until`` the structures are put in while it trains, and the epochs before do not count as results: leave some
    epochs after it, in which the structures are trained. Without it, the epoch that validates best is kept, which may
    be one from before W and Z met: compress the model as it is at the end.

    Ren et al. 2019 (ADMM-NN) for pruning; Li et al. 2019 (E-RNN) for block-circulant weights; Lin et al. 2021 for
    unified ones.

    Args:
        plan: as for ``compress_``; slots must be dense.
        rho: strength of the pull, above 0, of the order of the loss: from 0.1 to 10. Too weak, and W and Z never meet;
            too strong, and W meets the nearest Z instead of a good one.
        every: steps between two projections. W needs some to follow: with too few, U grows without end.
        until: the last epoch of the pull; before the next one the structures are put in. None: it pulls to the end.
        relative: whether rho is relative to the size of each weight, as above.
        grow: what rho is multiplied by every ``grow_every`` epochs, at least 1.
        grow_every: epochs between two of these.

    Raises:
        PlanError: if an argument is out of range; in ``on_start`` as ``compress_`` does, and, also
            in ``on_optimizer``, if a slot is compressed already, or frozen.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(16, 8))
        >>> rule = edgenet.compress.ADMM({"0": {"structure": "block_circulant", "block": 4}}, until=2)
        >>> data = torch.utils.data.TensorDataset(torch.randn(40, 16), torch.randn(40, 8))
        >>> result = edgenet.fit(model, data, callbacks=[rule], epochs=4, progress=False)
        >>> edgenet.compress.report(model).rows[0].structure
        'block_circulant'
    """

    def __init__(
        self,
        plan: PlanLike,
        rho: float = 0.1,
        every: int = 20,
        until: int | None = None,
        relative: bool = True,
        grow: float = 1.0,
        grow_every: int = 8,
    ) -> None:
        self.rho, self.every = number("ADMM", "rho", rho, above=True), whole("ADMM", "every", every, 1)
        self.relative = flag("ADMM", "relative", relative)
        self.grow, self.grow_every = number("ADMM", "grow", grow, 1), whole("ADMM", "grow_every", grow_every, 1)
        self.until = None if until is None else whole("ADMM", "until", until, 1)
        self.plan = Plan.of(plan)
        self._training: Training | None = None
        self._filled: list[str] | None = None  # names of the slots that have their structures
        self._slots: dict[str, Slot] = {}
        self._structures: dict[str, Structure] = {}
        self.auxiliary: dict[str, Tensor] = {}  # Z
        self.dual: dict[str, Tensor] = {}  # U
        self._scale: dict[str, float] = {}  # ||W_0||^2, or 1
        self._grown = 1.0  # what rho has been multiplied by

    def on_start(self, training: Training) -> None:
        self._training, self._filled = training, None
        self._structures = self.plan.assign(slots(training.model))
        self._find_slots(training)
        self._grown = 1.0
        absolute = training.resumes or not self.relative  # of a training that goes on they are in the state
        self._scale = {name: 1.0 if absolute else self._size(slot) for name, slot in self._slots.items()}
        self.dual = {name: torch.zeros_like(slot.weight().detach()) for name, slot in self._slots.items()}
        if training.resumes:  # a projection takes time, and is in the state
            self.auxiliary = dict(self.dual)
        else:
            self.auxiliary = {name: self._project(name, slot.weight().detach()) for name, slot in self._slots.items()}

    def on_optimizer(self, training: Training) -> None:
        if self._filled is None:
            self._find_slots(training)  # another rule may have changed the model

    def before_epoch(self, training: Training) -> None:
        if self.until is not None and training.epoch > self.until and self._filled is None:
            matrices = {name: fit(slot, self._structures[name])[0] for name, slot in self._slots.items()}
            fill(self._slots, matrices)
            self._end(list(matrices))
            training.renew_optimizer()
        elif self.grow > 1 and training.epoch > 1 and (training.epoch - 1) % self.grow_every == 0:
            self._grown *= self.grow
            self.dual = {name: dual / self.grow for name, dual in self.dual.items()}

    def penalty(self, training: Training) -> Tensor | None:
        if not self._slots:
            return None
        terms = [
            torch.linalg.vector_norm(slot.weight() - self.auxiliary[name] + self.dual[name]) ** 2 / self._scale[name]
            for name, slot in self._slots.items()
        ]
        return self._grown * self.rho / 2 * torch.stack(terms).sum()

    @torch.no_grad()
    def after_step(self, training: Training) -> None:
        if training.step % self.every:
            return
        for name, slot in self._slots.items():
            weight, dual = slot.weight(), self.dual[name]
            self.auxiliary[name] = self._project(name, weight + dual)
            self.dual[name] = dual + weight - self.auxiliary[name]

    def after_epoch(self, training: Training) -> None:
        if self._slots:
            training.record["admm_residual"] = max(self.residuals().values())

    def settled(self, training: Training) -> bool:
        """Once the structures are there; always where they are not to be put in."""
        return self.until is None or (self._filled is not None and training is self._training)

    @torch.no_grad()
    def residuals(self) -> dict[str, float]:
        """||W - Z|| / ||W|| of every slot; of none once the structures are there."""
        result = {}
        for name, slot in self._slots.items():
            weight = slot.weight()
            gap = torch.linalg.vector_norm(weight - self.auxiliary[name])
            result[name] = float(gap / torch.linalg.vector_norm(weight).clamp_min(torch.finfo(gap.dtype).tiny))
        return result

    def state_dict(self) -> dict[str, Any]:
        structures = None
        if self._filled is not None and self._training is not None:
            structures = blueprint(self._training.model, self._filled)
        tensors = {"auxiliary": dict(self.auxiliary), "dual": dict(self.dual)}
        return {**tensors, "scale": dict(self._scale), "grown": self._grown, "structures": structures}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict()``.

        Raises:
            PlanError: if it is of other slots.
            CheckpointError: if structures that had been put in do not fit the model.
        """
        if state["structures"] is not None and self._training is not None:
            rebuild_(self._training.model, state["structures"])
            self._end(list(state["structures"]["matrices"]))
        for key, now in (("auxiliary", self.auxiliary), ("dual", self.dual)):
            shapes = {name: tuple(value.shape) for name, value in state[key].items()}
            if shapes != {name: tuple(value.shape) for name, value in now.items()}:
                raise PlanError(f"the state of ADMM is of the slots {shapes}, and the plan of {sorted(now)}.")
            for name, value in state[key].items():
                now[name] = value.to(now[name])
        self._scale, self._grown = dict(state["scale"]), state["grown"]

    def _find_slots(self, training: Training) -> None:
        found = slots(training.model)
        self._slots = {name: found[name] for name in self._structures}
        for slot in self._slots.values():
            if not slot.is_dense:
                raise PlanError(f"{slot.name} is compressed already, and ADMM trains dense weights: decompress_ it.")
            if not slot.weight().requires_grad:
                raise PlanError(f"{slot.name} is frozen, and ADMM pulls at what is trained: leave it to compress_.")

    def _size(self, slot: Slot) -> float:
        """||W||^2 of a weight."""
        size = float(torch.linalg.vector_norm(slot.weight().detach().double()) ** 2)
        if not 0 < size < math.inf:
            raise PlanError(f"{slot.name} is zero or not finite, and no rho is relative to that: set relative=False.")
        return size

    def _end(self, names: list[str]) -> None:
        """Nothing is pulled any more."""
        self._filled, self._slots, self.auxiliary, self.dual = names, {}, {}, {}

    def _project(self, name: str, weight: Tensor) -> Tensor:
        return fit(self._slots[name], self._structures[name], weight)[0].to_dense().detach()
