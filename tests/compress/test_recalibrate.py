"""recalibrate_: batch norms say what the layers before them give now."""

import copy

import pytest
import torch
from torch import nn

from edgenet.compress import compress_, recalibrate_
from edgenet.errors import PlanError, ShapeError


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5),
        nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4, momentum=0.3),
    )  # fmt: skip


def batches(count: int = 3) -> list[torch.Tensor]:
    return [2 + torch.randn(5, 3, 8, 8) for _ in range(count)]


def test_statistics_are_the_means_over_the_batches():
    model, inputs = network(), batches()
    assert recalibrate_(model, inputs) == ["1", "5"]
    first = [model[0](x) for x in inputs]
    torch.testing.assert_close(model[1].running_mean, torch.stack([y.mean((0, 2, 3)) for y in first]).mean(0))
    torch.testing.assert_close(model[1].running_var, torch.stack([y.var((0, 2, 3)) for y in first]).mean(0))
    second = [model[4](nn.functional.batch_norm(y, None, None, training=True).relu()) for y in first]  # no dropout
    torch.testing.assert_close(model[5].running_mean, torch.stack([y.mean((0, 2, 3)) for y in second]).mean(0))


def test_modes_momenta_and_weights_are_as_before():
    model = network().eval()
    model[3].train()
    modes = [module.training for module in model.modules()]
    weights = [p.detach().clone() for p in model.parameters()]
    recalibrate_(model, batches())
    assert [module.training for module in model.modules()] == modes
    assert (model[1].momentum, model[5].momentum) == (0.1, 0.3)
    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), weights, strict=True))
    assert not any(p.grad_fn for p in model.buffers())


def test_a_compressed_network_is_mended():
    model, inputs = network().train(), batches(8)
    recalibrate_(model, inputs)
    compress_(model, {r"0\.weight": {"structure": "low_rank", "rank": 2}})
    model.eval()
    with torch.no_grad():
        before = model[:2](inputs[0])
        recalibrate_(model, inputs)
        after = model[:2](inputs[0])
    off = [(y.mean((0, 2, 3)).abs().max(), (y.std((0, 2, 3)) - 1).abs().max()) for y in (before, after)]
    assert off[1][0] < 0.2 < off[0][1] and off[1][1] < 0.2


def test_dicts_tuples_and_calls_of_ones_own_reach_the_model():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(2)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.norm(x - y)

    x, y = torch.randn(9, 2), torch.randn(9, 2)
    for batch, call in (({"y": y, "x": x}, None), ([x, y], None), ((x, 3), lambda model, pair: model(pair[0], y))):
        model = Two()
        recalibrate_(model, [batch], call)
        torch.testing.assert_close(model.norm.running_mean, (x - y).mean(0))


def test_a_model_without_batch_norms_has_nothing_new():
    read = iter([torch.randn(2, 4)])
    assert recalibrate_(nn.Linear(4, 2), read) == []
    assert next(read).shape == (2, 4)  # no batch was read


def test_what_no_batch_reaches_keeps_its_statistics():
    model = nn.ModuleDict({"used": nn.BatchNorm1d(2), "head": nn.BatchNorm1d(2)})
    model["head"].running_mean.fill_(7)
    assert recalibrate_(model, [torch.randn(5, 2)], lambda model, x: model["used"](x)) == ["used"]
    assert model["head"].running_mean.tolist() == [7, 7]


def test_a_batch_norm_without_statistics_is_refused_in_words():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False))
    with pytest.raises(PlanError, match="1, a BatchNorm1d, keeps no running statistics"):
        recalibrate_(model, [torch.randn(5, 2)])
    with pytest.raises(PlanError, match="no size yet"):
        recalibrate_(nn.Sequential(nn.LazyBatchNorm1d()), [torch.randn(5, 2)])


@pytest.mark.parametrize(
    ("inputs", "error", "text"),
    [
        (lambda: [], PlanError, "no batch"),
        (lambda: [torch.full((5, 2), float("nan"))], ShapeError, "not finite"),
        (lambda: [torch.randn(5, 2), torch.randn(1, 2)], ValueError, "more than 1 value per channel"),
    ],
)
def test_an_error_leaves_the_model_as_it_was(inputs, error, text):
    model = nn.Sequential(nn.BatchNorm1d(2, momentum=0.2)).eval()
    model[0].running_mean.fill_(3)
    model[0].num_batches_tracked.fill_(11)
    with pytest.raises(error, match=text):
        recalibrate_(model, inputs())
    assert model[0].running_mean.tolist() == [3, 3]
    assert (int(model[0].num_batches_tracked), model[0].momentum, model[0].training) == (11, 0.2, False)


def test_a_reference_keeps_what_the_inputs_have_of_their_own_out():
    """The formula by hand at the first norm; the reference stays as it is, and an unchanged model too."""
    before = network()
    recalibrate_(before, batches(20))
    model, few = copy.deepcopy(before), batches(2)
    with torch.no_grad():
        model[0].weight.mul_(1.5).add_(0.1)
    wanted = {name: tensor.clone() for name, tensor in before.state_dict().items()}
    assert recalibrate_(model, few, reference=before) == ["1", "5"]
    assert all(torch.equal(before.state_dict()[name], tensor) for name, tensor in wanted.items())
    (mean, var), (there_mean, there_var) = (
        (
            torch.stack([one[0](x).mean((0, 2, 3)) for x in few]).mean(0),
            torch.stack([one[0](x).var((0, 2, 3)) for x in few]).mean(0),
        )
        for one in (model, before)
    )
    norm, eps = before[1], before[1].eps
    torch.testing.assert_close(model[1].running_mean, norm.running_mean + mean - there_mean)
    torch.testing.assert_close(model[1].running_var + eps, (norm.running_var + eps) * (var + eps) / (there_var + eps))
    unchanged = copy.deepcopy(before)
    recalibrate_(unchanged, few, reference=before)
    for place in (1, 5):
        torch.testing.assert_close(unchanged[place].running_mean, before[place].running_mean)
        torch.testing.assert_close(unchanged[place].running_var, before[place].running_var)


def test_a_reference_is_the_model_before():
    model = network()
    other = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    with pytest.raises(PlanError, match="no batch norm of 4 channels at '5'"):
        recalibrate_(model, batches(), reference=other)
    with pytest.raises(PlanError, match="shares batch norms"):
        recalibrate_(model, batches(), reference=model)
    before = copy.deepcopy(model)
    was = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ShapeError, match="not finite"):
        recalibrate_(model, [torch.full((2, 3, 8, 8), float("nan"))], reference=before)
    for one in (model, before):
        assert all(torch.equal(one.state_dict()[name], tensor) for name, tensor in was.items())


def test_a_variance_that_compression_takes_away_is_none_and_not_below_it():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    reference = copy.deepcopy(model)
    with torch.no_grad():
        model[0].weight.zero_()
        reference[1].running_var.fill_(1e-3)
    recalibrate_(model, [10 * torch.randn(20, 3)], reference=reference)
    assert model[1].running_var.tolist() == [0.0] * 3
