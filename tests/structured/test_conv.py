"""Convolutions by structured matrices: torch's convolution by the dense kernel, whichever way they take."""

import copy
import itertools
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from kernels import KERNELS, near
from torch import nn

from edgenet import shortcuts
from edgenet.errors import ConfigError, ShapeError
from edgenet.structured import (
    Dense,
    LowRank,
    Stacked,
    StructuredConv1d,
    StructuredConv2d,
    structure,
    structured_conv,
)
from edgenet.structured.ways import cheapest, ways

OPTIONS = {
    "plain": {},
    "strided": {"stride": (2, 1), "padding": 1},
    "dilated": {"dilation": (1, 2), "padding": (2, 3)},
    "same": {"padding": "same", "dilation": (3, 1)},
    "valid": {"padding": "valid", "stride": 2},
    "reflect": {"padding": (1, 2), "padding_mode": "reflect"},
    "replicate same": {"padding": "same", "padding_mode": "replicate"},
    "circular": {"padding": 2, "padding_mode": "circular", "stride": 2},
}


def dense_of(conv: nn.Module, new: nn.Module) -> nn.Module:
    """The convolution of torch with the dense kernel of a structured one."""
    own = copy.deepcopy(conv)
    own.weight = nn.Parameter(new.weight.to_dense().detach().reshape(conv.weight.shape))
    return own


def check_both_ways(conv: nn.Module, new: nn.Module, x: torch.Tensor) -> None:
    """The output, and the gradients of signal, bias and kernel."""
    dense = dense_of(conv, new)
    x, its = x.clone().requires_grad_(), x.clone().requires_grad_()
    got, want = new(x), dense(its)
    near(got, want)
    direction = torch.randn_like(want)
    parameters = list(new.weight.parameters())
    mine = torch.autograd.grad(got, [x, *parameters], direction)
    (of_signal, of_kernel) = torch.autograd.grad(want, [its, dense.weight], direction)
    near(mine[0], of_signal)
    through = torch.autograd.grad(new.weight.to_dense(), parameters, of_kernel.flatten(1))
    for one, other in zip(mine[1:], through, strict=True):
        near(one, other)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_a_convolution_is_torchs_by_the_dense_kernel(kernel, options):
    conv = nn.Conv2d(4, 6, 3, **options)
    new = structured_conv(conv, kernel(conv.weight.detach().flatten(1)))
    check_both_ways(conv, new, torch.randn(2, 4, 8, 7))


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_every_way_to_convolve_gives_the_same(kernel):
    conv = nn.Conv2d(4, 6, 3, padding=1, stride=2, bias=False)
    new = structured_conv(conv, kernel(conv.weight.detach().flatten(1)))
    x = torch.randn(3, 4, 8, 7).requires_grad_()
    tensors = [x, *new.weight.parameters()]
    want = F.conv2d(x, new.weight.to_dense().reshape(conv.weight.shape), stride=2, padding=1)
    direction = torch.randn_like(want)
    gradients = torch.autograd.grad(want, tensors, direction)
    for way in ways(new.weight, 9, 2, 100, 100, True):
        got = new._by_way(way, new.weight, x, (1, 1))
        near(got, want)
        for one, other in zip(torch.autograd.grad(got, tensors, direction), gradients, strict=True):
            near(one, other)


@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_even_kernels_keep_the_size_as_torchs_do(mode):
    conv = nn.Conv2d(4, 6, (4, 2), padding="same", dilation=(1, 3), padding_mode=mode)
    new = structured_conv(conv, LowRank.from_dense(conv.weight.detach().flatten(1), 3))
    x = torch.randn(2, 4, 8, 7)
    near(new(x), dense_of(conv, new)(x))


OF_FACTORS = ("low_rank", "kronecker", "kronecker padded", "tensor_train", "block_term")


