"""recalibrate_: the statistics of batch norms, estimated anew after the layers before them have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from edgenet.errors import PlanError, ShapeError


@torch.no_grad()
def recalibrate_(
    model: nn.Module,
    batches: Iterable[Any],
    call: Callable[[nn.Module, Any], Any] | None = None,
    reference: nn.Module | None = None,
) -> list[str]:
    """Estimate the means and variances of all batch norms of a model anew, in place. All of it happens, or nothing.

    Compression moves what the layers before a batch norm give, and its stored statistics no longer fit; a network of
    many such layers then says nothing of use. No weight is trained here, and no label is needed: a few hundred
    inputs do, none of them among those that are scored later.

    The model runs in ``eval`` mode, with its batch norms alone in ``train`` mode; they keep the plain mean of what the
    batches have (a cumulative average, every batch counted alike), whatever their momentum. Modes and momenta are
    as before afterwards. A batch norm that no batch reaches keeps its statistics, and so do norms of other kinds
    (``nn.InstanceNorm2d(..., track_running_stats=True)``).

    Of few inputs the statistics are those of these inputs, not of the data that the model was trained on. With a
    ``reference`` only what compression has changed is estimated: both models see the batches, and

        mean = mean of the reference + (mean here - mean there),  var + eps = (var of the reference + eps) (var here +
        eps) / (var there + eps)

    so that what is peculiar to the inputs cancels. An unchanged model keeps its statistics, to rounding.

    Args:
        model: any module.
        batches: inputs. A dict is given to the model by name, a tuple or list in order, anything else alone.
        call: runs the model on a batch in another way: ``lambda model, batch: model(batch[0])`` for (x, label) pairs.
        reference: the model before it was compressed, whose batch norms have the same paths. It stays as it is.

    Returns:
        The paths of the batch norms that have new statistics; none where the model has no batch norm, and then
        no batch is read.

    Raises:
        PlanError: if a batch norm keeps no running statistics (it normalises by each batch, and has nothing to
            estimate), has no size yet, there is no batch, or the reference has not the batch norms of the model.
        ShapeError: if statistics come out that are not finite.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8))
        >>> edgenet.compress.recalibrate_(model, [torch.randn(10, 3)])
        ['1']
    """
    norms = _norms(model)
    if not norms:
        return []
    others = {} if reference is None else _norms(reference)
    stored = {path: (norm.running_mean.clone(), norm.running_var.clone()) for path, norm in others.items()}
    _check_same(norms, others, reference)
    run = call or _run
    with ExitStack() as estimating:
        estimating.enter_context(_estimating(model, norms))
        if reference is not None:
            estimating.enter_context(_estimating(reference, others, put_back=True))
        number = 0
        for batch in batches:
            run(model, batch)
            if reference is not None:
                run(reference, batch)
            number += 1
        if number == 0:
            raise PlanError("there is no batch to estimate statistics from; an iterator that was read before is empty.")
        reached = [path for path, norm in norms.items() if int(norm.num_batches_tracked)]
        for path in reached if reference is not None else ():
            if not int(others[path].num_batches_tracked):
                raise PlanError(f"no batch reaches {path} in the reference, as they do in the model.")
            _move_(norms[path], others[path], *stored[path])
        for path, norm in norms.items():
            if not (norm.running_mean.isfinite().all() and norm.running_var.isfinite().all()):
                raise ShapeError(f"the statistics of {path or 'the model'} are not finite; so are not its inputs.")
    return reached


@contextmanager
def _estimating(model: nn.Module, norms: Mapping[str, _BatchNorm], put_back: bool = False) -> Iterator[None]:
    """The batch norms of a model average what they see. Those that have seen nothing, and after an error all, get their
    statistics back; with ``put_back`` all in any case."""
    modes = {module: module.training for module in model.modules()}
    momenta = {norm: norm.momentum for norm in norms.values()}
    before = {norm: [t.clone() for t in norm.buffers(recurse=False)] for norm in norms.values()}
    done = False
    try:
        for module in modes:
            module.training = module in momenta
        for norm in momenta:
            norm.momentum = None  # torch's cumulative average
            norm.reset_running_stats()
        yield
        done = not put_back
    finally:
        for module, mode in modes.items():
            module.training = mode
        for norm, momentum in momenta.items():
            norm.momentum = momentum
        for norm, old in before.items():
            if not (done and int(norm.num_batches_tracked)):
                for now, tensor in zip(norm.buffers(recurse=False), old, strict=True):
                    now.copy_(tensor)


def _move_(norm: _BatchNorm, other: _BatchNorm, mean: Tensor, var: Tensor) -> None:
    """Put the statistics of a reference, moved by what it and the model see differently, into the model's norm."""
    eps = norm.eps
    norm.running_mean.copy_(mean + (norm.running_mean - other.running_mean))
    norm.running_var.copy_(((var + eps) * ((norm.running_var + eps) / (other.running_var + eps)) - eps).clamp_min(0))


def _norms(model: nn.Module) -> dict[str, _BatchNorm]:
    norms = {path: module for path, module in model.named_modules() if isinstance(module, _BatchNorm)}
    for path, norm in norms.items():
        _check(path, norm)
    return norms


def _check_same(norms: Mapping[str, _BatchNorm], others: Mapping[str, _BatchNorm], reference: nn.Module | None) -> None:
    if reference is None:
        return
    sizes, wanted = ({path: norm.num_features for path, norm in all_.items()} for all_ in (others, norms))
    wrong = next((path for path in wanted if sizes.get(path) != wanted[path]), None)
    if wrong is not None:
        raise PlanError(
            f"the reference has no batch norm of {wanted[wrong]} channels at {wrong!r}: it is to be the model before "
            f"it was compressed. Without a reference the statistics are those of the batches alone."
        )
    if any(norm is others[path] for path, norm in norms.items()):
        raise PlanError("the reference shares batch norms with the model; hand over a copy made before compression.")


def _check(path: str, norm: _BatchNorm) -> None:
    name = f"{path or 'the model'}, a {type(norm).__name__},"
    if norm.running_mean is None or not norm.track_running_stats:
        raise PlanError(
            f"{name} keeps no running statistics: it normalises every batch by itself, and there is nothing to "
            f"estimate. Make it with track_running_stats=True, or leave recalibration out."
        )
    if is_lazy(norm.running_mean):
        raise PlanError(f"{name} has no size yet: run the model once first.")


def _run(model: nn.Module, batch: Any) -> Any:
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, tuple | list) else model(batch)
