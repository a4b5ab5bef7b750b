"""Training rules reach a run from TOML alone; a model that is compressed while it trains is trained, kept and read."""

import copy
from functools import partial

import pytest
import torch
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from edgenet.compress import ADMM, Anneal, Compress, RowDropout, compress_, report
from edgenet.config import RunConfig, Settings
from edgenet.errors import ConfigError, PlanError
from edgenet.models import NodeClassifier
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.registry import register
from edgenet.structured import Doped
from edgenet.train import Callback, DivergenceError, fit, read_metrics, run
from edgenet.train.rules import rules_of

from train.small_data import config, nodes  # isort: skip

LIFTS = r"convs\.\d\.lift.*"
LOW_RANK = {"structure": "low_rank", "rank": 2}
TOML = """
out = "{out}"
[dataset]
name = "ring"
[model]
layer = "gcn"
hidden_channels = 8
[optimizer]
lr = 0.02
[training]
epochs = 12
seeds = [0, 1]
"""


def from_text(tmp_path, text):
    """A configuration read from a file."""
    (tmp_path / "run.toml").write_text(TOML.format(out=tmp_path / "out") + text)
    return RunConfig.from_toml(tmp_path / "run.toml")


def trained(settings, **options):
    return run(settings, dataset=nodes(), progress=False, **options)


def families(model):
    return sorted({type(m).__name__ for m in model.modules() if type(m).__module__.startswith("edgenet.structured")})


def scores(model):
    data = nodes().train[0]
    with torch.no_grad():
        return model.eval()(data.x.to(next(model.parameters())), data.edge_index)


# ---------------------------------------------------------------- a callback that compresses
class Squeeze(Callback):
    """What a user writes first: compress the model when training begins."""

    def __init__(self):
        self.before = None

    def on_start(self, training):
        compress_(training.model, {LIFTS: LOW_RANK})
        self.model = training.model
        self.before = [p.detach().clone() for p in training.model.parameters()]


def test_a_model_that_a_callback_compresses_is_trained_and_can_be_read(tmp_path):
    squeeze = Squeeze()
    settings = config(out=str(tmp_path / "run"))
    result = trained(settings, callbacks=[squeeze])
    after = list(squeeze.model.parameters())
    assert "LowRank" in families(squeeze.model)
    assert all(not torch.equal(a, b) for a, b in zip(squeeze.before, after, strict=True))
    assert torch.equal(scores(from_pretrained(tmp_path / "run" / "seed-0" / "model")), scores(result.models[0]))


def test_a_model_that_a_callback_compresses_without_a_word_later_on_is_refused():
    class Late(Callback):
        def before_epoch(self, training):
            if training.epoch == 3:
                compress_(training.model, {LIFTS: LOW_RANK})

    with pytest.raises(ConfigError, match=r"wants a gradient, and the optimizer does not hold it.*renew_optimizer"):
        trained(config(), callbacks=[Late()])


# ---------------------------------------------------------------- from TOML
def test_a_plan_in_toml_compresses_every_seed_and_the_runs_models_are_compressed(tmp_path):
    settings = from_text(tmp_path, f"[compress]\nplan = {{ '{LIFTS}' = {{ structure = 'low_rank', rank = 2 }} }}\n")
    result = trained(settings)
    for seed, model in result.models.items():
        again = from_pretrained(tmp_path / "out" / f"seed-{seed}" / "model")
        assert families(model) == families(again) and "LowRank" in families(again)
        assert torch.equal(scores(again), scores(model))
        assert result.seeds[seed].parameters == report(model).total.parameters


def test_a_ratio_in_toml_is_met(tmp_path):
    settings = from_text(tmp_path, "[compress]\nratio = 2.0\nepoch = 4\n")
    result = trained(settings)
    dense = trained(from_text(tmp_path, "").replaced(out=None))
    for small, large in zip(result.seeds, dense.seeds, strict=True):
        assert small.parameters <= large.parameters / 2
        assert small.best_epoch >= 4  # the models before have not been what was asked for


def test_annealing_in_toml_ends_at_its_density_and_the_model_that_is_kept_has_it(tmp_path):
    settings = from_text(
        tmp_path,
        f"[compress]\nplan = {{ '{LIFTS}' = {{ structure = 'sparse', density = 0.9 }} }}\n"
        "[[callback]]\nkind = 'anneal'\ndensity = 0.25\nstart = 2\nend = 8\nevery = 2\n",
    )
    result = trained(settings)
    for seed in (0, 1):
        again = from_pretrained(tmp_path / "out" / f"seed-{seed}" / "model")
        for model in (result.models[seed], again):
            found = [m for m in model.modules() if type(m).__name__ == "Sparse"]
            assert found and all(abs(m.density - 0.25) < 0.03 for m in found)
        assert torch.equal(scores(again), scores(result.models[seed])) and result.seeds[seed].best_epoch >= 8


