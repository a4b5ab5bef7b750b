"""Repositories of the Hugging Face hub: huggingface_hub carries edgenet's own files. A fake of it stands in here."""

import shutil
import sys
from fnmatch import fnmatch

import pytest
import torch

import edgenet
from edgenet.cli import main
from edgenet.cli.models import read_model
from edgenet.errors import CheckpointError
from edgenet.models import GraphClassifier, NodeClassifier
from edgenet.pretrained import from_pretrained, push_to_hub, save_pretrained

hub = pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A folder that is the hub. What is asked of it is noted in ``store.asked``."""

    class Store(type(tmp_path)):
        pass

    folder = Store(tmp_path / "hub")
    folder.asked = []

    class Api:
        def __init__(self, token=None):
            self.token = token

        def create_repo(self, repo_id, private, exist_ok):
            folder.asked.append((self.token, private))
            return type("Url", (), {"repo_id": repo_id})

        def upload_folder(self, repo_id, folder_path, commit_message, **options):
            shutil.copytree(folder_path, folder / repo_id, dirs_exist_ok=True)
            return f"https://hub/{repo_id}"

    def one(repo_id, filename, **options):
        if not (folder / repo_id).is_dir():
            raise OSError("404 of the fake")
        return str(folder / repo_id / filename)

    def snapshot(name, allow_patterns, **options):
        folder.asked.append(options["revision"])
        copy = tmp_path / "cache" / name
        shutil.copytree(folder / name, copy, dirs_exist_ok=True, ignore=lambda _, names: [
            n for n in names if not any(fnmatch(n, p) for p in allow_patterns)
        ])  # fmt: skip
        return str(copy)

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Api)
    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", one)
    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    return folder


def same(model, again):
    mine, its = model.state_dict(), again.state_dict()
    assert mine.keys() == its.keys() and all(torch.equal(value, its[name]) for name, value in mine.items())


def test_a_model_goes_to_the_hub_and_comes_from_it(store):
    model = NodeClassifier(5, 3, hidden_channels=4)
    assert model.push_to_hub("me/model", private=True, token="secret") == "https://hub/me/model"
    assert store.asked == [("secret", True)]
    assert sorted(f.name for f in (store / "me/model").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    (store / "me/model/run.py").write_text("not wanted")
    same(model, NodeClassifier.from_pretrained("me/model", revision="v1"))
    same(model, edgenet.from_pretrained("me/model"))
    assert store.asked[1:] == ["v1", None]
    with pytest.raises(CheckpointError, match="holds a NodeClassifier, no GraphClassifier"):
        GraphClassifier.from_pretrained("me/model")


def test_any_module_goes_there(store):
    model = torch.nn.Sequential(torch.nn.Linear(3, 2))
    push_to_hub(model, "me/plain")
    same(model, from_pretrained("me/plain"))


def test_the_command_line_takes_the_name_of_a_repository(store, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = NodeClassifier(5, 3, hidden_channels=4)
    model.push_to_hub("me/model")
    same(model, read_model("me/model"))
    assert main(["report", "me/model"]) == 0 and "convs.0" in capsys.readouterr().out
    assert main(["report", "me/other"]) == 2
    assert "me/other: no such folder, and nothing came from the hub: 404 of the fake" in capsys.readouterr().err


def test_a_folder_of_that_name_comes_first_and_has_no_revision(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2))
    save_pretrained(model, "me/model")
    same(model, from_pretrained("me/model"))
    assert not store.asked
    with pytest.raises(CheckpointError, match="is a folder here, and revision is for a repository"):
        from_pretrained("me/model", revision="v1")


@pytest.mark.parametrize("name", ["nowhere", "../a/b", "/a", "a/b/c", "a/..", "~/a", "a/ b"])
def test_what_can_be_no_repository_is_not_asked_for(name, store):
    with pytest.raises(CheckpointError, match="no such folder, and no name of a repository"):
        from_pretrained(name)
    assert not store.asked


def test_without_huggingface_hub_the_text_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match="pip install huggingface_hub"):
        NodeClassifier(5, 3, hidden_channels=4).push_to_hub("me/model")
    with pytest.raises(CheckpointError, match=r"me/model: no such folder.*pip install huggingface_hub"):
        from_pretrained("me/model")
