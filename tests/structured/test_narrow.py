"""Convolutions to few channels, row by row: torch's, to rounding."""

import pytest
import torch
import torch.nn.functional as F

from edgenet.structured import LowRank, StructuredConv2d, conv
from edgenet.structured import narrow as module
from edgenet.structured.narrow import narrow

pytestmark = pytest.mark.float32

OPTIONS = {
    "plain": ((1, 1), (0, 0), (1, 1), (3, 3)),
    "padded": ((1, 1), (1, 1), (1, 1), (3, 3)),
    "strided": ((1, 2), (1, 0), (1, 1), (3, 3)),
    "dilated": ((1, 1), (4, 1), (3, 2), (3, 3)),
    "tall": ((1, 1), (2, 0), (1, 1), (5, 1)),
    "more padding than places": ((1, 1), (6, 3), (1, 1), (3, 3)),
    "rows that only touch padding": ((1, 1), (9, 1), (9, 1), (3, 3)),
}


@pytest.fixture(autouse=True)
def _always(monkeypatch):
    monkeypatch.setattr(module, "_ENOUGH", 0)
    monkeypatch.setattr(module, "_computes_lanes", lambda: True)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("out", [1, 4, 20])
def test_it_is_torchs_convolution(out, options):
    stride, padding, dilation, kernel = options
    x, w = torch.randn(3, 5, 8, 9), torch.randn(out, 5, *kernel)
    with torch.no_grad():
        got = narrow(x, w, stride, padding, dilation)
        want = F.conv2d(x, w, None, stride, padding, dilation)
    assert got is not None and got.is_contiguous()
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)  # float32, sums in another order


def test_what_it_is_not_made_for_is_left_to_torch(monkeypatch):
    x, w, rest = torch.randn(2, 5, 8, 8), torch.randn(4, 5, 3, 3), ((1, 1), (1, 1), (1, 1))
    with torch.no_grad():
        assert narrow(x, w, *rest) is not None
        assert narrow(x, torch.randn(16, 5, 3, 3), *rest) is None  # which fill their lanes
        assert narrow(x, w, (2, 1), (1, 1), (1, 1)) is None
        assert narrow(x, torch.randn(4, 5, 1, 3), *rest) is None  # one row
        assert narrow(x.double(), w.double(), *rest) is None
        assert narrow(x.to(memory_format=torch.channels_last), w, *rest) is None
        assert narrow(x[0], w, *rest) is None
        with torch.autocast("cpu", torch.bfloat16):
            assert narrow(x, w, *rest) is None
        monkeypatch.setattr(module, "_ENOUGH", 1 << 24)
        assert narrow(x, w, *rest) is None
    assert narrow(x, w, *rest) is None  # gradients


def test_a_convolution_of_low_rank_takes_it(monkeypatch):
    seen = []
    monkeypatch.setattr(conv, "narrow", lambda *given: seen.append(narrow(*given)) or seen[-1])
    new = StructuredConv2d(LowRank(torch.randn(64, 4), torch.randn(4, 576)), 3, padding=1).eval()
    x = torch.randn(2, 64, 14, 14)
    with torch.no_grad():
        kernel = new.weight.to_dense().view(64, 64, 3, 3)
        got, want = new(x), F.conv2d(x.double(), kernel.double(), padding=1).float()
    assert seen[0] is not None
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-3)  # float32, sums of 576 products of some tens
