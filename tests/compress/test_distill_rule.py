"""Distill: the teacher's scores are in the loss of every step, and the teacher learns nothing."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.data import Data

from edgenet.compress import Compress, Distill, Training, distillation
from edgenet.errors import ConfigError, PlanError, ShapeError
from edgenet.train.batches import Batch

from compress.steps import Steps  # isort: skip

SGD = partial(torch.optim.SGD, lr=0.5)


class Counted(nn.Module):
    """A linear teacher with dropout that counts how often it is asked, and how."""

    def __init__(self):
        super().__init__()
        self.map, self.drop, self.asked = nn.Linear(5, 3), nn.Dropout(0.5), []

    def forward(self, x):
        self.asked.append((self.training, torch.is_grad_enabled()))
        return self.drop(self.map(x))


def batch(rows=8):
    return torch.randn(rows, 5), torch.randint(3, (rows,))


def penalty_of(rule, model, one):
    training = Steps(model, SGD, [rule])
    training.batch, training.output = one, training.call_model(model, one)
    return training.penalty()


def test_the_penalty_is_the_weighted_distance_to_the_teacher():
    model, teacher, one = nn.Linear(5, 3), nn.Linear(5, 3), batch()
    mine, its = model(one[0]), teacher(one[0])
    got = penalty_of(Distill(teacher, weight=0.5, temperature=2.0), model, one)
    torch.testing.assert_close(got, 0.5 * distillation(mine, its, 2.0))
    for rows in ([0, 3], torch.tensor([0, 3]), torch.arange(8) % 3 == 0, [True, False] * 4):
        got = penalty_of(Distill(teacher, rows=rows), model, one)
        rows = torch.as_tensor(rows)
        torch.testing.assert_close(got, distillation(mine[rows], its[rows]))


def test_scores_of_labels_and_of_numbers_have_distances_of_their_own():
    model, teacher, one = nn.Linear(5, 3), nn.Linear(5, 3), batch()
    mine, its = model(one[0]), teacher(one[0]).detach()
    got = penalty_of(Distill(teacher, target="value"), model, one)
    torch.testing.assert_close(got, (mine - its).square().mean())
    p, q = (its / 2).sigmoid(), (mine / 2).sigmoid()
    expected = -4 * (p * q.log() + (1 - p) * (1 - q).log()).mean()
    got = penalty_of(Distill(teacher, target="multilabel", temperature=2.0), model, one)
    torch.testing.assert_close(got, expected)
    got = penalty_of(Distill(its.view(2, 4, 3)), nn.Sequential(model, nn.Unflatten(0, (2, 4))), one)
    torch.testing.assert_close(got, distillation(mine, its))  # axes before the last are rows


def test_a_model_learns_from_the_scores_alone_and_the_teacher_does_not():
    torch.manual_seed(0)
    model, teacher = nn.Linear(5, 3), Counted()
    before = copy.deepcopy(teacher.state_dict())
    training = Steps(model, SGD, [Distill(teacher, 1.0)])
    batches = [batch(), batch()]
    far = F.mse_loss(model(batches[0][0]).softmax(1), teacher.map(batches[0][0]).softmax(1))
    training.epochs(200, batches, lambda output, y: 0 * output.sum())
    near = F.mse_loss(model(batches[0][0]).softmax(1), teacher.map(batches[0][0]).softmax(1))
    assert near < far / 100
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert all(p.grad is None for p in teacher.parameters())
    assert len(teacher.asked) == 400 and set(teacher.asked) == {(False, False)}  # evaluation, without gradients


def test_a_teacher_is_asked_once_about_a_batch_that_stays():
    teacher, one = Counted(), batch()
    training = Steps(nn.Linear(5, 3), SGD, [Distill(teacher)])
    training.epochs(5, [one], lambda output, y: output.sum())
    assert len(teacher.asked) == 1
    training.epochs(1, [batch(), one], lambda output, y: output.sum())
    assert len(teacher.asked) == 3
    Steps(nn.Linear(5, 3), SGD, training.callbacks).epochs(1, [one], lambda output, y: output.sum())
    assert len(teacher.asked) == 4  # a new training asks anew


def test_scores_that_were_kept_teach_one_batch():
    model, one = nn.Linear(5, 3), batch()
    scores = torch.randn(8, 3, dtype=torch.float32)
    got = penalty_of(Distill(scores), model, one)
    torch.testing.assert_close(got, distillation(model(one[0]), scores.double()))
    training = Steps(model, SGD, [Distill(scores)])
    training.epochs(2, [one], lambda output, y: output.sum())
    with pytest.raises(ShapeError, match="scores are for one batch"):
        training.epochs(1, [batch()], lambda output, y: output.sum())


def test_a_teacher_of_another_dtype_is_copied_and_left_as_it_was():
    teacher = nn.Linear(5, 3, dtype=torch.float32)
    rule, model, one = Distill(teacher), nn.Linear(5, 3), batch()
    got = penalty_of(rule, model, one)
    assert teacher.weight.dtype == torch.float32
    torch.testing.assert_close(got, distillation(model(one[0]), teacher.double()(one[0])))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_scores_of_half_precision_are_compared_in_single(dtype):
    scores, targets = torch.randn(3000, 4).to(dtype), torch.randn(3000, 4)
    training = Training(nn.Identity(), output=scores.requires_grad_())
    got = Distill(targets).penalty(training)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, distillation(scores.float(), targets.float()))
    got.backward()
    assert scores.grad.dtype == dtype


def test_a_compressed_model_learns_from_what_it_was():
    torch.manual_seed(0)
    model, one = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)), batch(50)
    rules = [Compress({"0": {"structure": "low_rank", "rank": 2}}), Distill(copy.deepcopy(model), target="value")]
    training = Steps(model, SGD, rules)
    values = []
    for _ in range(100):
        training.epochs(1, [one], lambda output, y: 0 * output.sum())
        values.append(training.penalty().item())
    assert values[-1] < 0.8 * values[0]  # the rest is what rank 2 cannot say


def test_what_teaches_nothing_is_refused():
    model = nn.Linear(5, 3)
    for arguments, says in [
        ({"teacher": 3}, "the teacher is a module, its folder or a tensor of its scores, got a int"),
        ({"teacher": model, "weight": -1}, "weight is a number, at least 0, got -1"),
        ({"teacher": model, "weight": "x"}, "weight is a number, at least 0, got 'x'"),
        ({"teacher": model, "temperature": 0}, "temperature is a number, above 0, got 0"),
        ({"teacher": model, "target": "clas"}, "one of class, multilabel, value, got 'clas'. Did you mean 'class'"),
    ]:
        with pytest.raises(PlanError, match=says):
            Distill(**arguments)
    with pytest.raises(ConfigError, match="nobody has read the teacher 'runs/large'"):
        Steps(model, SGD, [Distill("runs/large")])
    with pytest.raises(PlanError, match="the teacher is the model itself"):
        Steps(model, SGD, [Distill(model)])
    with pytest.raises(ShapeError, match=r"\(8, 3\), and the teacher of \(8, 4\)"):
        penalty_of(Distill(nn.Linear(5, 4)), model, batch())
    with pytest.raises(ShapeError, match="a teacher gives a tensor of scores, got tuple"):
        penalty_of(Distill(nn.LSTM(5, 3)), model, batch())
    with pytest.raises(ShapeError, match="gives a tensor, got tuple"):
        penalty_of(Distill(model), nn.LSTM(5, 3), batch())


@pytest.mark.parametrize("rows", [[], [0.5], "train", [[0, 1]]], ids=["none", "no numbers", "a word", "a matrix"])
def test_rows_that_are_none_are_refused(rows):
    with pytest.raises(PlanError, match="Distill: rows are"):
        Distill(nn.Linear(5, 3), rows=rows)


def test_rows_and_scores_that_do_not_fit_are_told_in_words():
    model, teacher = nn.Linear(5, 3), nn.Linear(5, 3)
    for rows in ([8], torch.ones(5, dtype=torch.bool)):
        with pytest.raises(ShapeError, match="Distill: rows do not fit 8 rows of scores"):
            penalty_of(Distill(teacher, rows=rows), model, batch())
    with pytest.raises(ShapeError, match="there are no scores to compare"):
        penalty_of(Distill(teacher, rows=torch.zeros(8, dtype=torch.bool)), model, batch())
    numbers = nn.Sequential(nn.Linear(5, 1), nn.Flatten(0))
    with pytest.raises(ShapeError, match="for numbers say target='value'"):
        penalty_of(Distill(copy.deepcopy(numbers)), numbers, batch())


def test_a_teacher_that_would_learn_with_the_model_is_refused():
    model = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 3))
    teacher = nn.Sequential(model[0], nn.Linear(5, 3))
    with pytest.raises(PlanError, match="parameters that it trains"):
        Steps(model, SGD, [Distill(teacher)])
    model[0].requires_grad_(False)  # what both read and nobody trains may be one
    Steps(model, SGD, [Distill(teacher)])


def test_nodes_of_the_test_mask_teach_nothing_unless_all_rows_are_asked_for():
    mask = torch.arange(8) % 2 == 0
    data = Data(x=torch.randn(8, 5), edge_index=torch.zeros(2, 0, dtype=torch.long), test_mask=mask)
    model, teacher, one = nn.Linear(5, 3), nn.Linear(5, 3), Batch(data, torch.zeros(8))
    mine, its = model(data.x), teacher(data.x)
    for rule, rows in ((Distill(its), ~mask), (Distill(its, rows="all"), torch.ones(8, dtype=torch.bool))):
        training = Training(model, [rule], batch=one, output=mine)
        torch.testing.assert_close(rule.penalty(training), distillation(mine[rows], its[rows]))


def test_model_and_teacher_read_what_is_perturbed_and_the_batch_itself_is_asked_about_once():
    torch.manual_seed(0)
    teacher, one, read = Counted(), batch(), []

    class Watch:
        def after_step(self, training):
            read.append(training.batch[0])

    rules = [Distill(teacher, perturb=lambda x: x + 1), Watch()]
    Steps(nn.Linear(5, 3), SGD, rules).epochs(40, [one], lambda output, y: output.sum())
    changed = [x for x in read if x is not one[0]]
    assert 10 < len(changed) < 30 and all(torch.equal(x, one[0] + 1) for x in changed)
    assert len(teacher.asked) == len(changed) + 1
    with pytest.raises(PlanError, match="to perturb hand in the teacher itself"):
        Distill(torch.randn(8, 3), perturb=0.5)
