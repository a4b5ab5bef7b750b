"""The section on C-LSTM: networks are trained once, kept and told; published numbers stand in columns of their own."""

import json
from dataclasses import replace

import pytest
import torch
from torch.utils.data import TensorDataset

from edgenet.bench.results import recurrent_clstm as page
from edgenet.bench.results import recurrent_clstm_run as runs
from edgenet.clstm import Product
from edgenet.clstm.cost import HERE, PROBES
from edgenet.data import frame_labels
from edgenet.data.mnist import Digits

from bench.told import told  # isort: skip

pytestmark = pytest.mark.float32  # as it is measured


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """A few images whose class is where their ink is."""

    def split(count, seed):
        classes = torch.randint(10, (count,), generator=torch.Generator().manual_seed(seed))
        images = torch.full((count, 1, 28, 28), -1.0)
        for image, place in zip(images, classes.tolist(), strict=True):
            image[0, 2 * place : 2 * place + 6, 8:14] = 1
        return TensorDataset(images, classes)

    monkeypatch.setattr(frame_labels, "read", lambda _: Digits(split(80, 0), split(24, 1), split(40, 2)))
    monkeypatch.setattr(frame_labels, "find", lambda _: tmp_path)
    monkeypatch.setattr(runs, "TUNING", {**runs.TUNING, "epochs": 1})
    runs.frames.cache_clear()
    yield tmp_path
    runs.frames.cache_clear()


def test_the_section_is_trained_once_kept_and_told(digits, tmp_path, monkeypatch):
    small = [replace(row, cells=16, projection=8, epochs=2) for row in page.rows() if row.block in (1, 4, None)]
    monkeypatch.setattr(page, "rows", lambda: small)
    monkeypatch.setattr(page, "run_all", lambda jobs, processes, run: [run(job) for job in jobs])
    monkeypatch.setattr(page, "_products", lambda: {"failed": "PRODUCTS"})
    text = "\n".join(told(page, 1, tmp_path, 1, None))
    kept = {file.name: json.loads(file.read_text())["result"] for file in (tmp_path / "clstm").glob("*.json")}
    assert set(kept) == {"blocks-of-1-0.json", "blocks-of-4-0.json", f"chosen-{page.DROP}-0.json"}
    dense, blocks, chosen = kept["blocks-of-1-0.json"], kept["blocks-of-4-0.json"], kept[f"chosen-{page.DROP}-0.json"]
    assert dense["parameters"] - dense["counted"] == 2 * 4 * 16  # the second bias of both layers
    assert blocks["counted"] < dense["counted"] / 2
    assert chosen["blocks"]["rnn.cells.0.state_map.weight"] == chosen["blocks"]["rnn.cells.1.input_map.weight"]
    assert f"**{100 * blocks['test']:.1f}**" in text and f"{blocks['counted']:,}" in text
    assert "PRODUCTS" in text
    assert "| 8 | 1.045 | 1.05 | 409,600 | 7.93 | 24.57 | not measured: licensed data |" in text

    monkeypatch.setattr(runs, "fit", None)  # nothing is trained again
    assert "\n".join(told(page, 1, tmp_path, 1, None)) == text


def test_entries_of_every_block_size_are_drawn_with_one_variance():
    for row in page.rows():
        if row.block is not None:
            torch.manual_seed(0)
            weight = runs.network(row).rnn.cells[1].input_map.weight
            assert weight.to_dense().std().item() == pytest.approx(1 / (3 * row.cells) ** 0.5, rel=0.1)  # 512 draws


def test_the_schedule_is_told_with_three_stages():
    text = page.schedule_text()
    assert "1. circulant: `state_i`" in text and "2. pointwise: " in text and "3. circulant: `h`" in text
    assert "`state_i` → `sum_i`" in text and "33.5" in text and "no device was measured" in text


def test_costs_stand_beside_what_was_measured():
    told = [Product(*size, block, batch) for size in page._SIZES for block in (1, 8) for batch in (1, 16)]
    sizes = lambda one: [one.rows, one.columns, one.block, one.batch]  # noqa: E731
    result = {
        "probes": [(sizes(one), HERE.seconds(one)) for one in PROBES],
        "shown": [(sizes(one), HERE.seconds(one) * (1.5 if one.block == 1 else 3)) for one in told],
    }
    text = page.cost_table(result)
    assert "of the 12 products here 6 take between half and twice the time expected" in text
    rows = [line.strip("| ").split(" | ") for line in text.splitlines()[-2:]]
    assert [row[:4] for row in rows] == [["1", "3,248,128", "0.0 %", rows[0][3]], ["8", "409,600", "0.9 %", rows[1][3]]]
    for row, times in zip(rows, (1.5, 3), strict=True):
        expected, measured = map(float, row[5:7])
        assert measured == pytest.approx(times * expected, rel=0.02)  # three digits are shown


def test_products_are_measured_as_the_table_wants_them(monkeypatch):
    monkeypatch.setattr(page, "_SIZES", ((16, 8),))
    monkeypatch.setattr(page.costs, "PROBES", PROBES[:1])
    monkeypatch.setattr(page.costs, "measured", lambda one, shortest, rounds: shortest * rounds)
    result = page.measure({"blocks": [1, 4], "batches": [2], "shortest": 0.5, "rounds": 3})
    assert result == {"probes": [([512, 96, 1, 1], 1.5)], "shown": [([16, 8, 1, 2], 1.5), ([16, 8, 4, 2], 1.5)]}
