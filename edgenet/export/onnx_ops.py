"""edgenet's registered ops in ONNX: what each becomes in a file for onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from edgenet.errors import ConversionError

OPSET = 20  # of the files: maxima in ScatterND came with 18, int8 weights by row with 19
_INT64, _UINT64, _FLOATS = 7, 13, (1, 10, 11, 16)  # ONNX's numbers of types: float32, float16, float64, bfloat16
_TINY = float(torch.finfo(torch.float32).tiny)


def translations() -> dict[Any, Callable[..., Any]]:
    """What ``torch.onnx.export`` takes as ``custom_translation_table``.

    Gathering and scattering by ``ScatterND`` takes graphs of all sizes, those without edges too. Half precision is
    summed in float32, as the definitions do.
    """
    from onnxscript import opset20

    op: Any = opset20  # whose types tell every number of one kind from those of another

    def column(index: Any) -> Any:
        return op.Unsqueeze(index, op.Constant(value_ints=[1]))

    def filled(value: float, rows: Any, like: Any) -> Any:
        """(rows, ...) of one number, the other axes and the dtype those of ``like``."""
        size = rows if isinstance(rows, int) else op.Reshape(rows, op.Constant(value_ints=[1]))
        first = op.Constant(value_ints=[size]) if isinstance(size, int) else op.Cast(size, to=_INT64)
        shape = op.Concat(first, op.Shape(like, start=1), axis=0)
        return op.Expand(op.CastLike(op.Constant(value_float=value), like), shape)

    def wide(x: Any) -> Any:
        return op.Cast(x, to=1) if x.dtype is not None and x.dtype in (10, 16) else x

    def total(rows: Any, index: Any, values: Any) -> Any:
        return op.ScatterND(filled(0.0, rows, values), column(index), values, reduction="add")

    def spmm(source: Any, target: Any, weight: Any, x: Any, num_nodes: Any) -> Any:
        message = op.Gather(wide(x), source, axis=0)
        if weight is not None:
            message = op.Mul(op.Unsqueeze(wide(weight), op.Constant(value_ints=[-1])), message)
        return op.CastLike(total(num_nodes, target, message), x)

    def sddmm(source: Any, target: Any, a: Any, b: Any) -> Any:
        products = op.Mul(op.Gather(wide(a), target, axis=0), op.Gather(wide(b), source, axis=0))
        return op.CastLike(op.ReduceSum(products, op.Constant(value_ints=[-1]), keepdims=0), a)

    def weighed(score: Any, index: Any, rows: Any) -> tuple[Any, Any, Any]:
        """The softmax of every segment; its largest score, 0 where none is above -inf; and the sum of exponents."""
        top = op.ScatterND(filled(-float("inf"), rows, score), column(index), score, reduction="max")
        top = op.Where(op.IsInf(top, detect_positive=0), op.CastLike(op.Constant(value_float=0.0), top), top)
        grown = op.Exp(op.Sub(score, op.Gather(top, index, axis=0)))
        sums = total(rows, index, grown)
        least = op.CastLike(op.Constant(value_float=_TINY), sums)
        return op.Div(grown, op.Gather(op.Max(sums, least), index, axis=0)), top, sums

    def segment_softmax(score: Any, index: Any, num_segments: Any) -> Any:
        return op.CastLike(weighed(wide(score), index, num_segments)[0], score)

    def attended(
        source: Any, target: Any, score: Any, x: Any, num_nodes: Any, factor: Any
    ) -> tuple[Any, Any, Any]:  # fmt: skip
        alpha, top, sums = weighed(score, target, num_nodes)
        alpha = alpha if factor is None else op.Mul(alpha, wide(factor))
        return spmm(source, target, op.CastLike(alpha, x), x, num_nodes), top, sums

    def attention(
        source: Any, target: Any, score_source: Any, score_target: Any, x: Any, num_nodes: Any, slope: float,
        dropout: float, seed: Any, added: Any = None, factor: Any = None,
    ) -> tuple[Any, Any, Any]:  # fmt: skip
        refuse(dropout)
        score = op.Gather(wide(score_source), source, axis=0)
        score = score if added is None else op.Add(score, wide(added))
        if score_target is not None:
            score = op.Add(score, op.Gather(wide(score_target), target, axis=0))
        return attended(source, target, op.LeakyRelu(score, alpha=slope), x, num_nodes, factor)

    def attention_v2(
        source: Any, target: Any, x: Any, u: Any, att: Any, num_nodes: Any, slope: float, dropout: float, seed: Any,
        added: None = None, factor: Any = None,
    ) -> tuple[Any, Any, Any]:  # fmt: skip
        refuse(dropout)
        both = op.Add(op.Gather(wide(x), source, axis=0), op.Gather(wide(u), target, axis=0))
        grown = op.Mul(op.LeakyRelu(both, alpha=slope), wide(att))
        score = op.ReduceSum(grown, op.Constant(value_ints=[-1]), keepdims=0)
        return attended(source, target, score, x, num_nodes, factor)

    def dequantized(codes: Any, scale: Any) -> Any:
        return op.DequantizeLinear(codes, scale, axis=0)

    # torch's exporter shifts neither bytes nor negative numbers, and mixes the types of masks
    def unsigned(x: Any) -> Any:
        return op.Cast(x, to=_UINT64)

    def number(n: Any) -> Any:
        return op.Constant(value_int=n) if isinstance(n, int) else n

    def shifted_left(x: Any, n: Any) -> Any:
        return op.CastLike(op.BitShift(unsigned(x), unsigned(number(n)), direction="LEFT"), x)

    def shifted_right(x: Any, n: Any) -> Any:
        n = unsigned(number(n))
        bits = op.BitShift(unsigned(x), n, direction="RIGHT")
        ones = op.BitwiseNot(op.BitShift(unsigned(op.Constant(value_int=-1)), n, direction="RIGHT"))
        below = op.Less(op.Cast(x, to=_INT64), op.Constant(value_int=0))  # keeps its sign
        signed = [op.Cast(one, to=_INT64) for one in (op.BitwiseOr(bits, ones), bits)]  # of others it has no Where
        return op.CastLike(op.Where(below, *signed), x)

    def masked(x: Any, mask: Any) -> Any:
        return op.BitwiseAnd(x, op.CastLike(number(mask), x))

    def sorted_stably(x: Any, stable: Any = None, dim: int = -1, descending: bool = False) -> tuple[Any, Any]:
        # of equal numbers TopK takes the first one first
        size = op.Gather(op.Shape(x), op.Constant(value_ints=[dim]), axis=0)
        wide = x if x.dtype in (1, 11, _INT64) else op.Cast(x, to=_INT64)
        values, places = op.TopK(wide, size, axis=dim, largest=int(descending), sorted=1)
        return op.CastLike(values, x), places

    def sum_of_all(x: Any, dtype: int = -1) -> Any:
        # ReduceSum of onnxruntime adds whole numbers as floats, CumSum does not
        if x.dtype in _FLOATS:
            y = op.ReduceSum(x, keepdims=0)
        else:
            flat = op.Cast(op.Reshape(x, op.Constant(value_ints=[-1])), to=_INT64)
            sums = op.CumSum(op.Concat(op.Constant(value_ints=[0]), flat, axis=0), op.Constant(value_int=0))
            y = op.Gather(sums, op.Constant(value_int=-1), axis=0)
        return y if dtype == -1 else op.Cast(y, to=dtype)

    ops, aten = torch.ops.edgenet, torch.ops.aten
    shifts = {
        **dict.fromkeys((aten.__lshift__.Scalar, aten.__lshift__.Tensor, aten.bitwise_left_shift.Tensor,
                         aten.bitwise_left_shift.Tensor_Scalar), shifted_left),
        **dict.fromkeys((aten.__rshift__.Scalar, aten.__rshift__.Tensor, aten.bitwise_right_shift.Tensor,
                         aten.bitwise_right_shift.Tensor_Scalar), shifted_right),
        **dict.fromkeys((aten.__and__.Scalar, aten.bitwise_and.Scalar), masked),
    }  # fmt: skip
    return shifts | {
        aten.sort.stable: sorted_stably,
        aten.sum.default: sum_of_all,
        ops.spmm.default: spmm,
        ops.sddmm.default: sddmm,
        ops.segment_softmax.default: segment_softmax,
        ops.attention.default: attention,
        ops.attention_v2.default: attention_v2,
        ops.dequantized.default: dequantized,
    }


def refuse(dropout: float) -> None:
    """
    Raises:
        ConversionError: if attention weights are dropped, by a hash that ONNX has no numbers for.
    """
    if dropout:
        raise ConversionError(f"attention that drops weights (p = {dropout}) has no form in ONNX: call model.eval().")
