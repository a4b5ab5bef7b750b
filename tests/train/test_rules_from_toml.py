"""One file of TOML: a model that is compressed, pulled, annealed, thinned and taught at once, killed and resumed."""

import re
import tomllib
from pathlib import Path

import pytest
import torch
from torch import nn

from edgenet.compress import ADMM, Anneal, Compress, make_callbacks, slots
from edgenet.config import RunConfig, Settings
from edgenet.models import NodeClassifier
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.structured import Doped, LowRank, PowerOfTwo, Sparse
from edgenet.train import fit, run

from train.small_data import nodes  # isort: skip
from train.test_resume_fit import killed, nth, outcome  # isort: skip

ROOT = Path(__file__).resolve().parents[2]
TOML = r"""
[dataset]
name = "ring"

[model]
layer = "gat"
hidden_channels = 4
dropout = 0.3

[model.options]
heads = 2

[optimizer]
lr = 0.03

[scheduler]
name = "cosine"

[training]
epochs = 24
patience = 12
seeds = [0]
checkpoint_epochs = 1
checkpoint_seconds = 0.0

[compress]
epoch = EPOCH
plan = { 'convs\.0\.lift' = { structure = "doped", base = { structure = "low_rank", rank = 1 }, density = 0.5 } }

[[callback]]
kind = "admm"
rho = 0.5
every = 2
until = 6
plan = { 'convs\.1\.lift' = { structure = "low_rank", rank = 1 } }

[[callback]]
kind = "anneal"
density = 0.2
start = 5
end = 11
every = 2

[[callback]]
kind = "group_lasso"
penalty = 0.001
groups = { 'convs\.0\.phi' = "rows" }

[[callback]]
kind = "distill"
teacher = "TEACHER"
weight = 0.5
temperature = 2.0
"""


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = NodeClassifier(4, 2, layer="gcn", hidden_channels=16)
        fit(model, nodes(), epochs=30, lr=0.05, progress=False, seed=3)
    folder = tmp_path_factory.mktemp("teacher")
    save_pretrained(model, folder)
    return folder


def settings(tmp_path, teacher, epoch=0):
    """The configuration, which comes from a file and nowhere else."""
    (tmp_path / "run.toml").write_text(TOML.replace("TEACHER", str(teacher)).replace("EPOCH", str(epoch)))
    return RunConfig.from_toml(tmp_path / "run.toml")


def trained(config, out, data=None, **options):
    return run(config.replaced(out=str(out)), dataset=data or nodes(), progress=False, **options)


def scores(model, data):
    with torch.no_grad():
        return model(data.x, data.edge_index)


def test_a_run_under_all_rules_learns_is_saved_and_read_back(tmp_path, teacher):
    config, data = settings(tmp_path, teacher).replaced(training__epochs=60, training__patience=0), nodes(120)
    result = trained(config, tmp_path / "run", data)
    model, history = result.models[0], result.histories[0]
    kinds = {name: type(slot.matrix) for name, slot in slots(model).items()}
    assert kinds["convs.0.lift.linear.weight"] is Doped and kinds["convs.1.lift.linear.weight"] is LowRank
    assert [m.density for m in model.modules() if isinstance(m, Sparse)] == [pytest.approx(0.2, abs=0.02)]
    assert result.seeds[0].best_epoch >= 11  # all rules have come to their ends
    # rank 1 in place of what was there costs much at first, in epoch 7, and is trained
    assert history[-1]["loss"] < 0.6 * history[6]["loss"] and result.seeds[0].test > 0.85
    again = from_pretrained(tmp_path / "run" / "seed-0" / "model").eval()
    assert torch.equal(scores(again, data.train[0]), scores(model, data.train[0]))


@pytest.mark.parametrize("epoch", [0, 4])
def test_killed_before_and_after_its_structures_come_it_ends_in_the_same_bits(tmp_path, teacher, epoch):
    config = settings(tmp_path, teacher, epoch)
    trained(config, tmp_path / "whole")
    folder = tmp_path / "broken"
    # it writes config.toml, metrics cut back to the checkpoint, a checkpoint an epoch: killed in epochs 2, 3, 5, 7, 9
    for number in (3, 4, 5, 5, 5):
        assert killed(lambda: trained(config, folder, resume=True), nth(number))
    trained(config, folder, resume=True)
    assert outcome(folder / "seed-0") == outcome(tmp_path / "whole" / "seed-0")


def test_a_resumed_run_searches_no_second_time(tmp_path, monkeypatch):
    text = 'ratio = 1.5\nfamilies = ["low_rank"]\n'
    tables = TOML[: TOML.index("[compress]")] + f"[compress]\n{text}"
    (tmp_path / "run.toml").write_text(tables)
    config = RunConfig.from_toml(tmp_path / "run.toml")
    assert killed(lambda: trained(config, tmp_path / "run", resume=True), nth(5))

    def fails(*_, **__):
        raise AssertionError("searched again")

    monkeypatch.setattr("edgenet.compress.compress_rule.search", fails)
    result = trained(config, tmp_path / "run", resume=True)
    assert any(isinstance(slot.matrix, LowRank) for slot in slots(result.models[0]).values())


def test_the_file_of_the_documentation_is_a_run():
    page = (ROOT / "docs" / "compression.md").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "[[callback]]" in block]
    whole, pull = map(tomllib.loads, blocks)
    config = RunConfig.from_dict(whole)
    rules = make_callbacks(config.callback, config.compress)
    assert [type(rule) for rule in rules] == [Compress, Anneal, ADMM]
    found = slots(NodeClassifier(1433, 7, layer="gat", hidden_channels=8, heads=8))
    assert list(rules[0].plan.assign(found)) == ["convs.0.lift.linear.weight"]
    assert list(rules[2].plan.assign(found)) == ["convs.1.lift.linear.weight"]
    (admm,) = make_callbacks(Settings.from_dict(pull).callback)
    image_model = nn.ModuleDict({"conv": nn.Conv2d(2, 3, 3), "last": nn.Linear(2, 2)})
    assert admm.relative and list(admm.plan.assign(slots(image_model))) == ["conv.weight"]


def test_the_recipe_of_the_documentation_is_a_training():
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    (text,) = [block for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "shift_recipe" in block]
    settings = Settings.from_dict(tomllib.loads(text))
    model = NodeClassifier(4, 2, layer="gcn", hidden_channels=8)
    result = fit(model, nodes(), settings, epochs=30, progress=False, seed=0)
    assert all(type(slot.matrix) is PowerOfTwo for slot in slots(model).values())
    assert result.history[-1]["loss"] < 0.8 * result.history[0]["loss"]
