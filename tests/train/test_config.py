"""What a configuration accepts, what it refuses, and what it says then."""

from pathlib import Path

import pytest
import torch

from edgenet.config import RunConfig, changed, parse_assignment
from edgenet.errors import ConfigError
from edgenet.models import GraphClassifier, NodeClassifier
from edgenet.presets import PRESETS, preset

SMALLEST = {"dataset": {"name": "karate"}, "model": {"layer": "gcn"}}


def with_(**changes):
    return changed(SMALLEST, {key.replace("__", "."): value for key, value in changes.items()})


def test_a_toml_file_becomes_a_configuration(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(
        'out = "runs/x"\n[dataset]\nname = "karate"\n[model]\nlayer = "gat"\noptions = { heads = 4 }\n'
        "[optimizer]\nlr = 1\n[training]\nseeds = [3, 1]\n"
    )
    config = RunConfig.from_toml(file)
    assert config.out == "runs/x" and config.model.options == {"heads": 4} and config.training.seeds == [3, 1]
    assert config.optimizer.lr == 1.0 and isinstance(config.optimizer.lr, float)
    assert config.model.hidden_channels is None  # left to the model


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"trainng": {}}, ["the top level has no key 'trainng'", "Did you mean 'training'"]),
        ({"training.epoch": 3}, ["[training] has no key 'epoch'", "Did you mean 'epochs'"]),
        ({"model.lr": 3}, ["[model] has no key 'lr'", "Did you mean 'lr' of [optimizer]", "layer"]),
        ({"model.heads": 3}, ["[model] has no key 'heads'", "[model.options]"]),
        ({"model.layer": None}, ["[model] lacks layer"]),
        ({"training.epochs": "many"}, ["training.epochs is a whole number, got 'many'"]),
        ({"training.epochs": True}, ["training.epochs is a whole number, got True"]),
        ({"training.epochs": 2.0}, ["training.epochs is a whole number, got 2.0"]),
        ({"training.epochs": 0}, ["training.epochs is at least 1, got 0"]),
        ({"training.seeds": [1, "a"]}, ["training.seeds is a list of whole numbers"]),
        ({"training.seeds": []}, ["training.seeds is", "at least one"]),
        ({"training.seeds": [1, 1]}, ["different whole numbers"]),
        ({"training.seeds": [-1]}, ["from 0 to 2^32 - 1"]),
        ({"training.stop_by": "luck"}, ["one of metric, loss, either, window, got 'luck'"]),
        ({"training.dtype": "float16"}, ["one of float32, float64"]),
        ({"optimizer.lr": 0}, ["optimizer.lr is a positive number"]),
        ({"optimizer.lr": float("nan")}, ["optimizer.lr is a number, got nan"]),
        ({"optimizer.lr": float("inf")}, ["optimizer.lr is a positive number"]),
        ({"optimizer.name": "lion"}, ["one of adam, adamw, sgd, radam, adamax, shift_adamax, got 'lion'"]),
        ({"optimizer.weight_decay": -1.0}, ["optimizer.weight_decay is a number, 0 or more"]),
        ({"model.dropout": 1}, ["model.dropout is a probability in [0, 1)"]),
        ({"model.hidden_channels": 0}, ["model.hidden_channels is at least 1"]),
        ({"model.options": 3}, ["model.options is a table"]),
        ({"dataset": "cora"}, ["dataset is a table, got 'cora'"]),
    ],
)
def test_what_is_wrong_is_named_with_its_table_its_file_and_the_nearest_key(tmp_path, changes, says):
    with pytest.raises(ConfigError) as error:
        RunConfig.from_dict(changed(SMALLEST, changes), "run.toml")
    assert str(error.value).startswith("run.toml: ")
    for text in says:
        assert text in str(error.value)


def test_a_file_that_is_missing_or_no_toml_is_said_so(tmp_path):
    with pytest.raises(ConfigError, match=r"run\.toml: cannot be read: No such file"):
        RunConfig.from_toml(tmp_path / "run.toml")
    (tmp_path / "run.toml").write_text("[model\n")
    with pytest.raises(ConfigError, match=r"run\.toml: not TOML"):
        RunConfig.from_toml(tmp_path / "run.toml")
    (tmp_path / "run.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"run\.toml: not TOML: no text in UTF-8 \(byte 0\)"):
        RunConfig.from_toml(tmp_path / "run.toml")


def test_toml_written_and_read_is_the_same_configuration(tmp_path):
    options = {"nodes": 0.1, "deep": {"a b": [1, 2.5, "x", True], "\U0001f9ed\x7f": "\U0001f9ed\x7f\x01"}}
    awkward = with_(out='a "quoted"\\ näme', model__options=options, optimizer__lr=1e-12)
    for config in [RunConfig.from_dict(awkward)] + [preset(d, layer or None) for d in PRESETS for layer in PRESETS[d]]:
        (tmp_path / "run.toml").write_text(config.to_toml(), encoding="utf-8")
        assert RunConfig.from_toml(tmp_path / "run.toml") == config
        assert RunConfig.from_dict(config.to_dict()) == config


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(ConfigError, match=r"'\\udcff' holds bytes that are no UTF-8"):
        RunConfig.from_dict(with_(out="\udcff")).to_toml()


def test_the_command_line_overrides_the_file(tmp_path):
    (tmp_path / "run.toml").write_text(RunConfig.from_dict(SMALLEST).to_toml())
    config = RunConfig.from_toml(tmp_path / "run.toml", {"optimizer.lr": 0.5, "model.options.heads": 2})
    assert config.optimizer.lr == 0.5 and config.model.options == {"heads": 2}
    with pytest.raises(ConfigError, match="with the changes of the command line"):
        RunConfig.from_toml(tmp_path / "run.toml", {"optimizer.rate": 0.5})
    with pytest.raises(ConfigError, match="'layer' is a value, no table"):
        RunConfig.from_toml(tmp_path / "run.toml", {"model.layer.x": 0.5})


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("optimizer.lr=0.01", ("optimizer.lr", 0.01)),
        ("training.seeds=[0, 2]", ("training.seeds", [0, 2])),
        ("model.layer=gat", ("model.layer", "gat")),
        ('model.layer="gat"', ("model.layer", "gat")),
        ("model.options.skip=true", ("model.options.skip", True)),
        ("out=a=b", ("out", "a=b")),
    ],
)
def test_an_assignment_is_a_name_and_a_toml_value(text, wanted):
    assert parse_assignment(text) == wanted


