"""16-bit transforms are close to the exact ones, in 32 bits, and shift as they are told."""

import pytest
import torch

from edgenet.errors import RankError
from edgenet.fixed.transform import forward, inverse, stages, twiddle

BLOCKS = [1, 2, 4, 8, 16, 64]


@pytest.mark.parametrize("block", BLOCKS)
def test_the_half_spectrum_is_that_of_torch_over_the_shifts(block):
    levels = stages(block)
    for shifts in range(levels + 1):
        x = torch.randint(-(2 ** (14 - levels + shifts)), 2 ** (14 - levels + shifts), (50, 3, block))
        found = torch.complex(*(part.double() for part in forward(x, shifts)))
        wanted = torch.fft.rfft(x.double()) / 2**shifts
        assert (found - wanted).abs().max() <= 1.5 * levels + 1e-9  # a rounding and a rounded factor a stage


@pytest.mark.parametrize("block", BLOCKS)
def test_the_inverse_takes_spectra_over_the_block(block):
    x = torch.randint(-30000, 30000, (50, 3, block))
    spectrum = torch.fft.rfft(x.double()) / block
    found = inverse(spectrum.real.round().long(), spectrum.imag.round().long(), block)
    assert (found - x).abs().max() <= max(0, 1.5 * (block - 1))  # every frequency may be wrong by half, and they add up


@pytest.mark.parametrize("block", BLOCKS)
def test_nothing_grows_where_every_stage_shifts(block):
    x = torch.tensor([-32768, 32767])[torch.randint(0, 2, (300, block))]
    found = torch.complex(*(part.double() for part in forward(x, stages(block))))
    wanted = torch.fft.rfft(x.double()) / block
    assert (found - wanted).abs().max() <= 1.5 * stages(block) + 1  # and -32768 becomes -32767


def test_spectra_saturate_symmetrically_where_nothing_shifts():
    real, imaginary = forward(torch.full((1, 8), -32768), 0)
    assert real.tolist() == [[-32767, 0, 0, 0, 0]] and imaginary.abs().max() == 0


def test_a_transform_by_hand():
    real, imaginary = forward(torch.tensor([1, 2, 3, 5]), 0)  # 11; -2 + 3 i; -3
    assert real.tolist() == [11, -2, -3] and imaginary.tolist() == [0, 3, 0]
    real, _ = forward(torch.tensor([1, 2, 3, 5]), 1)  # 4 and 7 over two are 2 and 4 (3.5, to even)
    assert real.tolist() == [6, -1, -2]
    assert twiddle(1, 2) == (0, 16384) and twiddle(1, 4) == (11585, 11585)


@pytest.mark.parametrize(("size", "shifts"), [(3, 0), (4, 3), (4, -1), (6, 1)])
def test_other_blocks_and_shifts_are_refused(size, shifts):
    with pytest.raises(RankError):
        forward(torch.zeros(2, size).long(), shifts)
