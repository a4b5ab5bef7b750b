"""A family may store its buffers in fewer bytes than they take in use, wherever it stands."""

import pytest
import torch
from torch import nn

from edgenet.errors import ShapeError
from edgenet.structured import STRUCTURES, Coded, Stacked, StructuredMatrix, Uniform
from edgenet.structured.codes import from_bytes, to_bytes
from edgenet.structured.packed_buffers import restored_buffers, stored_buffers


class Signed(StructuredMatrix):
    """W = signs * magnitudes, with signs of a byte each, that are bits at rest."""

    def __init__(self, signs, magnitudes):
        super().__init__()
        self.register_buffer("signs", signs)
        self.magnitudes = nn.Parameter(magnitudes)

    @property
    def shape(self):
        return tuple(self.magnitudes.shape)

    def to_dense(self):
        return self.magnitudes * (1 - 2 * self.signs)

    def matmul(self, x):
        return x @ self.to_dense().mT

    @classmethod
    def from_dense(cls, weight):
        return cls((weight < 0).to(torch.uint8), weight.abs())

    def draw_(self, std):
        self.magnitudes.fill_(std)

    def packed_buffers(self):
        return {"bits": to_bytes(self.signs, 1)}

    def unpacked_buffers(self, stored):
        if not stored["bits"].is_meta and stored["bits"][-1] >= 1 << (self.signs.numel() % 8 or 8):
            raise ShapeError("there are signs past the last entry.")
        return {"signs": from_bytes(stored["bits"], 1, self.signs.numel()).view(self.shape).to(torch.uint8)}


@pytest.fixture
def signed(monkeypatch):
    monkeypatch.setitem(STRUCTURES, "signed", Signed)
    return Stacked([Signed.from_dense(torch.randn(3, 5)), Signed.from_dense(torch.randn(2, 5))])


def test_buffers_come_back_from_what_is_stored(signed):
    stored = stored_buffers(signed)
    assert {name: len(t) for name, t in stored.items()} == {"parts.0.bits": 2, "parts.1.bits": 2}
    again = restored_buffers(signed, stored)
    assert again.keys() == dict(signed.named_buffers()).keys()
    assert all(torch.equal(again[name], t) for name, t in signed.named_buffers())


def test_codes_hold_them_as_they_are_stored(signed):
    matrix = Uniform(signed, 4)
    packed, x = matrix.pack(), torch.randn(4, 5)
    assert [len(packed.state_dict()[f"held_{j}"]) for j in (0, 1)] == [2, 2]
    for now in (packed, Coded.from_config(packed.config())):
        now.load_state_dict(packed.state_dict())
        assert torch.equal(now.to_dense(), matrix.to_dense()) and torch.equal(now.eval()(x), matrix.eval()(x))


def test_what_a_family_refuses_is_not_loaded(signed):
    packed = Uniform(signed, 4).pack()
    before = packed.to_dense().detach().clone()
    state = {name: tensor.clone() for name, tensor in packed.state_dict().items()}
    state["held_1"][-1] = 255
    state["scale_0"] += 1
    with pytest.raises(RuntimeError, match="signs past the last entry"):
        packed.load_state_dict(state)
    assert torch.equal(packed.to_dense(), before)
