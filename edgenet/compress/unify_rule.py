"""Unify: share magnitudes in more and more blocks while a model trains, those first in which least is lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from edgenet.compress.admm import ADMM
from edgenet.compress.arguments import flag, number, whole
from edgenet.compress.blueprint import blueprint, rebuild_
from edgenet.compress.callbacks import Callback, Training
from edgenet.compress.compress import fill, fit
from edgenet.compress.finding import slots
from edgenet.compress.fixed_blocks import FixedBlocks, fix_together
from edgenet.compress.plan import Plan, PlanLike
from edgenet.compress.slot import Slot
from edgenet.errors import CheckpointError, PlanError
from edgenet.structured import Quantised, Stacked, Structure, StructuredMatrix, Unified, family, name_of, structure
from edgenet.structured.block_choice import KEEP


class Unify(Callback):
    """Reach unified blocks in steps (loss-adaptive unification; Jiang et al. 2020, Lin et al. 2021)::

        epochs 1 to pull:          all slots of the plan are pulled to it by ADMM, if pull > 0
        epochs pull + 1 to until:  the cheapest blocks are fixed, more in every epoch, and the rest trains on
        after that:                the structures are put in, and magnitudes and kept blocks train

    What is cheapest is chosen anew among the blocks that are not fixed yet. A fixed block keeps its signs and moves by
    its magnitude alone: its gradient is averaged by sign, and after a step so are its entries, not below 0. A pruned
    block stays 0. The optimizer keeps its moments until the structures come in. A training may go on with other numbers
    than it began with: blocks that are fixed stay so, and from the first of them on nothing is pulled.

    Several US patents concern selective weight unification: see docs/structures.md.

    Args:
        plan: as for ``compress_``, of "unified" structures alone, with ``bits`` beside them or without. Slots must be
            dense.
        until: the last epoch in which blocks are chosen.
        pull: the last epoch of the pull; 0 for none.
        start: the share of the plan's ratio that is fixed in the first epoch of choosing, in (0, 1]; the last one has
            all, and between them it rises evenly.
        rho, every, grow, grow_every: of the pull: those of ``ADMM`` with ``relative``.
        together: rank the blocks of all slots together, by cost over ||B||^2, and fix as many as the plan's ratios
            come to, wherever they are: slots that can share more do. Without pruning.

    Raises:
        PlanError: if an argument is out of range; in ``on_start``, as ``compress_`` and ``ADMM`` do, and if a structure
            of the plan is not unified.

    Example:
        >>> rule = edgenet.compress.Unify({"0": {"structure": "unified", "block": [1, 16], "ratio": 0.8}}, until=6)
    """

    def __init__(
        self,
        plan: PlanLike,
        until: int,
        pull: int = 0,
        start: float = 0.5,
        rho: float = 0.1,
        every: int = 20,
        grow: float = 3.0,
        grow_every: int = 1,
        together: bool = False,
    ) -> None:
        self.pull, self.until = whole("Unify", "pull", pull), whole("Unify", "until", until, 1)
        if self.pull >= self.until:
            raise PlanError(f"Unify: blocks are chosen after the pull, pull < until, got {pull} and {until}.")
        self.start = number("Unify", "start", start, above=True)
        if self.start > 1:
            raise PlanError(f"Unify: start is a share of the plan's ratio, in (0, 1], got {start!r}.")
        self.together = flag("Unify", "together", together)
        self.plan = Plan.of(plan)
        self._pull = partial(ADMM, self.plan, rho, every, relative=True, grow=grow, grow_every=grow_every)
        self._admm = self._pull()
        self._training: Training | None = None
        self._filled: list[str] | None = None  # names of the slots that have their structures
        self._structures: dict[str, Structure] = {}
        self._slots: dict[str, Slot] = {}
        self._specs: dict[str, dict[str, Any]] = {}  # family and options of every slot, once blocks are chosen
        self._fixed: dict[str, list[FixedBlocks]] = {}

    # ---------------------------------------------------------------- hooks
    def on_start(self, training: Training) -> None:
        self._training, self._filled, self._specs, self._fixed = training, None, {}, {}
        self._structures = self.plan.assign(slots(training.model))
        self._find_slots(training)
        if not training.resumes:
            for name in self._slots:
                self._spec(name)  # which is better known now than then
        if self.pull:
            self._admm.on_start(training)

    def on_optimizer(self, training: Training) -> None:
        if self._filled is None:
            self._find_slots(training)  # another rule may have changed the model
            if self._pulls(training):
                self._admm.on_optimizer(training)

    def before_epoch(self, training: Training) -> None:
        if self._filled is not None:
            return
        if self._pulls(training):
            self._admm.before_epoch(training)
        elif training.epoch <= self.until:
            self._choose(training.epoch)
        else:
            self._choose(self.until)  # what is fixed already stays
            self._fill(training)

    def penalty(self, training: Training) -> Tensor | None:
        return self._admm.penalty(training) if self._pulls(training) else None

    @torch.no_grad()
    def after_backward(self, training: Training) -> None:
        for name, fixed in self._fixed.items():
            gradient = self._slots[name].numbers()[0].grad
            if gradient is not None:
                gradient.copy_(_restricted(gradient.flatten(1), fixed, gradients=True).view_as(gradient))

    def after_step(self, training: Training) -> None:
        if self._pulls(training):
            self._admm.after_step(training)
        self._restrict()

    def after_epoch(self, training: Training) -> None:
        if self._pulls(training):
            self._admm.after_epoch(training)
        elif self._fixed:
            kinds = torch.cat([part.kinds for parts in self._fixed.values() for part in parts])
            training.record["unified"] = float((kinds != KEEP).double().mean())

    def settled(self, training: Training) -> bool:
        """Once the structures are there."""
        return self._filled is not None and training is self._training

    def residuals(self) -> dict[str, float]:
        """||W - Z|| / ||W|| of every slot while it is pulled."""
        return self._admm.residuals()

    # ---------------------------------------------------------------- state
    def state_dict(self) -> dict[str, Any]:
        structures = None
        if self._filled is not None and self._training is not None:
            structures = blueprint(self._training.model, self._filled)
        fixed = {name: [part.state() for part in parts] for name, parts in self._fixed.items()}
        pulls = self.pull > 0 and not self._specs and self._filled is None
        admm = self._admm.state_dict() if pulls else None
        return {"specs": dict(self._specs), "fixed": fixed, "admm": admm, "structures": structures}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict()``.

        Raises:
            PlanError, CheckpointError: if it is of other slots, or does not fit the model.
        """
        if state["structures"] is not None and self._training is not None:
            rebuild_(self._training.model, state["structures"])
            self._end(list(state["structures"]["matrices"]))
            return
        if state["admm"] is not None:
            self._admm.load_state_dict(state["admm"])
        for name in state["specs"]:
            if name not in self._slots:
                raise CheckpointError(f"the state of Unify is of {name}, and the plan of {sorted(self._slots)}.")
        if state["specs"]:
            self._admm = self._pull()
        self._specs = dict(state["specs"])
        self._fixed = {}
        for name in self._specs:
            parts, device = _parts(self._empty(name)), self._slots[name].weight().device
            stored = zip(parts, state["fixed"][name], strict=True)
            self._fixed[name] = [FixedBlocks.of_state(*both, device) for both in stored]

    # ---------------------------------------------------------------- choosing
    def _pulls(self, training: Training) -> bool:
        """Never again once blocks are chosen, as where a training goes on with a longer pull."""
        return not self._specs and self.pull >= max(1, training.epoch)

    def _find_slots(self, training: Training) -> None:
        found = slots(training.model)
        self._slots = {name: found[name] for name in self._structures}
        for slot in self._slots.values():
            if not slot.is_dense:
                raise PlanError(f"{slot.name} is compressed already, and Unify chooses blocks of dense weights.")
            if not slot.weight().requires_grad:
                raise PlanError(f"{slot.name} is frozen, and Unify trains what it unifies: leave it to compress_.")

    def _spec(self, name: str) -> dict[str, Any]:
        """Family and options of what the plan makes of a slot as it is now: blocks that are chosen by the weight
        included."""
        matrix = fit(self._slots[name], self._structures[name])[0]
        parts = [part for part in matrix.modules() if isinstance(part, StructuredMatrix)]
        if not all(isinstance(part, Unified | Stacked | Quantised) for part in parts) or not _parts(matrix):
            raise PlanError(f"Unify: the structure of {name} is {name_of(matrix)}, and blocks are of unified ones.")
        options = {key: value for key, value in matrix.config().items() if key != "shape"}
        return {"structure": name_of(matrix), **options}

    def _empty(self, name: str) -> StructuredMatrix:
        options = dict(self._specs[name])
        return family(options.pop("structure")).from_config({"shape": list(self._slots[name].shape), **options})

    @torch.no_grad()
    def _choose(self, epoch: int) -> None:
        """Fix the blocks of an epoch."""
        if not self._slots:  # the plan keeps all
            return
        if not self._specs:
            self._admm = self._pull()  # W is pulled no more, and Z and U need not be held
            self._specs = {name: self._spec(name) for name in self._slots}
            for name, slot in self._slots.items():
                self._fixed[name] = [FixedBlocks.none(part, slot.weight().device) for part in _parts(self._empty(name))]
            if self.together and any(part.counts.pruned for parts in self._fixed.values() for part in parts):
                raise PlanError("Unify: pruned blocks cost all of themselves in every slot; prune without together.")
        steps = self.until - self.pull - 1
        share = self.start + (1 - self.start) * max(0, epoch - self.pull - 1) / steps if steps else 1.0
        parts = [part for own in self._fixed.values() for part in own]
        pieces = [piece for name, own in self._fixed.items() for piece in _split(self._slots[name].weight(), own)]
        if self.together:
            fix_together(parts, pieces, share)
        else:
            for part, piece in zip(parts, pieces, strict=True):
                part.fix(piece, share)
        self._restrict()

    @torch.no_grad()
    def _restrict(self) -> None:
        for name, fixed in self._fixed.items():
            weight = self._slots[name].numbers()[0]
            weight.copy_(_restricted(weight.flatten(1), fixed).view_as(weight))

    def _fill(self, training: Training) -> None:
        """Blocks that are fixed cost nothing, so that the plan's own fit takes them."""
        matrices = {}
        for name, slot in self._slots.items():
            spec = self._specs[name]
            if self.together:
                spec = _with_ratios(spec, iter([part.share for part in self._fixed[name]]))
            options = {key: value for key, value in spec.items() if key != "structure"}
            matrices[name] = fit(slot, structure(spec["structure"], **options))[0]
        fill(self._slots, matrices)
        self._end(list(matrices))
        training.renew_optimizer()

    def _end(self, names: list[str]) -> None:
        self._filled, self._slots, self._specs, self._fixed, self._admm = names, {}, {}, {}, self._pull()


def _restricted(weight: Tensor, fixed: list[FixedBlocks], gradients: bool = False) -> Tensor:
    pieces = zip(fixed, _split(weight, fixed), strict=True)
    return torch.cat([part.restricted(piece, gradients) for part, piece in pieces])


def _split(weight: Tensor, fixed: list[FixedBlocks]) -> list[Tensor]:
    """The rows of every matrix of a stack."""
    return list(weight.detach().split([part.shape[0] for part in fixed]))


def _parts(matrix: StructuredMatrix) -> list[Unified]:
    return [part for part in matrix.modules() if isinstance(part, Unified)]


def _with_ratios(spec: Mapping[str, Any], ratios: Iterator[float]) -> dict[str, Any]:
    """Options with another ratio for every unified matrix in them."""
    if spec["structure"] == "unified":
        return {**spec, "ratio": next(ratios)}
    base = spec["base"]
    if spec["structure"] == "stacked":
        each = base if isinstance(base, list | tuple) else [base] * spec["parts"]
        return {**spec, "base": [_with_ratios(one, ratios) for one in each]}
    return {**spec, "base": _with_ratios(base, ratios)}
