"""What ``edgenet bench structured`` measures: every family of structured matrices, and its peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.bench.speed import compiling
from edgenet.structured import StructuredMatrix, TensorTrain, family

#: (m, n): the first Kronecker factor. Others take the default of the family
FACTOR = {(4096, 25088): (64, 128), (4096, 4096): (64, 64), (4096, 1024): (64, 32)}
#: (m, n): output and input modes of the thin tensor train, and of three modes. Novikov et al. 2015 for 25088 x 4096
MODES = {
    (4096, 25088): (((4,) * 6, (2, 7, 8, 8, 7, 4)), ((16, 16, 16), (28, 28, 32))),
    (4096, 4096): (((4,) * 6, (4,) * 6), ((16, 16, 16), (16, 16, 16))),
    (4096, 1024): (((4, 4, 4, 8, 8), (4,) * 5), ((16, 16, 16), (8, 8, 16))),
}
LINEAR, ONEDNN, COMPILED = "`torch.nn.Linear`", "oneDNN product", "`torch.nn.Linear`, torch.compile"
DENSE = (LINEAR, ONEDNN, COMPILED)  # the dense products, by name
TENSORLY = "tensorly-torch"
RATIO = 10  # of the families that can have any size
#: forms of tensorly-torch: (its implementation, whether torch compiles it, whether paths of contraction are kept)
IMPLEMENTATIONS = {
    "factorized": ("factorized", False, False),
    "factorized, opt_einsum": ("factorized", False, True),
    "factorized, torch.compile": ("factorized", True, False),
    "reconstructed": ("reconstructed", False, False),
}


@dataclass(frozen=True)
class Case:
    """A member of a family.

    Attributes:
        name: as the table has it.
        family: its name in ``STRUCTURES``.
        options: of its ``from_config``, without the shape.
        every_call: whether what it derives of its parameters is computed at every call, as in training.
    """

    name: str
    family: str
    options: dict[str, Any] = field(default_factory=dict)
    every_call: bool = False

    def build(self, shape: tuple[int, int]) -> StructuredMatrix:
        """A random one."""
        return family(self.family).random(shape, **self.options).train(self.every_call)


def cases(shape: tuple[int, int], families: Sequence[str]) -> list[Case]:
    """Those of an (m, n) matrix. Packed rows are not among them: sparse matrices multiply by these in eval mode."""
    m, n = shape
    kronecker = {"factor": FACTOR.get(shape)}
    if shape in MODES:
        thin, thick = ({"out_modes": list(out), "in_modes": list(inner)} for out, inner in MODES[shape])
    else:
        thin, thick = {}, {"dims": 3}
    blocks = max(1, min(64, m // 8))
    rows = max(0, (m * n // RATIO - blocks * n - m) // (n - 1)) if n > 1 else 0
    # behind a vector, as in the pool of a model; in one of its own the rows of many a matrix align by chance
    behind = {"pool": {"size": m + m * n, "parameters": (m + m * n) // RATIO, "width": None}, "offset": m}
    found = [
        Case("dense", "dense"),
        Case("Kronecker, one term", "kronecker", kronecker),
        Case("tensor train, rank 4", "tensor_train", {**thin, "rank": 4}),
        Case("tensor train, 3 modes, rank 8", "tensor_train", {**thick, "rank": 8}),
        Case(f"low rank at {RATIO}x", "low_rank", {"rank": max(1, m * n // RATIO // (m + n))}),
        Case("block-circulant, block 16", "block_circulant", {"block": 16}),
        Case("block-circulant, block 64", "block_circulant", {"block": 64}),
        Case(f"row split at {RATIO}x, {blocks} blocks", "row_split", {"rows": rows, "blocks": blocks}),
        Case("block-term, 4 blocks of rank 4, 3 modes", "block_term", {**thick, "blocks": 4, "rank": 4}),
        Case("sparse, 5 %", "sparse", {"density": 0.05}),
        Case("sparse, 1 %", "sparse", {"density": 0.01}),
        Case("doped Kronecker, 5 %", "doped", {"base": {"structure": "kronecker", **kronecker}, "density": 0.05}),
        Case(f"hashed at {RATIO}x, built at every call", "hashed", behind, every_call=True),
        Case(f"hashed at {RATIO}x, built once", "hashed", behind),
        Case(f"hashed at {RATIO}x, aligned", "hashed", {"ratio": RATIO, "aligned": True}),
    ]
    if m == n:
        found.append(Case("unitary, complex", "unitary"))
    return [case for case in found if case.family in families]


def tensorly() -> str:
    """The version of tensorly-torch.

    Raises:
        ImportError: or whatever it raises where it does not import.
    """
    import tltorch  # noqa: F401

    return version("tensorly-torch")


def tensorly_layer(matrix: TensorTrain, form: str) -> Callable[[Tensor], Tensor]:
    """tensorly-torch's layer of the same cores, in one of its forms. It calls the tensor train of a matrix block-TT."""
    from tltorch import FactorizedLinear

    implementation, by_torch, kept = IMPLEMENTATIONS[form]
    layer = FactorizedLinear(
        matrix.in_modes, matrix.out_modes, bias=False, factorization="blocktt", rank=(1, *matrix.ranks, 1),
        implementation=implementation,
    )  # fmt: skip
    with torch.no_grad():
        for theirs, ours in zip(layer.weight.factors, matrix.cores, strict=True):
            theirs.copy_(ours)
    layer.in_features = int(layer.in_features)  # a number of numpy, which torch cannot compile
    layer.eval()
    return compiling.compiled(layer) if by_torch else _with_kept_paths(layer) if kept else layer


def _with_kept_paths(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """tensorly's plug-in, which finds the path of a contraction once; it holds for all of tensorly, so for a call."""
    from tensorly import plugins

    def call(x: Tensor) -> Tensor:
        plugins.use_opt_einsum()
        try:
            return layer(x)
        finally:
            plugins.use_default_einsum()

    return call
