"""What the attention ops share: scores, softmax over in-edges and weighted sum in one op, without a message an edge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.ops import backend
from edgenet.ops.pinned import Pinned
from edgenet.ops.transforms import Op, joined, looped, of_batched_gradients, transformed

Inputs = tuple[Tensor, Tensor | None, Tensor]
Edges = tuple[Tensor | None, Tensor | None]


class FusedAttention:
    """An op of three tensors, the signal among them, that gives y (N, H, C); edges may bring two more, (E, H) what is
    added to their scores and what their weights are multiplied by.

    Its kernels and its ``reference`` keep two tensors for backward, (N, H) in the dtype of sums: ``top``, the largest
    score of every node and head, and ``total``, the sum of exp(score - top); both 0 where no score above -inf is.
    Weights are exp(score - top) / total. One number, the log-sum-exp, would not do: where scores are large, it has no
    digits left for the sum.

    Args:
        name: of the op, under which its backends are found.
        reference: its module with ``forward`` and ``backward`` on the ends of the edges.
        composed: the same from smaller ops, differentiable any number of times and seen through by transforms.
        signal: which of the three tensors is the signal of the senders.
        heads: which axis of each tensor is H.
        shapes: (N, sources, H, C) -> the shapes of the three.
        adds: whether edges may add to scores.
    """

    def __init__(
        self, name: str, reference: ModuleType, composed: Callable[..., Tensor], signal: int, heads: tuple[int, ...],
        shapes: Callable[[int, int, int, int], tuple[tuple[int, ...], ...]], adds: bool = True,
    ) -> None:  # fmt: skip
        self.name, self.reference, self.composed, self.signal, self.heads = name, reference, composed, signal, heads
        self.shapes, self.adds = shapes, adds
        backend.register(name, reference=reference.forward)
        self.gradient, self.op = self._registered_gradient(), self._registered()

    def __call__(
        self, graph: Graph, inputs: Inputs, slope: float, dropout: float, seed: Tensor | int | None,
        shared: bool = False, edges: Edges = (None, None),
    ) -> Tensor:  # fmt: skip
        """y (N, H, C). ``shared``: the signal is (N, 1, C), the same for all heads. Without a seed torch draws."""
        if seed is None:
            return self.composed(graph, *inputs, slope, dropout, None, *edges)
        eager = backend.eager()
        kernels = self.kernels((*inputs, *edges)) if eager else None
        if kernels is not None:
            if shared and not kernels.SHARES_SIGNAL:
                inputs = self._unshared(inputs)
            return _Fused.apply(self, kernels, graph, *inputs, *edges, slope, dropout, int(seed))
        registered = backend.asked_for(self.name) if eager else not (backend.forward_mode() or transformed())
        if not registered:
            return self.composed(graph, *inputs, slope, dropout, seed, *edges)
        inputs = self._unshared(inputs) if shared else inputs
        seed = torch.as_tensor(seed, device="cpu")
        return self.op(graph.source, graph.target, *inputs, graph.num_nodes, slope, dropout, seed, *edges)[0]

    def kernels(self, inputs: Sequence[Tensor | None]) -> ModuleType | None:
        """The kernels that run on these tensors now."""
        return backend.kernels(self.name, inputs[self.signal], *inputs)

    def _unshared(self, inputs: Inputs) -> Inputs:
        scores, receivers, x = inputs
        return scores, receivers, x.expand(-1, scores.shape[1], -1)

    # ------------------------------------------------------------ registered, on the ends of the edges
    def _check(
        self, source: Tensor, target: Tensor, num_nodes: int, inputs: Inputs, edges: Edges
    ) -> tuple[int, int, int]:  # fmt: skip
        """The shape of the result.

        Raises:
            EdgeIndexError, ShapeError: if the ends are none, or the shapes of the inputs do not fit each other.
        """
        backend.check_ends(self.name, source, target)
        x = inputs[self.signal]
        wanted = self.shapes(num_nodes, *x.shape) if x is not None and x.dim() == 3 else ()
        wanted = (*wanted, *[(len(source), x.shape[1])] * 2) if wanted else ()
        if edges[0] is not None and not self.adds:
            raise ShapeError(f"edges add nothing to the scores of {self.name}; got {tuple(edges[0].shape)}.")
        got = [None if t is None else tuple(t.shape) for t in (*inputs, *edges)]
        if not wanted or any(t is not None and t != w for t, w in zip(got, wanted, strict=True)):
            raise ShapeError(f"{self.name} wants tensors {wanted or '(N, H, C)'} for {num_nodes} nodes, got {got}.")
        return num_nodes, x.shape[1], x.shape[2]

    def _registered(self) -> Op:
        name, signal = self.name, self.signal

        def run(
            source: Tensor, target: Tensor, a: Tensor, b: Tensor | None, c: Tensor, num_nodes: int, slope: float,
            dropout: float, seed: Tensor, added: Tensor | None = None, factor: Tensor | None = None,
        ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
            self._check(source, target, num_nodes, (a, b, c), (added, factor))
            kernels, edges = self.kernels((a, b, c, added, factor)), (added, factor)
            if kernels is None:
                form = backend.asked_for(name) or self.reference.forward
                more = () if added is None and factor is None else edges  # added backends may know of none
                return form(source, target, a, b, c, num_nodes, slope, dropout, seed, *more)
            graph = backend.checked_graph(source, target, num_nodes, len((a, b, c)[signal]))
            return kernels.forward(graph, a, b, c, slope, dropout, int(seed), edges)

        def fake(source, target, a, b, c, num_nodes, slope, dropout, seed, added=None, factor=None):
            x = (a, b, c)[signal]
            top = x.new_empty((num_nodes, x.shape[1]), dtype=torch.promote_types(x.dtype, torch.float32))
            return x.new_empty((num_nodes, *x.shape[1:])), top, torch.empty_like(top)

        def keep(ctx, inputs, output):
            source, target, a, b, c, _, ctx.slope, ctx.dropout, seed, *edges = inputs
            ctx.save_for_backward(source, target, a, b, c, *output, seed, *edges)
            ctx.mark_non_differentiable(*output[1:])

        def backward(ctx, grad, *_):
            *tensors, seed, added, factor = ctx.saved_tensors
            found = self.gradient(*tensors, grad, ctx.slope, ctx.dropout, seed, added, factor)
            own = [None if t is None else g for t, g in zip((*tensors[2:5], added, factor), found, strict=True)]
            return None, None, *own[:3], None, None, None, None, *own[3:]

        op = torch.library.custom_op(f"edgenet::{name}", run, mutates_args=())
        op.register_fake(fake)
        return Op(op, self.reference.forward, keep, backward, self._batch)

    def _registered_gradient(self) -> Any:
        name, signal = self.name, self.signal

        def run(
            source: Tensor, target: Tensor, a: Tensor, b: Tensor | None, c: Tensor, y: Tensor, top: Tensor,
            total: Tensor, grad: Tensor, slope: float, dropout: float, seed: Tensor, added: Tensor | None = None,
            factor: Tensor | None = None,
        ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
            edges = added, factor
            shape = self._check(source, target, len(y), (a, b, c), edges)
            if not y.shape == grad.shape == shape or not top.shape == total.shape == shape[:2]:
                raise ShapeError(
                    f"the backward pass of {name} wants what forward gave, {tuple(shape)} and {tuple(shape[:2])}, got "
                    f"{tuple(y.shape)}, {tuple(top.shape)}, {tuple(total.shape)} and a gradient {tuple(grad.shape)}."
                )
            kernels = self.kernels((a, b, c, *edges, y, top, total, grad))
            if kernels is None:
                found = self.reference.backward(
                    source, target, a, b, c, y, top, total, grad, slope, dropout, seed, *edges
                )  # fmt: skip
            else:
                graph = backend.checked_graph(source, target, len(y), len((a, b, c)[signal]))
                found = kernels.backward(graph, a, b, c, y, top, total, grad, slope, dropout, int(seed), edges)
            return tuple(a.new_empty(0) if t is None else t for t in found)

        def fake(source, target, a, b, c, y, top, total, grad, slope, dropout, seed, added=None, factor=None):
            return tuple(t.new_empty(t.shape) if t is not None else a.new_empty(0) for t in (a, b, c, added, factor))

        op = torch.library.custom_op(f"edgenet::{name}_backward", run, mutates_args=())
        op.register_fake(fake)
        op.register_vmap(lambda info, in_dims, *arguments: self._batch_gradient(op, info, in_dims, *arguments))
        return op

    def _batch(self, call, info, in_dims, source, target, a, b, c, *rest):
        if not self._joins(in_dims, dropout=rest[2]):
            return looped(call, info, in_dims, source, target, a, b, c, *rest)
        inputs = self._joined(info, in_dims[2:5], (a, b, c))
        edges = self._joined_edges(info, in_dims[9:], rest[4:])
        found = call(source, target, *inputs, *rest[:4], *edges)
        return tuple(t.unflatten(1, (info.batch_size, -1)) for t in found), (1, 1, 1)

    def _batch_gradient(self, call, info, in_dims, source, target, a, b, c, *rest):
        if not self._joins(in_dims, dropout=rest[5]):
            return looped(call, info, in_dims, source, target, a, b, c, *rest)
        inputs = self._joined(info, in_dims[2:5], (a, b, c))
        kept = (joined(t, dim, info.batch_size, 1) for t, dim in zip(rest[:4], in_dims[5:9], strict=True))
        edges = rest[7:]
        found = call(source, target, *inputs, *kept, *rest[4:7], *self._joined_edges(info, in_dims[12:], edges))
        of_edges = [(t, 1) for t in (*edges, None, None)[:2]]
        dims = tuple(None if t is None else axis for t, axis in [*zip((a, b, c), self.heads, strict=True), *of_edges])
        return tuple(
            t if dim is None else t.unflatten(dim, (info.batch_size, -1)) for t, dim in zip(found, dims, strict=True)
        ), dims

    def _joined_edges(self, info: Any, dims: tuple[Any, ...], edges: tuple[Any, ...]) -> list[Tensor | None]:
        """A batch of what edges bring, made more heads."""
        return [None if t is None else joined(t, dim, info.batch_size, 1) for t, dim in zip(edges, dims, strict=True)]

    def _joins(self, in_dims: tuple[Any, ...], dropout: float) -> bool:
        """Whether a batch can be more heads: on one graph, without dropout, whose mask follows the head's number."""
        return in_dims[0] is None and in_dims[1] is None and dropout == 0

    def _joined(self, info: Any, dims: tuple[Any, ...], inputs: Inputs) -> list[Tensor | None]:
        return [
            None if t is None else joined(t, dim, info.batch_size, axis)
            for t, dim, axis in zip(inputs, dims, self.heads, strict=True)
        ]


