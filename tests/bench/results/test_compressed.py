"""Rows of compressed networks are what is on disk, nothing in them is read off a test node, and the page says so."""

import copy
import json
import sys
from dataclasses import replace

import pytest
import torch

from edgenet.bench.results import compressed as page
from edgenet.bench.results import compressed_make as make
from edgenet.bench.results import compressed_problems as problems
from edgenet.bench.results import compressed_run as work
from edgenet.bench.results.compressed_cases import FAMILIES, Case, cases
from edgenet.bench.results.compressed_page import content, curves
from edgenet.bench.results.compressed_problems import RECIPES, Problem, Recipe
from edgenet.bench.results.compressed_sizes import largest, members, tensor_bytes
from edgenet.bench.results.compressed_statistics import interval, mcnemar
from edgenet.bench.results.compressed_tables import KINDS, answers
from edgenet.cli import main
from edgenet.compress import compress_, quantise_
from edgenet.structured import family

from train.small_data import nodes  # isort: skip

pytestmark = pytest.mark.float32
SMALL = {"hidden_channels": 16, "num_layers": 2, "heads": 4, "out_heads": 1, "dropout": 0.0}


@pytest.fixture
def tiny(monkeypatch):
    """A ring with many features, and little training."""
    data = nodes(48).train[0]
    random = torch.Generator().manual_seed(0)
    data.x = torch.cat([data.x, 0.1 * torch.randn(48, 44, generator=random, dtype=torch.float32)], 1)
    dataset = replace(nodes(48), train=[data], val=[data], test=[data], num_features=48)
    monkeypatch.setitem(RECIPES, "cora", Recipe("cora", SMALL, {"epochs": 30, "lr": 0.01}))
    monkeypatch.setattr(problems, "load", lambda name, root=None: dataset)
    monkeypatch.setattr(make, "TUNING", {"": {"epochs": 9}})
    return dataset


@pytest.fixture
def given(tiny, tmp_path):
    return problems.problem("cora", 0, tmp_path / "teachers", None)


KINDS_OF_ROWS = [
    Case("structure", 8, "low_rank", 8), Case("structure", 8, "kronecker", 2), Case("structure", 4, "sparse", 32),
    Case("power_of_two", 8, "kronecker", 4), Case("binary", None, "dense", 1), Case("binary", 10, "kronecker", 1),
    Case("small_gat", 8, bits=2), Case("small_gat_labels", 4, bits=8), Case("rounding", bits=8),
    Case("rounding_tuned", bits=2), Case("pruning", 4, "sparse"), Case("features", 8, bits=4),
]  # fmt: skip


@pytest.mark.parametrize("case", KINDS_OF_ROWS, ids=lambda case: case.name)
def test_a_row_is_as_small_as_it_says_and_is_judged_as_it_is_read_back(case, given):
    model = make.made(given, case, 0)
    row = work._judged(given, model)
    assert row["tensors"] == tensor_bytes(model) < row["folder"]
    if case.ratio is not None:
        assert tensor_bytes(given.model) / row["tensors"] >= case.ratio
    assert 0 <= row["lost"] <= 16 and 0 <= row["test"] <= 1 and row["processor"] > 0


def test_the_largest_member_is_taken_that_is_small_enough(given):
    large = given.large()
    assert list(large) == ["convs.0.lift.linear.weight"]
    chosen = largest(given.model, large, "low_rank", 4, 10)
    (options,) = chosen.values()
    sizes = []
    for rank in (options["rank"], options["rank"] + 1):
        model = copy.deepcopy(given.model)
        compress_(model, {r"convs\.0\.lift": {"structure": "low_rank", "rank": rank}})
        quantise_(model, make.rounding(4, r"convs\.0\.lift"))
        sizes.append(tensor_bytes(given.model) / tensor_bytes(model))
    assert sizes[0] >= 10 > sizes[1]
    assert largest(given.model, large, "low_rank", 32, 1000) is None


def test_a_small_gat_is_as_wide_as_its_bytes_allow_up_to_the_teacher(given):
    wide = replace(RECIPES["cora"], model={**SMALL, "hidden_channels": 40})
    RECIPES["cora"] = wide  # the fixture puts the old one back
    teacher = Problem("cora", problems.make("cora", given.dataset), given.dataset)
    models = list(make._narrow(teacher, Case("small_gat", 3, bits=8)))
    assert [model.convs[0].heads for model in models] == [8, 1]
    for model in models:
        assert model.convs[0].lift.linear.weight.shape[0] > 64
        assert tensor_bytes(teacher.model) >= 3 * tensor_bytes(model)


