"""Loading, listing and describing by name: what is said of something missing, which place is tried first."""

import dataclasses
import json
import runpy
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from edgenet import data
from edgenet.data import fetching
from edgenet.data import places as where
from edgenet.errors import ConfigError, DatasetNotFoundError

ROOT = Path(__file__).resolve().parents[2]
FILES = (
    "cora", "citeseer", "pubmed", "ppi", "movielens", "tinyshakespeare", "frame_labels", "pixel_mnist", "metr_la",
    "chickenpox", "heterophilic",
)  # fmt: skip


MADE = ("digits", "karate", "csbm", "source_localisation", "hidden_conductance")


def test_an_unknown_name_lists_the_known_ones_and_the_nearest():
    with pytest.raises(ConfigError, match=r"no data set 'Coro'; there are digits, karate, .*Did you mean 'cora'\?"):
        data.load("Coro")
    with pytest.raises(ConfigError, match=r"pixel_mnist\.$"):
        data.describe("zzz")


def test_an_unknown_option_lists_the_known_ones_and_the_nearest():
    with pytest.raises(ConfigError, match=r"no option 'neighbors'; it has neighbours, .*Did you mean 'neighbours'\?"):
        data.load("digits", neighbors=3)
    with pytest.raises(ConfigError, match=r"no option 'normalise_features'; .*Did you mean 'normalize_features'\?"):
        data.load("cora", normalise_features=True)


def test_a_set_of_ones_own_is_one_more_entry(monkeypatch):
    recipe = data.DATASETS["karate"]
    monkeypatch.setitem(data.DATASETS, "mine", data.Recipe(recipe.facts, recipe.make))
    assert data.load("mine", seed=2).num_outputs == 4
    assert [row["found"] for row in data.available() if row["name"] == "mine"] == ["made on demand"]


def test_places_are_tried_in_the_documented_order(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGENET_DATA", str(tmp_path / "environment"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    listed = [(place.label, place.path) for place in where.places(tmp_path / "root")]
    assert listed == [
        ("the given root", tmp_path / "root"),
        ("$EDGENET_DATA", tmp_path / "environment"),
        ("the repository", ROOT / "datasets"),
        ("the user's cache", tmp_path / "cache" / "edgenet"),
    ]
    ratings = "\n".join(f"{user}\t1\t{1 + user % 5}\t0\n{user}\t2\t{1 + user % 4}\t0" for user in range(1, 60))
    found = []
    for _, folder in [listed[3], listed[1], listed[0]]:  # the last one written is looked at first
        (folder / "movielens").mkdir(parents=True)
        (folder / "movielens" / "u.data").write_text(ratings)
        found.append(data.describe("movielens", tmp_path / "root")["found"] == str(folder / "movielens" / "u.data"))
    assert found == [True, True, True]


def test_an_installed_package_takes_no_folder_named_datasets_for_the_repository(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "edgenet" / "data"
    (tmp_path / "site-packages" / "datasets").mkdir(parents=True)
    monkeypatch.setattr(where, "__file__", str(package / "places.py"))
    assert "the repository" not in [place.label for place in where.places()]


def test_the_cache_is_in_the_home_folder_unless_xdg_says_otherwise(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    for value in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert where.cache_folder() == Path("/home/somebody/.cache/edgenet")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert where.cache_folder() == Path("/elsewhere/edgenet")


@pytest.mark.parametrize("name", FILES)
def test_a_miss_names_every_path_and_the_way_to_the_file(name, tmp_path):
    with pytest.raises(DatasetNotFoundError) as error:
        data.load(name, root=tmp_path)
    text = str(error.value)
    assert text.count(str(tmp_path)) >= 4 and "the user's cache" in text and "https://" in text.split("To get it")[1]


def test_listing_and_describing_are_json_and_say_what_is_missing(tmp_path):
    rows = {row["name"]: row for row in data.available(tmp_path)}
    assert list(rows) == list(data.DATASETS) and json.loads(json.dumps(rows)) == rows
    assert {rows[name]["found"] for name in FILES} == {"missing"}
    assert {row["found"] for name, row in rows.items() if name not in FILES} == {"made on demand"}
    for name in data.DATASETS:
        said = data.describe(name, tmp_path)
        assert json.loads(json.dumps(said)) == said and said["looks_in"][0] == f"{tmp_path} (the given root)"
    assert data.describe("digits")["options"]["neighbours"] == 10
    assert set(data.describe("cora")["options"]) == {"normalize_features", "verify", "download"}


def test_preparing_says_what_there_is_and_writes_what_is_asked_for(tmp_path):
    said = data.prepare("digits", out=tmp_path / "digits.npz", neighbours=4)
    assert said["sizes"] == {"train": 200, "val": 300, "test": 1297} and said["out"] == str(tmp_path / "digits.npz")
    back, made = data.read_graph(tmp_path / "digits.npz"), data.load("digits", neighbours=4).train[0]
    assert all(torch.equal(back[key], made[key]) for key in made.keys())  # noqa: SIM118
    said = data.prepare("source_localisation", out=tmp_path / "signals.npz", sizes=(30, 20, 10))
    assert said["sizes"] == {"train": 30, "val": 20, "test": 10}
    with np.load(tmp_path / "signals.npz", allow_pickle=False) as file:
        assert file["train_0_x"].shape == (30, 50, 1) and file["test_0_y"].shape == (10,)


# --- fetching ---------------------------------------------------------------------------------------------------------
def test_a_fetch_is_all_or_nothing(tmp_path, monkeypatch):
    def download_url(url, folder, log):
        if url.endswith("two"):
            raise OSError("connection reset")
        (Path(folder) / url.rpartition("/")[2]).write_text("content")

    monkeypatch.setattr(fetching, "download_url", download_url)
    problem = fetching.fetch(["https://host/one", "https://host/two"], tmp_path / "a")
    assert problem == "failed at https://host/two: OSError: connection reset" and list((tmp_path / "a").iterdir()) == []
    assert fetching.fetch(["https://host/one", "https://host/three"], tmp_path / "b") is None
    assert sorted(file.name for file in (tmp_path / "b").iterdir()) == ["one", "three"]
    (tmp_path / "file").write_text("")
    assert "cannot be written to" in fetching.fetch(["https://host/one"], tmp_path / "file")


# --- the datasets folder ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", data.DATASETS)
def test_dataset_toml_says_what_the_library_knows(name):
    folder = ROOT / "datasets" / name
    facts = tomllib.loads((folder / "dataset.toml").read_text(encoding="utf-8"))
    known = dataclasses.asdict(data.DATASETS[name].facts)
    assert facts == {"name": name, **known}
    assert (folder / "README.md").read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("name", [*MADE, "graph_process"])
def test_prepare_py_writes_the_arrays_of_the_seed(name, tmp_path, monkeypatch, capsys):
    script, out = ROOT / "datasets" / name / "prepare.py", tmp_path / "out.npz"
    monkeypatch.setattr(sys, "argv", [str(script), "--seed", "3", "--out", str(out)])
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out == f"{out}\n"
    made = data.load(name, seed=3).train[0]
    with np.load(out, allow_pickle=False) as file:
        key = "x" if "x" in file else "train_0_x"
        np.testing.assert_array_equal(file[key], made.x.numpy())


@pytest.mark.parametrize("name", FILES)
def test_prepare_py_of_a_set_of_files_names_what_is_missing(name, tmp_path, monkeypatch):
    script = ROOT / "datasets" / name / "prepare.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--root", str(tmp_path)])
    with pytest.raises(DatasetNotFoundError, match=f"{name}: no copy found"):
        runpy.run_path(str(script), run_name="__main__")
