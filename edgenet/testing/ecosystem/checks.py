"""check_ecosystem: a layer or a model, held to what other people's tools do with it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from torch import nn

from edgenet.errors import ConfigError
from edgenet.testing.contract import check_maker
from edgenet.testing.ecosystem.tools import JOBS, missing, versions
from edgenet.testing.layer.case import LayerCase


def check_ecosystem(
    make: Callable[[Any, int], nn.Module] | LayerCase,
    *,
    weights: int = 0,
    features: int = 0,
    batches: bool = True,
    pair: bool = False,
    only: Collection[str] | str | None = None,
    skip: Collection[str] | str = (),
) -> dict[str, str]:
    """Let every tool that is installed do its job with a layer or a model, in float64 and from a fixed seed.

    Hooks of PyG, its explainers and its ``summary``; captum; ensembles by ``vmap``; autocast, ``GradScaler``,
    checkpointing, DDP, FSDP2; Lightning, LoRA of PEFT, torchao.

    Args:
        make, weights, features, batches, pair: as of ``check_layer``. Or a ``LayerCase`` or ``ModelCase``.
        only, skip: names of jobs to run alone, or to leave out; the keys of ``edgenet.testing.ecosystem.JOBS.checks``.

    Returns:
        What every job was done with, ``{"captum, Saliency": "captum 0.9.0"}``; or why it was not.

    Raises:
        ContractError: which is an AssertionError; it names every failed job, what differs and what was asked.
        ConfigError: if there is no job of such a name, or one that ``only`` names needs a package that is missing.

    Example:
        >>> def make(width, out):
        ...     return edgenet.EdgeNetConv(width, out)
        >>> edgenet.testing.check_ecosystem(make)  # a minute  # doctest: +SKIP
    """
    if isinstance(make, LayerCase):
        case = make
    else:
        check_maker("check_ecosystem", make)
        made = (lambda i, o: make((i, i + 1), o)) if pair else make
        name = getattr(make, "__name__", str(make))
        case = LayerCase(made, weights, features, batches=batches, pair=pair, name=name)
    for name in JOBS.chosen(only) if only is not None else ():
        if missing(name):
            gone = " ".join(missing(name))
            raise ConfigError(f"the job {name!r} needs {gone}: pip install {gone}, or leave it out of `only`.")
    told = JOBS.hold_all(case, only, skip)
    return {name: versions(name) if why is None else f"not done: {why}" for name, why in told.items()}