def test_of_two_small_gats_the_one_that_agrees_more_on_validation_nodes_is_taken(given, monkeypatch):
    share = {8: 0.5, 4: 0.5, 1: 0.75}
    monkeypatch.setattr(make, "_agreement", lambda problem, model: share[model.convs[0].heads])
    case = Case("small_gat", 3, bits=8)
    assert make.made(given, case, 0).convs[0].heads == 1
    share[1] = 0.25
    assert make.made(given, case, 0).convs[0].heads > 1


@pytest.mark.parametrize("name", FAMILIES)
def test_members_of_every_family_fit_and_grow(name):
    some = members(name, (64, 143))
    sizes = [family(name).from_config({"shape": [64, 143], **options}).bits() for options in some[:: len(some) // 4]]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_answers_without_a_network_take_few_bytes(kind, given):
    scores, size = answers(given, kind)
    assert scores.shape == (48, 2) and 0 < size < 200
    if kind == "classes":
        data = given.first
        assert torch.equal(scores.argmax(1), given.model(data.x, data.edge_index).argmax(1))


def test_neither_labels_nor_scores_of_test_nodes_reach_a_small_model(given):
    """With other labels there, and another teacher there, a row is the same model."""
    data = copy.copy(given.first)
    data.y = torch.where(data.test_mask, 1 - data.y, data.y)
    changed = Problem("cora", given.model, replace(given.dataset, train=[data], val=[data], test=[data]))
    for case in (
        Case("structure", 8, "kronecker", 2),
        Case("small_gat", 8, bits=2),
        Case("small_gat_labels", 4, bits=8),
    ):
        mine, its = make.made(given, case, 0), make.made(changed, case, 0)
        assert all(torch.equal(value, its.state_dict()[name]) for name, value in mine.state_dict().items())


def test_the_page_is_made_of_its_rows_and_says_what_is_missed(tiny, tmp_path, monkeypatch):
    rows = [Case("structure", 8, "kronecker", 2, True), Case("small_gat", 8, bits=2, headline=True)]
    rows += [Case("structure", 8, "low_rank", 8), Case("classes", headline=True), Case("structure", 9000, "sparse", 4)]
    monkeypatch.setattr(page, "cases", lambda name: rows)
    monkeypatch.setattr(page, "PARTS", {"cora": (3, 1)})
    monkeypatch.setattr(page, "run_all", lambda jobs, processes, run: [run(job) for job in jobs])
    monkeypatch.setattr(sys.modules["edgenet.bench.results.compressed_page"], "AIMS", ((8, 0.0), (8, -101.0)))
    out, runs = tmp_path / "compressed.md", tmp_path / "runs"
    arguments = ["bench", "compressed", "--seeds", "3", "--out", str(out), "--runs", str(runs), "--parts", "cora"]
    assert main(arguments) == 0
    text = out.read_text(encoding="utf-8")
    assert "missed" in text and "kronecker, 2 bits" in text and "table of the teacher's classes" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| kronecker, 2 bits")]
    files = sorted((runs / "cora").glob("*/structure-kronecker-2-8x.json"))
    found = [json.loads(file.read_text(encoding="utf-8"))["result"] for file in files]
    assert len(found) == 3 and f"| {sum(one['tensors'] for one in found) / 3:,.0f} |" in line
    monkeypatch.setattr(work, "_row", None)  # what is done is read
    assert main([*arguments[:-1], "made"]) == 0
    assert main([*arguments[:-1], "pubmd"]) == 2


def test_a_page_without_rows_claims_nothing():
    assert content([]).claim.startswith("Nothing is claimed") and curves([]) == {}


def test_headlines_come_first_and_no_row_comes_twice():
    for name in RECIPES:
        found = cases(name)
        assert len({case.name for case in found}) == len(found)
    assert all(case.headline for case in cases("cora")[:15])


def test_intervals_and_the_exact_test_are_those_of_the_books():
    found = interval([1.0, 2.0, 4.0])
    assert found.mean == pytest.approx(7 / 3) and found.half == pytest.approx(4.302653 * 1.527525 / 3**0.5, rel=1e-6)
    assert not found.is_above and interval([1.0, 1.1, 1.2]).is_above and not interval([1.0]).is_above
    assert str(interval([1.0])) == "+1.00"
    assert mcnemar(0, 5) == pytest.approx(2 / 32) and mcnemar(0, 0) == 1.0
