"""Options that are none: every family says which, and what it wants."""

import numpy as np
import pytest
import torch

from edgenet.errors import PlanError, RankError
from edgenet.structured import structure

NO_SIZE = (0, -1, 1.5, True, "2", float("nan"), [[2, 2]])
NO_SIZES = (8, 2.5, "22", [2.5, 2], [True, 2], [0, 4], ["2", 2], {2: 2})
OPTIONS = [
    *(("low_rank", {"rank": rank}) for rank in (*NO_SIZE, None)),
    *(("block_circulant", {"block": block}) for block in (*NO_SIZE, None)),
    *(("row_split", {"rows": rows}) for rows in NO_SIZE if rows != 0),
    *(("row_split", {"rows": 1, "blocks": blocks}) for blocks in NO_SIZE),
    *(("kronecker", {"terms": terms}) for terms in NO_SIZE),
    *(("kronecker", {"factor": factor}) for factor in (*NO_SIZES, [2], [2, 2, 2], [5, 1])),
    *(("kronecker", {"factors": factors}) for factors in (8, "22", [2, 2], [[2, 2]], [[2, 2], [2.5, 2]], [[4], [4]])),
    *(("tensor_train", {"rank": rank}) for rank in NO_SIZE),
    *(("tensor_train", {"out_modes": modes}) for modes in NO_SIZES),
    *(("block_term", {"in_modes": modes}) for modes in NO_SIZES),
    *(("tensor_train", {"dims": dims}) for dims in (1, 2.5, "2", True, 10**9)),
    *(("tensor_train", {"tolerance": share}) for share in (1.0, -0.1, float("nan"), "0.1", [0.1])),
    *(("block_term", {"blocks": 2, "rank": rank}) for rank in NO_SIZE),
    *(("hashed", {"ratio": ratio}) for ratio in (0, -1, True, "2", float("inf"), float("nan"), [2])),
    *(("sparse", {"density": share}) for share in (0, -0.1, 1.5, True, "0.5", float("nan"), None)),
    *(("doped", {"iterations": number}) for number in (0, 1.5, "2")),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_it_is_refused(name, options):
    with pytest.raises(RankError):
        structure(name, **options)(torch.randn(4, 4))


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("kronecker", {"bits": 8, "factr": [2, 2]}, "kronecker has no option 'factr'; .* Did you mean 'factor'"),
        ("low_rank", {"ranks": 2}, "low_rank has no option 'ranks'; low_rank has the options rank"),
        ("low_rank", {}, "low_rank needs the option 'rank'"),
        ("dense", {"structure": "kronecker", "rank": 2}, "dense has no option 'rank'; dense has no options"),
        ("doped", {"base": {"structure": "low_rank", "rnk": 2}}, "low_rank has no option 'rnk'"),
        ("stacked", {"parts": 2, "base": [{"structure": "dense"}, {"structure": "csr"}]}, "csr needs the option"),
        ("binary", {"bits": 2}, "binary has no option 'bits'"),
    ],
)
def test_options_are_checked_before_there_is_a_weight(name, options, told):
    with pytest.raises(PlanError, match=told):
        structure(name, **options)


def test_bits_are_those_of_the_numbers_of_a_family():
    matrix = structure("kronecker", factor=(2, 2), bits=8)(torch.randn(4, 4))
    assert matrix.config()["bits"] == 8 and matrix.base.config()["factors"] == [[2, 2], [2, 2]]


@pytest.mark.parametrize("base", [8, "low_rank", ["low_rank"], {"rank": 2}, {"structure": "lowrank"}])
def test_a_base_that_is_none_is_refused(base):
    with pytest.raises(PlanError):
        structure("doped", base=base)(torch.randn(4, 4))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("low_rank", {"rank": np.int64(2)}),
        ("kronecker", {"factor": (np.int32(2), 2), "terms": np.int64(2)}),
        ("tensor_train", {"rank": np.int64(2), "out_modes": (np.int64(2), 2), "dims": np.int64(2)}),
        ("block_circulant", {"block": np.int64(2)}),
    ],
)
def test_whole_numbers_of_numpy_are_whole_numbers(name, options):
    matrix = structure(name, **options)(torch.randn(4, 4))
    plain = repr(matrix.config())
    assert "np." not in plain and type(matrix).from_config(matrix.config()).config() == matrix.config()
