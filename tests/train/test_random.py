"""Random numbers of a training: whose they are."""

import torch

from edgenet.data import load
from edgenet.models import NodeClassifier
from edgenet.train import fit


def test_a_training_without_a_seed_draws_only_what_its_model_asks_for():
    data = load("karate").train[0]
    model = NodeClassifier(data.num_features, 4, layer="gcn", dropout=0.0)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(model, data, epochs=2, progress=False)
    assert torch.equal(torch.rand(3), expected)
