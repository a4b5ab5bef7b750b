"""Predictor: one model for many threads."""

from __future__ import annotations

import copy
import threading
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from edgenet.errors import ShapeError
from edgenet.pretrained.loading import from_pretrained


class Predictor:
    """A model that is loaded once and called from any number of threads, with the results that one thread would get.

    Modules keep things from call to call: merged matrices, orders of edges, what a library or a user adds. So every
    thread calls a copy of its own, whose parameters and buffers are the same memory. It is made at the thread's first
    call, and goes with the thread. What is handed in is shared as it is: nobody may write into it during a call.

    A process that is forked after torch has computed on several threads may hang in its first operation, with any
    model: the threads are not there in the fork. Start workers by ``spawn``, or let none compute before the fork.

    Args:
        model: a folder or a repository, as of ``from_pretrained``; or a module, which is copied.
        options: of ``from_pretrained``; a module among them is filled, and copied.

    Raises:
        ShapeError: if a layer of the module has no size yet: it would get one from whoever comes first.
        CheckpointError: as ``from_pretrained``.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> edgenet.save_pretrained(edgenet.NodeClassifier(3, 2), "served")
        >>> predictor = edgenet.pretrained.Predictor("served")
        >>> with ThreadPoolExecutor(4) as pool:
        ...     answers = list(pool.map(lambda signal: predictor(signal, edges), [x, 2 * x, 3 * x]))
        >>> [tuple(answer.shape) for answer in answers]
        [(4, 2), (4, 2), (4, 2)]
    """

    def __init__(self, model: str | Path | nn.Module, /, **options: Any) -> None:
        if given := isinstance(model, nn.Module):
            if options:
                raise TypeError(f"{', '.join(options)}: for a folder or a repository, and the model is here already.")
        else:
            model = from_pretrained(model, **options)
            given = model is options.get("model")
        model = copy.deepcopy(model).eval() if given else model
        for name, tensor in model.named_parameters():
            if is_lazy(tensor):
                raise ShapeError(f"{name} of this {type(model).__name__} has no size yet: call the model once before.")
        self._model = model.requires_grad_(False)  # never called itself
        self._lock, self._own = threading.Lock(), threading.local()

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """What the model says, without gradients."""
        model = getattr(self._own, "model", None)
        if model is None:
            with self._lock:
                model = self._own.model = _sharing(self._model)
        with torch.no_grad():
            return model(*inputs, **options)


def _sharing(model: nn.Module) -> nn.Module:
    """A copy of the module on the same parameters and buffers."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
