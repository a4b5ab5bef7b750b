"""The digits of ``edgenet bench quantised``: a perceptron and a convolutional network, in formats of every kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from edgenet.bench.results.mnist import mnist
from edgenet.bench.results.quantised_nets import NETS
from edgenet.bench.results.quantised_run import Problem, Row
from edgenet.train import Task

EPOCHS = {"mlp": 25, "conv": 15}
RATE = 0.003
#: of the networks' layers, for plans
WEIGHTS = {"mlp": r"(first|second|head)\.", "conv": r"(conv_\d|wide|head)\."}
#: structures about 10 times smaller, counted over the whole network; first and last layers stay where they are small
_CONV_3X3 = {"in_modes": [4, 4, 9], "out_modes": [8, 4, 1]}, {"in_modes": [4, 8, 9], "out_modes": [8, 8, 1]}
_CONV_WIDE = {"in_modes": [8, 8, 9], "out_modes": [8, 16, 1]}
_MLP = {"in_modes": [7, 8, 14], "out_modes": [8, 8, 8]}, {"in_modes": [8, 8, 8], "out_modes": [8, 8, 8]}
TENTHS: dict[str, dict[str, dict[str, dict[str, Any]]]] = {
    "mlp": {
        "low_rank": {"first": {"rank": 27}, "second": {"rank": 24}},
        "kronecker": {"first": {"factor": [16, 28], "terms": 26}, "second": {"factor": [16, 16], "terms": 19}},
        "tensor_train": {"first": {"rank": 22, **_MLP[0]}, "second": {"rank": 18, **_MLP[1]}},
        "block_term": {
            "first": {"blocks": 8, "rank": 12, **_MLP[0]},
            "second": {"blocks": 8, "rank": 10, **_MLP[1]},
        },
        "hashed": {"first": {"ratio": 11.1}, "second": {"ratio": 11.1}},
    },
    "conv": {
        "low_rank": {"conv_2": {"rank": 3}, "conv_3": {"rank": 4}, "wide": {"rank": 8}},
        "kronecker": {
            "conv_2": {"factor": [8, 16], "terms": 2},
            "conv_3": {"factor": [16, 32], "terms": 3},
            "wide": {"factor": [16, 64], "terms": 5},
        },
        "tensor_train": {
            "conv_2": {"rank": [4, 4], **_CONV_3X3[0]},
            "conv_3": {"rank": [5, 4], **_CONV_3X3[1]},
            "wide": {"rank": [7, 6], **_CONV_WIDE},
        },
        "block_term": {
            "conv_2": {"blocks": 2, "rank": 4, **_CONV_3X3[0]},
            "conv_3": {"blocks": 2, "rank": 5, **_CONV_3X3[1]},
            "wide": {"blocks": 4, "rank": 6, **_CONV_WIDE},
        },
        "hashed": {"conv_2": {"ratio": 12.2}, "conv_3": {"ratio": 12.2}, "wide": {"ratio": 12.2}},
    },
}
