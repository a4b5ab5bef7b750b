"""Handwritten digits: sizes are checked, nothing is unpickled, the split does not change; and pixel by pixel."""

import gzip

import numpy as np
import pytest
import torch

from edgenet import data
from edgenet.data import mnist as reading
from edgenet.data.mnist import mnist
from edgenet.errors import ConfigError, DataError, DatasetNotFoundError

pytestmark = pytest.mark.float32  # as it is measured


def _packed(data):
    """The same bytes whenever they are made, for they name tests."""
    return gzip.compress(data, mtime=0)


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
    (tmp_path / reading.IMAGES).write_bytes(_packed(idx(draw.integers(0, 256, (6, 28, 28), dtype=np.uint8))))
    (tmp_path / reading.LABELS).write_bytes(_packed(idx(np.array([7, 2, 1, 0, 4, 9], dtype=np.uint8))))
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
    (folder / reading.IMAGES).write_bytes(_packed(idx(content)))
    x = mnist(folder).test.tensors[0]
    assert x.shape == (6, 1, 28, 28) and x.dtype == torch.float32
    assert x[:, 0, 3, 4].eq(1).all() and x.sum() == 6 * (2 - 28 * 28)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (reading.IMAGES, _packed(idx(np.zeros((5, 28, 28), np.uint8))), "no idx file of 6 x 28 x 28"),
        (reading.IMAGES, _packed(idx(np.zeros((6, 28, 28), np.uint8)) + b"1"), "no idx file"),
        (reading.IMAGES, _packed(idx(np.zeros((6, 28, 28), np.uint8)))[:-9], "cannot be read"),
        (reading.IMAGES, b"no gzip", "cannot be read"),
        (reading.LABELS, _packed(idx(np.full(6, 10, np.uint8))), "class 10"),
        (reading.TRAINING, b"no archive", "no whole .npz"),
        (reading.IMAGES, _packed(b"")[:10] + b"\xff" * 30, "cannot be read"),
        (reading.TRAINING, b"PK\x03\x04 cut", "no whole .npz"),
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
    digits = mnist(data_root)
    assert [len(split) for split in (digits.train, digits.val, digits.test)] == [4000, 1000, 10000]
    assert digits.test.tensors[1].bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


# ---------------------------------------------------------------- pixel by pixel
def test_pixels_come_one_by_one_line_by_line(folder):
    plain = data.load("pixel_mnist", folder, permuted=False).train[0]
    images, classes = mnist(folder).train.tensors
    assert plain.x.shape == (15, 196, 1) and plain.x.dtype == torch.float32 and torch.equal(plain.y, classes)
    squares = (images[:, 0].unflatten(1, (14, 2)).unflatten(3, (14, 2)).mean((2, 4)) + 1) / 2
    torch.testing.assert_close(plain.x[:, :, 0], squares.flatten(1), rtol=0, atol=1e-6)  # float32 pixels
    assert data.load("pixel_mnist", folder, side=7).val[0].x.shape == (5, 49, 1)
    for side in (0, 5, 29):
        with pytest.raises(ConfigError, match=f"1, 2, 4, 7, 14, 28; got {side}"):
            data.load("pixel_mnist", folder, side=side)


def test_the_order_of_pixels_is_drawn_by_the_seed_and_is_that_of_all_images(folder):
    one, two, other = (data.load("pixel_mnist", folder, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.test[0].x, two.test[0].x) and not torch.equal(one.test[0].x, other.test[0].x)
    places = torch.from_numpy(np.random.default_rng(3).permutation(196))
    plain = data.load("pixel_mnist", folder, permuted=False)
    for split in ("train", "val", "test"):
        assert torch.equal(getattr(one, split)[0].x, getattr(plain, split)[0].x[:, places])


def test_the_facts_of_pixel_mnist_are_those_of_the_data(data_root):
    if not (data_root / "mnist").is_dir():
        pytest.skip(f"no digits: {data_root} has no mnist")
    dataset, shapes = data.load("pixel_mnist", data_root), data.describe("pixel_mnist")["shapes"]
    sizes = {f"{split}_sequences": len(getattr(dataset, split)[0].y) for split in ("train", "val", "test")}
    assert shapes == {"steps": dataset.train[0].x.shape[1], "features": 1, "outputs": 10, **sizes}
