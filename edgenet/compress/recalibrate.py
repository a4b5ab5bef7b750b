"""recalibrate_: the statistics of batch norms, estimated anew after the layers before them have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from edgenet.errors import PlanError, ShapeError


@torch.no_grad()
def recalibrate_(
    model: nn.Module, batches: Iterable[Any], call: Callable[[nn.Module, Any], Any] | None = None
) -> list[str]:
    """Estimate the means and variances of all batch norms of a model anew, in place. All of it happens, or nothing.

    Compression moves what the layers before a batch norm give, and its stored statistics no longer fit; a network of
    many such layers then says nothing of use. No weight is trained here, and no label is needed: a few hundred
    inputs do, none of them among those that are scored later.

    The model runs in ``eval`` mode, with its batch norms alone in ``train`` mode; they keep the plain mean of what the
    batches have (a cumulative average, every batch counted alike), whatever their momentum. Modes and momenta are
    as before afterwards. A batch norm that no batch reaches keeps its statistics, and so do norms of other kinds
    (``nn.InstanceNorm2d(..., track_running_stats=True)``).

    Args:
        model: any module.
        batches: inputs. A dict is given to the model by name, a tuple or list in order, anything else alone.
        call: runs the model on a batch in another way: ``lambda model, batch: model(batch[0])`` for (x, label) pairs.

    Returns:
        The paths of the batch norms that have new statistics; none where the model has no batch norm, and then
        no batch is read.

    Raises:
        PlanError: if a batch norm keeps no running statistics (it normalises by each batch, and has nothing to
            estimate), has no size yet, or there is no batch.
        ShapeError: if statistics come out that are not finite.
    """
    norms = {path: module for path, module in model.named_modules() if isinstance(module, _BatchNorm)}
    for path, norm in norms.items():
        _check(path, norm)
    if not norms:
        return []
    run = call or _run
    modes = {module: module.training for module in model.modules()}
    momenta = {norm: norm.momentum for norm in norms.values()}
    before = {norm: [t.clone() for t in norm.buffers(recurse=False)] for norm in norms.values()}
    try:
        for module in modes:
            module.training = module in momenta
        for norm in momenta:
            norm.momentum = None  # torch's cumulative average
            norm.reset_running_stats()
        number = 0
        for batch in batches:
            run(model, batch)
            number += 1
        if number == 0:
            raise PlanError("there is no batch to estimate statistics from; an iterator that was read before is empty.")
        for path, norm in norms.items():
            if not (norm.running_mean.isfinite().all() and norm.running_var.isfinite().all()):
                raise ShapeError(f"the statistics of {path or 'the model'} are not finite; so are not its inputs.")
    except BaseException:
        for norm, old in before.items():
            _restore_(norm, old)
        raise
    finally:
        for module, mode in modes.items():
            module.training = mode
        for norm, momentum in momenta.items():
            norm.momentum = momentum
    reached = [path for path, norm in norms.items() if int(norm.num_batches_tracked)]
    for path, norm in norms.items():
        if path not in reached:
            _restore_(norm, before[norm])
    return reached


def _check(path: str, norm: _BatchNorm) -> None:
    name = f"{path or 'the model'}, a {type(norm).__name__},"
    if norm.running_mean is None or not norm.track_running_stats:
        raise PlanError(
            f"{name} keeps no running statistics: it normalises every batch by itself, and there is nothing to "
            f"estimate. Make it with track_running_stats=True, or leave recalibration out."
        )
    if is_lazy(norm.running_mean):
        raise PlanError(f"{name} has no size yet: run the model once first.")


def _restore_(norm: _BatchNorm, old: list[torch.Tensor]) -> None:
    for now, tensor in zip(norm.buffers(recurse=False), old, strict=True):
        now.copy_(tensor)


def _run(model: nn.Module, batch: Any) -> Any:
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, tuple | list) else model(batch)
