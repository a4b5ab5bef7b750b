"""StructuredEmbedding: rows of a structured matrix by their numbers, as torch's Embedding has it."""

import pytest
import torch

from edgenet.errors import ShapeError
from edgenet.structured import Dense, Kronecker, StructuredEmbedding


@pytest.mark.parametrize("padding_idx", [None, 0, 4, -1, -5])
def test_it_is_torchs_embedding(padding_idx):
    theirs = torch.nn.Embedding(5, 3, padding_idx=padding_idx)
    ours = StructuredEmbedding(Dense(theirs.weight), padding_idx)
    index = torch.tensor([[0, 4], [2, 4]])
    torch.testing.assert_close(ours(index), theirs(index))
    ours(index).sum().backward(), theirs(index).sum().backward()
    torch.testing.assert_close(ours.weight.weight.grad, theirs.weight.grad)


@pytest.mark.parametrize("index", [7, -8])
def test_an_entry_that_is_not_there_is_refused(index):
    table = StructuredEmbedding(Kronecker.random((7, 4)))  # padded to 8 rows
    with pytest.raises(IndexError):
        table(torch.tensor([index]))


@pytest.mark.parametrize("padding_idx", [5, -6])
def test_padding_that_is_not_there_is_refused(padding_idx):
    with pytest.raises(ShapeError, match=f"one of 5 entries, got {padding_idx}"):
        StructuredEmbedding(Dense(torch.ones(5, 3)), padding_idx)
