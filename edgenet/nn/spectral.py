"""SpectralConv: filters with a smooth frequency response, on the eigenvectors of symmetric shift operators."""

from __future__ import annotations

import math
import uuid
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgenet import gso
from edgenet.errors import ShapeError, SupportError
from edgenet.graph import Graph
from edgenet.nn.options import checked
from edgenet.ops.stacked import is_stacked, unstacked
from edgenet.phi.shift import one_column
from edgenet.structured import Dense, SparseSignal, StructuredMatrix
from edgenet.structured.read import read


class SpectralConv(nn.Module):
    """y_f = b_f + sum over r, g of V_r diag(B_r w_frg) V_r^T x_g, with S_r = V_r diag(lambda_r) V_r^T, r = 1..R (Isufi,
    Gama, Ribeiro 2021, sec. III-B, for R = 1).

    B_r (N, M) holds M cubic B-splines, on knots spread evenly over the spectrum, at the sorted eigenvalues: the
    frequency response of every filter is a smooth curve. With M = N, B_r is the identity: one free number an
    eigenvalue.

    The layer belongs to one graph, undirected and of moderate size (R N^2 numbers are stored): ``bind`` it, or let the
    first forward pass do it.

    Args:
        in_channels: F_in, or -1 to read it off the first input.
        out_channels: F_out.
        coefficients: M, from 4 to N; None takes N.
        normalize: of the shift operator, as in ``ShiftOperator``; None where there are several.
        bias: whether to learn an additive bias.
        shifts: R, shift operators on the same edges: their entries are the columns of (E, R) edge weights.

    Raises:
        ConfigError: if an option is of another kind.
        ShapeError: if a shift operator is not symmetric, finite and real, M does not fit, or the edge weights have not
            R columns.
        SupportError: in ``forward``, on another graph than the bound one, or with other edge weights.

    Example:
        >>> both_ways = torch.cat([edges, edges.flip(0)], dim=1)
        >>> edgenet.nn.SpectralConv(3, 8)(x, both_ways).shape
        torch.Size([4, 8])
    """

    takes_graph = True
    add_self_loops = False
    needs_edge_attr = False

    @checked
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        coefficients: int | None = None,
        normalize: str | None = "sym",
        bias: bool = True,
        shifts: int = 1,
    ) -> None:
        super().__init__()
        if in_channels < -1:
            raise ShapeError(f"in_channels are 0 or more, or -1 to read them off the first input, got {in_channels}.")
        if normalize not in gso.NORMALISATIONS:
            raise ShapeError(f"normalize is one of {list(gso.NORMALISATIONS)}, got {normalize!r}.")
        if shifts < 1:
            raise ShapeError(f"shifts are 1 or more, got {shifts}.")
        normalize = None if normalize == "none" and shifts > 1 else normalize
        if shifts > 1 and normalize is not None:
            raise ShapeError(
                f"normalize={normalize!r} is for one shift operator; normalise the {shifts} columns beforehand, and "
                f"set normalize=None."
            )
        self._token = uuid.uuid4().hex  # under which graphs remember that they are the bound one
        self.in_channels, self.out_channels = in_channels, out_channels
        self.coefficients, self.normalize, self.shifts = coefficients, normalize, shifts
        width = -1 if in_channels == -1 or coefficients is None else shifts * in_channels * coefficients
        self.weight: StructuredMatrix = Dense.lazy(out_channels, width)  # (F_out, R * F_in * M)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        for name in ("forward_transform", "inverse_transform", "basis"):
            self.register_buffer(name, torch.empty(0, 0))
        self.register_buffer("key", torch.empty(0, dtype=torch.long))  # sorted target * N + source of the bound graph
        self.register_buffer("shift", torch.empty(0, dtype=torch.float64))  # (E,) or (E, R) entries, in that order
        self.reset_parameters()

    @property
    def out_width(self) -> int:
        """F_out of its output."""
        return self.out_channels

    def bind(self, edges: Any, num_nodes: int | None = None, edge_weight: Tensor | None = None) -> SpectralConv:
        """Compute the eigenvectors of the graph's shift operators.

        Several operators differ by their entries alone: without ``edge_weight`` nothing is done for them yet, and the
        first forward pass, which brings the entries, binds the layer.

        Raises:
            ShapeError: if one is not symmetric, or ``num_nodes`` is missing.
            SupportError: if the layer is bound to another graph, or this one is a sampled piece.
        """
        if hasattr(edges, "edge_index") and not isinstance(edges, Graph):
            edges, num_nodes, edge_weight = (
                edges.edge_index,
                edges.num_nodes,
                getattr(edges, "edge_weight", edge_weight),
            )
        if not isinstance(edges, Graph):
            if num_nodes is None:
                raise ShapeError("bind(edge_index) needs num_nodes: isolated nodes do not show in an edge list.")
            edges, values = Graph.of(edges, num_nodes)
            edge_weight = values if edge_weight is None else edge_weight
        graph = edges
        if self.shifts > 1 and edge_weight is None:
            return self
        if self.is_bound:
            self._check_same(graph, edge_weight)
            return self
        with torch.inference_mode(False), torch.no_grad():  # what is made in that mode could not serve training
            self._transform(*self._operator(graph, edge_weight), graph.num_nodes)
        return self

    def _transform(self, key: Tensor, weight: Tensor, n: int) -> None:
        """Compute the transforms of operators on n nodes, given as ``_operator`` does, and remember the operators."""
        dtype = torch.get_default_dtype() if self.bias is None else self.bias.dtype
        target, source = key // max(1, n), key % max(1, n)
        if not weight.isfinite().all():
            raise ShapeError("a spectral filter needs finite shift operators, and some entries are NaN or infinite.")
        found = [self._transformed(target, source, one, n) for one in weight.view(-1, self.shifts).unbind(1)]
        forward, inverse, basis = (torch.stack(parts).to(dtype) for parts in zip(*found, strict=True))
        self.key, self.shift = key, weight
        alone = self.shifts == 1  # a file of one operator has no axis for it
        self.set_transform(*((part[0] if alone else part) for part in (forward, inverse, basis)))

    def _transformed(self, target: Tensor, source: Tensor, weight: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """V^T, V and the basis of one operator."""
        shift = weight.new_zeros(n, n).index_put((target, source), weight, accumulate=True)
        if not torch.allclose(shift, shift.T, atol=1e-8 * _largest(shift)):
            raise ShapeError("a spectral filter needs a symmetric shift operator: make the graph undirected.")
        eigenvalues, vectors = torch.linalg.eigh(shift)  # ascending
        return vectors.T, vectors, self._basis(eigenvalues)

    def _operator(self, graph: Graph, edge_weight: Tensor | None) -> tuple[Tensor, Tensor]:
        """The shift operators of a graph as sorted (target, source) keys and their (E,) or (E, R) entries."""
        if graph.node_id is not None or graph.edge_id is not None:
            raise SupportError("a spectral filter belongs to one whole graph, not to sampled pieces (n_id, e_id).")
        if self.shifts == 1:
            weight = gso.NORMALISATIONS[self.normalize](graph, one_column(edge_weight), torch.float64)
        else:
            weight = self._check_columns(graph, edge_weight)
        if weight.is_complex():
            raise ShapeError(f"a spectral filter needs real shift operators, and their entries are {weight.dtype}.")
        key, order = torch.sort(graph.target * graph.num_nodes + graph.source, stable=True)
        return key, weight.detach().double()[order]

    def _check_columns(self, graph: Graph, edge_weight: Tensor | None) -> Tensor:
        """Refuse edge weights that are not the entries of as many operators as the layer has."""
        if edge_weight is None or edge_weight.shape != (graph.num_edges, self.shifts):
            got = None if edge_weight is None else tuple(edge_weight.shape)
            raise ShapeError(
                f"{self.shifts} shift operators need ({graph.num_edges}, {self.shifts}) edge weights, got {got}."
            )
        return edge_weight

    def _check_same(self, graph: Graph, edge_weight: Tensor | None) -> None:
        """Refuse another graph, or other edge weights, than the transform was computed for."""
        if not len(self.key) and graph.num_edges:  # a transform that was set by hand says nothing of its graph
            return
        if torch.compiler.is_exporting():  # a file gives NaN instead, see forward
            return
        if torch.compiler.is_compiling():
            torch._assert_async(self._is_same(graph, edge_weight), "another graph than this spectral filter's")
            return
        if torch._C._len_torch_dispatch_stack():  # stand-ins have no numbers to compare
            return

        def same() -> bool:
            key, shift = self._operator(graph, edge_weight)
            if not torch.equal(key, unstacked(self.key)):
                return False
            kept = torch.finfo(self.shift.dtype).eps  # the digits that are left of it where the layer was converted
            known = unstacked(self.shift).double()
            return torch.allclose(shift, known, rtol=max(1e-5, kept), atol=max(1e-8, kept) * _largest(known))

        kept = edge_weight is None and not is_stacked(self.key, self.shift)
        if not (graph.memo(("spectral", self._token), same, at_most=32) if kept else same()):
            raise SupportError(
                "this spectral filter belongs to another graph, or other edge weights: its eigenvectors do not fit. "
                "Make a new layer for this one."
            )

    def set_transform(self, forward: Tensor, inverse: Tensor, basis: Tensor) -> None:
        """Use a given transform: (N, N) V^T, (N, N) V and the (N, M) basis of frequency responses. Of several
        operators, (R, N, N), (R, N, N) and (R, N, M).

        The layer then does not know which graph it belongs to, and checks the number of nodes alone.
        """
        self.forward_transform, self.inverse_transform, self.basis = forward, inverse, basis

    def _basis(self, eigenvalues: Tensor) -> Tensor:
        n, m = len(eigenvalues), len(eigenvalues) if self.coefficients is None else self.coefficients
        if m == n:
            return torch.eye(n, dtype=eigenvalues.dtype, device=eigenvalues.device)
        return torch.as_tensor(spline_basis(eigenvalues.cpu().numpy(), m), device=eigenvalues.device)

    @property
    def is_bound(self) -> bool:
        return len(self.basis) > 0

    def reset_parameters(self) -> None:
        if not self.weight.is_lazy:
            bound = 1 / math.sqrt(max(1, self.weight.shape[1]))
            like = next(self.weight.parameters())
            self.weight.reset_parameters(like.new_empty(self.weight.shape).uniform_(-bound, bound))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(
        self,
        x: Tensor | SparseSignal,
        edge_index: Any,
        edge_weight: Tensor | None = None,
        n_id: Tensor | None = None,
        e_id: Tensor | None = None,
    ) -> Tensor:
        """(N, F_in), (B, N, F_in) or (B, T, N, F_in) -> the same with F_out. Sampled pieces (``n_id``, ``e_id``) are
        refused."""
        if isinstance(x, SparseSignal) or x.layout != torch.strided:  # the spectrum of a sparse signal is not
            x = x.to_dense()
        if x.dim() not in (2, 3, 4) or not x.is_floating_point():
            raise ShapeError(
                f"a signal is (nodes, features), or (batch, nodes, features) or (batch, time, nodes, features), of "
                f"floats; got {tuple(x.shape)} {x.dtype}."
            )
        if self.in_channels != -1 and x.shape[-1] != self.in_channels:
            raise ShapeError(
                f"this layer was made for {self.in_channels} input channels and got {x.shape[-1]} "
                f"(x is {tuple(x.shape)})."
            )
        n = x.shape[-2]
        if self.is_bound and n != self.basis.shape[-2]:
            raise SupportError(
                f"this spectral filter belongs to a graph of {self.basis.shape[-2]} nodes, and got a signal on {n}."
            )
        graph, values = Graph.of(edge_index, n)
        edge_weight = values if edge_weight is None else edge_weight
        if self.shifts > 1:
            self._check_columns(graph, edge_weight)
        self.bind(graph.with_ids(n_id, e_id), edge_weight=edge_weight)
        coefficients = self.basis.shape[-1]
        width = self.shifts * x.shape[-1] * coefficients
        if self.weight.is_lazy:
            self.weight.materialise(self.out_channels, width)
            self.reset_parameters()
        weight = read(self.weight).unflatten(1, (self.shifts, x.shape[-1], coefficients))
        filtered = [self._filtered(x, weight[:, r], *self._of_operator(r, x.dtype)) for r in range(self.shifts)]
        y = sum(filtered[1:], filtered[0])
        if torch.compiler.is_exporting() and len(self.key):
            y = torch.where(self._is_same(graph, edge_weight), y, torch.nan)
        return y if self.bias is None else y + self.bias

    def _is_same(self, graph: Graph, edge_weight: Tensor | None) -> Tensor:
        """() whether this is the graph of the transform, for traces: exported programs raise nothing, and give NaN.

        Raises:
            SupportError: if it has another number of edges.
        """
        key, shift = self._operator(graph, edge_weight)
        if key.shape != self.key.shape:
            raise SupportError(f"this spectral filter belongs to a graph of {len(self.key)} edges, got {len(key)}.")
        known = self.shift.double()
        near = torch.isclose(shift, known, rtol=1e-5, atol=0.0) | ((shift - known).abs() <= 1e-5 * known.abs().max())
        return (key == self.key).all() & near.all()

    def _of_operator(self, r: int, dtype: torch.dtype) -> list[Tensor]:
        """V^T, V and the basis of an operator."""
        parts = (self.forward_transform, self.inverse_transform, self.basis)
        return [(part if part.dim() == 2 else part[r]).to(dtype) for part in parts]

    @staticmethod
    def _filtered(x: Tensor, weight: Tensor, forward: Tensor, inverse: Tensor, basis: Tensor) -> Tensor:
        """(F_out, F_in, M) coefficients -> (..., N, F_out)."""
        response = torch.einsum("nm,fgm->nfg", basis, weight)
        return inverse @ torch.einsum("nfg,...ng->...nf", response, forward @ x)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        fresh = not self.is_bound
        for name, buffer in list(self.named_buffers(recurse=False)):
            stored = state_dict.get(prefix + name)
            if stored is not None and fresh:
                setattr(self, name, buffer.new_empty(stored.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._token = uuid.uuid4().hex

    def __repr__(self) -> str:
        several = "" if self.shifts == 1 else f", shifts={self.shifts}"
        return f"SpectralConv({self.in_channels}, {self.out_channels}, coefficients={self.coefficients}{several})"


def _largest(entries: Tensor) -> float:
    """The largest size of an entry, which says what is small."""
    return float(entries.abs().max()) if entries.numel() else 0.0


def spline_basis(x: np.ndarray, count: int, degree: int = 3) -> np.ndarray:
    """(len(x), count) B-splines at the sorted points ``x``, on open knots spread evenly over their range.

    Rows are non-negative and sum to 1, the last point's included.

    Raises:
        ShapeError: if ``count`` is not in [degree + 1, len(x)], or the points are not sorted or all the same.
    """
    from scipy.interpolate import BSpline

    if not degree + 1 <= count <= len(x):
        raise ShapeError(
            f"{count} splines of degree {degree} on {len(x)} points: the number must be in [{degree + 1}, {len(x)}]."
        )
    if (np.diff(x) < 0).any() or x[0] == x[-1]:
        raise ShapeError("splines are evaluated at sorted points that are not all the same.")
    inner = np.linspace(x[0], x[-1], count - degree + 1)
    knots = np.concatenate([[x[0]] * degree, inner, [x[-1]] * degree])
    return BSpline.design_matrix(x, knots, degree).toarray()