@pytest.mark.parametrize("name", [name for name in KERNELS if "channels" in name or name in OF_FACTORS])
def test_families_of_factors_and_of_channels_convolve_in_steps(name):
    matrix = KERNELS[name](torch.randn(6, 36))
    assert matrix.as_convs(9)


def test_a_cut_inside_of_the_kernel_is_no_pair_of_convolutions():
    assert KERNELS["kronecker across places"](torch.randn(6, 36)).as_convs(9) == []


@pytest.mark.parametrize("options", [{}, {"padding": "same", "padding_mode": "reflect"}, {"stride": 3, "dilation": 2}])
@pytest.mark.parametrize("name", ["low_rank", "kronecker", "block_circulant", "block_circulant of channels", "csr"])
def test_one_axis_is_like_two(name, options):
    conv = nn.Conv1d(4, 6, 9, **options)
    check_both_ways(conv, structured_conv(conv, KERNELS[name](conv.weight.detach().flatten(1))), torch.randn(2, 4, 23))


@pytest.mark.parametrize("groups", [2, 3])
@pytest.mark.parametrize("name", ["dense", "low_rank", "kronecker padded", "csr"])
def test_a_group_has_a_matrix_of_its_own(name, groups):
    conv = nn.Conv2d(4 * groups, 6 * groups, 3, padding=1, groups=groups)
    matrix = Stacked.from_dense(conv.weight.detach().flatten(1), groups, KERNELS[name])
    new = structured_conv(conv, matrix)
    check_both_ways(conv, new, torch.randn(2, 4 * groups, 6, 5))
    x = torch.randn(2, 4 * groups, 6, 5)
    near(new._by_windows(matrix, x, (1, 1), groups) + new.bias[:, None, None], new(x))


def test_groups_large_enough_convolve_one_by_one():
    conv = nn.Conv2d(256, 256, 3, padding=1, groups=2, dtype=torch.float32)
    new = structured_conv(conv, Stacked.from_dense(conv.weight.detach().flatten(1), 2, structure("low_rank", rank=2)))
    assert new.multiply_adds(200) < 200 * 256 * 128 * 9 / 10
    with torch.no_grad():
        x = torch.randn(1, 256, 14, 14, dtype=torch.float32)
        near(new(x), dense_of(conv, new)(x), 1e-4)  # float32


def test_one_matrix_may_stand_for_all_groups():
    conv = nn.Conv2d(6, 12, 3, groups=6)
    new = structured_conv(conv, LowRank.from_dense(conv.weight.detach().flatten(1), 2))
    check_both_ways(conv, new, torch.randn(2, 6, 5, 5))
    assert new.multiply_adds(7) == 7 * 12 * 9


@pytest.mark.parametrize("name", KERNELS)
def test_a_signal_may_lack_a_batch_or_images(name):
    conv = nn.Conv2d(4, 6, 3, padding=1)
    new = structured_conv(conv, KERNELS[name](conv.weight.detach().flatten(1))).eval()
    x = torch.randn(4, 8, 7)
    near(new(x), new(x.unsqueeze(0)).squeeze(0))
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            assert new(torch.randn(0, 4, 8, 7)).shape == (0, 6, 8, 7)


@pytest.mark.parametrize("name", KERNELS)
def test_groups_may_lack_images(name):
    conv = nn.Conv2d(8, 12, 3, padding=1, groups=2)
    new = structured_conv(conv, Stacked.from_dense(conv.weight.detach().flatten(1), 2, KERNELS[name]))
    for mode, x in itertools.product((True, False), (torch.randn(0, 8, 8, 7), torch.randn(3, 8, 8, 7))):
        assert new.train(mode)(x).shape == (len(x), 12, 8, 7)
        assert new._by_windows(new.weight, x, (1, 1), 2).shape == (len(x), 12, 8, 7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["low_rank", "kronecker", "tensor_train", "block_circulant of channels"])