@pytest.mark.parametrize("text", ["optimizer.lr", "=3", ""])
def test_what_is_no_assignment_is_refused(text):
    with pytest.raises(ConfigError, match=r"table\.key=value"):
        parse_assignment(text)


def test_the_published_settings_are_those_of_the_papers():
    gat, gcn, ppi = preset("cora", "gat"), preset("cora", "gcn"), preset("ppi", "gat")
    assert (gat.model.hidden_channels, gat.model.options["heads"], gat.model.dropout) == (8, 8, 0.6)
    assert gat.model.options["attention_dropout"] == 0.6
    assert (gat.optimizer.lr, gat.optimizer.weight_decay, gat.training.patience) == (0.005, 5e-4, 100)
    assert (gcn.model.hidden_channels, gcn.model.dropout, gcn.optimizer.lr) == (16, 0.5, 0.01)
    assert (gcn.optimizer.weight_decay, gcn.optimizer.decay_on, gcn.training.epochs) == (5e-4, "first", 200)
    assert (ppi.model.num_layers, ppi.model.hidden_channels, ppi.training.batch_size) == (3, 256, 2)
    assert ppi.model.options == {"heads": 4, "out_heads": 6, "skip": True}
    assert (ppi.model.dropout, ppi.optimizer.weight_decay, ppi.optimizer.lr) == (0.0, 0.0, 0.005)


def test_the_published_settings_of_deep_walks_are_those_of_the_papers():
    grand, gcnii, dagnn, appnp = (preset("cora", name) for name in ("grand", "gcnii", "dagnn", "appnp"))
    assert grand.callback == [{"kind": "consistency", "passes": 4, "temperature": 0.5, "weight": 1.0}]
    assert (grand.model.options["order"], grand.model.options["node_dropout"], grand.training.patience) == (8, 0.5, 200)
    assert (grand.training.stop_by, grand.training.ties, grand.training.kept_by) == ("either", True, "loss")
    assert (gcnii.model.num_layers, gcnii.model.hidden_channels, gcnii.model.dropout) == (64, 64, 0.6)
    assert (gcnii.optimizer.weight_decay, gcnii.optimizer.decay_on) == (5e-4, {r"convs\.": 0.01})
    assert (dagnn.optimizer.weight_decay, dagnn.training.stop_by, dagnn.training.patience) == (5e-3, "window", 100)
    assert (appnp.model.options["alpha"], appnp.optimizer.decay_on) == (0.1, {r"before\.": 5e-3})
    other = preset("citeseer", "grand")
    assert (other.model.options["order"], other.callback[0]["passes"], other.model.dropout) == (2, 2, 0.2)
    assert preset("citeseer", "gcnii").model.num_layers == 32 and preset("pubmed", "dagnn").model.options["order"] == 20


@pytest.mark.parametrize("dataset, layer", [(d, layer) for d in PRESETS for layer in PRESETS[d] if layer])
def test_every_preset_makes_a_model_that_runs(dataset, layer):
    table = preset(dataset, layer).model
    given = {name: getattr(table, name) for name in ("hidden_channels", "num_layers", "dropout", "activation")}
    given = {name: value for name, value in given.items() if value is not None}
    kind = GraphClassifier if dataset in ("source_localisation", "movielens") else NodeClassifier
    model = kind(6, 3, layer=table.layer, **given, **table.options)
    ring = torch.arange(12)
    edges = torch.cat([torch.stack([ring, (ring + 1) % 12]), torch.stack([(ring + 1) % 12, ring])], dim=1)
    assert model.bind(edges, 12)(torch.randn(12, 6), edges).isfinite().all()


def test_a_data_set_and_a_layer_without_a_preset_get_defaults():
    config = preset("mine", "tag", {"training.epochs": 3})
    assert (config.dataset.name, config.model.layer, config.training.epochs) == ("mine", "tag", 3)
    assert preset("cora").model.layer == "gat" and preset("cora", None, {"model.layer": "gcn"}).optimizer.lr == 0.01


def test_presets_do_not_leak_into_each_other():
    preset("cora", "gat", {"model.options.heads": 1})
    assert preset("cora", "gat").model.options["heads"] == 8


CONFIGS = sorted((Path(__file__).parents[2] / "examples" / "configs").glob("*.toml"))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_the_examples_are_the_presets(file):
    config = RunConfig.from_toml(file)
    changes = {"training.seeds": config.training.seeds, "out": config.out}
    assert config == preset(config.dataset.name, config.model.layer, changes)


def test_there_are_examples():
    assert len(CONFIGS) >= 5
