"""SplineFunctions: a smooth function of every feature, summed, in the basis of ``edgenet.estimators``."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from edgenet.errors import ConfigError, ShapeError
from edgenet.estimators.basis import SplineBasis, bsplines

_SAMPLE = 20_000  # rows that the basis is fitted to
_BASIS = "low", "high", "inner", "mean", "transform"


class SplineFunctions(nn.Module):
    """sum_d f_d(u_d), with f_d a spline for every feature d, hop and head: f_d = sum_a coefficients[..., d, a] u_a.

    The u_a are those of ``edgenet.estimators.basis.SplineBasis``: centred and orthonormal on the first data that are
    met, so that there ||f_d|| = sqrt(mean f_d^2) is the length of its coefficients, and shortening them is the
    functional soft threshold of sparse additive models. Outside those data a function stays what it is at the ends. A
    feature that is constant in them has no function.

    Args:
        features: D; -1 reads it off the first data.
        hops, heads: one set of functions for each.
        df: functions in the basis of one feature.
        degree: of the splines.

    Raises:
        ShapeError: in ``forward``, if the data have not D features, or the first of them are not finite.
        ConfigError: if ``df`` is below 1; in ``forward``, if ``df`` and ``degree`` make no basis.
    """

    low: Tensor
    high: Tensor
    inner: Tensor
    mean: Tensor
    transform: Tensor

    def __init__(self, features: int, hops: int, heads: int, df: int = 6, degree: int = 3) -> None:
        super().__init__()
        if df < 1:
            raise ConfigError(f"df, the functions of a basis, is 1 or more, got {df}.")
        self.features, self.hops, self.heads, self.df, self.degree = features, hops, heads, df, degree
        for name in _BASIS:
            self.register_buffer(name, None)
        shape = (hops, heads, features, df)
        self.coefficients = UninitializedParameter() if features < 0 else nn.Parameter(torch.zeros(shape))

    def reset_parameters(self) -> None:
        """Set all functions to zero. The basis stays."""
        if not isinstance(self.coefficients, UninitializedParameter):
            nn.init.zeros_(self.coefficients)

    @property
    def is_fitted(self) -> bool:
        """Whether the basis has met its data."""
        return self.low is not None

    @torch.compiler.disable
    @torch.inference_mode(False)  # a basis met in evaluation is for training, too
    @torch.no_grad()
    def fit(self, values: Tensor) -> None:
        """Make the basis of (M, D) data; of 20,000 rows, evenly spaced, where there are more."""
        self._materialise(values.shape[1])
        values = values.detach().double()
        if len(values) > _SAMPLE:
            values = values[torch.linspace(0, len(values) - 1, _SAMPLE, device=values.device).long()]
        bad = ~values.isfinite().all(0)
        if bad.any():
            raise ShapeError(f"functions want finite features, and column {int(bad.nonzero()[0])} has NaN or inf.")
        basis = SplineBasis.fit(values.cpu().numpy(), self.df, self.degree)
        for name in _BASIS:
            value = torch.as_tensor(getattr(basis, name)).to(self.coefficients)
            if name == "transform":  # few rows allow few functions
                value = nn.functional.pad(value, (0, self.df - value.shape[-1]))
            setattr(self, name, value)

    def forward(self, values: Tensor) -> Tensor:
        """(M, ..., D) features -> (M, ..., hops, heads) sums of functions; zeros before there is a basis."""
        if not self.is_fitted:
            self._materialise(values.shape[-1])
            zero = self.coefficients.sum() * 0  # a graph without edges has gradients too, of 0
            return zero.expand(*values.shape[:-1], self.hops, self.heads)
        splines = self._splines(values)
        weight = self._weight()  # (D, b, hops * heads)
        total = splines.flatten(-2) @ weight.flatten(0, 1) - (self.mean.unsqueeze(1) @ weight).sum(0)
        return total.unflatten(-1, (self.hops, self.heads))

    def each(self, values: Tensor) -> Tensor:
        """(M, ..., D) features -> (M, ..., hops, heads, D) values of every function; zeros before there is a basis."""
        if not self.is_fitted:
            self._materialise(values.shape[-1])
            return self.coefficients.new_zeros(*values.shape[:-1], self.hops, self.heads, self.features)
        parts = torch.einsum("...db,dbq->...qd", self._splines(values) - self.mean, self._weight())
        return parts.unflatten(-2, (self.hops, self.heads))

    def norms(self) -> Tensor:
        """(hops, heads, D) sqrt(mean f^2) of every function, over the data of the basis.

        Raises:
            ShapeError: if D is not known yet.
        """
        if isinstance(self.coefficients, UninitializedParameter):
            raise ShapeError("how many features there are is not known yet: run the layer, or fit_basis, once.")
        return torch.linalg.vector_norm(self.coefficients, dim=-1)

    def _materialise(self, features: int) -> None:
        if isinstance(self.coefficients, UninitializedParameter):
            self.features = features
            with torch.inference_mode(False):
                self.coefficients.materialize((self.hops, self.heads, features, self.df))
                self.reset_parameters()

    def _weight(self) -> Tensor:
        return torch.einsum("dbv,khdv->dbkh", self.transform, self.coefficients).flatten(2)

    def _splines(self, values: Tensor) -> Tensor:
        """(M, ..., D, b) B-splines."""
        if values.shape[-1] != self.features:
            raise ShapeError(f"these are functions of {self.features} features, got {tuple(values.shape)}.")
        values = values.to(self.coefficients.dtype)
        width = torch.where(self.high > self.low, self.high - self.low, 1)
        unit = ((values - self.low) / width).clamp(0, 1)
        return torch.stack(bsplines(unit, self.inner, self.degree), -1)

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        if isinstance(self.coefficients, UninitializedParameter):  # a mark in place of numbers
            destination[prefix + "coefficients"] = torch.empty(0)
        else:
            super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        coefficients = state_dict.get(prefix + "coefficients")
        if coefficients is not None:
            for name in _BASIS:  # the basis is what is stored, or none
                stored, own = state_dict.get(prefix + name), self.coefficients
                setattr(
                    self, name, None if stored is None else torch.empty_like(stored, device=own.device).to(own.dtype)
                )
            lazy = isinstance(self.coefficients, UninitializedParameter)
            if lazy and coefficients.dim() == 1:  # saved before it had a size
                return
            if coefficients.dim() == 4:
                self._materialise(coefficients.shape[2])
        elif isinstance(self.coefficients, UninitializedParameter):
            args[2].append(prefix + "coefficients")  # among the missing keys, which a strict load reports
            return
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f"features={self.features}, hops={self.hops}, heads={self.heads}, df={self.df}"
