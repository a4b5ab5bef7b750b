"""Structured matrices in the maps of recurrent cells: C-LSTM's layer, beside arrays of independent implementations."""

import pytest
import torch
from stored import oracle, tensors

from edgenet.structured import BlockCirculant
from edgenet.structured.bridge import attach_


@pytest.fixture
def arrays(stored):
    return tensors(stored)


def near(got, want):
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


@oracle("compression/clstm*.npz")
def test_a_projected_lstm_with_circulant_maps_behind_a_bridge(arrays):
    """Sak et al. 2014, Wang et al. 2018: eight gate maps and a projection, in blocks of 2."""
    lstm = torch.nn.LSTM(6, 8, proj_size=4, batch_first=True)
    for name, key in (("weight_ih_l0", "w_ih"), ("weight_hh_l0", "w_hh"), ("weight_hr_l0", "w_hr")):
        attach_(lstm, name, BlockCirculant(arrays[key]))
    with torch.no_grad():
        lstm.bias_ih_l0.copy_(arrays["bias"])
        lstm.bias_hh_l0.zero_()
    y, (h, c) = lstm(arrays["x"])
    near(y, arrays["y"])
    near(h, arrays["hn"])
    near(c, arrays["cn"])
    assert sum(p.numel() for p in lstm.parameters()) == (16 * 3 + 16 * 2 + 2 * 4) * 2 + 64


@oracle("compression/clstm*.npz")
def test_the_cell_with_peepholes_multiplies_by_circulants_alone(arrays):
    to_gates, back, project = (BlockCirculant(arrays[key]) for key in ("w_ih", "w_hh", "w_hr"))
    peep_i, peep_f, peep_o = arrays["peep"]
    h, c, outputs = torch.zeros(2, 4), torch.zeros(2, 8), []
    for x in arrays["x"].unbind(1):
        i, f, g, o = (to_gates(x) + back(h) + arrays["bias"]).chunk(4, -1)
        c = torch.sigmoid(f + peep_f * c) * c + torch.sigmoid(i + peep_i * c) * torch.tanh(g)
        h = project(torch.sigmoid(o + peep_o * c) * torch.tanh(c))
        outputs.append(h)
    near(torch.stack(outputs, 1), arrays["y_peep"])
