"""Coded: a structured matrix whose numbers are codes of a few bits, as a quantiser packs it."""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from torch import Tensor

from edgenet.errors import PlanError
from edgenet.ops.kernels.codes_linear.packing import from_bytes, to_bytes
from edgenet.shortcuts import untouched
from edgenet.structured.base import StructuredMatrix
from edgenet.structured.convs import Convs, relayed
from edgenet.structured.csr import Csr, misfit
from edgenet.structured.families import STRUCTURES, family, name_of
from edgenet.structured.inference_cache import InferenceCache
from edgenet.structured.parameters import own_copy, parameter
from edgenet.structured.read import read, read_rows
from edgenet.structured.substituted import substituted

Quantised = Any  # the class of that name, whose file imports this one


class Coded(StructuredMatrix):
    """A quantised matrix at rest: codes, packed bit after bit, and the scales, which go on training.

    Every number of the structure is level[code] * scale. A multiplication decodes first; in ``eval`` mode the decoded
    numbers are kept.

    Args:
        make: the quantised matrix, whose codes these are. Nothing is kept of its latents.
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
        known = dict(make.base.named_buffers())
        held = [name for name, _ in skeleton.base.named_buffers()]  # places of entries, say
        for j, name in enumerate(held):
            self.register_buffer(f"held_{j}", own_copy(known[name]))
        for part in skeleton.modules():
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
        found = {name: getattr(self, f"held_{j}") for j, name in enumerate(self._held)}
        for k, (name, latent) in enumerate(zip(make.names, make.latents(), strict=True)):
            codes = from_bytes(getattr(self, f"codes_{k}"), make.widths[k], latent.numel()).view(latent.shape)
            found[name] = make.decode(k, codes, getattr(self, f"scale_{k}"))
        return found

    def matmul(self, x: Tensor) -> Tensor:
        return self.decoded()(x)

    def to_dense(self) -> Tensor:
        return read(self.decoded())

    def rows(self, index: Tensor) -> Tensor:
        return read_rows(self.decoded(), index)

    def as_convs(self, places: int) -> list[Convs]:
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
        for path, part in self._make[0].base.named_modules():
            if isinstance(part, Csr):  # whose kernels follow places without looking
                columns, pointers = (stored.get(f"{path}.{name}".lstrip(".")) for name in ("columns", "pointers"))
                if columns is not None and pointers is not None and pointers.shape == part.pointers.shape:
                    problem = misfit(columns, pointers, len(part.values), part.shape[1])
                    if problem:
                        args[-1].append(f"{prefix}: {problem}")
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
