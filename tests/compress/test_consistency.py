"""Consistency: a model reads every batch several times, and learns to say the same of it."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from edgenet.compress import CALLBACKS, Consistency, Distill, Training, consistency
from edgenet.errors import ConfigError, PlanError, ShapeError
from edgenet.train import fit


def by_loops(scores, temperature):
    """Feng et al. 2020, eq. 6-8, row by row and class by class."""
    shares = [one.softmax(-1) for one in scores]
    total = 0.0
    for row in range(len(shares[0])):
        mean = [sum(one[row, c] for one in shares) / len(shares) for c in range(shares[0].shape[1])]
        sharp = [m ** (1 / temperature) / sum(n ** (1 / temperature) for n in mean) for m in mean]
        for one in shares:
            total += sum((one[row, c] - q.detach()) ** 2 for c, q in enumerate(sharp))
    return total / (len(shares) * len(shares[0]))


@pytest.mark.parametrize("temperature", [0.3, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("passes", [1, 2, 4])
def test_it_is_the_distance_to_the_sharpened_mean_and_so_is_its_gradient(temperature, passes):
    scores = [torch.randn(5, 3, requires_grad=True) for _ in range(passes)]
    mine, slow = consistency(scores, temperature), by_loops(scores, temperature)
    torch.testing.assert_close(mine, slow)
    torch.testing.assert_close(torch.autograd.grad(mine, scores), torch.autograd.grad(slow, scores))


def test_shares_that_vanish_leave_numbers():
    scores = [torch.tensor([[200.0, -200.0, 0.0]], requires_grad=True), torch.tensor([[190.0, -100.0, 0.0]])]
    value = consistency(scores, 0.1)
    assert value.item() == pytest.approx(0.0) and torch.autograd.grad(value, scores[0])[0].isfinite().all()


@pytest.mark.parametrize(
    ("scores", "temperature"),
    [([], 0.5), ([torch.ones(3)], 0.5), ([torch.ones(3, 1)], 0.5), ([torch.ones(3, 2), torch.ones(2, 2)], 0.5),
     ([torch.ones(3, 2)], 0.0)],
)  # fmt: skip
def test_what_are_no_scores_of_classes_is_refused(scores, temperature):
    with pytest.raises(ShapeError, match=r"scores .* of two classes or more"):
        consistency(scores, temperature)


# ---------------------------------------------------------------- in a training
class Noisy(nn.Module):
    """Scores that are other ones at every pass, and that it remembers."""

    def __init__(self):
        super().__init__()
        self.map, self.said = nn.Linear(4, 3), []

    def forward(self, x):
        noise = torch.randn(len(x), 3) if self.training else 0.0
        if self.training:
            self.said.append((x, noise))
        return self.map(x) + noise


def rows(count=12):
    torch.manual_seed(3)
    return TensorDataset(torch.randn(count, 4), torch.arange(count) % 3)


def trained(*rules, model=None, **options):
    options = {"epochs": 1, "optimizer": "sgd", "lr": 0.1, "seed": 0, "progress": False, **options}
    return fit(model or Noisy(), rows(), callbacks=rules, **options)


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_a_step_follows_the_mean_loss_of_the_passes_and_their_distance(weight):
    model, (x, target) = Noisy(), rows().tensors
    before = {name: p.detach().clone() for name, p in model.map.named_parameters()}
    result = trained(Consistency(3, 0.5, weight), model=model)
    leaves = {name: p.requires_grad_() for name, p in before.items()}
    scores = [nn.functional.linear(read, **leaves) + noise for read, noise in model.said]
    target = target[(model.said[0][0][:, None] == x).all(-1).long().argmax(1)]  # rows come shuffled
    loss = sum(nn.functional.cross_entropy(one, target) for one in scores) / 3
    total = loss + weight * consistency(scores, 0.5)
    assert len(model.said) == 3 and result.history[0]["loss"] == pytest.approx(loss.item())
    for name, gradient in zip(leaves, torch.autograd.grad(total, list(leaves.values())), strict=True):
        torch.testing.assert_close(dict(model.map.named_parameters())[name], leaves[name] - 0.1 * gradient)


def test_passes_come_to_agree():
    def spread(weight):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 3))
        trained(Consistency(2, 1.0, weight), model=model, epochs=60, optimizer="adam", lr=0.02)
        model.train()
        x = rows().tensors[0]
        return torch.stack([model(x).softmax(-1) for _ in range(50)]).std(0).mean().item()

    assert spread(30.0) < 0.6 * spread(0.0)


def test_other_rules_see_the_first_pass_and_all_of_them():
    class Look:
        def penalty(self, training):
            self.all = len(training.outputs)
            self.first = training.output is training.outputs[0]

    look = Look()
    trained(Consistency(2), Consistency(4), Distill(nn.Linear(4, 3)), look)
    assert look.all == 4 and look.first


def test_it_has_a_name_for_tables():
    assert CALLBACKS["consistency"] is Consistency


@pytest.mark.parametrize("wrong", [{"passes": 1}, {"passes": 2.0}, {"temperature": 0}, {"weight": -1}, {"weight": "a"}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(PlanError, match=f"Consistency: {next(iter(wrong))} is a"):
        Consistency(**wrong)


def test_a_loop_that_reads_once_is_told():
    training = Training(Noisy(), [Consistency(4)])
    assert training.draws() == 4
    training.output = torch.ones(2, 3)
    with pytest.raises(ConfigError, match=r"compares 4 passes over a batch, and this loop has 0 in training.outputs"):
        training.penalty()


def test_a_callback_that_asks_for_no_pass_is_refused():
    class None_:
        def draws(self, training):
            return 0

    with pytest.raises(ConfigError, match="reads every batch once or more"):
        trained(None_())


def test_a_model_without_scores_is_told():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.map = nn.Linear(4, 3)

        def forward(self, x):
            return self.map(x), None

    with pytest.raises(ShapeError, match="gives a tensor of scores, got a tuple"):
        trained(Consistency(2), model=Pair(), loss=lambda scores, target: scores[0].sum(), metric="loss")


def test_several_labels_at_once_are_no_distribution():
    data = TensorDataset(torch.randn(12, 4), (torch.rand(12, 3) > 0.5).float())
    with pytest.raises(ShapeError, match="several labels at once"):
        fit(Noisy(), data, callbacks=[Consistency(2)], epochs=1, progress=False)