def test_dtypes_stay(name, dtype):
    conv = nn.Conv2d(4, 6, 3)
    new = structured_conv(conv, KERNELS[name](conv.weight.detach().flatten(1)))
    want = new(x := torch.randn(2, 4, 6, 6))
    got = new.to(dtype)(x.to(dtype))
    assert got.dtype == dtype
    near(got.double(), want, 30 * torch.finfo(dtype).eps)  # some hundred products, rounded


def test_a_signal_in_channels_last_is_read_right():
    conv = nn.Conv2d(4, 6, 3, padding=1)
    for name in ("low_rank", "kronecker", "block_circulant"):
        new = structured_conv(conv, KERNELS[name](conv.weight.detach().flatten(1)))
        x = torch.randn(2, 4, 5, 6)
        for way in ways(new.weight, 9, 1, 10, 10, True):
            got = new._by_way(way, new.weight, x.to(memory_format=torch.channels_last), (1, 1))
            near(got, new._by_way(way, new.weight, x, (1, 1)))


def test_a_convolution_can_be_copied_saved_and_loaded():
    conv = nn.Conv2d(4, 6, 3)
    new = structured_conv(conv, KERNELS["tensor_train"](conv.weight.detach().flatten(1))).eval()
    x = torch.randn(2, 4, 6, 6)
    with torch.no_grad():
        want = new(x)
        near(copy.deepcopy(new)(x), want)
        other = structured_conv(nn.Conv2d(4, 6, 3), KERNELS["tensor_train"](torch.randn(6, 36))).eval()
        assert not torch.allclose(other(x), want)
        other.load_state_dict(new.state_dict())
        near(other(x), want)  # also after something was kept


def test_what_is_kept_follows_the_numbers():
    for name in ("low_rank", "kronecker", "csr", "block_circulant of channels"):
        new = StructuredConv2d(KERNELS[name](torch.randn(6, 36)), 3).eval()
        x = torch.randn(1, 4, 6, 6)
        with torch.no_grad():
            new(x)
            every = list(ways(new.weight, 9, 1, 100, 100, True))
            for way in every:
                new._by_way(way, new.weight, x, (0, 0))
            next(new.weight.parameters()).mul_(2)
            want = F.conv2d(x, new.weight.to_dense().reshape(6, 4, 3, 3))
            near(new(x), want)
            for way in every:
                near(new._by_way(way, new.weight, x, (0, 0)), want)


@pytest.mark.parametrize("hook", ["forward", "pre", "adapter"])
@pytest.mark.parametrize("groups", [1, 2])
def test_what_is_put_on_the_matrix_counts(hook, groups):
    conv = nn.Conv2d(4 * groups, 6 * groups, 3, padding=1, groups=groups, bias=False)
    matrix = Stacked.from_dense(conv.weight.detach().flatten(1), groups, KERNELS["low_rank"])
    new = structured_conv(conv, matrix if groups > 1 else matrix.parts[0])
    x = torch.randn(2, 4 * groups, 5, 5)
    want = 2 * new(x)
    if hook == "forward":
        new.weight.register_forward_hook(lambda module, inputs, output: 2 * output)
    elif hook == "pre":
        new.weight.register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],))
    else:
        new.weight = Doubled(new.weight)
    near(new(x), want)


class Doubled(nn.Module):
    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * self.inside(x)


@pytest.mark.parametrize("name", ["low_rank", "tensor_train", "block_circulant of channels"])
def test_a_convolution_compiles_whole(name):
    new = StructuredConv2d(KERNELS[name](torch.randn(6, 36)), 3, padding=1)
    compiled = torch.compile(new, backend="aot_eager", fullgraph=True)
    for batch in (2, 3):
        x = torch.randn(batch, 4, 6, 6)
        near(compiled(x), new(x))


