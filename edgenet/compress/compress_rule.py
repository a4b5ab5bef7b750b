"""Compress: the callback that puts structures into a model, at the start of its training or before some epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from edgenet.compress.arguments import number, whole
from edgenet.compress.blueprint import blueprint, rebuild_
from edgenet.compress.budget import Budget
from edgenet.compress.callbacks import Callback, Training
from edgenet.compress.compress import fill, fit_all
from edgenet.compress.finding import matching, slots
from edgenet.compress.places import Undo
from edgenet.compress.plan import Plan, PlanLike
from edgenet.compress.pool import views
from edgenet.compress.searching import search
from edgenet.compress.slot import Slot
from edgenet.errors import PlanError
from edgenet.structured import StructuredMatrix, family


class Compress(Callback):
    """Put structured matrices into the slots of the model, and go on training with them.

    One of ``plan``, ``ratio`` and ``pool`` says which. A training that is resumed has the same structures again.

    Args:
        plan: as for ``compress_``; also the path of a plan in TOML.
        ratio: instead, how many times fewer parameters the whole model is to have: ``search`` picks family and size for
            every slot by the errors of its weights.
        pool: instead, how many times fewer numbers the slots together are to have, in one pool for all: ``pool_``.
        families: that ``search`` chooses from. Default: see ``search``.
        pattern: of the slots to compress with ``ratio`` or ``pool``, for ``re.match``. Default: all.
        epoch: before which epoch, counted from 1; 0: at the start, before the optimizer is made.
        seed: of the search.

    Raises:
        PlanError: if there is not exactly one of plan, ratio and pool, or an argument is out of range; in ``on_start``
            if the plan does not fit the model; when the time has come, as ``compress_``, ``search`` and ``pool_`` do,
            and if the ratio is not met.

    Example:
        >>> rule = edgenet.compress.Compress({r".*lift": {"structure": "low_rank", "rank": 2}})
        >>> model = edgenet.NodeClassifier(34, 4)
        >>> result = edgenet.fit(model, edgenet.data.load("karate"), callbacks=[rule], epochs=2, progress=False)
        >>> edgenet.structured.name_of(model.convs[0].lift.linear.weight)
        'low_rank'
    """

    def __init__(
        self,
        plan: PlanLike | None = None,
        *,
        ratio: float | None = None,
        pool: float | None = None,
        families: Sequence[str] | str | None = None,
        pattern: str = ".*",
        epoch: int = 0,
        seed: int = 0,
    ) -> None:
        ways = {"plan": plan, "ratio": ratio, "pool": pool}
        given = [name for name, value in ways.items() if value is not None]
        if len(given) != 1:
            raise PlanError(f"Compress: give one of plan, ratio and pool, got {' and '.join(given) or 'none'}.")
        if families is not None and ratio is None:
            raise PlanError("Compress: families are what a search with ratio chooses from; a plan names its own.")
        if pattern != ".*" and plan is not None:
            raise PlanError("Compress: a plan has patterns of its own; pattern goes with ratio or pool.")
        if not isinstance(families, str | Sequence | None):
            raise PlanError(f"Compress: families are names of structures, got {families!r}.")
        self.families = (families,) if isinstance(families, str) else families
        for name in self.families or ():
            family(name)
        self.plan = None if plan is None else Plan.of(plan)
        self.ratio = None if ratio is None else number("Compress", "ratio", ratio, 1, above=True)
        self.pool = None if pool is None else number("Compress", "pool", pool, 1, above=True)
        self.pattern = pattern
        self.epoch, self.seed = whole("Compress", "epoch", epoch), whole("Compress", "seed", seed)
        self._training: Training | None = None
        self._names: list[str] | None = None  # of the slots that were filled
        self._undo: Undo = _nothing

    def on_start(self, training: Training) -> None:
        self._training, self._names, self._undo = training, None, _nothing
        if self.epoch == 0:
            if not training.resumes:
                self._compress_(training.model)
        elif self.plan is not None:
            self.plan.assign(slots(training.model))  # a plan that does not fit is better known now than then
        else:
            matching(slots(training.model), self.pattern)

    def on_optimizer(self, training: Training) -> None:
        self._undo = _nothing  # no state follows any more, and the weights of before need not be held

    def before_epoch(self, training: Training) -> None:
        if self._names is None and training.epoch >= self.epoch:
            self._compress_(training.model)
            training.renew_optimizer()

    def settled(self, training: Training) -> bool:
        """Once the structures are there."""
        return self._names is not None and training is self._training

    def state_dict(self) -> dict[str, Any]:
        if self._names is None or self._training is None:
            return {"structures": None}
        return {"structures": blueprint(self._training.model, self._names)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put the structures of ``state_dict()`` in, with any numbers in them.

        Raises:
            PlanError: if ``on_start`` has not been called.
            CheckpointError: if they do not fit the model.
        """
        if self._training is None:
            raise PlanError("Compress: on_start comes before load_state_dict, and says which model it is.")
        self._undo()
        self._names, self._undo = None, _nothing
        if state["structures"] is not None:
            self._undo = rebuild_(self._training.model, state["structures"])
            self._names = list(state["structures"]["matrices"])

    def _compress_(self, model: nn.Module) -> None:
        found = slots(model)
        matrices = self._matrices(model, found)
        self._undo = fill(found, matrices)
        self._names = list(matrices)

    def _matrices(self, model: nn.Module, found: dict[str, Slot]) -> Mapping[str, StructuredMatrix]:
        if self.plan is not None:
            return fit_all(found, self.plan)[0]
        if self.pool is not None:
            return views(found, ratio=self.pool, include=self.pattern)
        result = search(
            model,
            budget=Budget(ratio=self.ratio, of="parameters"),  # floats, which train
            families=self.families,
            pattern=self.pattern,
            seed=self.seed,
            progress=False,
        )
        if not result.satisfied:
            raise PlanError(f"Compress: {result.text}")
        chosen = {name: slot.matrix for name, slot in slots(result.model).items()}
        return {name: m for name, m in chosen.items() if found[name].is_dense and m is not None and not m.is_dense}


def _nothing() -> None:
    """There is nothing to undo."""
