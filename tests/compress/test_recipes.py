"""Recipes: rates, starts and clipping of rounded matrices, whoever puts them in, and that they train by it."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.utils.data import TensorDataset

import edgenet
from edgenet.compress import BinaryRecipe, Compress, ShiftRecipe, compress_
from edgenet.errors import PlanError
from edgenet.nn import Sign
from edgenet.structured import Binary, PowerOfTwo, StructuredLinear

from compress.steps import Steps  # isort: skip

SIGNS = {"structure": "dense", "quantiser": "binary", "per": "none"}
SHIFTS = {"structure": "dense", "quantiser": "power_of_two", "form": "sign_shift", "bits": 4}
SGD = partial(torch.optim.SGD, lr=0.1, weight_decay=0.3)
LOSS = nn.functional.mse_loss


def net():
    return nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 6))


def batches():
    return [(torch.randn(20, 12), torch.randn(20, 6)) for _ in range(3)]


def rates(training):
    """Of every parameter, by its name."""
    groups = training.optimizer.param_groups
    place = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    return {name: place[id(p)] for name, p in training.model.named_parameters()}


# ---------------------------------------------------------------- rates
def test_latents_of_signs_have_the_rate_of_glorot_by_layer():
    model = nn.Sequential(
        nn.Conv2d(2, 5, 3), nn.Conv2d(4, 6, (3, 1), groups=2), nn.Conv1d(3, 4, 5), nn.Linear(7, 9), nn.Linear(8, 8)
    )
    per_row = {**SIGNS, "per": "row"}
    compress_(model, {"0|1|2": SIGNS, "3": {**SIGNS, "structure": "low_rank", "rank": 2}, "4": per_row})
    for rule, factor in ((BinaryRecipe(), None), (BinaryRecipe(rate=0.5), 0.5)):
        got = rates(Steps(model, SGD, [rule]))
        # inputs and outputs of a kernel, each times its places
        fans = {"0": (18, 45), "1": (6, 9), "2": (15, 20), "3": (7, 9)}
        for name, (lr, decay) in got.items():
            assert decay == 0.3
            if name.endswith("bias"):
                assert lr == 0.1
            elif name.startswith("4"):
                assert lr == pytest.approx(0.1 * (factor or 1))
            else:
                assert lr == pytest.approx(0.1 * (factor or 1 / math.sqrt(1.5 / sum(fans[name[0]]))))
        assert sum("base" in name for name in got) == 7  # two groups, two factors


def test_shifts_and_signs_have_rates_of_their_own_and_no_decay():
    model = net()
    compress_(model, {"0": SHIFTS, "2": {**SHIFTS, "form": "latent"}})
    got = rates(Steps(model, SGD, [ShiftRecipe(shift=0.7, sign=0.4)]))
    assert got == {
        "0.weight.base.weight": (0.4, 0.0), "0.weight.shifts.0": (0.7, 0.0), "0.bias": (0.1, 0.3),
        "2.weight.base.weight": (0.1, 0.0), "2.bias": (0.1, 0.3),
    }  # fmt: skip


def test_a_pattern_names_the_matrices():
    model = net()
    compress_(model, {".*": SIGNS})
    got = rates(Steps(model, SGD, [BinaryRecipe(rate=2.0, pattern="0"), BinaryRecipe(rate=3.0, pattern=r"2\.weight")]))
    assert [got[f"{k}.weight.base.weight"][0] for k in (0, 2)] == [0.2, pytest.approx(0.3)]


def test_a_loop_that_does_not_ask_for_rates_is_told_how():
    class Plain(Steps):
        def regroup_(self, optimizer):
            pass

    model = net()
    compress_(model, {".*": SIGNS})
    with pytest.raises(PlanError, match=r"BinaryRecipe: this loop has not asked .* training\.regroup_\(optimizer\)"):
        Plain(model, SGD, [BinaryRecipe()])


# ---------------------------------------------------------------- starts
def test_latents_are_stretched_once_and_keep_their_signs():
    model = net()
    before = [model[k].weight.detach().clone() for k in (0, 2)]
    training = Steps(model, SGD, [Compress({"0": SIGNS, "2": {**SIGNS, "per": "row"}}), BinaryRecipe()])
    first, second = (model[k].weight.base.weight.detach().clone() for k in (0, 2))
    torch.testing.assert_close(first, before[0] / before[0].abs().max())
    assert torch.equal(second, before[1])  # its scale follows its latents
    assert first.abs().mean() == pytest.approx(0.5, abs=0.06)  # torch starts uniform; 3 standard deviations
    with torch.no_grad():
        model[0].weight.base.weight.mul_(0.5)
    training.renew_optimizer()
    assert torch.equal(model[0].weight.base.weight, first / 2)


def test_latents_may_be_drawn_by_the_seed_and_path_or_kept():
    def latents(rule, seed):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(40, 40), nn.Linear(40, 40))
        kept = model[0].weight.detach().clone()
        torch.manual_seed(seed)
        Steps(model, SGD, [Compress({".*": SIGNS}), rule])
        return [kept, *(layer.weight.base.weight.detach() for layer in model)]

    one, again, other = (latents(BinaryRecipe(start="uniform"), seed) for seed in (1, 1, 2))
    assert torch.equal(one[1], again[1]) and not torch.equal(one[1], other[1]) and not torch.equal(one[1], one[2])
    assert 0.98 < one[1].abs().max() <= 1 and one[1].square().mean() == pytest.approx(1 / 3, abs=0.04)
    kept = latents(BinaryRecipe(start="keep"), 1)
    assert torch.equal(kept[0], kept[1])


def test_what_is_drawn_after_a_resumption_is_what_would_have_been_drawn():
    def rules():
        return [Compress({".*": SIGNS}, epoch=2), BinaryRecipe(start="uniform")]

    model = net()
    one = Steps(copy.deepcopy(model), SGD, rules())
    states = one.callback_states()
    torch.manual_seed(99)
    two = Steps(copy.deepcopy(model), SGD, rules(), states)
    for training in (one, two):
        training.epoch = 1
        training.epochs(1, [], LOSS)
    assert torch.equal(one.model[0].weight.base.weight, two.model[0].weight.base.weight)


def test_signs_and_shifts_may_be_drawn_from_their_ranges():
    model = nn.Sequential(nn.Linear(60, 60))
    Steps(model, SGD, [Compress({".*": SHIFTS}), ShiftRecipe(start="uniform")])
    sign, shift = model[0].weight.base.weight, model[0].weight.shifts[0]
    assert -6 <= shift.min() < -5.9 and -0.1 < shift.max() <= 0  # four bits
    assert (model[0].weight.to_dense() == 0).double().mean().item() == pytest.approx(0.5, abs=0.03)
    assert sign.min() < -0.98 and sign.max() > 0.98


# ---------------------------------------------------------------- steps
@pytest.mark.parametrize("clip", [True, False])
def test_latents_are_clipped_after_every_step(clip):
    model = nn.Sequential(StructuredLinear(Binary.random((6, 12), per="none", gate=False)))
    training = Steps(model, partial(torch.optim.SGD, lr=5.0), [BinaryRecipe(rate=1.0, clip=clip)])
    training.epochs(2, batches(), LOSS)
    assert (model[0].weight.base.weight.abs().max() <= 1) == clip
    model = nn.Sequential(StructuredLinear(PowerOfTwo.random((6, 12), bits=3, form="sign_shift")))
    training = Steps(model, partial(torch.optim.SGD, lr=5.0), [ShiftRecipe(shift=50.0, clip=clip)])
    training.epochs(2, batches(), LOSS)
    shifts = model[0].weight.shifts[0]
    assert bool((shifts.min() >= -2) & (shifts.max() <= 0)) == clip


def test_decay_is_of_the_weights_that_signs_and_shifts_stand_for():
    model = net()
    compress_(model, {"0": SHIFTS, "2": {"structure": "dense", "quantiser": "power_of_two"}})
    training = Steps(model, SGD, [ShiftRecipe(decay=0.4)])
    value = [model[k].weight.to_dense().detach() for k in (0, 2)]
    penalty = training.penalty()
    torch.testing.assert_close(penalty, 0.2 * sum(v.square().sum() for v in value))
    penalty.backward()
    torch.testing.assert_close(model[0].weight.shifts[0].grad, 0.4 * math.log(2) * value[0].square())
    torch.testing.assert_close(model[2].weight.base.weight.grad, 0.4 * value[1])
    assert Steps(model, SGD, [ShiftRecipe()]).penalty() is None


# ---------------------------------------------------------------- who puts matrices in, and when
@pytest.mark.parametrize("order", [1, -1])
def test_matrices_that_come_later_are_looked_after_from_then_on(order):
    rules = [BinaryRecipe(), Compress({"0": SIGNS}, epoch=2)][::order]
    training = Steps(net(), SGD, rules)
    assert training.epochs(1, batches(), LOSS) == [] and training.epochs(2, batches(), LOSS) == [2, 3]
    assert rates(training)["0.weight.base.weight"][0] == pytest.approx(0.1 / math.sqrt(1.5 / 28))
    assert training.model[0].weight.base.weight.abs().max() <= 1


def test_a_model_without_such_a_matrix_is_refused_unless_one_is_to_come():
    with pytest.raises(PlanError, match=r"BinaryRecipe: there is no Binary matrix whose path matches '\.\*'; .* none"):
        Steps(net(), SGD, [BinaryRecipe()])
    model = net()
    compress_(model, {"0": SHIFTS})
    with pytest.raises(PlanError, match="ShiftRecipe: the pattern b'0' is no regular expression"):
        ShiftRecipe(pattern=b"0")
    with pytest.raises(PlanError, match=r"ShiftRecipe: .* matches 'fc'; there are 0\.weight\."):
        Steps(model, SGD, [ShiftRecipe(pattern="fc")])
    training = Steps(net(), SGD, [ShiftRecipe(), Compress({"0": SIGNS}, epoch=2)])
    training.epochs(1, batches(), LOSS)
    with pytest.raises(PlanError, match="there is no PowerOfTwo matrix"):  # what came is something else
        training.epochs(1, batches(), LOSS)


@pytest.mark.parametrize(
    "spec, rule",
    [
        (SIGNS, lambda: BinaryRecipe(start="uniform")),
        ({**SIGNS, "per": "row"}, BinaryRecipe),
        (SHIFTS, lambda: ShiftRecipe(start="uniform")),
    ],
    ids=["drawn signs", "clipped signs", "drawn shifts"],
)
def test_frozen_matrices_stay_as_they_are(spec, rule):
    model = net()
    with torch.no_grad():
        model[0].weight.mul_(10)
    compress_(model, {".*": spec})
    model[0].requires_grad_(False)
    before, other = (model[k].weight.to_dense().detach().clone() for k in (0, 2))
    Steps(model, SGD, [rule()]).epochs(1, batches(), LOSS)
    assert torch.equal(model[0].weight.to_dense(), before) and not torch.equal(model[2].weight.to_dense(), other)
    with pytest.raises(PlanError, match=r"there are 0\.weight \(frozen\), 2\.weight\."):
        Steps(model, SGD, [type(rule())(pattern="0")])


def test_latents_that_are_computed_of_others_are_refused():
    model = net()
    compress_(model, {"0": SIGNS})
    prune.l1_unstructured(model[0].weight.base, "weight", amount=0.5)
    with pytest.raises(PlanError, match=r"latents of 0\.weight are computed of other tensors .* by pattern"):
        Steps(model, SGD, [BinaryRecipe()])


# ---------------------------------------------------------------- that they train
def digits():
    """Two classes of sums that a net of signs can tell."""
    random = torch.Generator().manual_seed(1)
    x = torch.randn(400, 24, generator=random, dtype=torch.float32)
    return TensorDataset(x, (x[:, :12].sum(1) > x[:, 12:].sum(1)).long())


def learned(plan, act, *rules, **options):
    torch.manual_seed(0)
    layers = [nn.Linear(24, 64), nn.BatchNorm1d(64), act, nn.Linear(64, 64), nn.BatchNorm1d(64), act]
    model = nn.Sequential(*layers, nn.Linear(64, 2), nn.BatchNorm1d(2)).float()
    settings = {"epochs": 12, "batch_size": 25, "lr": 0.003, "seed": 0, "progress": False, **options}
    return edgenet.fit(model, digits(), callbacks=[Compress({".*": plan}), *rules], **settings).history[-1]["train"]


@pytest.mark.float32
def test_a_binary_network_learns_by_its_recipe():
    by = learned(SIGNS, Sign(), BinaryRecipe())
    slowly = learned(SIGNS, Sign(), BinaryRecipe(rate=0.1))
    assert by > 0.93 and by > slowly + 0.05


@pytest.mark.float32
def test_signs_and_shifts_learn_by_their_recipe():
    by = learned(SHIFTS, nn.ReLU(), ShiftRecipe())
    slowly = learned(SHIFTS, nn.ReLU(), ShiftRecipe(shift=0.003, sign=0.003))
    assert by > 0.93 and by > slowly + 0.05
