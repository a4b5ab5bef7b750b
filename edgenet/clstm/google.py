"""The Google LSTM of C-LSTM: its sizes, what it stores at every block size, and what was published of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgenet.clstm.operators import LstmShape

#: Of the TIMIT experiments: two layers of 1,024 cells, projected to 512; 153 features a frame, 61 phones.
LAYERS = (LstmShape(153, 1024, 512, peepholes=True), LstmShape(512, 1024, 512, peepholes=True))
OUTPUTS = 61


@dataclass(frozen=True)
class Published:
    """One column of the paper's table.

    Attributes:
        parameters: in millions.
        error: phone error rate on TIMIT, in percent. The corpus is licensed; nothing here reproduces it.
    """

    parameters: float
    error: float


#: {block size: what Wang et al. 2018 report}; block size 1 is the dense network
PUBLISHED = {
    1: Published(8.01, 24.15),
    2: Published(4.03, 24.09),
    4: Published(2.04, 24.23),
    8: Published(1.05, 24.57),
    16: Published(0.55, 25.48),
}


def in_blocks(layers: tuple[LstmShape, ...], block: int) -> tuple[LstmShape, ...]:
    """The same layers with circulant blocks of one size in every matrix."""
    return tuple(replace(layer, block=block) for layer in layers)


def weights(shape: LstmShape) -> int:
    """Numbers that the matrices of a layer store: k for every block, those with padding whole."""
    total = 0
    for name, (rows, columns) in shape.matrices.items():
        k = shape.block_of(name)
        total += -(-rows // k) * -(-columns // k) * k
    return total


def parameters(layers: tuple[LstmShape, ...], outputs: int) -> int:
    """Numbers of a network as the paper counts them: matrices, one bias a gate, peepholes, and a dense map with biases
    from the last output to the scores. (``nn.recurrent.LSTM`` has a bias in both maps, as torch has.)"""
    vectors = sum(layer.cells * (4 * layer.bias + 3 * layer.peepholes) for layer in layers)
    return sum(map(weights, layers)) + vectors + (layers[-1].output + 1) * outputs
