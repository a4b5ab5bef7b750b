"""A report counts what goes to disk: every tensor once, in its packed form, and the rest of the model."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgenet.compress import Report, compress_, report, stored
from edgenet.errors import PlanError
from edgenet.structured import STRUCTURES, Dense, StructuredLinear, StructuredMatrix


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(30, 8)
        self.fc, self.out = nn.Linear(8, 8), nn.Linear(8, 30)
        self.out.weight = self.table.weight
        self.norm, self.rnn = nn.BatchNorm1d(8), nn.LSTM(8, 8)
        self.register_buffer("scratch", torch.zeros(100), persistent=False)


PLANS = {
    "nothing": {".*": "keep"},
    "low rank and tied": {"table|fc": {"structure": "low_rank", "rank": 2}},
    "sparse": {"fc": {"structure": "sparse", "density": 0.1}, "table": {"structure": "doped", "density": 0.05}},
    "behind a bridge": {
        "rnn": {"structure": "tensor_train", "rank": 2},
        "fc": {"structure": "block_circulant", "block": 4},
    },
}


@pytest.mark.parametrize("name", PLANS)
def test_the_bytes_of_the_report_are_those_of_a_safetensors_file(name, tmp_path):
    net = Net()
    made = compress_(net, PLANS[name])
    tensors = stored(net)
    save_file({key: value.contiguous() for key, value in tensors.items()}, tmp_path / "model.safetensors")
    size = (tmp_path / "model.safetensors").stat().st_size
    header = int.from_bytes((tmp_path / "model.safetensors").read_bytes()[:8], "little") + 8
    assert made.total.bytes == size - header == report(net).total.bytes


def test_parameters_are_counted_once_and_the_rest_is_counted_too():
    net = Net()
    made = compress_(net, {"table": {"structure": "low_rank", "rank": 2}})
    row = made.rows[0]
    assert (row.name, row.shape) == ("table.weight = out.weight", (30, 8))
    assert (row.parameters_before, row.parameters, row.ratio) == (240, 76, 240 / 76)
    assert (row.bytes_before, row.bytes) == (8 * 240, 8 * 76)
    assert made.total.parameters == sum(p.numel() for p in net.parameters())
    assert made.total.parameters_before == sum(p.numel() for p in Net().parameters())
    buffers = 8 * (8 + 8) + 8  # running mean and variance, and the number of batches
    assert made.rest.bytes == 8 * made.rest.parameters + buffers


def test_the_error_is_the_relative_frobenius_norm():
    net = nn.Sequential(nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[4.0, 0.0], [0.0, 3.0]]))
    made = compress_(net, {"0": {"structure": "low_rank", "rank": 1}})
    assert made.rows[0].error == pytest.approx(3 / 5) and report(net).rows[0].error is None


def test_a_masked_entry_is_no_parameter():
    net = nn.Sequential(nn.Linear(10, 10, bias=False))
    total = compress_(net, {"0": {"structure": "sparse", "density": 0.07}}).total
    assert total.parameters == 7 and total.bytes == net[0].weight.bits() / 8
    assert total.bytes == 7 * 8 + 6  # values and their places, not the mask


def test_multiply_adds_are_those_of_the_structure_dense_behind_a_bridge_and_none_for_reading_rows():
    net = Net()
    made = {row.name: row for row in compress_(net, {".*": {"structure": "low_rank", "rank": 2}}).rows}
    assert (made["fc.weight"].multiply_adds_before, made["fc.weight"].multiply_adds) == (64, 32)
    assert made["rnn.weight_hh_l0"].multiply_adds == made["rnn.weight_hh_l0"].multiply_adds_before == 256
    assert made["table.weight = out.weight"].multiply_adds == 76  # the output layer multiplies
    alone = nn.Sequential(nn.Embedding(30, 8))
    assert compress_(alone, {".*": {"structure": "low_rank", "rank": 2}}).total.multiply_adds == 0


def test_what_several_matrices_share_is_counted_at_the_first():
    class View(Dense):
        """Half of what it stores is shared."""

        def __init__(self, pool):
            super().__init__(torch.zeros(4, 3))
            self.pool = pool

        def config(self):
            return {}

    pool = nn.Linear(5, 1, bias=False)
    net = nn.ModuleList([StructuredLinear(View(pool)), StructuredLinear(View(pool))])
    STRUCTURES["view"] = View
    try:
        rows = report(net).rows
    finally:
        del STRUCTURES["view"]
    assert [row.bytes for row in rows] == [8 * 17, 8 * 12] and rows[1].parameters == 12
    assert sum(map(torch.Tensor.numel, stored(net).values())) == 29


def test_json_comes_back_and_a_text_that_is_no_report_is_refused():
    made = compress_(Net(), PLANS["sparse"])
    assert Report.from_json(made.to_json()) == made
    for text in ("{", "[]", '{"rows": []}', '{"rows": [], "rest": [{"name": 1}]}', '{"rows": [], "rest": []}'):
        with pytest.raises(PlanError, match=r"no report|the report: damaged"):
            Report.from_json(text)


def test_the_table_and_the_markdown_name_every_slot_and_the_total():
    made = compress_(Net(), PLANS["low rank and tied"])
    text, page = str(made), made.to_markdown()
    for word in ("table.weight = out.weight", "low_rank(rank=2)", "(the rest)", "total", f"{made.total.bytes:,}"):
        assert word in text and word in page
    assert len({line.count("|") for line in page.splitlines()}) == 1
    assert isinstance(made.model.fc.weight, StructuredMatrix)
