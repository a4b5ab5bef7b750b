"""Tiny Shakespeare: a million characters of plays, of which the next one is to be foretold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.data import Data

from edgenet import reading
from edgenet.data import finding
from edgenet.data.dataset import Dataset
from edgenet.data.facts import FACTS as KNOWN
from edgenet.data.places import Place
from edgenet.data.sequences import check_sequences
from edgenet.errors import ConfigError, DataError

CHARACTERS, SYMBOLS = 1_115_394, 65
SPLIT = ("first 90 % of the characters train, the next 5 % test, the last 5 % val", 0.9, 0.95)

FACTS = KNOWN["tinyshakespeare"]
_BUDGET = reading.Budget(bytes=8 << 20)


def make(where: Sequence[Place], *, length: int = 64) -> Dataset:
    """The text as symbols, cut into sequences that follow one another: y is x one character later.

    x and y of a split, flattened, are its text again, which ``edgenet.train.Streams`` reads on from sequence to
    sequence. The characters after the last whole sequence of a split are left out.

    Args:
        where: folders to look in for the text, plain or packed by gzip.
        length: T, characters of a sequence.

    Returns:
        x and y (S, T) int64. ``info["symbols"]`` is the characters in order of their numbers, which is that of their
        codes.

    Raises:
        ConfigError: if a split is shorter than one sequence.
        DatasetNotFoundError: no folder has the text.
        DataError: it is no UTF-8 text, or another one.
    """
    path = find(where)
    text = read_text(path)
    symbols = "".join(sorted(set(text)))
    number = {character: place for place, character in enumerate(symbols)}
    codes = torch.tensor([number[character] for character in text])
    first, second = (int(share * len(text)) for share in SPLIT[1:])
    pieces = {"train": codes[:first], "val": codes[second:], "test": codes[first:second]}
    shortest = min(len(piece) for piece in pieces.values()) - 1
    if not 1 <= length <= shortest:
        raise ConfigError(f"tinyshakespeare: length must be 1 to {shortest}, got {length}.")
    lists = {split: [check_sequences(windows(piece, length), split)] for split, piece in pieces.items()}
    info = {
        "source": FACTS.source,
        "licence": FACTS.licence,
        "split": FACTS.split,
        "seed": None,
        "normalisation": "none",
        "symbols": symbols,
        "found": str(path),
        "warnings": [],
    }
    sizes = len(symbols), len(symbols)
    return Dataset("tinyshakespeare", "sequence", "class", "bits", *sizes, *lists.values(), info)


def windows(codes: Tensor, length: int) -> Data:
    """Sequences x (S, length) one after the other, and y (S, length) what follows each symbol."""
    count = (len(codes) - 1) // length
    kept = count * length
    return Data(x=codes[:kept].view(count, length), y=codes[1 : kept + 1].reshape(count, length))


def find(where: Sequence[Place]) -> Path:
    """The file of the text."""
    return finding.find("tinyshakespeare", where)


def read_text(path: Path) -> str:
    """The text of a file, plain or packed; never more of it is unpacked than the text is long.

    Raises:
        DataError: if it cannot be read, or is another text.
    """
    try:
        text = reading.read_gzip(path, DataError, _BUDGET, CHARACTERS + 1).decode("utf-8")
    except ValueError as error:
        raise DataError(f"{path}: cannot be read: {error}. {FACTS.how_to_get}") from error
    if len(text) != CHARACTERS or len(set(text)) != SYMBOLS:
        raise DataError(
            f"{path}: wanted are {CHARACTERS:,} characters, {SYMBOLS} different ones; it has "
            f"{'more' if len(text) > CHARACTERS else f'{len(text):,}'}, and {len(set(text))} different ones. "
            f"{FACTS.how_to_get}"
        )
    return text
