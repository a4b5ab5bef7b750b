"""Speed of recurrent networks: structured LSTMs beside dense ones, without gradients and in training."""

from __future__ import annotations

from edgenet.bench.speed import packed

#: modules with ``cases() -> list[Case]``: what the section is called
MODULES = {
    "edgenet.bench.speed.recurrent_inference": "Doped Kronecker LSTMs without gradients",
    "edgenet.bench.speed.recurrent_training": "A training step",
}
_READING = (
    "*Rows* are the sequences of a batch. Doped rows: the dopant is packed (`Csr`), and the share of the dense numbers "
    "that base and dopant keep is in the row; every matrix has it. Training: 64 steps, 32 sequences, input and hidden "
    "128, forward and backward of a mean square; the first baseline is `torch.nn.LSTM` or `GRU` with dense weights."
)


LIMITS = packed.LIMITS
claim = packed.claim


def results() -> list[packed.Record]:
    """Every job with its result."""
    return packed.results(modules=MODULES)


def parts(found: list[packed.Record]) -> list[str]:
    """The page's paragraphs and tables."""
    method, *tables = packed.parts(found)
    return [method, _READING, *tables]
