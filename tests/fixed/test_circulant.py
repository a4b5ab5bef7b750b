"""Products in circulant blocks of 16-bit numbers are close to those of floats, and never overflow."""

import pytest
import torch

from edgenet.errors import RankError, ShapeError
from edgenet.fixed import FixedCirculant
from edgenet.fixed.circulant import most_of_spectrum, shifts_for
from edgenet.structured import BlockCirculant

BLOCKS = [1, 2, 4, 8, 16]


def made(block, rows=21, columns=(13, 10), scale=1.0, bits=12, out=9):
    shapes = [(rows, n) for n in columns]
    matrices = [BlockCirculant.from_dense(scale * torch.randn(shape), block) for shape in shapes]
    shifts = [shifts_for(bits, most_of_spectrum(torch.full((n,), 4.0), block), block) for n in columns]
    generators = [matrix.generators for matrix in matrices]
    found, out = FixedCirculant.of(generators, rows, list(columns), shifts, [bits] * len(columns), out)
    return found, matrices, out


@pytest.mark.parametrize("block", BLOCKS)
def test_a_sum_of_products_is_that_of_the_matrices(block):
    found, matrices, out = made(block)
    x = [torch.randint(-(2**14), 2**14, (40, n)) for n in found.columns]
    wanted = sum(m.matmul(one.double() * 2.0**-12) for m, one in zip(matrices, x, strict=True)).detach()
    error = found(*x).double() * 2.0**-out - wanted
    # 23 weights of 11 bits or more times signals up to 4, over ten rounded transforms
    assert error.abs().max() < 3e-3 * float(wanted.abs().max())


def whole_sums(found, *signals):
    """The sums of a FixedCirculant in whole numbers, product by product, and the largest partial sum."""
    spectra, k, place = found.spectra.long(), found.block, 0
    frequencies = k // 2 + 1
    total, largest = torch.zeros(spectra.shape[0], frequencies, 2).long(), 0
    for signal, x in enumerate(signals):
        re, im = found.transformed(signal, x)
        for j in range(re.shape[-2]):
            for f in range(frequencies):
                inner = 0 < f < k - f
                w_re, w_im = spectra[:, place, f], spectra[:, place, frequencies + f - 1] if inner else 0
                for part, terms in enumerate(((w_re * re[j, f], -w_im * im[j, f]), (w_re * im[j, f], w_im * re[j, f]))):
                    for term in terms:
                        total[:, f, part] += term
                        largest = max(largest, int(total.abs().max()))
            place += 1
    return total, largest


@pytest.mark.parametrize("block", BLOCKS)
def test_matrix_products_give_the_whole_sums_and_no_partial_sum_overflows(block):
    found, *_ = made(block, scale=5.0)
    worst = torch.tensor([-32768, 32767])
    for x in (
        [worst[torch.randint(0, 2, (n,))] for n in found.columns],
        [torch.full((n,), 32767) for n in found.columns],
    ):
        wanted, largest = whole_sums(found, *x)
        unpacked = found.unpacked()
        sums = sum(found.sums(place, one, unpacked) for place, one in enumerate(x))
        assert torch.equal(sums, torch.cat([wanted[..., 0], wanted[..., 1]]))
        assert largest + 2**found.shift // 2 < 2**31


@pytest.mark.parametrize("block", [1, 4])
def test_formats_leave_room_for_the_worst_signal_and_no_more(block):
    found, *_ = made(block, rows=16, columns=(64, 64), scale=3.0, bits=15)
    frequencies = block // 2 + 1
    amounts = found.spectra.long().abs().sum(1)
    amounts[:, 1 : block - frequencies + 1] += amounts[:, frequencies:]
    most = int(amounts[:, :frequencies].max()) * 32767
    assert 2**29 < most < 2**31  # one bit more of the weights would be too much, up to their rounding


def test_a_spectrum_is_stored_in_as_many_numbers_as_the_block():
    found, matrices, _ = made(8)
    assert found.spectra.dtype == torch.int16
    assert found.spectra.numel() == sum(m.generators.numel() for m in matrices)


@pytest.mark.parametrize(("block", "columns", "shifts", "shift", "error"), [
    (3, [4], [0], 0, RankError), (4, [], [], 0, ShapeError), (4, [0], [0], 0, ShapeError), (4, [4], [3], 0, RankError),
    (4, [4], [0, 0], 0, RankError), (4, [4], [0], 32, RankError), (4, [4], [0], -1, RankError),
])  # fmt: skip
def test_arguments_out_of_range_are_refused(block, columns, shifts, shift, error):
    with pytest.raises(error):
        FixedCirculant(8, columns, block, shifts, shift)


def test_a_signal_of_another_size_is_refused():
    with pytest.raises(ShapeError, match=r"signal 1 of a fixed-point product is \(..., 10\), got \(2, 13\)"):
        made(2)[0](torch.zeros(2, 13).long(), torch.zeros(2, 13).long())
