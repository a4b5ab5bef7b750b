"""Checkpoints come back as they were, and what is no checkpoint is refused without running anything."""

import json
import os
import pickle
import random
import signal
import time
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from edgenet import checkpoint
from edgenet.errors import CheckpointError

STATE = {
    "text": "ä\n",
    "numbers": [1, -0.1, 1e-300, 2**60, True, None],
    "tensors": {"a/b": torch.arange(6).reshape(2, 3), "half": torch.tensor([0.1], dtype=torch.bfloat16)},
    "tuple": (1, (torch.tensor(3.5, dtype=torch.float64), "x")),
    "by number": {0: {"step": torch.tensor(2.0)}, 1: {}},
    "empty": {"list": [], "dict": {}, "tensor": torch.empty(0, 3)},
    "infinite": float("-inf"),
}


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@pytest.fixture
def file(tmp_path):
    checkpoint.save(tmp_path / "state.pt", STATE)
    return tmp_path / "state.pt"


def test_a_nested_state_comes_back_as_it_was(file):
    assert same(checkpoint.load(file), STATE)


def test_the_file_is_plain_tensors_and_json_which_torch_alone_can_read(file):
    content = torch.load(file, weights_only=True)
    assert content["format"] == checkpoint.FORMAT and json.loads(content["json"])["text"] == "ä\n"
    assert all(type(value) is torch.Tensor for value in content["tensors"].values())


def test_a_view_is_stored_without_the_tensor_it_looks_into(tmp_path):
    checkpoint.save(tmp_path / "a.pt", {"row": torch.randn(1000, 1000)[3]})
    assert (tmp_path / "a.pt").stat().st_size < 100_000


def test_optimizer_state_comes_back_bit_by_bit(tmp_path):
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, betas=(0.8, 0.9))
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    checkpoint.save(tmp_path / "o.pt", optimizer.state_dict())
    assert same(checkpoint.load(tmp_path / "o.pt"), optimizer.state_dict())


def test_every_source_of_random_numbers_goes_on_where_it_was(tmp_path):
    generator = torch.Generator().manual_seed(3)

    def draw():
        return [
            torch.randn(3).tolist(), np.random.rand(3).tolist(), np.random.randn(1).tolist(), random.random(),
            random.gauss(0, 1), torch.randperm(5, generator=generator).tolist(),
        ]  # fmt: skip

    draw()
    checkpoint.save(tmp_path / "r.pt", checkpoint.random_state({"shuffle": generator}))
    first = draw()
    checkpoint.set_random_state(checkpoint.load(tmp_path / "r.pt"), {"shuffle": generator})
    assert draw() == first


@pytest.mark.parametrize("value", [object(), {"a": {1, 2}}, [lambda: 0], {"x": np.zeros(2)}, {("a",): 1}])
def test_what_is_neither_tensor_nor_json_is_refused_when_saving(tmp_path, value):
    with pytest.raises(CheckpointError, match=r"a checkpoint holds|not all text or numbers"):
        checkpoint.save(tmp_path / "bad.pt", value)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(file, monkeypatch):
    before = file.read_bytes()

    def half(content, stream):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(file, {"new": 1})
    assert file.read_bytes() == before and list(file.parent.iterdir()) == [file]


def test_a_file_is_replaced_and_not_written_over(file):
    with file.open("rb") as reader:
        before = file.read_bytes()
        checkpoint.save(file, {"new": 1})
        assert reader.read() == before  # who has the old one open reads it to its end
    assert checkpoint.load(file) == {"new": 1}


def test_a_kill_while_writing_leaves_a_whole_file(tmp_path):
    file = tmp_path / "state.pt"
    checkpoint.save(file, {"number": -1, "tensor": torch.zeros(200_000)})
    for wait in (0.02, 0.05, 0.09):
        child = os.fork()
        if child == 0:
            number = 0
            while True:
                checkpoint.save(file, {"number": number, "tensor": torch.full((200_000,), float(number))})
                number += 1
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        state = checkpoint.load(file)
        assert (state["tensor"] == max(0, state["number"])).all()


