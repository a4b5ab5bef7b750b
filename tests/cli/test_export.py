"""edgenet export."""

import json
from pathlib import Path

import pytest
import torch

from edgenet import NodeClassifier
from edgenet.export import Exported
from edgenet.pretrained import save_pretrained


@pytest.fixture
def saved(karate):
    model = NodeClassifier(karate.num_features, 3, layer="gcn", hidden_channels=4).eval()
    save_pretrained(model, "model")
    return model


@pytest.mark.float32
def test_a_saved_model_becomes_a_file(run, saved, karate):
    code, out, err = run("export", "model", "--to", "pt2", "--data", "karate")
    assert code == 0, err
    size = Path("model.pt2").stat().st_size
    inputs = f"input:   x (nodes, {karate.num_features})\ninput:   edge_index (2, edges)"
    assert out == f"file:    model.pt2, {size:,} bytes\n{inputs}\n"
    x = karate.x.float()
    torch.testing.assert_close(
        torch.export.load("model.pt2").module()(x, karate.edge_index), saved(x, karate.edge_index)
    )


def test_json_says_what_was_written(run, saved, karate, monkeypatch):
    def written(model, path, example, **options):
        path.write_bytes(b"four")
        return Exported(path, {"x": ("nodes", karate.num_features)})

    monkeypatch.setattr("edgenet.export.export", written)
    code, out, err = run("export", "model", "--out", "made", "--json")
    assert code == 0, err
    assert json.loads(out) == {
        "file": "made", "kind": "onnx", "bytes": 4, "inputs": {"x": ["nodes", karate.num_features]},
    }  # fmt: skip


def test_what_is_there_is_not_replaced(refused, saved):
    open("m.pt2", "w").close()
    assert "--overwrite" in refused("export", "model", "--out", "m.pt2")
    assert "onnx" in refused("export", "model", "--to", "torchscript")
    assert "m.pt2 is a file" in refused("export", "model", "--out", "m.pt2/model.onnx")
    assert "'0'" in refused("export", "model", "--steps", 0)
