"""AdaptationRecord: how much a base and its dopant lean on each other while a model trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.compress.arguments import whole
from edgenet.compress.callbacks import Callback, Training
from edgenet.compress.matrices import checked_pattern, matching_matrices
from edgenet.errors import PlanError
from edgenet.structured import Doped, Sparse

#: The loss of a model on inputs of the caller's choice.
Score = Callable[[nn.Module], Any]


def adaptation(model: nn.Module, score: Score, pattern: str = ".*") -> dict[str, float]:
    """Co-matrix adaptation of the doped matrices of a model (Thakker et al. 2021), in evaluation mode.

    With M the base and S the dopant of a matrix, and x all rows that the model multiplies it with in ``score(model)``::

        share  = sum ||S x||^2 / sum (||M x||^2 + ||S x||^2)
        cosine = sum <M x, S x> / sqrt(sum ||M x||^2 sum ||S x||^2)

    Where a module reads the entries of a matrix and does not call it, x are the rows of the identity. A base that has
    come to lean on its dopant shows in ``loss_base``, which is then far above ``loss``.

    Args:
        score: calls the model, and returns its loss. It is called twice, without gradients. The random numbers that it
            draws are not missed elsewhere.
        pattern: of the paths of doped and of sparse matrices, for ``re.match``.

    Returns:
        ``density`` of the dopants and of sparse matrices that stand alone, by entries; ``loss``; and where there are
        doped matrices, means of ``share`` and ``cosine`` over those that were used, and ``loss_base``, the loss without
        any dopant. Pruning has the first two alone.

    Raises:
        PlanError: if no doped or sparse matrix matches, or ``score`` uses none of the doped ones.

    Example:
        >>> layer = torch.nn.Linear(16, 16)
        >>> doped = {"structure": "doped", "base": {"structure": "low_rank", "rank": 1}, "density": 0.1}
        >>> _ = edgenet.compress.compress_(layer, {"weight": doped})
        >>> found = edgenet.compress.adaptation(layer, lambda model: model(torch.ones(2, 16)).square().mean())
        >>> "share" in found
        True
    """
    doped = [matrix for _, matrix in matching_matrices(model, Doped, pattern).values()]
    parts = [matrix.dopant for matrix in doped]
    inside = {id(part) for matrix in doped for part in matrix.modules()}
    alone = [m for key, (_, m) in matching_matrices(model, Sparse, pattern).items() if key not in inside]
    if not doped and not alone:
        raise PlanError(
            f"there is no doped or sparse matrix whose path matches {pattern!r}: compress_ the model first."
        )
    kept = [*parts, *alone]
    entries = sum(math.prod(matrix.shape) for matrix in kept)
    found = {"density": sum(matrix.num_parameters() for matrix in kept) / entries}
    with _looking_at(model):
        if not doped:
            return {**found, "loss": float(score(model))}
        tallies = [_Tally() for _ in doped]
        with ExitStack() as hooks:
            for matrix, tally in zip(doped, tallies, strict=True):
                hooks.enter_context(_removed(matrix.register_forward_pre_hook(tally)))
            found["loss"] = float(score(model))
        used = [tally for tally in tallies if tally.calls]
        if not used:
            raise PlanError("the score uses none of the doped matrices: let it call the model.")
        found["share"] = sum(tally.share() for tally in used) / len(used)
        found["cosine"] = sum(tally.cosine() for tally in used) / len(used)
        with ExitStack() as hooks:
            for dopant in parts:
                hooks.enter_context(_removed(dopant.register_forward_hook(_nothing)))
            found["loss_base"] = float(score(model))
    return found


class AdaptationRecord(Callback):
    """Measures ``adaptation`` while a model trains, every so many steps.

    ``rows`` has all that was measured, with the step each, and travels in checkpoints. The record of an epoch has the
    last ones, as "dopant_density", "dopant_share", "dopant_cosine", "loss_of_both" and "loss_of_base". Training is not
    changed by it. With a model that has sparse matrices alone it is the control: pruning too has a bump in its loss.

    Args:
        score: the loss of a model, ``lambda model: loss(model(x), y)``, on inputs that are always the same.
        every: steps between two measurements.
        pattern: of the paths of the matrices, for ``re.match``.

    Raises:
        PlanError: if an argument is out of range; when it measures, as ``adaptation`` does.

    Example:
        >>> rule = edgenet.compress.AdaptationRecord(lambda model: model.loss(), every=10)
        >>> rule.rows  # filled while it trains
        []
    """

    def __init__(self, score: Score, every: int = 100, pattern: str = ".*") -> None:
        if not callable(score):
            raise PlanError(f"AdaptationRecord: score is a function of a model, its loss, got {score!r}.")
        self.score, self.every = score, whole("AdaptationRecord", "every", every, 1)
        self.pattern = checked_pattern("AdaptationRecord", pattern)
        self.rows: list[dict[str, float]] = []

    def on_start(self, training: Training) -> None:
        self.rows = []

    def after_step(self, training: Training) -> None:
        if training.step % self.every == 0:
            self._measure(training)

    def after_epoch(self, training: Training) -> None:
        if not self.rows:
            self._measure(training)
        training.record |= {_NAMES[name]: value for name, value in self.rows[-1].items() if name in _NAMES}

    def state_dict(self) -> dict[str, Any]:
        return {"rows": [dict(row) for row in self.rows]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict()``."""
        self.rows = [dict(row) for row in state["rows"]]

    def _measure(self, training: Training) -> None:
        self.rows.append({"step": training.step, **adaptation(training.model, self.score, self.pattern)})


_NAMES = {
    "density": "dopant_density",
    "share": "dopant_share",
    "cosine": "dopant_cosine",
    "loss": "loss_of_both",
    "loss_base": "loss_of_base",
}


class _Tally:
    """Energies of the two outputs of a doped matrix, over all that it is called with."""

    def __init__(self) -> None:
        self.calls = 0
        self.base = self.dopant = self.both = 0.0

    def __call__(self, matrix: Any, inputs: tuple[Any, ...]) -> None:
        y, z = matrix.base(inputs[0]), matrix.dopant(inputs[0])
        self.calls += 1
        self.base += _inner(y, y)
        self.dopant += _inner(z, z)
        self.both += _inner(y, z)

    def share(self) -> float:
        energy = self.base + self.dopant
        return self.dopant / energy if energy else 0.0

    def cosine(self) -> float:
        size = math.sqrt(self.base) * math.sqrt(self.dopant)
        return self.both / size if size else 0.0


def _inner(y: Tensor, z: Tensor) -> float:
    return float((y.conj() * z).real.double().sum()) if y.is_complex() else float((y.double() * z.double()).sum())


def _nothing(part: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return torch.zeros_like(output)


@contextmanager
def _removed(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _looking_at(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, and random numbers that are given back."""
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            model.eval()
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
