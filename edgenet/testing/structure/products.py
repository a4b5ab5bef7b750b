"""What a structured matrix promises of its products: they are those of its dense form, in every mode and dtype."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from edgenet.structured import StructuredLinear
from edgenet.testing.contract import Contract, all_same, leaves_no_trace, refusal, require, same
from edgenet.testing.structure.case import StructureCase

PRODUCTS: Contract[StructureCase] = Contract()


def gradients(y: Tensor, inputs: Sequence[Tensor], direction: Tensor | None = None) -> list[Tensor]:
    """Of a linear function of ``y``, or of the sum of its squares; all inputs must have been used."""
    loss = y.square().sum() if direction is None else (y * direction).sum()
    return list(torch.autograd.grad(loss.real, list(inputs)))


@PRODUCTS.promise("shape")
def shape(case: StructureCase) -> None:
    """Its shape is (m, n), and that of its dense form."""
    matrix = case.build()
    require(tuple(matrix.shape) == (case.m, case.n), f"shape is {matrix.shape}, and {(case.m, case.n)} was asked for")
    dense = matrix.to_dense()
    require(tuple(dense.shape) == (case.m, case.n), f"to_dense() has the shape {tuple(dense.shape)}")


@PRODUCTS.promise("matmul", lead=[(), (1,), (6,), (2, 5), (0,), (3, 0, 2)])
def matmul(case: StructureCase, lead: tuple[int, ...]) -> None:
    """matmul(x) is x @ to_dense().T for signals with any axes in front, also of no signals; so is a call."""
    matrix, x = case.build(), case.signals(*lead)
    same(matrix.matmul(x), x @ matrix.to_dense().mT, "matmul(x) is not x @ to_dense().T")
    same(matrix(x), matrix.matmul(x), "matrix(x) is not matmul(x)")


@PRODUCTS.promise("strided signals")
def strided(case: StructureCase) -> None:
    """matmul takes signals that are transposed, every other column of others, or expanded."""
    matrix = case.build()
    every_other, transposed = torch.randn(6, 2 * case.n, dtype=case.dtype), torch.randn(case.n, 6, dtype=case.dtype)
    for x in (transposed.t(), every_other[:, ::2], case.signals(1).expand(6, -1)):
        same(matrix.matmul(x), x @ matrix.to_dense().mT, "matmul(x) of a strided x is not x @ to_dense().T")


@PRODUCTS.promise("other widths", train=[True, False])
def other_widths(case: StructureCase, train: bool) -> None:
    """Signals of another width than n are refused with a RuntimeError or ValueError, padding or not."""
    matrix = case.build().train(train)
    for width in sorted({case.n - 1, case.n + 1, 2 * case.n, 3 * case.n} - {0}):
        words = f"a signal of width {width} is taken for one of {case.n}"
        with refusal((RuntimeError, ValueError), words), torch.set_grad_enabled(train):
            matrix(torch.randn(4, width, dtype=case.dtype))


@PRODUCTS.promise("gradients")
def gradient(case: StructureCase) -> None:
    """The gradients of matmul, by the signals and by all parameters, are those of x @ to_dense().T."""
    matrix, x, direction = case.build(), case.signals(4).requires_grad_(), torch.randn(4, case.m)
    inputs = [x, *matrix.parameters()]
    got = gradients(matrix.matmul(x), inputs, direction)
    want = gradients(x @ matrix.to_dense().mT, inputs, direction)
    all_same(got, want, "a gradient of matmul(x) is not that of x @ to_dense().T")


@PRODUCTS.promise("inference", variant={
    f"batch of {batch}, {mode.__name__}": (batch, mode)
    for batch in (1, 3, 40) for mode in (torch.no_grad, torch.inference_mode)
})  # fmt: skip
def inference(case: StructureCase, variant: tuple[int, Callable[[], Any]]) -> None:
    """Without gradients it gives the same, twice, and follows its parameters when they change."""
    batch, mode = variant
    matrix, x = case.build().eval(), case.signals(batch)
    for when in ("", " after its parameters have changed"):
        with mode():
            for _ in range(2):  # the second time from what was kept
                same(matrix(x), x @ matrix.to_dense().mT, f"matrix(x) in eval mode{when} is not x @ to_dense().T")
        with torch.no_grad():
            for parameter in matrix.parameters():
                parameter.mul_(1.5)
    same(matrix(x), x @ matrix.to_dense().mT, "with gradients again, matrix(x) is not x @ to_dense().T")


@PRODUCTS.promise("no trace")
def no_trace(case: StructureCase) -> None:
    """In eval mode a product draws no random numbers, and changes no setting, no signal and no stored tensor."""
    matrix, x = case.build().eval(), case.signals(3)
    leaves_no_trace(lambda: (matrix(x), matrix.to_dense(), matrix.rows(torch.tensor([0]))), matrix, [x])


@PRODUCTS.promise("multiply-adds")
def multiply_adds(case: StructureCase) -> None:
    """multiply_adds(batch) counts what a product takes: more than nothing, and no less for more signals."""
    counts = [case.build().multiply_adds(batch) for batch in (1, 8, 64)]
    require(counts[0] > 0 and counts == sorted(counts), f"multiply_adds of 1, 8 and 64 signals are {counts}")


@PRODUCTS.promise("dtype", dtype=[torch.float32, torch.float64, torch.bfloat16, torch.float16])
def dtypes(case: StructureCase, dtype: torch.dtype) -> str | None:
    """``matrix.to(dtype)`` multiplies in that dtype, to what its mantissa leaves."""
    if dtype not in case.dtypes:
        return f"{case.name} has no {dtype}"
    matrix, x = case.build(), case.signals(3)
    if type(matrix).rounds:  # a number between two levels may have another code in a narrower dtype
        matrix = matrix.to(dtype).to(torch.float64)
    wanted = x @ matrix.to_dense().mT
    of_signals = dtype.to_complex() if x.is_complex() else dtype
    y = matrix.to(dtype)(x.to(of_signals))
    require(y.dtype == of_signals, f"after to({dtype}) it gives {y.dtype}")
    require(matrix.to_dense().dtype == of_signals, f"after to({dtype}) its dense form is of {matrix.to_dense().dtype}")
    digits = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}[dtype]
    same(y.to(wanted.dtype), wanted, f"in {dtype} it gives other products", digits)
    return None


@PRODUCTS.promise("compile")
def compiles(case: StructureCase) -> None:
    """torch.compile takes it whole, with the same numbers and gradients."""
    matrix, x = case.build(), case.signals(4)
    torch._dynamo.reset()
    compiled, parameters = torch.compile(matrix, fullgraph=True, backend="aot_eager"), list(matrix.parameters())
    same(compiled(x), matrix(x), "compiled, it gives other products")
    all_same(gradients(compiled(x), parameters), gradients(matrix(x), parameters), "compiled, other gradients")


@PRODUCTS.promise("export")
def exports(case: StructureCase) -> None:
    """torch.export takes it with a batch of any size."""
    matrix, x = case.build(), case.signals(9)
    program = torch.export.export(matrix, (case.signals(4),), dynamic_shapes=({0: torch.export.Dim("batch", min=2)},))
    same(program.module()(x), matrix(x), "exported, it gives other products")


@PRODUCTS.promise("meta signals")
def meta(case: StructureCase) -> None:
    """On the meta device it tells the shape of a product."""
    matrix, x = case.build().to("meta"), case.signals(3).to("meta")
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            for y in (matrix.train()(x), matrix.eval()(x)):
                require(y.shape == (3, case.m), f"the product has the shape {tuple(y.shape)}, not {(3, case.m)}")


@PRODUCTS.promise("optimizer step")
def step(case: StructureCase) -> None:
    """A small step against the gradient makes a loss smaller. Where latents are rounded, one of many steps does."""
    matrix, x, wanted = case.build(), case.signals(8), torch.randn(8, case.m)
    rounds = type(matrix).rounds
    optimizer = torch.optim.SGD(matrix.parameters(), lr=0.1 if rounds else 1e-3)
    first = float((matrix(x) - wanted).detach().abs().square().mean())
    least = math.inf
    for _ in range(100 if rounds else 1):
        optimizer.zero_grad()
        (matrix(x) - wanted).abs().square().mean().backward()
        optimizer.step()
        least = min(least, float((matrix(x) - wanted).detach().abs().square().mean()))
    require(least < first, f"the loss was {first:.6g} at first and is {least:.6g} after steps")


@PRODUCTS.promise("linear layer")
def linear(case: StructureCase) -> None:
    """It stands in a StructuredLinear, with a bias."""
    bias = torch.randn(case.m)
    layer, x = StructuredLinear(case.build(), bias), case.signals(2, 3)
    same(layer(x), x @ layer.weight.to_dense().mT + bias, "the layer is not x @ to_dense().T + bias")
