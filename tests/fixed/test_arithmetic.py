"""16-bit arithmetic is rounding half to even, and saturation."""

from fractions import Fraction

import pytest
import torch
from stored import oracle, tensors

from edgenet.errors import ConfigError, ShapeError
from edgenet.fixed.arithmetic import fitting, quantised, saturate, shifted, values


@pytest.mark.parametrize("bits", [0, 1, 2, 7, 30])
def test_a_shift_rounds_half_to_even_as_python_does(bits):
    x = torch.cat(
        [torch.arange(-70, 70), torch.randint(-(2**31), 2**31, (200,)), torch.arange(-5, 6) * 2 ** max(bits - 1, 0)]
    )
    assert shifted(x, bits).tolist() == [round(Fraction(int(v), 2**bits)) for v in x]


@oracle("compression/fixed*.npz")
def test_numbers_are_quantised_as_in_numpy(stored):
    arrays = tensors(stored)
    bits = int(arrays["frac_bits"])
    codes = quantised(arrays["v"], bits)
    assert codes.tolist() == arrays["q"].tolist()
    assert values(codes, bits).tolist() == arrays["value"].tolist()


@pytest.mark.parametrize("most", [0.3, 1.0, 3.99, 4.0, 32767.0, 1e-6, 1e9])
def test_the_fitting_format_is_the_finest_that_holds_the_largest_number(most):
    bits = fitting(most)
    assert round(most * 2.0**bits) <= 32767 < round(most * 2.0 ** (bits + 1))
    assert fitting(most, highest=bits - 3) == bits - 3


def test_numbers_saturate_and_nan_is_refused_with_its_place():
    assert quantised(torch.tensor([1e30, -1e30, torch.inf]), 3).tolist() == [32767, -32768, 32767]
    assert saturate(torch.tensor([40000, -40000, 5])).tolist() == [32767, -32768, 5]
    with pytest.raises(ShapeError, match=r"1 of 4 numbers are NaN, the first at \[1, 0\]"):
        quantised(torch.tensor([[0.0, 1.0], [torch.nan, 2.0]]), 3)


@pytest.mark.parametrize("call", [
    lambda: shifted(torch.zeros(1).long(), 32), lambda: shifted(torch.zeros(1).long(), -1),
    lambda: quantised(torch.zeros(1), 65), lambda: fitting(torch.nan), lambda: fitting(-1.0), lambda: fitting(1e30),
])  # fmt: skip
def test_what_is_out_of_range_is_refused(call):
    with pytest.raises(ConfigError):
        call()
