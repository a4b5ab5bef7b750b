"""FixedPointActivation: the numbers of a format, and gradients where it does not saturate."""

import math

import pytest
import torch
from stored import numbered, oracle, tensors
from torch import nn

from edgenet.errors import ConfigError, ShapeError
from edgenet.nn import FixedPointActivation
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.structured import Dense, FixedPoint


def by_hand(x, bits, fraction_bits, rounding):
    """One number after another, in whole numbers of Python."""
    whole = math.floor if rounding == "floor" else round  # half to even
    most = 2 ** (bits - 1)
    return [min(max(whole(v * 2.0**fraction_bits), -most), most - 1) * 2.0**-fraction_bits for v in x.tolist()]


@pytest.mark.parametrize("rounding", ["nearest", "floor"])
@pytest.mark.parametrize(("bits", "fraction_bits"), [(2, 0), (4, 4), (8, 5), (8, -3), (16, 8), (32, 16)])
def test_it_is_the_format_number_by_number(bits, fraction_bits, rounding):
    step = 2.0**-fraction_bits
    x = torch.cat([torch.arange(-40, 41) * step / 4, torch.randn(50) * step * 2.0**bits, torch.zeros(1)])
    layer = FixedPointActivation(bits, fraction_bits, rounding)
    assert layer(x).tolist() == by_hand(x, bits, fraction_bits, rounding)


@oracle("quantised/deepshift_tables*.npz")
def test_floor_is_the_rounding_of_deepshift_but_for_its_upper_end(stored):
    arrays = tensors(stored)
    x = arrays["fx_x"].double()
    for integer_bits, fraction_bits in numbered(arrays, r"fx_(\d+)_(\d+)"):
        got = FixedPointActivation(integer_bits + fraction_bits, fraction_bits, "floor")(x)
        theirs = 2.0 ** (integer_bits - 1) - 1
        assert torch.equal(got.clamp_max(theirs), arrays[f"fx_{integer_bits}_{fraction_bits}"].double())
        assert (got <= theirs + 1 - 2.0**-fraction_bits).all()


def test_nearest_is_what_weights_of_that_format_are():
    x = torch.randn(4, 30) * 3
    matrix = FixedPoint(Dense(x), 6, fraction_bits=3)
    assert torch.equal(FixedPointActivation(6, 3)(x), matrix.to_dense())


def test_gradients_pass_inside_the_range_alone_and_nan_stays():
    x = torch.tensor([-3.0, -2.0, -1.9, 0.3, 1.75, 1.76, 9.0], requires_grad=True)
    y = FixedPointActivation(4, 2)(x)
    y.backward(torch.full_like(y, 5.0))
    assert x.grad.tolist() == [0, 5, 5, 5, 5, 0, 0] and y.tolist() == [-2, -2, -2, 0.25, 1.75, 1.75, 1.75]
    assert FixedPointActivation()(torch.tensor([math.nan, math.inf]))[0].isnan()


def test_a_dtype_that_has_not_the_numbers_is_told_so():
    wide = FixedPointActivation(16, 8)
    with pytest.raises(ShapeError, match=r"numbers of 16 bits, 8 of them behind the point, are no torch\.float16"):
        wide(torch.randn(3, dtype=torch.float16))
    with pytest.raises(ShapeError, match=r"32 bits, 16 of them .* no torch\.float32"):
        FixedPointActivation(32, 16)(torch.randn(3, dtype=torch.float32))
    for dtype, bits in ((torch.float16, 12), (torch.bfloat16, 9), (torch.float32, 25), (torch.float64, 32)):
        layer = FixedPointActivation(bits, 4)
        ends = layer(torch.tensor([-6e4, 6e4, 0.5] if bits < 25 else [-1e30, 1e30, 0.5], dtype=dtype)).tolist()
        assert ends == [*layer.limits, 0.5]
        if bits < 32:
            with pytest.raises(ShapeError, match=f"{bits + 1} bits"):
                FixedPointActivation(bits + 1, 4)(torch.zeros(1, dtype=dtype))


def test_it_is_saved_and_read_back(tmp_path):
    model = nn.Sequential(nn.Linear(4, 3), FixedPointActivation(8, 5, "floor")).eval()
    save_pretrained(model, tmp_path)
    x = torch.randn(5, 4)
    assert torch.equal(from_pretrained(tmp_path)(x), model(x))
    assert repr(model[1]) == "FixedPointActivation(bits=8, fraction_bits=5, rounding='floor')"


@pytest.mark.parametrize(
    "options, says",
    [
        ({"bits": 1}, "bits is a whole number, 2 to 32, got 1"),
        ({"bits": 33}, "2 to 32, got 33"),
        ({"bits": 8.0}, "2 to 32, got 8.0"),
        ({"fraction_bits": 65}, "fraction_bits is a whole number, -64 to 64, got 65"),
        ({"rounding": "up"}, "rounding is nearest or floor, got 'up'"),
    ],
)
def test_arguments_out_of_range_are_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        FixedPointActivation(**options)
