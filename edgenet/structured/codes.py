"""Coded: a structured matrix whose numbers are codes of a few bits, as a quantiser packs it."""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from torch import Tensor

from edgenet import ops
from edgenet.errors import PlanError, ShapeError
from edgenet.ops import backend, native
from edgenet.ops.kernels.codes_linear.packing import from_bytes, to_bytes
from edgenet.shortcuts import plain, untouched
from edgenet.structured.base import StructuredMatrix
from edgenet.structured.convs import Steps, relayed
from edgenet.structured.dense import Dense
from edgenet.structured.families import family
from edgenet.structured.inference_cache import InferenceCache
from edgenet.structured.names import STRUCTURES, name_of
from edgenet.structured.packed_buffers import restored_buffers, stored_buffers
from edgenet.structured.parameters import own_copy, parameter
from edgenet.structured.read import read, read_rows
from edgenet.structured.substituted import substituted

_FEW = 8  # signals up to which the kernel is the fastest way, in 1 to 8 bits
_LARGE = 1 << 17  # codes from which it is

Quantised = Any  # the class of that name, whose file imports this one


class Coded(StructuredMatrix):
    """A quantised matrix at rest: codes, packed bit after bit, and the scales, which go on training.

    Every number of the structure is level[code] * scale. A multiplication decodes first; in ``eval`` mode the decoded
    numbers are kept. A few signals, multiplied by a large dense matrix without gradients, read the codes themselves
    (``edgenet.ops.codes_linear``); sums then come in another order.

    Args:
        make: the quantised matrix, whose codes these are. Nothing is kept of its latents.

    Example:
        >>> coded = edgenet.structured.Uniform(edgenet.structured.Dense(torch.randn(16, 16)), bits=4).pack()
        >>> type(coded).__name__, coded.bits() // 8  # bytes: half of one for every number, and a scale
        ('Coded', 132)
    """

    def __init__(self, make: Quantised) -> None:
        super().__init__()
        for k, (codes, scale) in enumerate(make.encoded()):
            self.register_buffer(f"codes_{k}", to_bytes(codes, make.widths[k]))
            self.register_parameter(f"scale_{k}", parameter(scale))
        empty = {name: t.detach().to("meta") for name, t in (*make.named_parameters(), *make.named_buffers())}
        latents = zip(make.names, make.latents(), strict=True)
        empty.update({f"base.{name}": latent.detach().to("meta") for name, latent in latents})
        skeleton = copy.deepcopy(substituted(make, empty))
        _as_parameters(skeleton.base, make.names)
        known = stored_buffers(make.base)
        held = list(stored_buffers(skeleton.base))  # places of entries, say
        for j, name in enumerate(held):
            self.register_buffer(f"held_{j}", own_copy(known[name]))
        for part in skeleton.modules():
            part._buffers.update(dict.fromkeys(part._non_persistent_buffers_set))  # no file has them: dropped rows
            if isinstance(part, StructuredMatrix):  # what the original has kept is not held here
                part.cache = InferenceCache()
        self._make = (skeleton.train(self.training),)  # a tuple, lest it counts as a part
        self._held = tuple(held)

    @property
    def shape(self) -> tuple[int, int]:
        return self._make[0].shape

    def train(self, mode: bool = True) -> Self:
        self._make[0].train(mode)
        return super().train(mode)

    def decoded(self) -> StructuredMatrix:
        """The structure, with the numbers that the codes stand for."""
        tensors = (*self.parameters(), *self.buffers())
        return substituted(self._make[0].base, self.cache.get(self, "decoded", tensors, self._decoded))

    def _decoded(self) -> dict[str, Tensor]:
        make = self._make[0]
        found = restored_buffers(make.base, {name: getattr(self, f"held_{j}") for j, name in enumerate(self._held)})
        for k, (name, latent) in enumerate(zip(make.names, make.latents(), strict=True)):
            codes = from_bytes(getattr(self, f"codes_{k}"), make.widths[k], latent.numel()).view(latent.shape)
            found[name] = make.decode(k, codes, getattr(self, f"scale_{k}"))
        return found

    def matmul(self, x: Tensor) -> Tensor:
        return self._by_kernel(x) if self._is_for_kernel(x) else self.decoded()(x)

    def _is_for_kernel(self, x: Tensor) -> bool:
        """Whether the codes multiply as they are stored: faster than comparing them with those that were decoded, and
        reading 4 bytes a number. For a few signals in ``eval`` mode, by a dense matrix, without gradients."""
        make = self._make[0]
        if self.training or type(make.base) is not Dense or len(make.names) != 1 or make.widths[0] > 8:
            return False
        (m, n), scale = make.shape, self.scale_0
        if x.dim() == 0 or x.shape[-1] != n or m * n < _LARGE or not 0 < x.numel() <= _FEW * n:
            return False
        if not (x.is_cpu and self.codes_0.is_cpu and x.dtype == scale.dtype == torch.float32 and backend.eager()):
            return False
        if (torch.is_grad_enabled() and (x.requires_grad or scale.requires_grad)) or torch.is_autocast_enabled("cpu"):
            return False
        if scale.numel() not in (1, m) or not plain(self, make):  # a family of somebody else may decode in its own way
            return False
        kernels = backend.kernels("codes_linear", x, self.codes_0, scale)
        return kernels is not None and native.vectorised() and kernels.suits(x, make.widths[0], self._levels(), scale)

    def _by_kernel(self, x: Tensor) -> Tensor:
        make = self._make[0]
        return ops.codes_linear(x, self.codes_0, make.widths[0], self._levels(), self.scale_0, make.shape[0])

    def _levels(self) -> Tensor:
        return self.cache.get(self, "levels", (), lambda: self._make[0].levels(0))

    def to_dense(self) -> Tensor:
        return read(self.decoded())

    def rows(self, index: Tensor) -> Tensor:
        return read_rows(self.decoded(), index)

    def as_convs(self, places: int) -> list[Steps]:
        base = self._make[0].base
        return relayed(base, self.decoded, places) if untouched(base) else []  # it is no part, which callers look at

    def multiply_adds(self, batch: int = 1) -> int:
        return self._make[0].multiply_adds(batch)

    @classmethod
    def from_dense(cls, weight: Tensor, quantiser: str = "uniform", **options: Any) -> Self:
        """What the quantiser's ``from_dense`` packs to.

        Args:
            weight: (m, n).
            quantiser: the name of a quantiser.
            options: those of its ``from_dense``.
        """
        return cls._packed(quantiser, family(quantiser).from_dense(weight, **options))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        options = dict(config)
        quantiser = options.pop("quantiser", "uniform")
        return cls._packed(quantiser, family(quantiser).from_config(options))

    @classmethod
    def _packed(cls, quantiser: str, matrix: StructuredMatrix) -> Self:
        if not hasattr(matrix, "encoded"):
            names = [name for name, kind in STRUCTURES.items() if hasattr(kind, "encoded")]
            raise PlanError(f"{quantiser!r} is no quantiser; there are {', '.join(names)}.")
        return cls(matrix)

    def config(self) -> dict[str, Any]:
        told = self._make[0].config()
        return {"shape": told.pop("shape"), "quantiser": name_of(self._make[0]), **told}

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        options = self.config()
        made = family(options.pop("quantiser")).random(options.pop("shape"), std, **options)
        self.load_state_dict(type(self)(made).state_dict())

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        return []  # the packed form of others

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        stored = {name: state_dict.get(f"{prefix}held_{j}") for j, name in enumerate(self._held)}
        own = [getattr(self, f"held_{j}") for j in range(len(self._held))]
        if all(t is not None and t.shape == o.shape for t, o in zip(stored.values(), own, strict=True)):
            try:
                restored_buffers(self._make[0].base, stored)
            except ShapeError as error:  # kernels follow places without looking
                args[-1].append(f"{prefix}: {error}")
                return
        for k in range(len(self._make[0].names)):
            codes = state_dict.get(f"{prefix}codes_{k}")
            fits = codes is not None and codes.shape == getattr(self, f"codes_{k}").shape
            if fits and codes.dtype != torch.uint8:  # numbers that are no codes have no level
                args[-1].append(f"{prefix}codes_{k}: codes are bytes, torch.uint8, got {codes.dtype}.")
                return
        super()._load_from_state_dict(state_dict, prefix, *args)


def _as_parameters(base: StructuredMatrix, names: tuple[str, ...]) -> None:
    """What torch's pruning and its older norms compute of other tensors becomes a parameter, and those go: codes are of
    what was computed."""
    for name in names:
        path, _, last = name.rpartition(".")
        owner = base.get_submodule(path)
        if last not in owner.__dict__:
            continue
        value = owner.__dict__.pop(last)
        for table in (owner._parameters, owner._buffers):
            for other in [other for other in table if other.startswith(f"{last}_")]:
                del table[other]
        owner._parameters[last] = value
