"""Batch norms in shifts: by hand, beside torch's, in eval mode, with statistics estimated anew."""

import math

import pytest
import torch
from torch import nn

from edgenet.compress import recalibrate_
from edgenet.errors import ShapeError
from edgenet.nn import ShiftBatchNorm1d, ShiftBatchNorm2d
from edgenet.pretrained import from_pretrained, save_pretrained


def ap2(x):
    """The power of two nearest to one number by ratio."""
    return 0.0 if x == 0 else math.copysign(2.0 ** round(math.log2(abs(x))), x)


def channel_by_hand(values, weight, bias, eps):
    mean = sum(values) / len(values)
    variance = sum((v - mean) * ap2(v - mean) for v in values) / len(values)
    return [ap2(weight) * ap2(1 / math.sqrt(variance + eps)) * (v - mean) + bias for v in values], mean, variance


def filled(norm):
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.7, -1.5, 0.0]))
        norm.bias.copy_(torch.tensor([0.1, 0.2, -0.3]))
    return norm


SIGNALS = [(ShiftBatchNorm1d, (7, 3)), (ShiftBatchNorm1d, (4, 3, 5)), (ShiftBatchNorm2d, (2, 3, 4, 5))]


@pytest.mark.parametrize(("kind", "shape"), SIGNALS)
def test_a_batch_is_normalised_by_powers_of_two_and_running_numbers_follow(kind, shape):
    norm, x = filled(kind(3, eps=9.0, momentum=0.25)), torch.randn(shape) * 3 + 1
    y = norm(x)
    for c in range(3):
        want, mean, variance = channel_by_hand(
            x[:, c].flatten().tolist(), *(p[c].item() for p in norm.parameters()), 9.0
        )
        torch.testing.assert_close(y[:, c].flatten(), torch.tensor(want))
        count = x[:, c].numel()
        torch.testing.assert_close(norm.running_mean[c].item(), 0.25 * mean)
        torch.testing.assert_close(norm.running_var[c].item(), 0.75 + 0.25 * variance * count / (count - 1))
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize(("kind", "shape"), SIGNALS)
def test_it_is_torchs_up_to_a_power_of_two_and_its_rounding(kind, shape):
    x = torch.randn(shape) * 2
    ours = kind(3)
    torchs = (nn.BatchNorm1d if kind is ShiftBatchNorm1d else nn.BatchNorm2d)(3)
    ratio = ours(x) / torchs(x)
    assert (ratio > 0.5).all() and (ratio < 2).all()
    assert torch.allclose(ours.running_mean, torchs.running_mean)


def test_in_eval_mode_the_running_numbers_count():
    norm = filled(ShiftBatchNorm1d(3)).eval()
    norm.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    norm.running_var.copy_(torch.tensor([16.0, 9.0, 0.3]))
    x = torch.randn(5, 3)
    gain = torch.tensor([ap2(0.7) * 0.25, ap2(-1.5) * ap2(1 / 3), 0.0])
    torch.testing.assert_close(norm(x), (x - norm.running_mean) * gain + norm.bias)
    assert norm.num_batches_tracked == 0
    whole = ShiftBatchNorm1d(3, affine=False, track_running_stats=False).eval()
    torch.testing.assert_close(whole(x), ShiftBatchNorm1d(3, affine=False)(x))


def test_gradients_go_straight_through_the_powers():
    """The gradient is that of the formula in which AP2 is a number times its argument, by differences."""
    norm, x = filled(ShiftBatchNorm1d(3)), torch.randn(6, 3)
    direction = torch.randn(6, 3)

    def fixed(x, weight, bias):
        """AP2(z) = z + (AP2(z0) - z0): its value at z0, and the slope 1."""

        def near(z, at):
            return z + (torch.tensor([ap2(v) for v in at.flatten().tolist()]).view(at.shape) - at)

        at = x0 - x0.mean(0)
        centred = x - x.mean(0)
        variance = (centred * near(centred, at)).mean(0)
        variance0 = (at * near(at, at)).mean(0)
        gain = near((variance + 1e-5).rsqrt(), (variance0 + 1e-5).rsqrt())
        return centred * gain * near(weight, norm.weight.detach()) + bias

    x0 = x.clone()
    inputs = [t.detach().clone().requires_grad_() for t in (x, norm.weight, norm.bias)]
    assert torch.autograd.gradcheck(fixed, inputs)
    want = torch.autograd.grad((fixed(*inputs) * direction).sum(), inputs)
    x.requires_grad_()
    got = torch.autograd.grad((norm(x) * direction).sum(), (x, norm.weight, norm.bias))
    torch.testing.assert_close(got, want)


def test_statistics_are_estimated_anew_as_those_of_torchs():
    model = nn.Sequential(nn.Linear(4, 3), ShiftBatchNorm1d(3))
    batches = [torch.randn(8, 4) + 2 for _ in range(3)]
    assert recalibrate_(model, batches) == ["1"]
    hidden = [model[0](x) for x in batches]
    torch.testing.assert_close(model[1].running_mean, torch.stack([h.mean(0) for h in hidden]).mean(0).detach())
    assert model[1].num_batches_tracked == 3


def test_it_is_saved_read_back_and_compiled(tmp_path):
    model = nn.Sequential(nn.Linear(4, 3), filled(ShiftBatchNorm1d(3, eps=0.1)))
    model(torch.randn(6, 4))
    model.eval()
    save_pretrained(model, tmp_path)
    x = torch.randn(5, 4)
    assert torch.equal(from_pretrained(tmp_path)(x), model(x))
    assert torch.equal(torch.compile(model, backend="eager", fullgraph=True)(x), model(x))


def test_one_value_a_channel_and_other_axes_are_refused():
    with pytest.raises(ShapeError, match=r"ShiftBatchNorm1d wants two values a channel or more to train, got \(1, 3\)"):
        ShiftBatchNorm1d(3)(torch.randn(1, 3))
    assert ShiftBatchNorm1d(3).eval()(torch.randn(1, 3)).shape == (1, 3)
    with pytest.raises(ValueError, match="expected 4D input"):
        ShiftBatchNorm2d(3)(torch.randn(2, 3))
    constant = ShiftBatchNorm1d(3)(torch.ones(4, 3))
    assert constant.tolist() == torch.zeros(4, 3).tolist()
