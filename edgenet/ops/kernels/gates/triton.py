"""There is no Triton form of the work at the gates: the definition runs, in a few calls of torch."""

from edgenet.ops.kernels.gates.reference import gru, gru_backward, lstm, lstm_backward

__all__ = ["gru", "gru_backward", "lstm", "lstm_backward"]
