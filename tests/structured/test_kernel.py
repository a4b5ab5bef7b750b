"""Kernels: structures that are told the places of a kernel keep them apart from channels."""

from functools import partial

import pytest
import torch

from edgenet.errors import PlanError, RankError
from edgenet.structured import (
    STRUCTURES,
    BlockCirculant,
    Kronecker,
    LowRank,
    TensorTrain,
    of_kernel,
    structure,
)
from edgenet.structured.padding import matched_modes

APART = ("kronecker", "tensor_train", "block_term", "block_circulant")


def test_suggested_modes_are_of_channels_with_the_places_last():
    assert matched_modes((64, 64 * 9), dims=3, places=9) == ((8, 8, 1), (8, 8, 9))
    assert matched_modes((64, 64 * 9), dims=2, places=9) == ((64, 1), (64, 9))
    out_modes, in_modes = matched_modes((30, 13 * 5), places=5)  # 13 channels are padded to 14
    assert (out_modes[-1], in_modes[-1]) == (1, 5)
    assert 13 <= torch.tensor(in_modes[:-1]).prod() <= 16
    assert matched_modes((64, 576), out_modes=(8, 4, 2), places=9)[1][-1] == 9
    assert matched_modes((64, 576), (8, 8), (24, 24), places=9) == ((8, 8), (24, 24))  # those given stay


@pytest.mark.parametrize("places", [0, -1, 7, 2.0, True, [3]], ids=str)
@pytest.mark.parametrize("name", APART)
def test_columns_that_are_not_so_many_places_each_are_refused(name, places):
    options = {"block": 2} if name == "block_circulant" else {}
    with pytest.raises(RankError, match="places"):
        STRUCTURES[name].from_dense(torch.randn(6, 36), places=places, **options)


@pytest.mark.parametrize("shape", [(8, 8 * 9), (12, 5 * 9), (7, 11 * 5)])
@pytest.mark.parametrize("name", APART)
def test_every_rung_of_a_kernel_convolves_in_steps(name, shape):
    places = 9 if shape[1] % 9 == 0 else 5
    rungs = STRUCTURES[name].ladder_for(shape, places)
    assert 0 < len(rungs) <= 12
    sizes = []
    for options in rungs:
        matrix = STRUCTURES[name].random(shape, **options)
        assert matrix.shape == shape and matrix.as_convs(places)
        sizes.append(matrix.num_parameters())
    assert sizes == sorted(sizes) and sizes[0] < shape[0] * shape[1]


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_kernel_of_one_place_has_the_rungs_of_a_matrix(name):
    assert STRUCTURES[name].ladder_for((16, 24), 1) == STRUCTURES[name].ladder((16, 24))


def test_circulant_blocks_turn_over_channels_place_by_place():
    """By hand: 2 outputs, 2 channels, 3 places, blocks of 2."""
    generators = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])
    matrix = BlockCirculant(generators, (2, 6), places=3)
    kernel = matrix.to_dense().view(2, 2, 3)
    for place, (a, b) in enumerate(generators[0].tolist()):
        assert kernel[..., place].tolist() == [[a, b], [b, a]]


def test_a_factor_splits_channels_where_it_can():
    weight = torch.randn(8, 10 * 9)
    assert Kronecker.from_dense(weight, (2, 4), places=9).in_modes == (4, 27)  # 10 channels as 4 by 3, padded
    assert Kronecker.from_dense(weight, (2, 4)).in_modes == (4, 23)
    assert Kronecker.from_dense(weight, (2, 30), places=9).in_modes == (30, 3)  # more than there are channels
    p, q = Kronecker.from_dense(torch.randn(64, 64 * 9), places=9).config()["factors"][0]
    assert p * q == 256  # beside 144 numbers in the other


def test_who_names_the_places_keeps_them_and_the_inside_of_others_is_told():
    told = of_kernel(structure("tensor_train", rank=2), 9)
    assert told(torch.randn(6, 36)).in_modes[-1] == 9
    own = of_kernel(structure("block_circulant", block=2, places=1), 9)
    assert own(torch.randn(6, 36)).places == 1
    weight = torch.randn(6, 36)
    for make in (
        structure("uniform", base={"structure": "tensor_train", "rank": 2}),
        structure("binary", base=structure("tensor_train", rank=2)),
        structure("coded", quantiser="uniform", base={"structure": "tensor_train", "rank": 2}),
        structure("doped", base={"structure": "tensor_train", "rank": 2}, density=0.1),
        structure("stacked", parts=1, base=[{"structure": "tensor_train", "rank": 2}]),
        structure("doped", base={"structure": "tensor_train", "rank": 2, "bits": 4}, density=0.1),
    ):
        trains = [part for part in _inside(of_kernel(make, 9)(weight)) if isinstance(part, TensorTrain)]
        assert [train.in_modes[-1] for train in trains] == [9]


def _inside(matrix):
    return matrix.decoded().modules() if hasattr(matrix, "decoded") else matrix.modules()


def test_what_has_no_places_and_what_is_no_partial_is_as_it_was():
    make = lambda weight: LowRank.from_dense(weight, 2)  # noqa: E731
    assert of_kernel(make, 9) is make
    low = of_kernel(partial(LowRank.from_dense, rank=2), 9)
    assert low.keywords == {"rank": 2}
    with pytest.raises(PlanError, match="places"):
        of_kernel(structure("low_rank", rank=2, places=9), 9)
