"""Frame labels: every column of every digit is there once, in order, beside its label."""

import pytest
import torch

from edgenet import data
from edgenet.data import frame_labels
from edgenet.data import mnist as reading
from edgenet.errors import ConfigError, DatasetNotFoundError

pytestmark = pytest.mark.float32  # as it is measured


def image(first, last, grey):
    """Ink from one column to another, each with a grey of its own."""
    made = torch.zeros(28, 28)
    made[5:9, first : last + 1] = (grey + torch.arange(last - first + 1)) / 100
    return made


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that holds three digits of each split, of 4, 1 and 2 columns, and one without ink."""
    images = torch.stack([image(3, 6, 10), image(27, 27, 20), image(0, 1, 30), torch.zeros(28, 28)])
    split = torch.utils.data.TensorDataset(images[:, None] * 2 - 1, torch.tensor([7, 2, 0, 5]))
    monkeypatch.setattr(frame_labels, "read", lambda _: reading.Digits(split, split, split))
    monkeypatch.setattr(frame_labels, "find", lambda _: tmp_path)
    return images


def test_frames_are_the_columns_with_ink_and_their_labels_the_digits(folder):
    made = data.load("frame_labels", digits=2, seed=3)
    columns = {7: folder[0].t()[3:7], 2: folder[1].t()[27:], 0: folder[2].t()[:2], 5: folder[3].t()[:1]}
    seen = []
    for split in (made.train[0], made.val[0], made.test[0]):
        assert split.x.shape[0] == 2 and split.x.shape[1] == int(split.lengths.max())
        for x, y, length in zip(split.x, split.y, split.lengths.tolist(), strict=True):
            digits = [int(d) for d in torch.unique_consecutive(y[:length])]
            wanted = torch.cat([columns[d] for d in digits])
            torch.testing.assert_close(x[:length], wanted, rtol=0, atol=1e-6)  # pixels went through [-1, 1] in float32
            assert [int((y[:length] == d).sum()) for d in digits] == [len(columns[d]) for d in digits]
            assert not x[length:].any()
            seen += digits
    assert sorted(seen) == sorted([0, 2, 5, 7] * 3)  # each once in every split


def test_the_seed_draws_which_digits_stand_beside_each_other(folder):
    orders = {tuple(data.load("frame_labels", digits=4, seed=seed).train[0].y[0].tolist()) for seed in range(8)}
    assert len(orders) > 2
    one, two = (data.load("frame_labels", digits=4, seed=1).test[0] for _ in range(2))
    assert torch.equal(one.x, two.x) and torch.equal(one.y, two.y)


def test_what_fills_no_sequence_is_left_out_and_squares_become_their_mean(folder):
    made = data.load("frame_labels", digits=3, side=14)
    assert made.train[0].x.shape[0] == 1 and made.train[0].x.shape[2] == made.num_features == 14
    alone = data.load("frame_labels", digits=1, side=14).train[0]
    widths = dict(zip(alone.y[:, 0].tolist(), alone.lengths.tolist(), strict=True))
    assert widths == {7: 3, 2: 1, 0: 1, 5: 1}  # columns 3 to 6 are in three pairs


def test_options_out_of_range_and_files_that_are_not_there_are_named(folder, tmp_path, monkeypatch):
    for side in (0, 5):
        with pytest.raises(ConfigError, match=f"1, 2, 4, 7, 14, 28; got {side}"):
            data.load("frame_labels", side=side)
    for digits in (0, 5):
        with pytest.raises(ConfigError, match=f"digits must be 1 to 4, the images of train; got {digits}"):
            data.load("frame_labels", digits=digits)
    monkeypatch.undo()
    monkeypatch.setenv("EDGENET_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DatasetNotFoundError, match="frame_labels"):
        data.load("frame_labels")


def test_the_facts_are_those_of_the_data(data_root):
    if not (data_root / "mnist").is_dir():
        pytest.skip(f"no digits: {data_root} has no mnist")
    made, shapes = data.load("frame_labels", data_root), data.describe("frame_labels")["shapes"]
    sizes = {f"{split}_sequences": len(getattr(made, split)[0].y) for split in ("train", "val", "test")}
    assert shapes == {"steps": made.train[0].x.shape[1], "features": 28, "outputs": 10, **sizes}
    assert set(made.test[0].y.unique().tolist()) == set(range(10))
