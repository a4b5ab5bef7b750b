"""The digits that benches read: sizes are checked, nothing is unpickled, and the split does not change."""

import gzip

import numpy as np
import pytest
import torch

from edgenet.bench.results import mnist as reading
from edgenet.bench.results.mnist import mnist
from edgenet.errors import DataError, DatasetNotFoundError

pytestmark = pytest.mark.float32  # as it is measured


def idx(array):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The three files, of few images, no two of which are alike."""
    for name, value in (("TRAIN", 20), ("TEST", 6), ("HELD_OUT", 5)):
        monkeypatch.setattr(reading, name, value)
    draw = np.random.default_rng(0)
    y = np.arange(20, dtype=np.uint8) % 10
    x = draw.integers(0, 256, (20, 28, 28), dtype=np.uint8)
    x[:, 0, 0] = np.arange(20)  # says which image it is
    np.savez(tmp_path / reading.TRAINING, x=x, y=y)
    (tmp_path / reading.IMAGES).write_bytes(gzip.compress(idx(draw.integers(0, 256, (6, 28, 28), dtype=np.uint8))))
    (tmp_path / reading.LABELS).write_bytes(gzip.compress(idx(np.array([7, 2, 1, 0, 4, 9], dtype=np.uint8))))
    return tmp_path


def numbers(split):
    """Which training images these are."""
    return ((split.tensors[0][:, 0, 0, 0] + 1) * 127.5).round().int().tolist()


def test_training_images_are_parted_once_and_for_all_and_keep_their_classes(folder):
    first, second = mnist(folder), mnist(folder)
    assert sorted(numbers(first.train) + numbers(first.val)) == list(range(20))
    assert len(first.val) == 5 and numbers(first.val) == numbers(second.val)
    for split in (first.train, first.val):
        assert [number % 10 for number in numbers(split)] == split.tensors[1].tolist()
    assert first.test.tensors[1].tolist() == [7, 2, 1, 0, 4, 9]


def test_pixels_go_from_minus_one_to_one(folder):
    content = np.zeros((6, 28, 28), dtype=np.uint8)
    content[:, 3, 4] = 255
    (folder / reading.IMAGES).write_bytes(gzip.compress(idx(content)))
    x = mnist(folder).test.tensors[0]
    assert x.shape == (6, 1, 28, 28) and x.dtype == torch.float32
    assert x[:, 0, 3, 4].eq(1).all() and x.sum() == 6 * (2 - 28 * 28)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (reading.IMAGES, gzip.compress(idx(np.zeros((5, 28, 28), np.uint8))), "no idx file of 6 x 28 x 28"),
        (reading.IMAGES, gzip.compress(idx(np.zeros((6, 28, 28), np.uint8)) + b"1"), "no idx file"),
        (reading.IMAGES, gzip.compress(idx(np.zeros((6, 28, 28), np.uint8)))[:-9], "cannot be read"),
        (reading.IMAGES, b"no gzip", "cannot be read"),
        (reading.LABELS, gzip.compress(idx(np.full(6, 10, np.uint8))), "class 10"),
        (reading.TRAINING, b"no archive", "cannot be read"),
    ],
)
def test_files_of_another_content_are_refused(folder, name, content, says):
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=says) as error:
        mnist(folder)
    assert name in str(error.value) and "LeCun" in str(error.value)


def test_arrays_of_another_shape_or_kind_are_refused_and_no_pickle_is_read(folder):
    good = {"x": np.zeros((20, 28, 28), np.uint8), "y": np.zeros(20, np.uint8)}
    wrong = [{"x": good["x"][:19]}, {"y": good["y"].astype(np.int64)}, {"y": np.array([None] * 20, dtype=object)}]
    for changes in wrong:
        np.savez(folder / reading.TRAINING, **{**good, **changes})
        with pytest.raises(DataError, match=reading.TRAINING):
            mnist(folder)
    np.savez(folder / reading.TRAINING, x=good["x"])
    with pytest.raises(DataError, match="wants y"):
        mnist(folder)


def test_missing_files_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("EDGENET_DATA", raising=False)
    with pytest.raises(DatasetNotFoundError, match=r"t10k-images.*LeCun|LeCun"):
        mnist(tmp_path)


def test_the_real_files_hold_what_they_should(data_root):
    if not (data_root / "mnist" / reading.TRAINING).is_file():
        pytest.skip(f"no digits: {data_root / 'mnist'} has no {reading.TRAINING}")
    data = mnist(data_root)
    assert [len(split) for split in (data.train, data.val, data.test)] == [4000, 1000, 10000]
    assert data.test.tensors[1].bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
