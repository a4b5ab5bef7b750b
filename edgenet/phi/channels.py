"""Channel maps: the R matrices C_1, ..., C_R that the matrices on all edges are combinations of."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.errors import PlanError
from edgenet.shortcuts import untouched
from edgenet.structured import Dense, SparseSignal, StructuredMatrix, family
from edgenet.structured.families import named
from edgenet.structured.padding import matched_modes
from edgenet.structured.read import read


class ChannelTable(nn.Module):
    """R free (F_out, F_in) matrices in one slot, used from the side that keeps the walked signal narrow.

    Where F_in <= F_out the walk comes first, and ``table`` is (F_out, R F_in), the matrices side by side; otherwise the
    map comes first, and it is (R F_out, F_in), one below the other.

    Args:
        rank: R.
        in_channels, out_channels: F_in, F_out.
        structure: None, or {"structure": name, **options}, the family that is in the slot.
    """

    def __init__(self, rank: int, in_channels: int, out_channels: int, structure: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.rank, self.in_channels, self.out_channels = rank, in_channels, out_channels
        self.walk_first = in_channels <= out_channels
        shape = (out_channels, rank * in_channels) if self.walk_first else (rank * out_channels, in_channels)
        self.table: StructuredMatrix = made(structure, shape, torch.empty(0))

    def forward(self, z: Tensor | SparseSignal) -> Tensor:
        """What a hop asks for: ``gather`` of (..., R, F_in) where the walk is first, else ``spread`` of (..., F_in)."""
        return self.gather(z) if self.walk_first else self.spread(z)

    def spread(self, x: Tensor | SparseSignal) -> Tensor:
        """Every C_r x: (..., F_in) -> (..., R, F_out)."""
        if isinstance(x, SparseSignal):
            y = x.times(read(self.table))  # sparse features want the small matrix built
        else:
            y = self.table(x)
        return y.unflatten(-1, (self.rank, self.out_channels))

    def gather(self, z: Tensor) -> Tensor:
        """The sum over r of C_r z[r]: (..., R, F_in) -> (..., F_out)."""
        return self.table(z.flatten(-2))

    def matrices(self) -> Tensor:
        """(R, F_out, F_in)."""
        dense = read(self.table)
        if self.walk_first:
            return dense.unflatten(1, (self.rank, self.in_channels)).movedim(1, 0)
        return dense.unflatten(0, (self.rank, self.out_channels))

    @torch.no_grad()
    def set_(self, matrices: Tensor) -> None:
        """Take over the given (R, F_out, F_in) matrices, or what of them the slot can hold."""
        self.table.reset_parameters(matrices.movedim(0, 1).flatten(1) if self.walk_first else matrices.flatten(0, 1))

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        """Draw matrices whose entries have mean 0 and variance ``std``^2."""
        self.table.draw_(std)


class ChannelKronecker(nn.Module):
    """R matrices C_r = P_r (x) Q_r, of P_r (f1, g1) and Q_r (f2, g2) with F_out <= f1 f2 and F_in <= g1 g2.

    Sizes that do not factor are padded, and entries of P and Q may then touch padding only.

    Args:
        rank: R.
        in_channels, out_channels: F_in, F_out.
    """

    def __init__(self, rank: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.rank, self.in_channels, self.out_channels = rank, in_channels, out_channels
        self.walk_first = in_channels <= out_channels
        self.out_modes, self.in_modes = matched_modes((out_channels, in_channels), dims=2)
        (f1, f2), (g1, g2) = self.out_modes, self.in_modes
        self.outer: StructuredMatrix = Dense.lazy(rank * f1, g1)  # P
        self.inner: StructuredMatrix = Dense.lazy(rank * f2, g2)  # Q

    def forward(self, z: Tensor | SparseSignal) -> Tensor:
        """What a hop asks for: ``gather`` of (..., R, F_in) where the walk is first, else ``spread`` of (..., F_in)."""
        return self.gather(z) if self.walk_first else self.spread(z)

    def spread(self, x: Tensor | SparseSignal) -> Tensor:
        """Every C_r x: (..., F_in) -> (..., R, F_out)."""
        if isinstance(x, SparseSignal):
            y = x.times(self.matrices().flatten(0, 1))
            return y.unflatten(-1, (self.rank, self.out_channels))
        outer, inner = self._factors()
        y = torch.einsum("...ab,rdb->...rad", self._padded(x), inner)
        y = torch.einsum("...rad,rca->...rcd", y, outer)
        return y.flatten(-2)[..., : self.out_channels]

    def gather(self, z: Tensor) -> Tensor:
        """The sum over r of C_r z[r]: (..., R, F_in) -> (..., F_out)."""
        outer, inner = self._factors()
        y = torch.einsum("...rab,rdb->...rad", self._padded(z), inner)
        y = torch.einsum("...rad,rca->...cd", y, outer)
        return y.flatten(-2)[..., : self.out_channels]

    def matrices(self) -> Tensor:
        """(R, F_out, F_in)."""
        outer, inner = self._factors()
        full = torch.einsum("rca,rdb->rcdab", outer, inner).flatten(3).flatten(1, 2)
        return full[:, : self.out_channels, : self.in_channels]

    def _factors(self) -> tuple[Tensor, Tensor]:
        return tuple(read(slot).unflatten(0, (self.rank, -1)) for slot in (self.outer, self.inner))

    def _padded(self, x: Tensor) -> Tensor:
        g1, g2 = self.in_modes
        x = nn.functional.pad(x, (0, g1 * g2 - self.in_channels)) if g1 * g2 != self.in_channels else x
        return x.unflatten(-1, (g1, g2))

    @torch.no_grad()
    def set_(self, matrices: Tensor) -> None:
        """Take over the Kronecker products nearest to given (R, F_out, F_in) matrices (Van Loan, Pitsianis 1993)."""
        sizes = list(zip(self.out_modes, self.in_modes, strict=True))
        outer, inner = [], []
        for matrix in matrices:
            nearest = family("kronecker").from_dense(matrix, factors=sizes)
            p, q = (factor.detach() for factor in nearest.pair(1))
            outer.append(p.reshape(self.out_modes[0], self.in_modes[0]))
            inner.append(q.reshape(self.out_modes[1], self.in_modes[1]))
        self.outer.reset_parameters(torch.cat(outer))
        self.inner.reset_parameters(torch.cat(inner))

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        """Draw matrices whose entries have mean 0 and variance ``std``^2."""
        for slot in (self.outer, self.inner):
            slot.draw_(std**0.5)


def hop_by_factors(maps: Any, z: Tensor | SparseSignal, move: Callable[[Tensor], Tensor]) -> Tensor:
    """One hop by matrices on edges that are sums of ``maps``' R matrices: (N, B, F_in) -> (N', B, F_out).

    Args:
        maps: a channel map.
        z: a batch of B signals, or (N, F_in) sparse features.
        move: R scalar hops, (N, R or 1, C) -> (N', R, C) for any C.
    """
    batch = 1 if isinstance(z, SparseSignal) else z.shape[1]
    if maps.walk_first:
        z = z.to_dense().unsqueeze(1) if isinstance(z, SparseSignal) else z
        y = move(z.flatten(1).unsqueeze(1))
        return maps(y.unflatten(2, (batch, -1)).transpose(1, 2))
    y = maps(z)
    y = y.unsqueeze(1) if isinstance(z, SparseSignal) else y  # (N, B, R, F_out)
    return move(y.transpose(1, 2).flatten(2)).sum(1).unflatten(1, (batch, -1))


def matrices_of(maps: nn.Module) -> Tensor:
    """(R, F_out, F_in) of a channel map, as its calls use them where others have wrapped or hooked it."""
    if untouched(maps):
        return maps.matrices()
    like = next(maps.parameters())
    if maps.walk_first:
        unit = torch.eye(maps.rank * maps.in_channels, dtype=like.dtype, device=like.device)
        y = maps(unit.unflatten(-1, (maps.rank, maps.in_channels)))
        return y.unflatten(0, (maps.rank, maps.in_channels)).transpose(1, 2)
    return maps(torch.eye(maps.in_channels, dtype=like.dtype, device=like.device)).permute(1, 2, 0)


def as_structure(given: str | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """``{"structure": name, **options}`` of a name, or of such a table itself; None, dense, stays.

    Raises:
        PlanError: if there is no such family, or it lacks an option that has no default.
    """
    if given is None:
        return None
    structure = {"structure": given} if isinstance(given, str) else dict(given)
    name, options = named(structure, "a table")
    if name == "coded":
        raise PlanError(
            f"a coded table holds codes, which do not train; take the quantiser itself, {{'structure': "
            f"{options.get('quantiser', 'uniform')!r}, ...}}, of which save_pretrained stores the codes."
        )
    parameters = inspect.signature(family(name).from_dense).parameters
    wanted = [key for key, p in parameters.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    missing = [key for key in wanted[1:] if key not in options]  # the first is the weight
    if missing:
        raise PlanError(
            f"a {name} table needs {' and '.join(missing)}: {{'structure': {name!r}, '{missing[0]}': ...}}; got "
            f"{structure}."
        )
    return structure


def made(structure: dict[str, Any] | None, shape: tuple[int, int], like: Tensor) -> StructuredMatrix:
    """A matrix of the named family, with any numbers in it, of the dtype and device of ``like``.

    Dense where no family is named, and where there is no row to compress.
    """
    if structure is None or shape[0] == 0:
        matrix = Dense.lazy(*shape)
    else:
        name, options = named(structure, "a table")
        matrix = family(name).from_config({"shape": list(shape), **options})
    return matrix._apply(lambda t: t.to(like.device, like.dtype if t.is_floating_point() else t.dtype))
