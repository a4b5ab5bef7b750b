"""edgenet convert."""

import pytest
import torch

from edgenet.cli.models import read_model
from edgenet.data import load
from edgenet.phi import EdgeVarying
from edgenet.pretrained import from_pretrained


def test_convert_makes_an_edgenet_that_says_the_same(run, gat, karate):
    code, out, err = run("convert", "gat", "--out", "edgenet")
    assert code == 0, err
    assert "edgenet, GAT," in out and "bound to a graph" not in out
    again = from_pretrained("edgenet")
    torch.testing.assert_close(again(karate.x.double(), karate.edge_index), gat)
    assert type(again.convs[0]).__name__ == "Converted"


def test_convert_freezes_attention(run, gat, karate):
    code, out, err = run("convert", "gat", "--freeze", "karate", "--out", "frozen")
    assert code == 0, err
    assert "2 of its tables bound to a graph" in out
    again = from_pretrained("frozen", edges=karate)
    torch.testing.assert_close(again(karate.x.double(), karate.edge_index), gat)
    assert isinstance(again.convs[0].phi, EdgeVarying)


@pytest.mark.float32
def test_the_published_gat_is_converted_frozen_and_says_the_same(run, data_root):
    file = data_root / "gat_cora_pyg.npz"
    if not file.is_file():
        pytest.skip("the published GAT is not here")
    code, _, err = run("convert", file, "--freeze", "cora", "--out", "frozen")
    assert code == 0, err
    cora = load("cora").train[0]
    given, frozen = read_model(file), from_pretrained("frozen")
    with torch.no_grad():
        torch.testing.assert_close(
            frozen(cora.x, cora.edge_index), given(cora.x, cora.edge_index), rtol=0, atol=2e-6
        )  # fmt: skip
