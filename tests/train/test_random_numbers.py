"""Which random numbers a training draws, and from where."""

import torch
from torch import nn

from edgenet.data import load
from edgenet.models import NodeClassifier
from edgenet.train import Task, fit

from train.small_data import nodes  # isort: skip


class Network(nn.Module):
    """Notes a random number of every pass, as dropout draws them."""

    def __init__(self):
        super().__init__()
        self.linear, self.drawn = nn.Linear(4, 2), []

    def forward(self, x):
        self.drawn.append(torch.rand(()).item())
        return self.linear(x)


def test_without_a_seed_a_model_draws_what_it_would_draw_without_a_training():
    torch.manual_seed(5)
    wanted = [torch.rand(()).item() for _ in range(4)]
    model = Network()
    torch.manual_seed(5)
    fit(model, Task(nodes().train[0]), epochs=2, progress=False)
    assert model.drawn[:4] == wanted


def test_without_a_seed_the_order_of_batches_follows_torchs_state():
    data = torch.utils.data.TensorDataset(torch.randn(8, 4), torch.arange(8) % 2)

    def order(seed):
        torch.manual_seed(seed)
        seen = []
        call = lambda model, batch: (seen.append(batch.whole[0][0].tolist()), model(batch.whole[0]))[1]  # noqa: E731
        fit(nn.Linear(4, 2), Task(data, batch_size=2, call=call), epochs=1, progress=False)
        return seen

    assert order(1) == order(1) != order(2)


def test_a_training_without_a_seed_draws_only_what_its_model_asks_for():
    data = load("karate").train[0]
    model = NodeClassifier(data.num_features, 4, layer="gcn", dropout=0.0)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(model, data, epochs=2, progress=False)
    assert torch.equal(torch.rand(3), expected)
