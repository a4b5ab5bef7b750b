"""Whether a class can be a family of structured matrices: what plans, searches and files ask of it, asked once."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from edgenet.errors import PlanError
from edgenet.structured.base import StructuredMatrix
from edgenet.structured.families import STRUCTURES

_SHAPES = ((12, 8), (8, 8), (8, 12), (64, 64))
_RESERVED = ("keep",)  # what plans say of slots that stay as they are


def check_family(name: str, cls: type[StructuredMatrix]) -> None:
    """Refuse what cannot be the family ``name``.

    The smallest and the largest of its own sizes (``ladder``) are made of a random weight, built again from their
    ``config`` and tensors, packed, multiplied and read.

    Raises:
        PlanError: if the name is none, or taken by another class; if the class is abstract; or if one of these fails.
            The text lists all that is missing.
    """
    problems = []
    if not isinstance(name, str) or not name.isidentifier() or name in _RESERVED:
        problems.append(f"the name {name!r} is no word that a plan can use: write letters, digits and underscores")
    elif STRUCTURES.get(name, cls) is not cls:
        problems.append(f"the name {name!r} is taken by {STRUCTURES[name].__name__}: choose another")
    if not (isinstance(cls, type) and issubclass(cls, StructuredMatrix)):
        problems.append(f"{cls!r} is no subclass of StructuredMatrix")
    elif cls.__abstractmethods__:
        problems.append(f"it lacks {', '.join(sorted(cls.__abstractmethods__))}")
    else:
        devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
        with torch.random.fork_rng(devices), torch.no_grad():
            problems += _failures(cls)
    if problems:
        raise PlanError(f"{getattr(cls, '__name__', cls)} cannot be the family {name!r}: {'; '.join(problems)}.")


def _failures(cls: type[StructuredMatrix]) -> list[str]:
    for shape in _SHAPES:
        what = f"ladder({shape})"
        try:
            ladder = cls.ladder(shape)
            if not isinstance(ladder, list) or not all(isinstance(options, dict) for options in ladder):
                return [f"{what} is no list of options of from_dense, but {ladder!r}"]
            for options in (ladder[:1] + ladder[1:][-1:]) if ladder else []:
                what = f"from_dense of a {shape} weight with its own options {options}"
                problem = _failure(cls, cls.from_dense(torch.randn(shape), **options), shape)
                if problem:
                    return [f"{what}: {problem}"]
        except Exception as error:  # whatever a class of somebody else raises is what is told of it
            return [f"{what} raises {type(error).__name__}: {error}"]
        if ladder:
            break
    return []


def _failure(cls: type[StructuredMatrix], matrix: Any, shape: tuple[int, int]) -> str | None:
    """What is wrong with a matrix that ``from_dense`` made."""
    if type(matrix) is not cls:
        return f"makes a {type(matrix).__name__}"
    if tuple(matrix.shape) != shape:
        return f"makes a matrix of shape {tuple(matrix.shape)}"
    try:
        config = json.loads(json.dumps(matrix.config()))
    except (TypeError, ValueError) as error:
        return f"its config() is not JSON-able: {error}"
    twin = cls.from_config(config)
    twin.load_state_dict(matrix.state_dict())
    dense, x = matrix.to_dense(), torch.randn(3, shape[1])
    if tuple(dense.shape) != shape:
        return f"its to_dense() has shape {tuple(dense.shape)}"
    index = torch.tensor([shape[0] - 1, 0])
    for words, got, want in (
        ("from_config(config()) with its tensors is another matrix", twin.to_dense(), dense),
        ("matmul(x) is not x @ to_dense().T", matrix.matmul(x), x.to(dense.dtype) @ dense.mT),
        ("rows(index) is not to_dense()[index]", matrix.rows(index), dense[index]),
        ("pack() is another matrix", matrix.pack().to_dense(), dense),
    ):
        if not _near(got, want):
            return words
    cls.random(shape, **{key: value for key, value in config.items() if key != "shape"})
    return None


def _near(got: Tensor, want: Tensor) -> bool:
    return got.shape == want.shape and torch.allclose(got, want, rtol=1e-3, atol=1e-3)
