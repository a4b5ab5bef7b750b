"""shift_linear multiplies by the matrices that PowerOfTwo packs."""

import oracles
import pytest
import torch

from edgenet import ops
from edgenet.errors import RankError
from edgenet.ops.kernels.shift_linear import powers
from edgenet.structured import PowerOfTwo


def near(got, want):
    """To the rounding of float32 sums: ``want`` is in float64."""
    oracles.assert_near(got, want.to(got.dtype))


@pytest.mark.parametrize("bits", range(2, 7))
@pytest.mark.parametrize("form", ["latent", "sign_shift"])
def test_packed_powers_of_two_are_multiplied_as_they_are(bits, form):
    matrix = PowerOfTwo.from_dense(torch.randn(11, 37).float(), bits=bits, per="row", form=form)
    packed, x, bias = matrix.pack(), torch.randn(5, 37).float(), torch.randn(11).float()
    with torch.no_grad():
        y = ops.shift_linear(x, packed.codes_0, bits, packed.scale_0, 11, bias, zero=form == "sign_shift")
    near(y, x.double() @ matrix.to_dense().double().mT + bias)


@pytest.mark.parametrize("bits", range(2, 7))
def test_levels_are_those_of_the_family(bits):
    for form in ("latent", "sign_shift"):
        matrix = PowerOfTwo.from_dense(torch.ones(1, 1), bits=bits, form=form)
        assert torch.equal(powers(bits, form == "sign_shift"), matrix.levels(0))


def test_bits_that_are_none_are_refused():
    for bits in (1, 7, 4.0):
        with pytest.raises(RankError, match="2 to 6 bits"):
            ops.shift_linear(torch.ones(1, 2), torch.zeros(1, dtype=torch.uint8), bits, torch.ones(1), 2)