def test_admm_in_toml_puts_its_structures_in_and_the_best_epoch_has_them(tmp_path):
    settings = from_text(
        tmp_path,
        f"[[callback]]\nkind = 'admm'\nrho = 0.5\nevery = 2\nuntil = 6\n"
        f"[callback.plan]\n'{LIFTS}' = {{ structure = 'low_rank', rank = 2 }}\n",
    )
    result = trained(settings)
    for seed, model in result.models.items():
        assert "LowRank" in families(model) and result.seeds[seed].best_epoch > 6
        again = from_pretrained(tmp_path / "out" / f"seed-{seed}" / "model")
        assert torch.equal(scores(again), scores(model))


def test_a_teacher_in_toml_is_a_saved_model_and_is_followed(tmp_path):
    torch.manual_seed(3)
    teacher, wrong = NodeClassifier(4, 2, layer="gcn", hidden_channels=32, dropout=0.0), nodes().train[0].clone()
    wrong.y = 1 - wrong.y
    fit(teacher, wrong, epochs=50, lr=0.05, progress=False)
    save_pretrained(teacher, tmp_path / "teacher")
    text = f"[[callback]]\nkind = 'distill'\nteacher = '{tmp_path / 'teacher'}'\nweight = 20.0\n"
    told = trained(from_text(tmp_path, text).replaced(training__epochs=60, model__dropout=0.0))
    alone = trained(from_text(tmp_path, "").replaced(training__epochs=60, model__dropout=0.0, out=None))
    for seed in (0, 1):  # a teacher that is wrong, and weighs more than the labels
        assert told.histories[seed][-1]["train"] < 0.2 < 0.8 < alone.histories[seed][-1]["train"]


def test_groups_of_weights_that_are_trained_away_come_from_toml(tmp_path):
    text = f"[[callback]]\nkind = 'group_lasso'\npenalty = 0.5\n[callback.groups]\n'{LIFTS}' = 'rows'\n"
    result = trained(from_text(tmp_path, text).replaced(optimizer__name="sgd", optimizer__lr=0.1))
    model = result.models[0]
    rows = next(p for name, p in model.named_parameters() if "convs.0.lift" in name and p.dim() == 2)
    assert (rows == 0).all(1).any()


def test_every_seed_gets_rules_of_its_own_and_the_configuration_is_written_whole(tmp_path):
    settings = from_text(
        tmp_path, f"[[callback]]\nkind = 'admm'\n[callback.plan]\n'{LIFTS}' = {{ structure = 'low_rank', rank = 2 }}\n"
    )
    assert rules_of(settings)[0] is not rules_of(settings)[0]
    assert RunConfig.from_dict(settings.to_dict()) == settings
    (tmp_path / "again.toml").write_text(settings.to_toml())
    assert RunConfig.from_toml(tmp_path / "again.toml") == settings


@pytest.mark.parametrize(
    "text, says",
    [
        ("[[callback]]\nname = 'admm'\n", r"\[\[callback\]\] number 1 lacks its kind"),
        ("[[callback]]\nkind = 'adm'\n", "no rule is called 'adm'"),
        ("[[callback]]\nkind = 'anneal'\ndensty = 0.1\nstart = 1\nend = 2\n", "no argument 'densty'"),
        ("[callback]\nkind = 'anneal'\n", "callback is a list of tables"),
        ("[compress]\nratios = 3\n", "no argument 'ratios'"),
        ("[compress]\nratio = 0.5\n", "ratio"),
        ("[[callback]]\nkind = 'distill'\nteacher = 'nowhere'\n", "nowhere"),
        ("[scheduler]\nname = 'cos'\n", "scheduler.name is one of none, cosine"),
        ("[training]\n", "no TOML|not TOML"),
    ],
)
def test_what_is_wrong_in_a_table_is_said_and_leaves_no_folder(tmp_path, text, says):
    with pytest.raises(ValueError, match=says):
        trained(from_text(tmp_path, text))
    assert not (tmp_path / "out").exists()


def test_a_rule_of_ones_own_is_reached_by_its_name(tmp_path):
    calls = []

    class Count(Callback):
        def __init__(self, times=1):
            self.times = times

        def after_step(self, training):
            calls.append(self.times)

    from edgenet.compress import CALLBACKS

    register("callback", "count", Count)
    try:
        trained(from_text(tmp_path, "[[callback]]\nkind = 'count'\ntimes = 3\n"))
    finally:
        CALLBACKS.pop("count")
    assert calls == [3] * 24


def test_a_compressed_model_goes_on_with_a_second_training(tmp_path):
    model = NodeClassifier(4, 2, layer="gcn", hidden_channels=8)
    plan = {LIFTS: {"structure": "sparse", "density": 0.8}}
    options = {"epochs": 6, "lr": 0.02, "progress": False, "seed": 0}
    fit(model, nodes(), callbacks=[Compress(plan)], **options)
    first = copy.deepcopy(model)
    fit(model, nodes(), callbacks=[Anneal(0.2, 1, 4)], **options)
    densities = [[m.density for m in net.modules() if type(m).__name__ == "Sparse"] for net in (first, model)]
    assert min(densities[0]) > 0.7 and max(densities[1]) < 0.3


