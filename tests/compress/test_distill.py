"""The distillation loss, against its definition."""

import math

import pytest
import torch

from edgenet.compress.distill import distillation
from edgenet.errors import ShapeError


def test_it_is_the_mean_divergence_of_softened_classes():
    scores, targets, temperature = torch.randn(3, 4), torch.randn(3, 4), 0.3
    total = 0.0
    for s, t in zip(scores.tolist(), targets.tolist(), strict=True):
        q, p = ([math.exp(v / temperature) for v in row] for row in (s, t))
        q, p = ([v / sum(row) for v in row] for row in (q, p))
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert distillation(scores, targets, temperature).item() == pytest.approx(0.09 * total / 3)


def test_the_teacher_learns_nothing():
    scores, targets = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    distillation(scores, targets).backward()
    assert scores.grad.abs().sum() > 0 and targets.grad is None
    scores.grad = None
    distillation(scores, scores.detach()).backward()
    torch.testing.assert_close(scores.grad, torch.zeros(3, 4))


def test_a_high_temperature_matches_scores_up_to_their_mean():
    scores, targets = torch.randn(5, 4), torch.randn(5, 4)
    apart = (scores - targets) - (scores - targets).mean(1, keepdim=True)
    expected = apart.square().sum(1).mean() / 8
    torch.testing.assert_close(distillation(scores, targets, 1e4), expected, rtol=1e-3, atol=0)  # of order 1 / T


def test_shapes_that_differ_and_no_temperature_are_refused():
    with pytest.raises(ShapeError, match=r"\(3, 4\), \(3, 5\)"):
        distillation(torch.zeros(3, 4), torch.zeros(3, 5))
    with pytest.raises(ShapeError, match="temperature above 0"):
        distillation(torch.zeros(3, 4), torch.zeros(3, 4), 0.0)
