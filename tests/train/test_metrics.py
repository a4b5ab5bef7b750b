"""Metrics: what is counted here equals torchmetrics, batch by batch; and every name is one of its metrics."""

import pytest
import torch
import torchmetrics.classification as theirs
import torchmetrics.regression as values

from edgenet.errors import ConfigError, ShapeError
from edgenet.train import METRICS, Metric, Tally

LABELS = 4


def batches(kind, rows=(7, 1, 20), seed=0):
    """(scores, target) of several sizes."""
    random = torch.Generator().manual_seed(seed)
    for count in rows:
        scores = 3 * torch.randn(count, LABELS, generator=random)
        if kind == "class":
            yield scores, torch.randint(LABELS, (count,), generator=random)
        elif kind == "labels":
            yield scores, (torch.rand(count, LABELS, generator=random) < 0.4).double()
        elif kind == "yes":
            yield scores[:, :1], (torch.rand(count, 1, generator=random) < 0.4).double()
        else:
            yield scores[:, :1], torch.randn(count, generator=random)


def shares(kind, scores):
    return scores.softmax(1) if kind == "class" else scores.sigmoid()


CASES = [
    ("accuracy", "class", lambda: theirs.MulticlassAccuracy(LABELS, average="micro")),
    ("accuracy", "labels", lambda: theirs.MultilabelAccuracy(LABELS, average="micro")),
    ("micro_f1", "class", lambda: theirs.MulticlassF1Score(LABELS, average="micro")),
    ("micro_f1", "labels", lambda: theirs.MultilabelF1Score(LABELS, average="micro")),
    ("macro_f1", "class", lambda: theirs.MulticlassF1Score(LABELS, average="macro")),
    ("macro_f1", "labels", lambda: theirs.MultilabelF1Score(LABELS, average="macro")),
    ("auroc", "class", lambda: theirs.MulticlassAUROC(LABELS)),
    ("auroc", "labels", lambda: theirs.MultilabelAUROC(LABELS)),
    ("auroc", "yes", theirs.BinaryAUROC),
    ("average_precision", "class", lambda: theirs.MulticlassAveragePrecision(LABELS)),
    ("average_precision", "yes", theirs.BinaryAveragePrecision),
    ("rmse", "value", lambda: values.MeanSquaredError(squared=False)),
    ("mae", "value", values.MeanAbsoluteError),
    ("r2", "value", values.R2Score),
]


@pytest.mark.parametrize("name, kind, reference", CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_several_batches_give_what_torchmetrics_says_of_all_rows(name, kind, reference):
    tally = Tally(METRICS[name])
    for scores, target in batches(kind):
        tally.add(scores, target, 0.0)
    scores, target = (torch.cat(parts) for parts in zip(*batches(kind), strict=True))
    if kind == "value":
        wanted = reference()(scores.squeeze(1), target)
    else:
        wanted = reference()(shares(kind, scores), target.long())
    assert tally.metric() == pytest.approx(float(wanted), abs=1e-6)


def test_every_name_is_compared():
    assert {name for name, _, _ in CASES} | {"loss", "bits"} == set(METRICS)


def test_bits_are_the_mean_of_minus_the_logarithm_to_base_2_over_rows_of_any_number_of_axes():
    tally = Tally(METRICS["bits"])
    scores = torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]).log()
    tally.add(scores, torch.tensor([0, 1]), 0.0)  # 1 and 2 bits
    tally.add(scores.expand(3, 2, 3), torch.tensor([[1, 2]] * 3), 0.0)  # 2 and 1, three times
    assert tally.metric() == pytest.approx((3 + 9) / 8, abs=1e-12)


def test_the_loss_is_the_mean_over_targets_where_batches_differ_in_steps():
    tally = Tally(METRICS["accuracy"])
    tally.add(torch.zeros(2, 6, 3), torch.zeros(2, 6).long(), 1.0)
    tally.add(torch.zeros(2, 2, 3), torch.zeros(2, 2).long(), 3.0)
    assert tally.loss() == pytest.approx((12 * 1 + 4 * 3) / 16)


def test_lower_is_better_for_errors_and_higher_for_the_rest():
    assert {name for name, metric in METRICS.items() if not metric.higher} == {"bits", "rmse", "mae", "loss"}
    assert METRICS["rmse"].better(1.0, 2.0) and METRICS["auroc"].better(2.0, 1.0)
    assert not METRICS["rmse"].better(1.0, 1.0)


def test_scores_between_0_and_1_are_logits_like_all_others():
    """torchmetrics guesses from each batch whether it got probabilities."""
    scores, target = torch.tensor([[0.9], [0.2], [-5.0], [2.0]]), torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    pieces, whole = Tally(METRICS["auroc"]), Tally(METRICS["auroc"])
    whole.add(scores, target, 0.0)
    for half in (slice(0, 2), slice(2, 4)):
        pieces.add(scores[half], target[half], 0.0)
    assert pieces.metric() == whole.metric() == pytest.approx(2 / 3)


def test_classes_of_nodes_over_time_are_rows_like_others():
    scores, target = torch.randn(3, 5, 4), torch.randint(4, (3, 5))
    flat, deep = Tally(METRICS["accuracy"]), Tally(METRICS["accuracy"])
    deep.add(scores, target, 0.0)
    flat.add(scores.flatten(0, 1), target.flatten(), 0.0)
    assert deep.metric() == flat.metric()


def test_a_metric_that_needs_all_rows_gets_them_at_once():
    spread = Metric.function(lambda scores, target: scores.std(), "spread", higher=False)
    tally = Tally(spread)
    found = torch.arange(6.0)
    for part in found.split(2):
        tally.add(part, part, 0.0)
    assert tally.metric() == pytest.approx(found.std().item()) and not spread.higher


def test_the_loss_is_a_mean_over_rows_and_a_metric_where_there_is_no_other():
    tally = Tally(METRICS["loss"])
    tally.add(None, torch.zeros(3), 1.0)
    tally.add(None, torch.zeros(1), 5.0)
    assert tally.metric() == tally.loss() == 2.0


def test_what_is_no_metric_is_said_so():
    for thing in (3, None):
        with pytest.raises(ConfigError, match=r"a metric is a name, a torchmetrics\.Metric or a callable"):
            Metric.of(thing)

    class Both(theirs.BinaryAUROC):
        higher_is_better = None

    with pytest.raises(ConfigError, match="does not say whether higher is better"):
        Metric.of(Both())


@pytest.mark.parametrize("name", ["accuracy", "micro_f1", "rmse", "mae", "auroc", "r2"])
def test_scores_of_another_shape_are_refused(name):
    with pytest.raises(ShapeError, match="the model says"):
        Tally(METRICS[name]).add(torch.randn(3, 2), torch.rand(4), 0.0)


def test_one_score_for_classes_says_what_to_do():
    with pytest.raises(ShapeError, match=r"gives one score a row.*loss='binary_cross_entropy'"):
        Tally(METRICS["accuracy"]).add(torch.randn(3, 1), torch.tensor([0, 1, 1]), 0.0)
