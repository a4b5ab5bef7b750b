"""What every structured matrix promises. A family joins with one entry in STRUCTURE_CASES."""

import pytest
import torch
from cases import STRUCTURE_CASES
from torch.nn.utils import prune

from edgenet.errors import PlanError
from edgenet.structured import STRUCTURES, Quantised, name_of
from edgenet.testing.structure import CHECKS

cases = pytest.mark.parametrize("case", STRUCTURE_CASES, ids=str)


def near(got, want):
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_family_has_a_case_of_its_type(name):
    mine = [case for case in STRUCTURE_CASES if case.name.split()[0] == name]
    assert mine, f"{name} has no entry in STRUCTURE_CASES"
    assert all(type(case.build()) is STRUCTURES[name] for case in mine)


@cases
@pytest.mark.parametrize("check", CHECKS.checks)
def test_a_family_keeps_its_contract(check, case):
    beside_the_point = CHECKS.hold(check, case)
    if beside_the_point and not check.startswith("keep"):
        pytest.skip(beside_the_point)


# --- what is of some families alone -----------------------------------------------------------------------------------
@cases
def test_only_a_dense_matrix_is_dense(case):
    assert case.build().is_dense == (case.name == "dense")


@cases
@pytest.mark.parametrize("what", ["rows", "columns", "both", "all", "one"])
def test_what_can_be_taken_apart_keeps_rows_and_columns(case, what):
    """The others say how to do without."""
    refused = CHECKS.hold(f"keep, {what}", case)
    matrix = case.build()
    kind = name_of(matrix.base if isinstance(matrix, Quantised) else matrix)  # latents follow
    whole = kind in ("dense", "low_rank", "sparse", "csr")
    if whole or (case.name.startswith("row_split") and what == "columns"):
        assert refused is None
    assert refused is None or "remove first" in refused


@pytest.mark.parametrize("name", ["dense", "low_rank", "sparse", "csr", "row_split"])
def test_of_a_pruned_matrix_no_rows_are_taken(name):
    matrix = next(case for case in STRUCTURE_CASES if case.name == name).build()
    prune.l1_unstructured(matrix, next(iter(matrix._parameters)), amount=0.5)
    before = matrix.to_dense().detach().clone()
    with pytest.raises(PlanError, match=r"prune\.remove"):
        matrix.keep_(columns=torch.tensor([0]))
    assert torch.equal(matrix.to_dense(), before)


@pytest.mark.parametrize(
    ("name", "options", "width"),
    [
        ("low_rank", {"rank": 3}, 3),
        ("row_split", {"rows": 2, "blocks": 3}, 5),
        ("hashed", {"ratio": 4, "aligned": True}, None),
    ],
)
def test_families_of_low_rank_mix_first_into_that_many_signals(name, options, width):
    matrix = STRUCTURES[name].random((32, 24), **options)
    inner, outer = matrix.mix_first(4)
    assert outer is not None and inner.shape[0] == (width or inner.shape[0]) < 32
    near(outer @ inner, matrix.to_dense())
