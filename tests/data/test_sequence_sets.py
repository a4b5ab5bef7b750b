"""Sets of sequences: what a sequence is, and the text that is read as such."""

import gzip

import pytest
import torch
from torch_geometric.data import Data

from edgenet import data
from edgenet.data import tinyshakespeare
from edgenet.errors import ConfigError, DataError, ShapeError

TEXT = "".join(chr(97 + (i * i) % 26) for i in range(400))


def made(**fields):
    good = {"x": torch.zeros(3, 4, 2), "y": torch.zeros(3, 4, dtype=torch.int64), "lengths": torch.tensor([1, 4, 2])}
    return Data(**{name: value for name, value in {**good, **fields}.items() if value is not None})


def test_sequences_of_features_of_symbols_and_with_answers_for_the_whole_pass():
    for fields in (
        {},
        {"x": torch.zeros(3, 4, dtype=torch.int64)},
        {"y": torch.zeros(3), "lengths": None},
        {"x": torch.zeros(3, 4, 5, 1), "lengths": None},
        {"x": torch.zeros(3, 1, 2), "y": torch.zeros(3, 1), "lengths": torch.ones(3, dtype=torch.int64)},
    ):
        assert data.check_sequences(made(**fields)).x is not None


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"x": None}, r"sequences are an x \(S, T, F\).*got a NoneType"),
        ({"x": torch.zeros(3, 0, 2)}, r"at least one of each; got \(3, 0, 2\)"),
        ({"x": torch.zeros(0, 4, 2)}, r"got \(0, 4, 2\)"),
        ({"x": torch.zeros(3, 4)}, r"\(S, T, F\), got \(3, 4\) of torch.float32. Of one feature"),
        ({"x": torch.zeros(3, 4, dtype=torch.int32)}, "of torch.int64, got .*int32"),
        ({"x": torch.tensor([[0, 1], [2, -3], [0, 0]])}, r"x\[1, 1\] is -3, and symbols are numbered from 0"),
        ({"x": torch.full((3, 4, 2), float("nan"))}, r"x\[0, 0, 0\] is nan"),
        ({"y": torch.zeros(2)}, r"y must have 3 rows"),
        ({"y": torch.full((3,), float("inf")), "lengths": None}, r"y\[0\] is inf"),
        ({"lengths": torch.tensor([1, 0, 4])}, "sequence 1 has length 0, and there are 4 steps"),
        ({"lengths": torch.tensor([1, 2, 5])}, "sequence 2 has length 5"),
        ({"lengths": torch.tensor([1.0, 2.0, 3.0])}, r"lengths must be \(3,\) of torch.int64"),
        ({"lengths": torch.tensor([1, 2])}, r"got \(2,\)"),
    ],
)
def test_what_is_amiss_is_named(fields, says):
    with pytest.raises(ShapeError, match=says):
        data.check_sequences(made(**fields))


def test_a_data_set_says_by_what_it_is_judged_and_which_pairs_there_are():
    listed = [[made()]] * 3
    assert data.Dataset("mine", "sequence", "class", "bits", 2, 3, *listed).metric == "bits"
    assert data.Dataset("mine", "sequence", "value", "mae", 2, 1, *listed).metric == "mae"
    with pytest.raises(ValueError, match=r"class by accuracy or bits or macro_f1 .* got 'class' by 'rmse'"):
        data.Dataset("mine", "sequence", "class", "rmse", 2, 3, *listed)
    with pytest.raises(ValueError, match="node, edge, graph, signal, sequence"):
        data.Dataset("mine", "tree", "class", "accuracy", 2, 3, *listed)


# ---------------------------------------------------------------- the text
@pytest.fixture
def plays(tmp_path, monkeypatch):
    """A short text in the place of the plays."""
    monkeypatch.setattr(tinyshakespeare, "CHARACTERS", len(TEXT))
    monkeypatch.setattr(tinyshakespeare, "SYMBOLS", len(set(TEXT)))
    (tmp_path / "tinyshakespeare").mkdir()
    (tmp_path / "tinyshakespeare" / "input.txt").write_text(TEXT)
    return tmp_path


def test_the_text_is_cut_into_sequences_that_follow_one_another(plays):
    dataset = data.load("tinyshakespeare", plays, length=7)
    symbols = dataset.info["symbols"]
    assert symbols == "".join(sorted(set(TEXT))) and dataset.num_features == dataset.num_outputs == len(symbols)
    said = {}
    for split, start, stop in (("train", 0, 360), ("test", 360, 380), ("val", 380, 400)):
        piece = getattr(dataset, split)[0]
        count = (stop - start - 1) // 7
        assert piece.x.shape == piece.y.shape == (count, 7) and piece.x.dtype == torch.int64
        said[split] = "".join(symbols[code] for code in piece.x.flatten())
        assert said[split] == TEXT[start : start + 7 * count]
        after = "".join(symbols[code] for code in piece.y.flatten())
        assert after == TEXT[start + 1 : start + 1 + 7 * count]


def test_a_packed_text_is_the_same_and_another_one_is_refused(plays):
    plain = data.load("tinyshakespeare", plays, length=7)
    (plays / "tinyshakespeare.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    packed = data.load("tinyshakespeare", plays, length=7)
    assert packed.info["found"].endswith(".gz") and torch.equal(packed.train[0].x, plain.train[0].x)
    for content, says in (
        (gzip.compress(TEXT[:-1].encode()), "400 characters, 26 different|it has 399"),
        (gzip.compress((TEXT + "a").encode()), "it has more"),
        (gzip.compress(TEXT.replace("a", "b").encode()), "different ones"),
        (b"no gzip", "cannot be read"),
        (gzip.compress(b"")[:10] + b"\xff" * 30, "cannot be read"),
        (gzip.compress(b"\xff" * 400), "cannot be read"),
    ):
        (plays / "tinyshakespeare.txt.gz").write_bytes(content)
        with pytest.raises(DataError, match=says):
            data.load("tinyshakespeare", plays, length=7)


def test_a_length_out_of_range_is_named(plays):
    for length in (0, 20):
        with pytest.raises(ConfigError, match=f"length must be 1 to 19, got {length}"):
            data.load("tinyshakespeare", plays, length=length)


def test_the_real_text_is_the_known_one(real_data):
    if not (real_data / "tinyshakespeare.txt.gz").is_file():
        pytest.skip(f"no text: {real_data} has no tinyshakespeare.txt.gz")
    dataset = data.load("tinyshakespeare")
    assert dataset.train[0].x.shape == (15685, 64) and dataset.num_features == 65
    start = "".join(dataset.info["symbols"][code] for code in dataset.train[0].x.flatten()[:14])
    assert start == "First Citizen:"
    assert data.describe("tinyshakespeare")["shapes"]["train_sequences"] == 15685
