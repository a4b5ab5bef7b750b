"""The section on characters: rows have equal numbers, what is kept is not trained again, and the page says who wins."""

import json
import math
from dataclasses import replace

import pytest
import torch

from edgenet.bench.results import recurrent_characters as page
from edgenet.bench.results import recurrent_characters_run as runs
from edgenet.bench.results.recurrent_characters_rows import LENGTHS, LONG, RATIOS, SHAPE, rows
from edgenet.data import load, tinyshakespeare
from edgenet.pretrained import from_pretrained
from edgenet.structured import Doped

pytestmark = pytest.mark.float32  # as it is measured


@pytest.fixture
def text(tmp_path, monkeypatch):
    """A short text of 65 characters, and few iterations of an epoch."""
    monkeypatch.setattr(tinyshakespeare, "CHARACTERS", 40_000)
    monkeypatch.setattr(runs, "EPOCH", 2)
    runs.characters.cache_clear()
    order = torch.randint(65, (40_000,), generator=torch.Generator().manual_seed(0)).tolist()
    (tmp_path / "tinyshakespeare.txt").write_text("".join(chr(48 + number) for number in order))
    yield tmp_path
    runs.characters.cache_clear()


def test_every_row_has_as_many_numbers_as_its_ratio_leaves_and_starts_with_the_same_variance(text):
    data = load("tinyshakespeare", text)
    entries = SHAPE[0] * SHAPE[1]
    for row in rows():
        torch.manual_seed(0)
        model = runs.character_model(row, data)
        matrix = runs.map_of(model)
        falls = any(table["kind"] == "anneal" for table in row.callbacks)
        if not falls and row.ratio > 1:
            assert 0.9 * entries / row.ratio < matrix.num_parameters() < 1.003 * entries / row.ratio, row.file
        wanted = 1 / math.sqrt(3 * row.hidden)
        assert matrix.to_dense().std().item() == pytest.approx(wanted, rel=0.05), row.file  # of thousands of draws
        cell = model.rnn.cells[0]
        forget = cell.input_map.bias.view(4, row.hidden)
        assert forget[1].eq(1).all() and forget[[0, 2, 3]].eq(0).all() and cell.state_map.bias.eq(0).all()


def test_the_rows_that_matter_come_first_and_are_the_long_ones():
    made = rows()
    assert {row.family for row in made[: len(LONG)]} == set(LONG)
    assert [row.length for row in made] == sorted(row.length for row in made)
    assert all(row.ratio == max(RATIOS) for row in made if row.length == "long")
    assert len({row.file for row in made}) == len(made)
    assert LENGTHS["long"] >= 10_000 and LENGTHS["short"] >= 4_000, "short trainings flatter doping"


def test_the_section_is_trained_once_kept_and_told(text, tmp_path, monkeypatch):
    wanted = ("doped, rows dropped", "low_rank", "dense")
    chosen = [row for row in rows() if row.ratio == 20 and row.family in wanted]
    chosen = [replace(row, hidden=8, embedding=8) if row.family == "dense" else row for row in chosen]
    monkeypatch.setattr(page, "run_all", lambda jobs, processes, run: [run(job) for job in jobs])
    lengths = {"long": 4, "short": 4, "tried": 2}
    made = page.parts(1, tmp_path / "runs", 1, text, chosen, lengths, (0.004, 0.01))
    joined = "\n".join(made)
    files = sorted((tmp_path / "runs" / "characters").glob("*.json"))
    assert len(files) == 3 * 2 + 3, "three families tried at two rates, three rows"
    result = json.loads(next(file for file in files if file.name.startswith("doped-rows-dropped")).read_text())[
        "result"
    ]
    assert result["map"] == SHAPE[0] * SHAPE[1] // 20, "exact, when all is over"
    assert result["bytes"] < 4 * result["parameters"] + 12 * SHAPE[0] * SHAPE[1] // 20
    for said in ("doped, rows dropped", "20x, from the best", "perplexity a character", "the paper's", "| 27"):
        assert said.lower() in joined.lower(), said
    monkeypatch.setattr(runs, "fit", None)  # nothing is trained again
    assert page.parts(1, tmp_path / "runs", 1, text, chosen, lengths, (0.004, 0.01)) == made


def test_a_model_is_scored_as_it_is_read_back(text, tmp_path, monkeypatch):
    read = []

    def changed_on_disk(folder):
        read.append(from_pretrained(folder))
        read[-1].head.bias.data[0] += 1
        return read[-1]

    monkeypatch.setattr(runs, "from_pretrained", changed_on_disk)
    row = next(row for row in rows() if row.family == "doped" and row.ratio == 20)
    result = runs.measured((row, 0, 0.01, 4, tmp_path, text))
    matrix = runs.map_of(read[0])
    assert isinstance(matrix, Doped) and matrix.num_parameters() == result["map"]
    scores = runs.scored(load("tinyshakespeare", text)).evaluate(read[0], ("val", "test"))
    assert (scores["val"].metric, scores["test"].metric) == (result["val"], result["test"])
    assert 5.5 < result["test"] < 7, "characters drawn alike have 6.02 bits"


def test_the_claim_is_judged_by_perplexity():
    bits = {"doped": 2.0, "pruned": 2.2, "low_rank": 2.3, "kronecker": 1.9}
    said = page._against(bits, "doped", ["kronecker", "pruned", "low_rank"])
    assert "+0.100 bits of the best other family, kronecker" in said and "is confirmed here" in said
    assert f"pruned {100 * (2**0.2 - 1):+.1f} %" in said
    assert "not confirmed" in page._against(bits | {"pruned": 2.05}, "doped", ["kronecker", "pruned", "low_rank"])
    chosen = [row for row in rows() if row.ratio == 20 and row.family.startswith("doped")]
    results = {row.file: [{"test": 2.5 - 0.25 * number}] for number, row in enumerate(chosen)}
    assert "20x: dropping rows saves 0.250 bits" in page._who_wins(chosen, results)[1]


def test_a_rate_that_diverges_is_a_try_that_lost(text, tmp_path):
    row = next(row for row in rows() if row.family == "kronecker")
    job = (row, 0, 1e30, 6, tmp_path, text)
    lost = runs.tried(job)
    assert lost["val"] == math.inf and "learning rate" in lost["why"]
    assert runs.tried(job) == lost, "and is not tried again"
    assert page._tried_bits(lost) == "diverges"
