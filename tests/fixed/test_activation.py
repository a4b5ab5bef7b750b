"""22 straight lines are close to sigmoid and tanh."""

import pytest
import torch

from edgenet.errors import ConfigError
from edgenet.fixed import PiecewiseLinear

ALL = torch.arange(-32768, 32768)


@pytest.mark.parametrize("fraction_bits", [2, 5, 12, 14])
@pytest.mark.parametrize(("function", "most"), [("sigmoid", 0.0018), ("tanh", 0.0036)])
def test_the_error_is_less_than_half_of_that_of_uniform_segments_which_is_0039_and_0079(function, most, fraction_bits):
    lines = PiecewiseLinear(function, fraction_bits)
    x = ALL.double() * 2.0**-fraction_bits
    found = lines(ALL).double() * 2.0**-15
    assert lines.lines.shape == (22, 2)
    assert (found - getattr(torch, function)(x)).abs().max() < most


@pytest.mark.parametrize("fraction_bits", [0, 5, 12, 14])
@pytest.mark.parametrize("function", ["sigmoid", "tanh"])
def test_lines_stay_in_32_bits_rise_and_end(function, fraction_bits):
    lines = PiecewiseLinear(function, fraction_bits)
    found = lines(ALL)
    assert (found.diff() >= -1).all()  # rounding, where two lines meet
    assert found.min() >= lines.least and found.max() <= 32767
    slope, intercept = lines.lines.long().unbind(-1)
    assert (slope.abs() * lines.end + intercept.abs()).max() + 2**fraction_bits < 2**31
    if function == "tanh" and fraction_bits > 2:
        assert lines(torch.zeros(1).long()).item() == 0 and (lines(ALL[1:]) + lines(-ALL[1:])).abs().max() <= 1


@pytest.mark.parametrize(("function", "bits"), [("relu", 12), ("tanh", 15), ("tanh", -1), ("sigmoid", 1.5)])
def test_other_functions_and_formats_are_refused(function, bits):
    with pytest.raises(ConfigError):
        PiecewiseLinear(function, bits)
