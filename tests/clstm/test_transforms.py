"""The four gates share one transform of their input, and all steps share the call for theirs."""

import pytest
import torch

from edgenet.clstm import lstm_graph, shape_of
from edgenet.nn.recurrent import LSTM
from edgenet.structured import BlockCirculant, structure

BATCH, STEPS, BLOCK = 6, 5, 4


@pytest.fixture
def transformed(monkeypatch):
    """The signals (rows, blocks, k) that were transformed; spectra of generators do not count."""
    seen, plain = [], torch.fft.rfft

    def counted(x, *arguments, **options):
        if x.dim() == 3 and not isinstance(x, torch.nn.Parameter):
            seen.append(tuple(x.shape))
        return plain(x, *arguments, **options)

    monkeypatch.setattr(torch.fft, "rfft", counted)
    return seen


@torch.no_grad()
def test_one_matrix_of_four_gates_transforms_its_input_once_and_four_matrices_four_times(transformed):
    whole = BlockCirculant(torch.randn(4 * 2, 3, BLOCK)).eval()
    gates = [BlockCirculant(part.clone()).eval() for part in whole.generators.detach().split(2)]
    x = torch.randn(BATCH, 12)
    y = whole(x)
    assert transformed == [(BATCH, 3, BLOCK)]
    torch.testing.assert_close(torch.cat([gate(x) for gate in gates], -1), y, rtol=0, atol=1e-12)
    assert transformed[1:] == [(BATCH, 3, BLOCK)] * 4


@torch.no_grad()
def test_an_lstm_transforms_all_inputs_at_once_and_the_state_once_a_step_for_all_gates(transformed):
    lstm = LSTM(10, 8, proj_size=5, structure=structure("block_circulant", block=BLOCK)).eval()
    lstm.cells[0].state_map.register_forward_hook(lambda *_: None)  # so that the product is called, not a built matrix
    lstm(torch.randn(STEPS, BATCH, 10))
    assert transformed.count((STEPS * BATCH, 3, BLOCK)) == 1  # 10 features in blocks of 4
    assert transformed.count((BATCH, 2, BLOCK)) == 2 * STEPS  # of h, 5 numbers, and of m, 8: one each a step
    assert len(transformed) == 1 + 2 * STEPS
    graph = lstm_graph(shape_of(lstm.cells[0]))
    assert len(graph.shared()) == 3  # of x, h and m
