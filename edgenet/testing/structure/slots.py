"""What layers ask of the matrix in a slot: some of its rows, less of it, and a narrower way through it."""

from __future__ import annotations

import copy
import json

import torch

from edgenet.errors import PlanError
from edgenet.structured import Quantised
from edgenet.testing.contract import Contract, all_same, refusal, require, same
from edgenet.testing.structure.case import StructureCase
from edgenet.testing.structure.products import gradients

SLOTS: Contract[StructureCase] = Contract()


@SLOTS.promise("rows")
def rows(case: StructureCase) -> None:
    """rows(index) is to_dense()[index], repeated rows and no rows too, and so are its gradients."""
    matrix = case.build()
    index = torch.tensor([case.m - 1, 0, 0, case.m // 2])
    same(matrix.rows(index), matrix.to_dense()[index], "rows(index) is not to_dense()[index]")
    direction, parameters = case.signals(4), list(matrix.parameters())
    got = gradients(matrix.rows(index), parameters, direction)
    want = gradients(matrix.to_dense()[index], parameters, direction)
    all_same(got, want, "a gradient of rows(index) is not that of to_dense()[index]")
    none = tuple(matrix.rows(index[:0]).shape)
    require(none == (0, case.n), f"no rows have the shape {none}, not {(0, case.n)}")


@SLOTS.promise("missing rows", train=[True, False])
def missing_rows(case: StructureCase, train: bool) -> None:
    """A row that is not there is an IndexError; -1 is the last row, or an IndexError too."""
    matrix = case.build().train(train)
    for row in (case.m, case.m + 1, -case.m - 1):
        with refusal(IndexError, f"row {row} of {case.m} is read"):
            matrix.rows(torch.tensor([0, row]))
    try:
        last = matrix.rows(torch.tensor([-1]))
    except IndexError:  # as index_select has it
        return
    same(last, matrix.to_dense()[-1:], "row -1 is not the last")


@SLOTS.promise("keep", what=["rows", "columns", "both", "all", "one"])
def keep(case: StructureCase, what: str) -> str | None:
    """keep_ leaves these rows and columns without loss, or says with a PlanError that it cannot, and is as before. Of a
    quantised matrix the latents are left, which are rounded anew."""
    matrix = case.build()
    rows: torch.Tensor | None = torch.randperm(case.m)[: 1 if what == "one" else max(1, case.m // 2)]
    columns: torch.Tensor | None = torch.randperm(case.n)[: 1 if what == "one" else max(1, case.n // 2)]
    if what == "all":
        rows, columns = torch.arange(case.m), torch.arange(case.n)
    rows, columns = rows if what != "columns" else None, columns if what != "rows" else None
    latent = matrix.base if isinstance(matrix, Quantised) else matrix
    before, state = latent.to_dense().detach().clone(), copy.deepcopy(matrix.state_dict())
    next(matrix.parameters()).requires_grad_(False)
    frozen = {name: p.requires_grad for name, p in matrix.named_parameters()}
    try:
        matrix.keep_(rows, columns)
    except PlanError as error:
        changed = [name for name, t in matrix.state_dict().items() if not torch.equal(t, state[name])]
        require(not changed, f"it cannot keep {what}, and has changed {', '.join(changed)}")
        return f"{case.name} cannot keep {what}: {error}"
    wanted = before if rows is None else before[rows]
    wanted = wanted if columns is None else wanted[:, columns]
    same(latent.to_dense(), wanted, f"after keep_ of {what} it is another matrix")
    wanted = matrix.to_dense().detach()
    require(
        tuple(matrix.shape) == tuple(wanted.shape), f"after keep_ of {what} it says that its shape is {matrix.shape}"
    )
    x = torch.randn(3, matrix.shape[1])
    same(matrix.eval()(x), x @ wanted.mT, f"after keep_ of {what} it gives other products")
    same(matrix.rows(torch.tensor([0])), wanted[:1], f"after keep_ of {what} it has other rows")
    now = {name: p.requires_grad for name, p in matrix.named_parameters()}
    require(now == frozen, f"after keep_ of {what} other parameters are trained: {now}")
    require(all(t.is_contiguous() for t in matrix.state_dict().values()), "after keep_ a tensor is not contiguous")
    twin = type(matrix).from_config(json.loads(json.dumps(matrix.config())))
    twin.load_state_dict(matrix.state_dict())
    same(twin.to_dense(), wanted, f"after keep_ of {what} its config and its tensors are of another matrix")
    return None


@SLOTS.promise("keep what is not there")
def keep_missing(case: StructureCase) -> None:
    """keep_ of a row that is not there, or of no columns, is an error, and leaves it as it was."""
    matrix = case.build()
    before = matrix.to_dense().detach().clone()
    with refusal((PlanError, IndexError), f"row {case.m} of {case.m} is kept"):
        matrix.keep_(torch.tensor([case.m]))
    if not matrix.is_dense:
        with refusal(PlanError, "no columns are kept"):
            matrix.keep_(None, torch.tensor([], dtype=torch.long))
    require(torch.equal(matrix.to_dense(), before), "it has changed as it refused")


@SLOTS.promise("mix first")
def mix_first(case: StructureCase) -> None:
    """mix_first gives inner and outer with W = outer inner, of fewer rows than W where there are two; gradients too."""
    matrix = case.build()
    inner, outer = matrix.mix_first(1)
    mixed = inner if outer is None else outer @ inner
    same(mixed, matrix.to_dense(), "outer @ inner of mix_first is not to_dense()")
    narrow = inner.shape[0] == case.m if outer is None else inner.shape[0] < case.m
    require(inner.shape[1] == case.n and narrow, f"inner of mix_first has the shape {tuple(inner.shape)}")
    parameters, direction = list(matrix.parameters()), torch.randn(case.m, case.n)
    got, want = gradients(mixed, parameters, direction), gradients(matrix.to_dense(), parameters, direction)
    all_same(got, want, "a gradient of outer @ inner of mix_first is not that of to_dense()")
