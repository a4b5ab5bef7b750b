"""How much base and dopant lean on each other: energies by hand, losses without the dopants, and what is recorded."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset

from edgenet.compress import AdaptationRecord, Anneal, Compress, RowDropout, adaptation, compress_
from edgenet.errors import PlanError
from edgenet.nn.recurrent import LSTM
from edgenet.structured import Dense, Doped, Sparse, StructuredLinear, structure
from edgenet.structured.bridge import attach_
from edgenet.train import fit

from compress.steps import Steps  # isort: skip

LOW_RANK = {"structure": "low_rank", "rank": 1}
DOPED = {"structure": "doped", "base": LOW_RANK, "density": 0.4, "iterations": 1}


def energies(matrix, x):
    """Of the outputs of base and dopant, and their product."""
    with torch.no_grad():
        y, z = (x.reshape(-1, x.shape[-1]) @ part.to_dense().mT for part in (matrix.base, matrix.dopant))
        return float((y * y).sum()), float((z * z).sum()), float((y * z).sum())


def test_share_and_cosine_by_hand():
    base, dopant = Dense(torch.tensor([[3.0, 0.0], [0.0, 1.0]])), Sparse(torch.eye(2), torch.eye(2, dtype=torch.bool))
    model = nn.Sequential(StructuredLinear(Doped(base, dopant)))
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])  # M x: (3, 0), (0, 2); S x: (1, 0), (0, 2)
    found = adaptation(model, lambda net: net(x).sum())
    wanted = {"density": 0.5, "loss": 8.0, "share": 5 / 18, "cosine": 7 / 65**0.5, "loss_base": 5.0}
    assert found == pytest.approx(wanted)


def test_every_step_of_a_sequence_counts_in_evaluation_mode():
    lstm = LSTM(3, 4, structure=structure("doped", base=LOW_RANK, density=0.5))
    x = torch.randn(5, 2, 3)
    Steps(lstm, partial(torch.optim.SGD, lr=0.1), [RowDropout(0.5, start=1, end=9)])
    modes = [part.training for part in lstm.modules()]
    found = adaptation(lstm, lambda model: model(x)[0].square().mean())
    assert modes == [part.training for part in lstm.modules()]
    assert all(not part._forward_hooks and not part._forward_pre_hooks for part in lstm.modules())
    lstm.eval()
    cell = lstm.cells[0]
    hidden = lstm(x)[0].detach()
    before = torch.cat([torch.zeros(1, 2, 4), hidden[:-1]])
    tallies = [energies(cell.input_map.weight, x), energies(cell.state_map.weight, before)]
    assert found["share"] == pytest.approx(sum(z / (y + z) for y, z, _ in tallies) / 2)
    assert found["cosine"] == pytest.approx(sum(both / (y * z) ** 0.5 for y, z, both in tallies) / 2)
    assert found["loss"] == pytest.approx(lstm(x)[0].square().mean().item())
    for part in (cell.input_map.weight, cell.state_map.weight):
        part.dopant = Sparse(torch.zeros(part.shape), part.dopant.mask)
    assert found["loss_base"] == pytest.approx(lstm(x)[0].square().mean().item())


def test_where_entries_are_read_their_own_energy_counts():
    lstm = nn.LSTM(3, 4)
    matrix = attach_(lstm, "weight_hh_l0", structure("doped", base=LOW_RANK, density=0.5))
    found = adaptation(lstm, lambda model: model(torch.ones(2, 1, 3))[0].sum())
    y, z, both = energies(matrix, torch.eye(4))
    assert found["share"] == pytest.approx(z / (y + z)) and found["cosine"] == pytest.approx(both / (y * z) ** 0.5)
    assert found["loss_base"] != found["loss"]


def test_of_a_pruned_model_there_is_the_loss_alone():
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 6))
    compress_(model, {"0": {"structure": "sparse", "density": 0.25}, "1": DOPED})
    found = adaptation(model, lambda net: net(torch.ones(1, 6)).sum(), pattern="0")
    assert found == {"density": 0.25, "loss": pytest.approx(model(torch.ones(1, 6)).sum().item())}
    both = adaptation(model, lambda net: net(torch.ones(1, 6)).sum())
    assert set(both) == {"density", "loss", "share", "cosine", "loss_base"}
    assert both["density"] == pytest.approx((12 + round(0.4 * 48)) / 96)


def test_random_numbers_of_the_score_are_given_back():
    model = nn.Sequential(nn.Linear(6, 6))
    compress_(model, {"0": DOPED})
    torch.manual_seed(5)
    adaptation(model, lambda net: net(torch.randn(3, 6)).sum())
    here = torch.rand(2)
    torch.manual_seed(5)
    assert torch.equal(here, torch.rand(2))


def test_dopants_of_nothing_have_no_share():
    model = nn.Sequential(StructuredLinear(Doped.from_dense(torch.ones(3, 3), base=LOW_RANK, density=1.0)))
    with torch.no_grad():
        model[0].weight.dopant.weight.zero_()
    found = adaptation(model, lambda net: net(torch.ones(1, 3)).sum())
    assert (found["share"], found["cosine"]) == (0.0, 0.0)


# ---------------------------------------------------------------- while it trains
def trained(*rules, **options):
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6))
    data = TensorDataset(torch.randn(20, 6), torch.randn(20, 6))
    compress = Compress({"0": {**DOPED, "density": 1.0}})
    rules = [compress, Anneal(0.1, 1, 9, every=1), *rules]
    return fit(model, data, callbacks=rules, **{"loss": "mse", "batch_size": 5, "epochs": 3, "seed": 0, **options},
               progress=False)  # fmt: skip


def score(model):
    return F.mse_loss(model(torch.ones(2, 6)), torch.zeros(2, 6))


def test_a_training_is_measured_and_not_changed():
    record = AdaptationRecord(score, every=5)
    found, plain = trained(record), trained()
    assert [row["step"] for row in record.rows] == [4, 5, 10]  # the end of the first epoch, lest it has none
    for name, numbers in found.model.state_dict().items():
        assert torch.equal(numbers, plain.model.state_dict()[name])
    first, *_, last = found.history
    names = {"dopant_density": "density", "dopant_share": "share", "dopant_cosine": "cosine",
             "loss_of_both": "loss", "loss_of_base": "loss_base"}  # fmt: skip
    for epoch, row in ((first, record.rows[0]), (last, record.rows[-1])):
        assert {name: epoch[name] for name in names} == {name: row[key] for name, key in names.items()}
    assert record.rows[-1]["density"] == pytest.approx(5 / 48)
    trained(record)
    assert len(record.rows) == 3  # begins anew


def test_what_was_measured_before_a_stop_is_there_after_it(tmp_path):
    class Stop:
        def before_epoch(self, training):
            if training.epoch == 3:
                raise KeyboardInterrupt

    class Go:
        before_epoch = staticmethod(lambda training: None)

    Go.__name__ = "Stop"
    whole, again = AdaptationRecord(score, every=2), AdaptationRecord(score, every=2)
    trained(whole)
    folder = {"folder": tmp_path / "run", "resume": True, "checkpoint_epochs": 1}
    with pytest.raises(KeyboardInterrupt):
        trained(AdaptationRecord(score, every=2), Stop(), **folder)
    trained(again, Go(), **folder)
    assert again.rows == whole.rows and len(whole.rows) == 6


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(PlanError, match="score is a function of a model, its loss, got 3"):
        AdaptationRecord(3)
    with pytest.raises(PlanError, match="every is a whole number, at least 1, got 0"):
        AdaptationRecord(score, every=0)
    with pytest.raises(PlanError, match="no regular expression"):
        AdaptationRecord(score, pattern="(")
    with pytest.raises(PlanError, match=r"no doped or sparse matrix whose path matches '\.\*'"):
        adaptation(nn.Linear(2, 2), lambda model: 0)
    model = nn.Sequential(nn.Linear(6, 6))
    compress_(model, {"0": DOPED})
    with pytest.raises(PlanError, match="uses none of the doped matrices"):
        adaptation(model, lambda net: 0.0)
