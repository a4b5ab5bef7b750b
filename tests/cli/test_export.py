"""edgenet export."""

import pytest
import torch

from edgenet import NodeClassifier
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
    inputs = f"input:   x (nodes, {karate.num_features})\ninput:   edge_index (2, edges)"
    assert out.startswith("file:    model.pt2, ") and inputs in out
    x = karate.x.float()
    torch.testing.assert_close(
        torch.export.load("model.pt2").module()(x, karate.edge_index), saved(x, karate.edge_index)
    )


def test_what_is_there_is_not_replaced(refused, saved):
    open("m.pt2", "w").close()
    assert "--overwrite" in refused("export", "model", "--out", "m.pt2")
    assert "onnx" in refused("export", "model", "--to", "torchscript")