@pytest.mark.parametrize("scheduler", ["none", "cosine", "exponential", "step", "plateau"])
@pytest.mark.parametrize("epoch", [0, 3])
def test_dopants_keep_their_share_of_the_rate_under_every_schedule(scheduler, epoch):
    seen = []

    class Look:
        def after_step(self, training):
            place = {id(p): g["lr"] for g in training.optimizer.param_groups for p in g["params"]}
            dopant = [m.dopant.weight for m in training.model.modules() if isinstance(m, Doped)]
            seen.append((place[id(dopant[0])] if dopant else None, place[id(training.model.convs[0].bias)]))

    plan = {r"convs\.0\.lift.*": {"structure": "doped", "base": LOW_RANK, "density": 1.0}}
    rules = [Compress(plan, epoch=epoch), Anneal(0.2, start=3, end=6), RowDropout(), Look()]
    model = NodeClassifier(4, 2, layer="gcn", hidden_channels=8)
    makers = {
        "step": partial(lr_scheduler.StepLR, step_size=2),
        "plateau": partial(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=1e9, factor=0.5),
    }
    by_name = {"none": {"name": "none"}, "cosine": {"name": "cosine", "warmup": 2}, "exponential": {"factor": 0.7}}
    tables = {"scheduler": {"name": scheduler, **by_name.get(scheduler, {})}} if scheduler not in makers else {}
    options = {"scheduler": makers[scheduler]} if scheduler in makers else {}
    fit(model, nodes(), tables, rules, epochs=6, lr=0.02, seed=0, progress=False, **options)
    assert [dopant is None for dopant, _ in seen] == [epoch == 3 and k < 2 for k in range(6)]
    assert all(dopant == pytest.approx(0.3 * rest) for dopant, rest in seen if dopant is not None)
    assert scheduler == "none" or len({rest for _, rest in seen}) > 1


@pytest.mark.parametrize("accumulate, steps", [(1, 15), (3, 6), (9, 3)])
def test_callbacks_know_how_many_steps_there_will_be(accumulate, steps):
    class Look:
        def after_step(self, training):
            self.total, self.last = training.total_steps, training.step

    look = Look()
    rows = TensorDataset(torch.randn(20, 3), torch.randn(20, 2))
    options = {"epochs": 3, "batch_size": 4, "accumulate": accumulate, "progress": False}
    fit(torch.nn.Linear(3, 2), rows, callbacks=[look], **options)
    assert look.total == look.last == steps


def test_steps_that_nobody_can_count_are_asked_for_as_numbers():
    class Rows(IterableDataset):
        def __iter__(self):
            return iter([(torch.ones(4), torch.ones(2))] * 3)

    model = torch.nn.Sequential(torch.nn.Linear(4, 2))
    rules = [Compress({"0": {"structure": "sparse", "density": 1.0}}), Anneal(0.5)]
    with pytest.raises(PlanError, match=r"Anneal: start and end are shares of a training, .* Give steps as whole numb"):
        fit(model, DataLoader(Rows()), callbacks=rules, loss="mse", epochs=2, progress=False)


def test_settings_reach_the_rules_of_fit_as_well(tmp_path):
    settings = Settings.from_dict({"compress": {"plan": {LIFTS: LOW_RANK}}, "training": {"epochs": 3}})
    model = NodeClassifier(4, 2, layer="gcn", hidden_channels=8)
    fit(model, nodes(), settings, folder=tmp_path / "run", progress=False, seed=0)
    assert "LowRank" in families(model) and len(read_metrics(tmp_path / "run" / "metrics.jsonl")) == 3
    with pytest.raises(PlanError):
        fit(NodeClassifier(4, 2), nodes(), callbacks=[ADMM({"nothing": LOW_RANK})], progress=False)


# ---------------------------------------------------------------- what a user may get wrong
def test_a_penalty_that_is_no_number_is_told_from_the_loss():
    class NotANumber(Callback):
        def penalty(self, training):
            return torch.tensor(float("nan"))

    with pytest.raises(DivergenceError, match="the penalty of the callbacks is nan at epoch 1, step 1"):
        fit(NodeClassifier(4, 3), nodes().train[0], callbacks=[NotANumber()], epochs=1, progress=False)


@pytest.mark.parametrize("wrong", [Anneal, Anneal(0.5, 0, 2), None], ids=["a class", "an object", "None"])
def test_callbacks_that_are_no_list_of_objects_are_refused_in_words(wrong):
    wrong = [wrong] if wrong is Anneal else wrong
    with pytest.raises(ConfigError, match="callback"):
        fit(NodeClassifier(4, 3), nodes().train[0], callbacks=wrong, epochs=1, progress=False)


def test_a_density_that_falls_before_there_is_one_is_told_with_the_remedy():
    rules = [Compress({LIFTS: {"structure": "sparse", "density": 0.5}}, epoch=3), Anneal(0.2, 1, 6, every=1)]
    with pytest.raises(PlanError, match=r"at step 1 there is no sparse matrix.*let it start after that"):
        fit(NodeClassifier(4, 3), nodes().train[0], callbacks=rules, epochs=4, progress=False)
