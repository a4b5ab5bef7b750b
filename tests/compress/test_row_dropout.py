"""Co-matrix row dropout as a rule: rates that fall with the density, masks of every step, and models that use them."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from edgenet import fit
from edgenet.compress import Anneal, Compress, EndWhen, RowDropout, Training, compress_, decompress_
from edgenet.errors import PlanError
from edgenet.nn.recurrent import LSTM
from edgenet.structured import Doped, structure

from compress.steps import Steps  # isort: skip

SGD = partial(torch.optim.SGD, lr=0.01)
LOW_RANK = {"structure": "low_rank", "rank": 1}
DOPED = {"structure": "doped", "base": LOW_RANK, "density": 1.0}


def net(*specs):
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6))
    for place, spec in zip((0, 2), specs, strict=False):
        compress_(model, {str(place): spec})
    return model


def loss_of(training):
    return training.model(torch.ones(2, 6)).square().mean()


def steps(training, number):
    for _ in range(number):
        training.step_on(loss_of(training))


class Noted:
    """Notes the factors of all rows after every step."""

    def __init__(self):
        self.seen = []

    def after_step(self, training):
        scale = training.model[0].weight.row_scale
        self.seen.append(None if scale is None else scale.clone())


def rates(scale):
    """1 - 1 / factor of the rows that stay, by matrix."""
    return [0.0, 0.0] if scale is None else [1 - 1 / float(row.max()) for row in scale]


# ---------------------------------------------------------------- rates
@pytest.mark.parametrize(
    "rule, wanted",
    [
        (lambda: RowDropout(0.4, start=2, end=6), [0.4, 0.4, 0.4 * 0.75**3, 0.4 / 8, 0.4 / 64, 0, 0]),
        (lambda: RowDropout(0.4, start=2, end=6, fall="constant"), [0.4, 0.4, 0.4, 0.4, 0.4, 0, 0]),
        (lambda: RowDropout(0.4, start=0.25, end=0.75), [0.4, 0.4, 0.4 * 0.75**3, 0.4 / 8, 0.4 / 64, 0, 0]),
    ],
    ids=["cubic", "constant", "shares"],
)
def test_rates_fall_to_nothing(rule, wanted):
    model, noted = net(DOPED), Noted()
    training = Training(model, [rule(), noted], total_steps=8)
    training.call("on_start")
    for training.step in range(1, 8):
        training.call("after_step")
    assert [max(rates(scale)) for scale in noted.seen] == pytest.approx(wanted, abs=1e-12)
    assert noted.seen[-1] is None


def test_it_follows_the_annealing_beside_it_and_dopants_may_have_a_rate_of_their_own():
    model, noted = net(DOPED), Noted()
    training = Steps(model, SGD, [RowDropout(0.0, dopant=0.5), Anneal(0.2, 1, 5, every=1), noted])
    steps(training, 6)
    assert [rates(scale)[0] for scale in noted.seen] == [0] * 6
    assert rates(noted.seen[0])[1] == pytest.approx(0.5) and rates(noted.seen[2])[1] == pytest.approx(0.5 / 8)
    assert noted.seen[3] is not None and noted.seen[4] is None and noted.seen[5] is None
    assert model[0].weight.dopant.density == pytest.approx(10 / 48)


def test_by_default_a_tenth_of_the_rows_drops_out():
    rule = RowDropout(start=1, end=9)
    assert (rule.base_rate, rule.dopant_rate, rule.fall) == (0.1, 0.1, "cubic")


# ---------------------------------------------------------------- masks
def test_masks_are_drawn_for_every_step_by_the_seed_and_leave_other_random_numbers_alone():
    def run(seed, *rules):
        torch.manual_seed(7)
        model, noted = net(DOPED, DOPED), Noted()
        torch.manual_seed(seed)
        training = Steps(model, SGD, [*rules, noted])
        drawn = torch.rand(3)
        steps(training, 4)
        return noted.seen, drawn, torch.rand(3), model[2].weight.row_scale

    (one, _, after, last), (again, *_), (other, *_) = (run(seed, RowDropout(0.5, start=4, end=9)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert any(not torch.equal(a, one[0]) for a in one[1:]), "one mask for all steps"
    assert not torch.equal(one[-1][0, :6], last[0]), "two matrices with one mask"
    torch.manual_seed(1)
    torch.randint(2**31, ())  # the seed of the masks
    torch.rand(3)
    assert torch.equal(after, torch.rand(3))


def test_a_training_that_is_ended_early_leaves_no_row_out():
    model, noted = net(DOPED), Noted()
    x = torch.randn(6, 6)
    rules = [RowDropout(0.5, start=3, end=99), noted, EndWhen({"loss": 1e9})]
    fit(model, torch.utils.data.TensorDataset(x, x), epochs=9, batch_size=2, callbacks=rules, progress=False)
    assert len(noted.seen) == 3 and model[0].weight.row_scale is None
    assert torch.equal(model.train()(x), model.eval()(x))


def test_between_epochs_there_are_no_masks_and_every_epoch_begins_with_those_of_its_step():
    model, batch = net(DOPED), (torch.ones(2, 6), torch.ones(2, 6))
    seen = []
    training = Steps(model, SGD, [RowDropout(0.5, start=9, end=99)])
    loss = lambda output, y: seen.append(model[0].weight.row_scale.clone()) or (output - y).square().mean()  # noqa: E731
    training.epochs(1, [batch] * 2, loss)
    assert model[0].weight.row_scale is None
    training.epochs(1, [batch], loss)
    again = Steps(copy.deepcopy(model), SGD, [RowDropout(0.5, start=9, end=99)], training.callback_states())
    again.step = 2
    again.call("before_epoch")
    assert torch.equal(seen[2], again.model[0].weight.row_scale) and not torch.equal(seen[1], seen[2])


@pytest.mark.parametrize("put", [decompress_, lambda model: compress_(model, {"0": {"structure": "dense"}})])
def test_rows_that_drop_out_are_there_when_something_else_is_put_in_their_place(put):
    model = net(DOPED).train()
    wanted = model[0].weight.to_dense().detach()
    model[0].weight.drop_rows_(0.5, 0.5)
    put(model)
    assert torch.equal(model[0].weight.to_dense(), wanted) and model[0].weight.training


def test_a_resumed_training_draws_the_masks_that_would_have_been_drawn():
    model = net(DOPED)
    rule = RowDropout(0.5, start=2, end=9)
    whole = Steps(copy.deepcopy(model), SGD, [rule])
    steps(whole, 3)
    torch.manual_seed(99)
    again = Training(copy.deepcopy(whole.model), [RowDropout(0.5, start=2, end=9)], resumes=True, step=3)
    again.model[0].weight.row_scale = None
    again.call("on_start")
    again.load_callback_states(whole.callback_states())
    again.call("on_optimizer")
    assert torch.equal(again.model[0].weight.row_scale, whole.model[0].weight.row_scale)


@pytest.mark.parametrize("order", [1, -1])
def test_matrices_that_come_later_drop_rows_from_their_first_step_on(order):
    seen = []

    class First:
        def after_backward(self, training):
            seen.append(getattr(training.model[0].weight, "row_scale", None) is not None)

    rules = [RowDropout(0.5, start=20, end=30), Compress({"0": DOPED}, epoch=2)][::order]
    training = Steps(net(), SGD, [*rules, First()])
    batches = [(torch.ones(2, 6), torch.zeros(2, 6))]
    training.epochs(3, batches, nn.functional.mse_loss)
    assert seen == [False, True, True]


def test_in_evaluation_nothing_drops_out():
    model = net(DOPED)
    x = torch.randn(4, 6)
    Steps(model, SGD, [RowDropout(0.5, start=1, end=9)])
    assert not torch.equal(model(x), model.eval()(x))
    with torch.no_grad():
        wanted = x @ (model[0].weight.base.to_dense() + model[0].weight.dopant.to_dense()).mT + model[0].bias
    torch.testing.assert_close(model[0](x), wanted)


@pytest.mark.parametrize(
    "base", [{"structure": "kronecker", "terms": 2}, {"structure": "row_split", "rows": 2}, LOW_RANK], ids=str
)
def test_a_sequence_has_one_mask_however_the_matrix_is_multiplied(base):
    """Read once, called at every step because somebody watches, or behind a tensor of torch's own LSTM."""
    lstm = LSTM(3, 4, structure=structure("doped", base=base, density=0.5))
    rule = RowDropout(0.5, start=1, end=9)
    Steps(lstm, SGD, [rule])
    x = torch.randn(7, 2, 3)
    cell = lstm.cells[0]
    theirs = nn.LSTM(3, 4)
    theirs.load_state_dict({
        "weight_ih_l0": cell.input_map.weight.to_dense(), "weight_hh_l0": cell.state_map.weight.to_dense(),
        "bias_ih_l0": cell.input_map.bias, "bias_hh_l0": cell.state_map.bias,
    })  # fmt: skip
    read = lstm(x)[0]
    handles = [part.register_forward_hook(lambda *_: None) for part in lstm.modules()]
    called = lstm(x)[0]
    for handle in handles:
        handle.remove()
    for found in (read, called):
        torch.testing.assert_close(found, theirs(x)[0], rtol=1e-10, atol=1e-10)
    assert not torch.equal(read, lstm.eval()(x)[0])


