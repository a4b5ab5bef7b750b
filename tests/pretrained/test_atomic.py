"""A model is replaced at once: whoever kills the writer, at whatever step, leaves the old model or the new one."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from edgenet.compress import compress_
from edgenet.errors import CheckpointError
from edgenet.models import NodeClassifier
from edgenet.pretrained import folder as files
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.pretrained.short_tree import lengthened, shortened

OLD = Path(__file__).parent / "format_1"


def model_of(number):
    model = nn.Sequential(nn.Linear(3, 2, bias=False))
    nn.init.constant_(model[0].weight, number)
    return model


def number_in(folder):
    (number,) = set(from_pretrained(folder)[0].weight.flatten().tolist())
    return number


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def killer(root, left):
    """An audit hook that ends the process before it touches a file of a folder once more than so many times."""

    def watch(event, arguments):
        nonlocal left
        paths = [os.fsdecode(a) for a in arguments if isinstance(a, str | bytes | os.PathLike)]
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.chmod") and any(root in path for path in paths):
            left -= 1
            if left < 0:
                os._exit(9)  # without a finally, as by kill -9

    return watch


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked to be killed")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_writer_that_is_killed_at_any_step_leaves_the_old_model_or_the_new_one(tmp_path):
    """Python tells an audit hook of every file that is opened, renamed or removed; one of them is the last."""
    found, last = [], 0
    for save in range(60):
        folder = tmp_path / str(save)
        save_pretrained(model_of(1), folder)
        child = os.fork()
        if child == 0:
            sys.addaudithook(killer(str(folder), save))
            try:
                save_pretrained(model_of(2), folder)
            finally:
                os._exit(0)
        last = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found.append(number_in(folder))
        save_pretrained(model_of(3), folder)  # what was left behind is no hindrance, and goes
        assert number_in(folder) == 3 and len(names(folder)) == 3, names(folder)
        if last == 0:
            break
    assert last == 0 and len(found) > 8, "every step had its turn"
    assert found == sorted(found) and set(found) == {1.0, 2.0}


def test_a_model_over_another_has_tensors_of_another_name_and_the_old_ones_go(tmp_path):
    for number in (1, 2, 3, 3):
        save_pretrained(model_of(number), tmp_path)
        tensors = [name for name in names(tmp_path) if name.endswith(".safetensors")]
        assert tensors == [json.loads((tmp_path / "config.json").read_text())["file"]]
        assert number_in(tmp_path) == number
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "model-00001-of-00002.safetensors").write_text("another's")
    save_pretrained(model_of(4), tmp_path)
    assert {"notes.txt", "model-00001-of-00002.safetensors"} <= set(names(tmp_path))


def test_no_link_is_followed(tmp_path):
    outside = tmp_path / "outside"
    save_pretrained(model_of(1), outside)
    before = {file.name: file.read_bytes() for file in outside.iterdir()}
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in before:  # as in a cache of the hub
        (folder / name).symlink_to(outside / name)
    assert number_in(folder) == 1
    save_pretrained(model_of(2), folder)
    assert number_in(folder) == 2 and not any(file.is_symlink() for file in folder.iterdir())
    assert {file.name: file.read_bytes() for file in outside.iterdir()} == before
    (tmp_path / "link").symlink_to(outside)
    with pytest.raises(CheckpointError, match=r"is a symbolic link, which is not followed\. Save into .*outside"):
        save_pretrained(model_of(2), tmp_path / "link")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="is a symbolic link"):
        save_pretrained(model_of(2), tmp_path / "dangling")
    assert number_in(outside) == 1 and not (tmp_path / "nowhere").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file/model"):
        with pytest.raises(CheckpointError, match="is to be a folder, and cannot be made"):
            save_pretrained(model_of(1), folder)


def test_a_reader_that_is_overtaken_reads_the_new_model(tmp_path, monkeypatch):
    save_pretrained(model_of(1), tmp_path)
    reads, saved = files.check_index, []

    def overtaken(*arguments):
        if not saved:
            saved.append(save_pretrained(model_of(2), tmp_path))
        return reads(*arguments)

    monkeypatch.setattr(files, "check_index", overtaken)
    assert number_in(tmp_path) == 2


def test_a_config_of_another_model_does_not_fit_the_tensors(tmp_path):
    save_pretrained(model_of(1), tmp_path / "a")
    save_pretrained(model_of(2), tmp_path / "b")
    (tmp_path / "a/config.json").write_bytes((tmp_path / "b/config.json").read_bytes())
    with pytest.raises(CheckpointError, match="its checksum differs"):
        from_pretrained(tmp_path / "a")


def test_folders_of_the_first_format_are_read_and_replaced(tmp_path):
    again, x = from_pretrained(OLD), torch.arange(12.0).float().view(2, 6) / 10
    torch.testing.assert_close(again(x), torch.load(OLD / "output.pt", weights_only=True))
    assert json.loads((OLD / "config.json").read_text())["format"] == 1
    for file in OLD.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    save_pretrained(again, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["format"] == 2
    assert torch.equal(from_pretrained(tmp_path)(x), again(x))


def test_a_tree_in_short_is_the_tree():
    node = lambda kind, **options: {"class": kind, "arguments": options}  # noqa: E731
    low = {"structure": "low_rank", "config": {"rank": 2}}
    tree = {
        **node("net", a=1),
        "children": {
            "0": {**node("conv", heads=8, bias=True), "behind": {"w": low}},
            "1": {**node("conv", heads=1, bias=True), "children": {"x": None, "y": node("conv", heads=8)}},
            "2": node("conv", heads=8.0, bias=1),  # equal in value and not in kind
            "3": low,
            "4": node("relu"), "5": node("relu"), "6": {"same": "4"}, "7": {"class": "conv"},
        },
    }  # fmt: skip
    short = shortened(tree)
    assert repr(lengthened(json.loads(json.dumps(short)))) == repr(tree)
    assert short["children"]["1"]["arguments"] == {"heads": 1} and short["children"]["3"]["config"] == {}
    assert short["children"]["1"]["children"]["y"]["arguments"] == {"heads": 8}  # it has other arguments


def test_what_is_told_beside_the_tensors_is_short(tmp_path):
    model = NodeClassifier(1433, 7, layer="gat", hidden_channels=8, heads=8)
    compress_(model, {".*lift": {"structure": "low_rank", "rank": 2, "bits": 4}})
    save_pretrained(model, tmp_path)
    assert (tmp_path / "config.json").stat().st_size < 3300  # 7199 in the first format