def test_functional_transforms_see_the_same():
    new = StructuredConv2d(KERNELS["low_rank"](torch.randn(6, 36)), 3)
    x = torch.randn(3, 2, 4, 6, 6)
    near(torch.func.vmap(new)(x), torch.stack([new(one) for one in x]))


def test_multiply_adds_are_those_of_the_way_that_is_taken():
    conv = nn.Conv2d(256, 256, 3, padding=1)
    dense = structured_conv(conv, Dense(torch.zeros(256, 2304)))
    assert dense.multiply_adds(196) == 196 * 256 * 2304
    low = StructuredConv2d(LowRank(torch.zeros(256, 20), torch.zeros(20, 2304)), 3, padding=1)
    assert low.multiply_adds(196) == 196 * 20 * (256 + 2304)


def test_windows_of_large_images_are_never_laid_out():
    """They are as many times the image as the kernel has places: gigabytes, and slower than the dense kernel."""
    new = StructuredConv2d(structure("csr", density=0.02)(torch.randn(256, 2304)), 3, padding=1).eval()
    dense = 256 * 2304
    assert new.multiply_adds(7 * 7) < 7 * 7 * dense / 2  # of few positions they pay
    for positions in (32 * 14 * 14, 512 * 512):
        assert new.multiply_adds(positions) == positions * dense


def test_what_is_between_two_convolutions_fits_caches():
    """Of one large image it is several times the image: slower than the dense kernel, for all its multiply-adds."""
    matrix = structure("kronecker", factor=(8, 8), terms=4)(torch.randn(64, 576))
    assert cheapest(matrix, 9, 1, 512 * 512, 512 * 512, True).convs is None
    assert cheapest(matrix, 9, 1, 512 * 512, 14 * 14, True).convs is not None  # many small ones come a few at a time


def test_the_counts_of_both_orders_by_hand():
    """A (2, 5) and B (3, 2 x 9), one term, stride (2, 2), counted step by step."""
    (convs,) = structure("kronecker", factors=[(2, 5), (3, 18)])(torch.randn(6, 90)).as_convs(9)
    assert convs.multiply_adds(True, 9, 4) == 5 * 3 * 18 + 3 * 2 * 5
    assert convs.multiply_adds(False, 9, 4) == 4 * 2 * (2 * 5) + 2 * 3 * 18
    # 3 blocks of 4 channels to 2: 3 frequencies of 2 numbers; transforms of 4 positions, kernels, transforms of one
    (spectra,) = structure("block_circulant", block=4, places=9)(torch.randn(8, 108)).as_convs(9)
    assert spectra.multiply_adds(True, 9, 4) == 4 * 3 * 4 * 6 + 3 * (2 * 3) * (2 * 2) * 9 + 2 * 4 * 6


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"kernel_size": 5}, ShapeError, "25 places"),
        ({"stride": 0}, ConfigError, "stride"),
        ({"padding": -1}, ConfigError, "padding"),
        ({"padding": "some"}, ConfigError, "'some'"),
        ({"padding": "same", "stride": 2}, ConfigError, "stride 1"),
        ({"padding_mode": "mirror"}, ConfigError, "mirror"),
        ({"groups": 4}, ConfigError, "divides the 6 outputs"),
        ({"groups": True}, ConfigError, "got True"),
        ({"kernel_size": True}, ConfigError, "kernel_size is a whole number from 1, or 2 of them, got True"),
        ({"stride": 1.5}, ConfigError, "got 1.5"),
        ({"kernel_size": (3, 3, 3)}, ConfigError, "kernel_size"),
        ({"bias": torch.zeros(5)}, ShapeError, "bias"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, error, text):
    with pytest.raises(error, match=text):
        StructuredConv2d(Dense(torch.zeros(6, 36)), **{"kernel_size": 3, **options})


def test_sizes_of_numpy_are_whole_numbers():
    three, one = np.int64(3), np.int64(1)
    conv = StructuredConv2d(Dense(torch.randn(6, 36)), three, one, (one, one), groups=one)
    assert conv(torch.randn(2, 4, 5, 5)).shape == (2, 6, 5, 5)
    json.dumps([conv.kernel_size, conv.stride, conv.padding, conv.groups])  # as a saved model writes them


