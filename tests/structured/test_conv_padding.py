"""Convolutions that pad with a number other than zero: as if the signal were padded before."""

import pytest
import torch
import torch.nn.functional as F
from kernels import KERNELS, near
from torch import nn

from edgenet.errors import ConfigError
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.structured import Dense, Stacked, StructuredConv1d, StructuredConv2d, structure, structured_conv
from edgenet.structured.ways import ways

# padding, dilation, kernel, and what F.pad adds on the left, right, top and bottom
PADDINGS = {
    "sizes": ((1, 2), 1, 3, (2, 2, 1, 1)),
    "same": ("same", (1, 2), 3, (2, 2, 1, 1)),
    "same even": ("same", 1, (3, 4), (1, 2, 1, 1)),
    "none": (0, 1, 3, (0, 0, 0, 0)),
    "valid": ("valid", 1, 3, (0, 0, 0, 0)),
}

OF_ANY_KERNEL = ("dense", "low_rank", "csr", "low_rank of bytes")
CASES = [(name, case) for case in PADDINGS for name in (*OF_ANY_KERNEL, "kronecker", "tensor_train")
         if PADDINGS[case][2] == 3 or name in OF_ANY_KERNEL]  # fmt: skip


@pytest.mark.parametrize("value", [-1.0, 1])
@pytest.mark.parametrize(("name", "case"), CASES)
def test_the_border_is_the_number(name, case, value):
    padding, dilation, kernel, ends = PADDINGS[case]
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, kernel, bias=False)
    matrix = KERNELS[name](conv.weight.detach().flatten(1))
    new = StructuredConv2d(matrix, kernel, 1, padding, dilation, padding_value=value)
    x = torch.randn(2, 4, 8, 9).requires_grad_()
    dense = matrix.to_dense().reshape(conv.weight.shape)
    want = F.conv2d(F.pad(x, ends, value=value), dense, dilation=dilation)
    tensors, direction = [x, *matrix.parameters()], torch.randn_like(want)
    wanted = torch.autograd.grad(want, tensors, direction)
    _, left = new._padded(x)
    for way in [None, *ways(matrix, new.places, 1, 100, 100, True)]:
        got = new(x) if way is None else new._by_way(way, matrix, new._padded(x)[0], left)
        near(got, want)
        for one, other in zip(torch.autograd.grad(got, tensors, direction), wanted, strict=True):
            near(one, other)
    with torch.no_grad():
        near(new.eval()(x), want)


def test_signs_are_padded_with_a_sign_in_every_group_and_on_one_axis():
    torch.manual_seed(0)
    matrix = Stacked.from_dense(torch.randn(6, 12), 2, structure("binary", per="row"))
    new = StructuredConv1d(matrix, 3, stride=2, padding=1, groups=2, padding_value=-1)
    x = torch.randn(2, 8, 11).sign()
    want = F.conv1d(F.pad(x, (1, 1), value=-1), matrix.to_dense().reshape(6, 4, 3), stride=2, groups=2)
    near(new(x), want)
    handle = matrix.register_forward_hook(lambda module, inputs, output: 2 * output)
    near(new(x), 2 * want)  # by windows
    handle.remove()


def test_the_number_stays_with_the_layer(tmp_path):
    torch.manual_seed(0)
    new = StructuredConv2d(Dense(torch.randn(6, 36)), 3, padding=1, padding_value=-1)
    x = torch.randn(2, 4, 6, 6)
    assert "padding_value=-1" in repr(new)
    again = structured_conv(new, KERNELS["low_rank"](new.weight.to_dense().detach()))
    assert again.padding_value == -1
    model = nn.Sequential(again).eval()
    save_pretrained(model, tmp_path)
    near(from_pretrained(tmp_path)(x), model(x))
    zeros = structured_conv(nn.Conv2d(4, 6, 3, padding=1), Dense(torch.randn(6, 36)))
    assert zeros.padding_value == 0 and "padding_value" not in repr(zeros)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"padding_value": float("nan")}, "finite"),
        ({"padding_value": "one"}, "'one'"),
        ({"padding_value": 10**400}, "finite"),
        ({"padding_value": 1, "padding_mode": "reflect"}, "reflect"),
    ],
)
def test_a_number_that_cannot_be_padded_with_is_refused(options, text):
    with pytest.raises(ConfigError, match=text):
        StructuredConv2d(Dense(torch.zeros(6, 36)), 3, **options)