class _Fused(torch.autograd.Function):
    """The short path: kernels on the graph, whose sort orders are built already."""

    @staticmethod
    def forward(ctx, op, kernels, graph, a, b, c, added, factor, slope, dropout, seed):
        y, top, total = kernels.forward(graph, a, b, c, slope, dropout, seed, (added, factor))
        ctx.op, ctx.graph, ctx.rest = op, graph, (slope, dropout, seed)
        ctx.pinned = Pinned.of(graph, a, b, c, added, factor, y, top, total)
        ctx.save_for_backward(a, b, c, added, factor, y, top, total, graph.edge_index)
        return y

    @staticmethod
    @of_batched_gradients
    def backward(ctx, grad):
        *inputs, y, top, total, _ = ctx.saved_tensors
        ctx.pinned.check(ctx.op.name, ctx.graph, *inputs, y, top, total)
        kernels = ctx.op.kernels((*inputs, grad)) if backend.eager() and not torch.is_grad_enabled() else None
        if kernels is not None:
            found = kernels.backward(ctx.graph, *inputs[:3], y, top, total, grad, *ctx.rest, inputs[3:])
        else:
            found = _differentiable(
                lambda *own: ctx.op.composed(ctx.graph, *own[:3], *ctx.rest, *own[3:]), inputs, grad
            )
        return None, None, None, *found, None, None, None


def _differentiable(function: Callable[..., Tensor], inputs: list[Tensor | None], grad: Tensor) -> list[Tensor | None]:
    """Gradients of ``function`` in those inputs that need one, themselves differentiable."""
    with torch.enable_grad():
        # views: one input may have been computed from another, whose gradient must not run through it
        own = [t if t is None else t.view_as(t) for t in inputs]
        wanted = [t for t in own if t is not None and t.requires_grad]
        found = iter(torch.autograd.grad(function(*own), wanted, grad, create_graph=True, allow_unused=True))
    return [next(found) if t is not None and t.requires_grad else None for t in own]