# ---------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    "options, says",
    [
        ({"rate": 1.0}, "rate is a share of the rows, below 1, got 1.0"),
        ({"rate": -0.1}, "rate is a number, at least 0, got -0.1"),
        ({"dopant": "x"}, "dopant is a number, at least 0, got 'x'"),
        ({"rate": 0}, "both rates are 0"),
        ({"fall": "linear"}, "fall is one of cubic, constant, got 'linear'"),
        ({"start": 3}, "give both start and end, or neither; got 3 and None"),
        ({"start": 3, "end": 3}, "wants start < end"),
        ({"start": 0.5, "end": 1.5}, "share from 0.0 to 1.0, got 1.5"),
        ({"pattern": "("}, "no regular expression"),
    ],
    ids=str,
)
def test_arguments_out_of_range_are_refused(options, says):
    with pytest.raises(PlanError, match=f"RowDropout: .*{says}"):
        RowDropout(**options)


def test_a_training_without_doped_matrices_or_a_span_is_refused():
    with pytest.raises(PlanError, match="follows the Anneal of its training, and there are 0"):
        Steps(net(DOPED), SGD, [RowDropout()])
    two = [Anneal(0.5, 1, 4, pattern="0"), Anneal(0.5, 1, 5, pattern="2")]
    with pytest.raises(PlanError, match="there are 2 that differ"):
        Steps(net(DOPED, DOPED), SGD, [RowDropout(), *two])
    with pytest.raises(PlanError, match=r"no doped matrix whose path matches 'fc'; there are 0\.weight\."):
        Steps(net(DOPED), SGD, [RowDropout(start=1, end=2, pattern="fc")])
    with pytest.raises(PlanError, match="there are none: compress_ with a plan of them first"):
        Steps(net(LOW_RANK), SGD, [RowDropout(start=1, end=2)])
    training = Steps(net(), SGD, [RowDropout(start=1, end=2), Compress({"0": LOW_RANK}, epoch=1)])
    with pytest.raises(PlanError, match="there are none"):  # what came is something else
        training.epochs(1, [(torch.ones(2, 6), torch.zeros(2, 6))], nn.functional.mse_loss)


def test_shares_want_a_training_that_tells_its_steps():
    with pytest.raises(PlanError, match=r"shares of a training, 0\.1 and 0\.6, .* or set training\.total_steps"):
        Steps(net(DOPED), SGD, [RowDropout(start=0.1, end=0.6)])
    with pytest.raises(PlanError, match="of the 1 steps of this training are steps 1 to 1"):
        Training(net(DOPED), [RowDropout(start=0.6, end=0.9)], total_steps=1).call("on_start")


def test_only_matrices_that_match_drop_rows():
    model = net(DOPED, DOPED)
    Steps(model, SGD, [RowDropout(0.5, start=1, end=9, pattern="2")])
    assert model[0].weight.row_scale is None and isinstance(model[2].weight, Doped)
    assert model[2].weight.row_scale is not None
