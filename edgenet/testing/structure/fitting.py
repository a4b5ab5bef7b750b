"""What a family promises of ``from_dense`` and of drawing anew: good members, clear refusals, no ties to the weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.structured import project
from edgenet.testing.contract import Contract, refusal, require, same
from edgenet.testing.structure.case import StructureCase, ladder_of

FITTING: Contract[StructureCase] = Contract()

#: What makes of a weight something that is none, by what it then is.
SPOILED: dict[str, Callable[[Tensor], Any]] = {
    "nan": lambda w: w.index_fill(0, torch.tensor([0]), torch.nan),
    "inf": lambda w: w.index_fill(0, torch.tensor([0]), torch.inf),
    "vector": lambda w: w[0],
    "sparse": lambda w: w.to_sparse(),
    "integers": lambda w: w.real.long(),
    "float8": lambda w: w.real.to(torch.float8_e4m3fn),
    "numpy": lambda w: w.numpy(),
}


@FITTING.promise("exact")
def exact(case: StructureCase) -> str | None:
    """At full rank from_dense meets every dense weight."""
    if not case.exact:
        return f"{case.name} has no full rank: no member equals every matrix"
    weight = case.weight()
    same(case.structure(weight).to_dense(), weight, "from_dense at full rank is not the weight")
    return None


@FITTING.promise("no weight", spoil=SPOILED)
def no_weight(case: StructureCase, spoil: Callable[[Tensor], Any]) -> None:
    """from_dense refuses what is no matrix of finite numbers, with a ShapeError: ``structured.checked`` does that."""
    with refusal(ShapeError, "from_dense takes what is no matrix of finite numbers"):
        case.structure(spoil(case.weight()))


@FITTING.promise("no entries")
def no_entries(case: StructureCase) -> None:
    """from_dense refuses a weight without entries, with a ShapeError. A dense family takes it: a table of no edges."""
    is_dense = case.build().is_dense
    for weight in (case.weight()[:0], case.weight()[:, :0]):
        if is_dense:
            same(case.structure(weight).to_dense(), weight, "from_dense of a weight without entries")
        else:
            with refusal(ShapeError, "from_dense takes a weight without entries", "no entries"):
                case.structure(weight)


@FITTING.promise("ends of a dtype", variant={
    f"{end} {str(dtype).removeprefix('torch.')}": (dtype, end)
    for dtype in (torch.float16, torch.float32) for end in ("largest", "smallest")
})  # fmt: skip
def ends(case: StructureCase, variant: tuple[torch.dtype, str]) -> str | None:
    """from_dense fits weights near the largest and the smallest numbers of a dtype, and keeps the dtype."""
    dtype, end = variant
    if case.dtype is not None and case.dtype.is_complex:
        return "a unitary matrix has a size of its own"
    info = torch.finfo(dtype)
    weight = torch.randn(case.m, case.n).clamp(-2, 2) * (info.max / 4 if end == "largest" else 64 * info.tiny)
    dense = case.structure(weight.to(dtype)).to_dense().detach()
    require(dense.dtype == dtype, f"of a weight of {dtype} it is of {dense.dtype}")
    require(bool(dense.isfinite().all()), f"of a weight of {dtype} up to {weight.abs().max():.3g} it is not finite")
    error = float((dense.double() - weight).norm() / weight.norm())
    require(error <= (0.02 if case.exact else 1), f"of a weight of {dtype} it is off by {error:.1%} of its norm")
    return None


@FITTING.promise("projection")
def projection(case: StructureCase) -> str | None:
    """A member is its own projection."""
    if not case.settled:
        return f"factors of {case.name} are rounded, and fitted anew in another way"
    member = case.structure(case.weight()).to_dense()
    same(project(member, case.structure), member, "from_dense(member.to_dense()) is another member")
    return None


@FITTING.promise("nearest")
def nearest(case: StructureCase) -> None:
    """What from_dense makes of a weight is nearer to it than what it makes of another."""
    weight, other = case.weight(), case.weight()
    near, far = ((case.structure(w).to_dense() - weight).norm() for w in (weight, other))
    require(bool(near < far), f"from_dense is off by {near:.6g}, and that of another weight by {far:.6g}")


@FITTING.promise("projection without gradient")
def without_gradient(case: StructureCase) -> None:
    """A projection carries no gradient, and leaves the weight alone when it is changed."""
    weight = case.weight().requires_grad_()
    before = weight.detach().clone()
    projected = project(weight, case.structure)
    require(not projected.requires_grad, "the projection carries a gradient")
    projected.add_(1)
    require(torch.equal(weight.detach(), before), "the projection shares memory with the weight")


@FITTING.promise("no hold on the weight")
def no_hold(case: StructureCase) -> None:
    """It does not change when the weight that it was made of does: from_dense copies."""
    weight = case.weight()
    matrix = case.structure(weight)
    before = matrix.to_dense().detach().clone()
    weight.zero_()
    require(torch.equal(matrix.to_dense(), before), "it changes with the weight that it was made of")


@FITTING.promise("reset")
def reset(case: StructureCase) -> None:
    """reset_parameters draws anew into the same parameters, which an optimizer holds; the same from the same seed."""
    matrix = case.build()
    before, parameters = matrix.to_dense().detach().clone(), list(matrix.parameters())
    torch.manual_seed(1)
    matrix.reset_parameters()
    first = matrix.to_dense().detach().clone()
    require(bool(first.isfinite().all()), "drawn anew, it is not finite")
    require(not torch.equal(first, before), "reset_parameters draws nothing")
    kept = len(parameters) == len(list(matrix.parameters())) and all(map(_is, parameters, matrix.parameters()))
    require(kept, "reset_parameters makes other parameters, of which an optimizer does not know")
    torch.manual_seed(1)
    matrix.reset_parameters()
    require(torch.equal(matrix.to_dense(), first), "two draws from one seed differ")
    require(all(p.requires_grad and p.is_leaf for p in matrix.parameters()), "a parameter has become a result")


def _is(one: Any, other: Any) -> bool:
    return one is other


@FITTING.promise("variance")
def variance(case: StructureCase) -> str | None:
    """draw_(std) gives W entries of mean 0 and variance std squared, in the mean over entries."""
    matrix, draws = case.build(), []
    if case.dtype is not None and case.dtype.is_complex:
        return "a unitary matrix has a size of its own"
    for _ in range(200):
        with torch.no_grad():
            matrix.draw_(0.02)
        draws.append(matrix.to_dense().detach().clone())
    entries = torch.stack(draws)
    size, mean = float(entries.square().mean().sqrt()), float(entries.mean().abs())
    require(0.014 < size < 0.028, f"entries drawn with a deviation of 0.02 have one of {size:.3g}")
    require(mean < 0.005, f"entries drawn with mean 0 have one of {mean:.3g}")
    return None


@FITTING.promise("reset to a weight")
def reset_to(case: StructureCase) -> None:
    """reset_parameters(weight) is the projection of the weight."""
    weight = case.weight()
    matrix = case.structure(case.weight())
    matrix.reset_parameters(weight)
    same(matrix.to_dense(), project(weight, case.structure), "reset_parameters(weight) is not from_dense(weight)")


@FITTING.promise("ladder")
def ladder(case: StructureCase) -> None:
    """ladder gives a dozen options at most, from the fewest parameters to the most, and each can be made."""
    kind, sizes = type(case.build()), []
    for options in ladder_of(kind, (16, 16)):
        with torch.device("meta"):
            sizes.append(kind.from_config({"shape": [16, 16], **options}).num_parameters())
    require(sizes == sorted(sizes), f"the sizes of its ladder do not rise: {sizes}")
    require(len(sizes) <= 12, f"its ladder has {len(sizes)} options")
