"""--json: one object on stdout and nothing else; errors are objects on stderr."""

import json
from pathlib import Path

import pytest

from edgenet import cli


@pytest.fixture
def said(run):
    """Runs a command with --json that must succeed; its object."""

    def said(*arguments):
        code, out, err = run(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    return said


def test_every_command_but_those_that_print_pages_or_scripts_has_it():
    assert {name for name, command in cli.COMMANDS.items() if not command.json} == {"bench", "completion"}


def test_a_training_a_run_and_its_report_are_objects(said, tmp_path):
    trained = said("train", "karate", "--model", "gcn", "--epochs", 2, "--seeds", 2)
    assert trained["run"] == "runs/karate-gcn" and [seed["seed"] for seed in trained["seeds"]] == [0, 1]
    assert 0 <= trained["test"]["mean"] <= 1 and "runs/karate-gcn/learning_curve.png" in trained["pictures"]
    shown = said("inspect", "runs/karate-gcn")
    assert shown["config"]["model"]["layer"] == "gcn" and shown["seeds"]["1"]["test"] == trained["seeds"][1]["test"]
    assert shown["tensors"] and said("report", "runs/karate-gcn")["total"]["bytes"] > 0
    assert said("predict", "runs/karate-gcn", "karate")["predictions"][33]["node"] == "33"


def test_converting_and_compressing_are_objects(said, gat):
    assert said("convert", "gat", "--out", "net")["model"]["parameters"] > 0
    made = said("compress", "gat", "--times", 2, "--family", "low_rank", "--out", "small")
    assert made["satisfied"] and made["report"]["total"]["bytes"] == made["model"]["bytes"] - _head("small")
    assert made["picture"] == "small/compression.png"


def _head(folder):
    """Bytes of the description that a file of tensors begins with."""
    return 8 + int.from_bytes(Path(folder, "model.safetensors").read_bytes()[:8], "little")


def test_data_sets_are_objects(said):
    sets = said("data", "list")["datasets"]
    assert next(one for one in sets if one["name"] == "karate")["found"] == "made on demand"
    assert said("data", "info", "karate")["options"] == {"seed": 0}
    assert said("data", "prepare", "karate")["sizes"] == {"train": 4, "val": 10, "test": 20}


def test_an_error_is_an_object_on_stderr(run):
    code, out, err = run("train", "karat", "--json")
    content = json.loads(err)
    assert (code, out, content["code"], content["error"]) == (2, "", 2, "ConfigError") and "karat" in content["message"]


def test_a_report_has_one_form(run, gat):
    code, _, err = run("report", "gat", "--markdown", "--json")
    assert code == 2 and "choose one" in json.loads(err)["message"]