def test_a_file_cut_anywhere_is_refused_by_name(file):
    whole = file.read_bytes()
    for length in [0, 1, 10, len(whole) // 3, len(whole) // 2, len(whole) - 40, len(whole) - 1]:
        file.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=rf"{file.name}: no whole file of torch.save .{length} bytes"):
            checkpoint.load(file)


def test_a_flipped_bit_in_a_tensor_is_found(tmp_path):
    file = tmp_path / "state.pt"
    checkpoint.save(file, {"x": torch.full((64,), 3.0)})
    whole = bytearray(file.read_bytes())
    at = whole.index(torch.full((64,), 3.0).numpy().tobytes())
    whole[at + 5] ^= 1
    file.write_bytes(bytes(whole))
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(file)


class Bomb:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_malicious_pickle_is_refused_and_nothing_runs(tmp_path, legacy):
    file, mark = tmp_path / "model.pt", tmp_path / "it-ran"
    content = {"format": 1, "json": "{}", "tensors": {}, "more": Bomb(mark)}
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"model\.pt.*(nothing in it was run|Nothing in it was run)"):
        checkpoint.load(file)
    assert not mark.exists()
    torch.load(file, weights_only=False)  # the bomb is a bomb
    assert mark.exists()


def test_a_bare_pickle_and_a_script_archive_are_refused(tmp_path):
    file = tmp_path / "model.pt"
    file.write_bytes(pickle.dumps(Bomb(tmp_path / "it-ran")))
    with pytest.raises(CheckpointError, match=r"no whole file of torch\.save"):
        checkpoint.load(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/constants.pkl", b"")
    with pytest.raises(CheckpointError, match=r"model\.pt: damaged"):
        checkpoint.load(file)
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize(
    "content, says",
    [
        ({"weight": torch.zeros(2)}, "not an edgenet checkpoint"),
        (torch.zeros(2), "not an edgenet checkpoint"),
        ({"format": 99, "version": "7.0", "json": "{}", "tensors": {}}, r"format version 99 \(written by edgenet 7"),
        ({"format": torch.ones(2), "json": "{}", "tensors": {}}, "has format version a Tensor"),
        ({"format": True, "json": "{}", "tensors": {}}, "has format version True"),
        ({"format": 1, "json": "[" * 100_000 + "]" * 100_000, "tensors": {}}, "100000 deep"),
        ({"format": 1, "json": '{"$tensor": [1]}', "tensors": {}}, "its text does not fit"),
        ({"format": 1}, "lacks its text or its tensors"),
        ({"format": 1, "json": "{", "tensors": {}}, "its text: damaged, it is no JSON"),
        ({"format": 1, "json": '{"a": {"$tensor": "b"}}', "tensors": {}}, "its text does not fit"),
        ({"format": 1, "json": "{}", "tensors": {"a": 3}}, "not plain tensors"),
    ],
)
def test_another_format_or_version_is_refused(tmp_path, content, says):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=rf"x\.pt: .*{says}"):
        checkpoint.load(tmp_path / "x.pt")


def test_a_compressed_archive_is_refused_before_it_is_unpacked(file, monkeypatch):
    with zipfile.ZipFile(file) as archive:
        members = {item.filename: archive.read(item) for item in archive.infolist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    with pytest.raises(CheckpointError, match=r"state\.pt: refused, .* is compressed"):
        checkpoint.load(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.pt: no such file"):
        checkpoint.load(tmp_path / "gone.pt")


def test_a_state_of_another_shape_names_file_and_tensor():
    with pytest.raises(CheckpointError, match=r"run/model\.pt: does not fit this Linear: size mismatch for weight"):
        checkpoint.load_model_state(nn.Linear(3, 2), nn.Linear(4, 2).state_dict(), "run/model.pt")
    with pytest.raises(CheckpointError, match="Missing key"):
        checkpoint.load_model_state(nn.Linear(3, 2), {}, "run/model.pt")
    for state in ([1], {1: torch.zeros(1)}, {"weight": 3}, None):
        with pytest.raises(CheckpointError, match="does not fit this Linear"):
            checkpoint.load_model_state(nn.Linear(3, 2), state, "run/model.pt")