def test_matrices_that_are_not_one_a_group_are_refused():
    with pytest.raises(ShapeError, match="a matrix a group"):
        StructuredConv1d(Stacked([Dense(torch.zeros(1, 6)), Dense(torch.zeros(3, 6))]), 3, groups=2)


@pytest.mark.parametrize("shape", [(2, 5, 8, 8), (4, 8), (1, 2, 4, 8, 8)])
def test_signals_that_do_not_fit_are_refused(shape):
    with pytest.raises(ShapeError, match="this convolution takes"):
        StructuredConv2d(Dense(torch.zeros(6, 36)), 3)(torch.zeros(shape))


def test_a_signal_smaller_than_the_kernel_is_refused():
    for name, kept in itertools.product(("low_rank", "csr"), (True, False)):
        new = StructuredConv2d(KERNELS[name](torch.randn(6, 36)), 3)
        with shortcuts.kept(kept), pytest.raises(ShapeError, match="does not fit a signal"):
            new(torch.zeros(1, 4, 2, 8))


def test_autocast_gives_what_torchs_convolution_gives():
    conv = nn.Conv2d(4, 6, 3, dtype=torch.float32)
    new = structured_conv(conv, KERNELS["low_rank"](conv.weight.detach().flatten(1)))
    x = torch.randn(2, 4, 6, 6, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert new(x).dtype == dense_of(conv, new)(x).dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["low_rank", "kronecker"])
def test_large_batches_go_image_by_image(name, monkeypatch):
    monkeypatch.setattr("edgenet.structured.conv.CHUNK_BYTES", 1)
    conv = nn.Conv2d(4, 6, 3, padding=1)
    new = structured_conv(conv, KERNELS[name](conv.weight.detach().flatten(1))).eval()
    x = torch.randn(5, 4, 6, 6)
    with torch.no_grad():
        for way in ways(new.weight, 9, 2, 100, 100, True):
            near(new._by_way(way, new.weight, x, (1, 1)) + conv.bias[:, None, None], dense_of(conv, new)(x))


@pytest.mark.parametrize("quantiser", ["uniform", "power_of_two"])
def test_quantised_factors_convolve_twice_by_their_values(quantiser):
    low = structure(quantiser, base={"structure": "low_rank", "rank": 4}, bits=4)
    new = StructuredConv2d(low(torch.randn(64, 576)), 3, padding=1).eval()
    assert new.multiply_adds(20_000) == 20_000 * 4 * (64 + 576)
    x = torch.randn(2, 64, 14, 14)
    packed = StructuredConv2d(new.weight.pack(), 3, padding=1).eval()
    assert packed.multiply_adds(20_000) == new.multiply_adds(20_000)
    with torch.no_grad():
        for conv in (new, packed):
            near(conv(x), F.conv2d(x, new.weight.to_dense().reshape(64, 64, 3, 3), padding=1))
        packed.weight.codes_0.copy_(packed.weight.codes_0.flip(0))  # codes are buffers, and what is kept follows them
        near(packed(x), F.conv2d(x, packed.weight.to_dense().reshape(64, 64, 3, 3), padding=1))


def test_hooks_on_the_base_of_a_quantised_matrix_count():
    matrix = structure("uniform", base={"structure": "low_rank", "rank": 4})(torch.randn(64, 576))
    new, x = StructuredConv2d(matrix, 3).eval(), torch.randn(2, 64, 14, 14)
    with torch.no_grad():
        want = 2 * new(x)
        new.weight.base.register_forward_hook(lambda module, inputs, output: 2 * output)
        near(new(x), want)
        near(StructuredConv2d(new.weight.pack(), 3).eval()(x), want)
