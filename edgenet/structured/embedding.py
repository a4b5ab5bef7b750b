"""StructuredEmbedding: a table of vectors whose weight is any structured matrix."""

from __future__ import annotations

from torch import Tensor, nn

from edgenet.errors import ShapeError
from edgenet.structured.base import StructuredMatrix
from edgenet.structured.read import read_rows


class StructuredEmbedding(nn.Module):
    """Row ``index`` of W, with W in a slot.

    Args:
        weight: the structured matrix W, (entries, channels). Read by ``rows``, so most families never build it.
        padding_idx: the entry that is all zeros and gets no gradient, as in ``torch.nn.Embedding``; negative ones count
            from the end.

    Raises:
        ShapeError: if there is no such entry.

    Example:
        >>> table = edgenet.structured.StructuredEmbedding(edgenet.structured.TensorTrain.random((1000, 16), rank=2))
        >>> table(torch.tensor([[1, 2, 999]])).shape
        torch.Size([1, 3, 16])
    """

    def __init__(self, weight: StructuredMatrix, padding_idx: int | None = None) -> None:
        super().__init__()
        entries = weight.shape[0]
        if padding_idx is not None and not -entries <= padding_idx < entries:
            raise ShapeError(f"padding_idx is one of {entries} entries, got {padding_idx}.")
        self.weight, self.padding_idx = weight, None if padding_idx is None else padding_idx % entries

    def forward(self, index: Tensor) -> Tensor:
        """(...) whole numbers -> (..., channels)."""
        y = read_rows(self.weight, index.flatten()).reshape(*index.shape, self.weight.shape[1])
        if self.padding_idx is None:
            return y
        return y.masked_fill((index == self.padding_idx).unsqueeze(-1), 0)

    def extra_repr(self) -> str:
        return "" if self.padding_idx is None else f"padding_idx={self.padding_idx}"
