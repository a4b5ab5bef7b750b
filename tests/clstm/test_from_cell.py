"""The graph that is made from a cell runs as the cell does."""

import pytest
import torch
from torch import nn

from edgenet.clstm import LstmShape, lstm_graph, shape_of
from edgenet.clstm.from_cell import matrices_of, values_of
from edgenet.errors import PlanError
from edgenet.nn.recurrent import GRU, LSTM
from edgenet.structured import structure

CASES = {
    "dense": {},
    "google": {"proj_size": 4, "peepholes": True, "structure": structure("block_circulant", block=4)},
    "without bias": {"bias": False, "peepholes": True},
    "stacked": {"stacked": True, "structure": structure("block_circulant", block=2)},
}


def lstm(name, layers=1):
    made = LSTM(6, 8, layers, **CASES[name])
    with torch.no_grad():
        for p in made.parameters():
            p.normal_()
    return made


@pytest.mark.parametrize("name", CASES)
def test_the_graph_of_a_cell_computes_what_the_cell_does(name):
    for cell in lstm(name, layers=2).cells:
        shape = shape_of(cell)
        graph = lstm_graph(shape)
        given = {name: torch.randn(3, size) for name, size in graph.values.items()}
        found = graph.run({**given, **values_of(cell)}, matrices_of(cell))
        h, c = cell(given["x"], (given["h_previous"], given["c_previous"]))
        torch.testing.assert_close(found[graph.outputs["h"]], h, rtol=0, atol=1e-12)
        torch.testing.assert_close(found[graph.outputs["c"]], c, rtol=0, atol=1e-12)


def test_shapes_are_read_off_cells():
    google = lstm("google").cells[0]
    blocks = {"input_map": 4, "state_map": 4, "projection": 4}
    assert shape_of(google) == LstmShape(6, 8, 4, peepholes=True, block=blocks)
    assert shape_of(lstm("dense").cells[0]) == LstmShape(6, 8, block={"input_map": 1, "state_map": 1})
    assert not shape_of(lstm("without bias").cells[0]).bias
    assert shape_of(lstm("stacked").cells[0]).block_of("state_map") == 2


def test_what_has_no_graph_is_refused():
    with pytest.raises(PlanError, match="LSTMCell, got GRUCell"):
        shape_of(GRU(3, 4).cells[0])
    with pytest.raises(PlanError, match="input_map has a LowRank"):
        shape_of(LSTM(6, 8, structure=structure("low_rank", rank=2)).cells[0])
    with pytest.raises(PlanError, match="blocks of 4 reach from the input into the state, which begins at column 6"):
        shape_of(LSTM(6, 8, stacked=True, structure=structure("block_circulant", block=4)).cells[0])
    cell = LSTM(6, 8).cells[0]
    cell.state_map = nn.Sequential(cell.state_map)
    with pytest.raises(PlanError, match="state_map is a Sequential"):
        shape_of(cell)
