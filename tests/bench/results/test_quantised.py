"""The page of quantised networks: every number is of its own run, and each part rewrites its own section."""

import json
import re
import sys
from statistics import fmean

import pytest
import torch
from torch.utils.data import TensorDataset

from edgenet.bench.harness import report
from edgenet.bench.results import (
    quantised,
    quantised_cora,
    quantised_digits,
    quantised_mnist,
    quantised_run,
    quantised_table,
    sections,
)
from edgenet.bench.results.quantised_ablations import questions
from edgenet.bench.results.quantised_nets import NETS
from edgenet.bench.results.quantised_run import Problem, Row, measured
from edgenet.cli import main
from edgenet.compress import Plan, compress_, make_callbacks, slots
from edgenet.pretrained import from_pretrained, tensors_of
from edgenet.train import Task

from train.small_data import nodes  # isort: skip

pytestmark = pytest.mark.float32  # as it is measured


def images(count, seed):
    """Digits 0 to 9 that are a bright row each, in noise."""
    random = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 10, (count,), generator=random)
    x = torch.rand(count, 1, 28, 28, generator=random) - 1
    x[torch.arange(count), 0, 2 * y + 4] = 1.0
    return TensorDataset(x, y)


def small(data_root=None):
    train, val, test = images(60, 0), images(20, 1), images(30, 2)
    tables = {"training": {"epochs": 2, "batch_size": 20}, "optimizer": {"lr": 0.003}}
    make = {"mlp": NETS["mlp"], "conv": NETS["conv"]}
    task, judged = Task(train, val), Task(train, val, test)
    return Problem("mnist", task, judged, make, dict.fromkeys(make, tables), lambda: [train.tensors[0]])


FLOAT = Row("float", "32 bits", "mlp", {"width": 12})
PLAN = {r"(first|second)\.": {"structure": "dense", "bits": 4, "per": "row"}}
ROUNDED = Row("uniform", "4 bits, rounded only", "mlp", {"width": 12}, rounded=PLAN, of=FLOAT)


def test_what_is_measured_is_the_model_that_is_on_disk(tmp_path):
    trained = Row("uniform", "4 bits, trained", "mlp", {"width": 12}, {"compress": {"plan": PLAN}})
    result = measured((small, trained, 0, tmp_path, None))
    folder = tmp_path / "mnist" / f"{trained.file}-0"
    model = from_pretrained(folder, NETS["mlp"](width=12))
    x, y = images(30, 2).tensors
    assert result["test"] == pytest.approx(float((model(x).argmax(1) == y).double().mean()))
    assert result["bytes"] == sum(t.numel() * t.element_size() for t in tensors_of(model).values())
    assert result["bytes"] == result["reported"] < measured((small, FLOAT, 0, tmp_path, None))["bytes"]


def test_a_row_that_is_rounded_is_the_trained_one_rounded(tmp_path):
    result = measured((small, ROUNDED, 1, tmp_path, None))
    whole = from_pretrained(tmp_path / "mnist" / f"{FLOAT.file}-1", NETS["mlp"](width=12))
    compress_(whole, PLAN)
    model = from_pretrained(tmp_path / "mnist" / f"{ROUNDED.file}-1", NETS["mlp"](width=12))
    for name in ("first", "second", "head"):
        mine, its = (slots(m)[f"{name}.weight"].weight() for m in (model, whole))
        assert torch.equal(mine, its)
    assert not torch.equal(model.norm_1.running_mean, whole.norm_1.running_mean)  # estimated anew
    assert result["epochs"] == 0


def test_a_run_that_is_done_is_read_and_one_of_other_settings_is_trained_anew(tmp_path, monkeypatch):
    first = measured((small, FLOAT, 0, tmp_path, None))
    monkeypatch.setattr(quantised_run, "fit", None)
    assert measured((small, FLOAT, 0, tmp_path, None)) == first
    other = Row("float", "32 bits", "mlp", {"width": 12}, {"optimizer": {"lr": 0.1}})
    with pytest.raises(TypeError):
        measured((small, other, 0, tmp_path, None))


def test_test_data_decide_nothing(tmp_path):
    def other(data_root=None):
        problem = small()
        x, y = problem.judged.test.tensors
        problem.judged.test = TensorDataset(x, 9 - y)
        return problem

    mine, theirs = (measured((make, FLOAT, 0, tmp_path / str(k), None)) for k, make in enumerate((small, other)))
    assert mine["test"] != theirs["test"]
    for key in ("val", "best_epoch", "bytes"):
        assert mine[key] == theirs[key]
    one, two = (tmp_path / str(k) / "mnist" / f"{FLOAT.file}-0" / "model.safetensors" for k in (0, 1))
    assert one.read_bytes() == two.read_bytes()


# ---------------------------------------------------------------- the rows
ALL = [
    *(row for net in NETS for row in quantised_mnist.rows(net)),
    *(row for net in NETS for answers in questions(net).values() for row in answers),
    *(row for net in quantised_cora.TITLES for row in quantised_cora.rows(net)),
]


def test_every_row_has_a_file_of_its_own():
    for rows in (
        [*quantised_mnist.rows("mlp"), *quantised_mnist.rows("conv")],
        [*quantised_cora.rows("gcn"), *quantised_cora.rows("gat")],
        [row for answers in questions("mlp").values() for row in answers],
    ):
        assert len({row.file for row in rows}) == len(rows)


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.file)
def test_every_row_names_layers_structures_and_rules_that_there_are(row):
    if row.net in NETS:
        model = NETS[row.net](**row.options)
    else:
        model = quantised_cora.NodeClassifier(
            1433, 7, **(quantised_cora.GCN if "gcn" in row.net else quantised_cora.GAT)
        )
    make_callbacks(row.settings.get("callback", ()), row.settings.get("compress"))
    plans = [row.rounded] if row.rounded else []
    plans += [table["plan"] for table in row.settings.get("callback", ()) if "plan" in table]
    plans += [row.settings["compress"]["plan"]] if "compress" in row.settings else []
    for plan in plans:
        assert Plan.of(plan).assign(slots(model))


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("family", quantised_mnist.TENTHS["mlp"])
def test_every_family_is_ten_times_smaller_and_hardly_more(net, family):
    from edgenet.structured import family as kind

    model = NETS[net]()
    found, before = slots(model), sum(p.numel() for p in model.parameters())
    after = before
    for layer, options in quantised_mnist.TENTHS[net][family].items():
        shape = found[f"{layer}.weight"].shape
        after += kind(family).from_config({"shape": shape, **options}).num_parameters() - shape[0] * shape[1]
    assert 10 <= before / after < 11.2


def test_smaller_networks_are_about_as_many_times_smaller_as_they_say():
    for net, sizes in quantised_mnist.SMALLER.items():
        whole = sum(p.numel() for p in NETS[net]().parameters())
        for times, options in sizes:
            assert times * 0.9 < whole / sum(p.numel() for p in NETS[net](**options).parameters()) < times * 1.15


def test_signals_between_the_layers_of_a_binary_network_are_signs():
    seen = []
    model = NETS["conv"](activation="sign").eval()
    for name in ("conv_2", "conv_3", "wide", "head"):
        model.get_submodule(name).register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model(images(4, 0).tensors[0])
    assert len(seen) == 4 and all(x.abs().eq(1).all() for x in seen)
    graph = quantised_cora.signed(4, 2, **{**quantised_cora.GAT, "hidden_channels": 2}).eval()
    graph.convs[1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    data = nodes().train[0]
    graph(data.x, data.edge_index)
    assert len(seen) == 5 and seen[-1].abs().eq(1).all()


# ---------------------------------------------------------------- the page
@pytest.fixture
def quick(monkeypatch):
    """Few rows on few images, in this process."""

    def rows(net):
        options = {"width": 12} if net == "mlp" else {"share": 0.2}
        whole = Row("float", "32 bits", net, options)
        plan = {"head": {"structure": "dense", "bits": 4}}
        return [whole, Row("uniform", "4 bits", net, options, rounded=plan, of=whole)]

    def asked(net):
        return {"why": [Row("tried", f"answer {k}", net, rows(net)[0].options) for k in (1, 2)]}

    def here(jobs, processes, run):
        return [run(job) for job in jobs]

    for module in (quantised_digits, quantised_cora):
        monkeypatch.setattr(module, "run_all", here)
    monkeypatch.setattr(quantised_digits, "rows", rows)
    monkeypatch.setattr(quantised_digits, "questions", asked)
    monkeypatch.setattr(quantised_digits, "digits", small)
    monkeypatch.setattr(quantised_digits, "DEMANDS", {net: [("4 bits", 3.0)] for net in NETS})


def bench(out, runs, monkeypatch, *more):
    monkeypatch.setattr(sys, "argv", ["edgenet", "bench", "quantised"])
    assert main(["bench", "quantised", "--seeds", "2", "--out", str(out), "--runs", str(runs), *more]) == 0
    return "".join(page.read_text(encoding="utf-8") for page in sorted(out.parent.glob(f"{out.stem}_*.md")))


def test_the_section_on_digits_holds_what_its_runs_measured(tmp_path, monkeypatch, quick):
    out, runs = tmp_path / "page.md", tmp_path / "runs"
    text = bench(out, runs, monkeypatch, "--parts", "mnist")
    for net in NETS:
        whole, rounded = (
            [json.loads((runs / "mnist" / f"{row.file}-{seed}.json").read_text())["result"] for seed in (0, 1)]
            for row in quantised_digits.rows(net)
        )
        difference = 100 * fmean(a["test"] - b["test"] for a, b in zip(rounded, whole, strict=True))
        wanted = [
            "uniform", "4 bits", f"{rounded[0]['parameters']:,}", f"{rounded[0]['bytes']:,}",
            f"{whole[0]['bytes'] / rounded[0]['bytes']:.1f}x",
            f"**{report.spread([one['test'] for one in rounded], digits=2)}**", f"{difference:+.2f}",
        ]  # fmt: skip
        assert f"| {' | '.join(wanted)} |" in text
    assert (tmp_path / "page_digits.png").read_bytes().startswith(b"\x89PNG") and "(page_digits.png)" in text
    assert re.search(r"\| perceptron: uniform 4 bits \| -3\.0 \|", text) and "| why | answer 1 |" in text
    monkeypatch.setattr(quantised_run, "fit", None)  # runs that are done are read
    assert bench(out, runs, monkeypatch, "--parts", "mnist") == text


def test_a_part_writes_its_own_page_alone(tmp_path, monkeypatch, quick):
    class Measured:
        said = "first"

        LIMITS = "Few."

        @classmethod
        def results(cls, *arguments, **picture):
            return cls.said

        @staticmethod
        def claim(found):
            return f"This is the {found} one."

        @staticmethod
        def parts(found):
            return ["How.", "| a |"]

    monkeypatch.setattr(sections, "import_module", lambda name: Measured)
    out = tmp_path / "page.md"
    before = bench(out, tmp_path / "runs", monkeypatch)
    assert before.count("first") == len(quantised.PARTS)
    Measured.said = "second"
    bench(out, tmp_path / "runs", monkeypatch, "--parts", "cora, speed")
    found = {name: (tmp_path / f"page_{name}.md").read_text(encoding="utf-8") for name in quantised.PARTS}
    assert {name for name, text in found.items() if "second" in text} == {"cora", "speed"}


def test_what_others_report_is_quoted_and_not_measured(tmp_path, monkeypatch):
    text = bench(tmp_path / "page.md", tmp_path / "runs", monkeypatch, "--parts", "published")
    assert "7 published results" in text and "11.40 | not measured: no data |" in text


def test_parts_that_there_are_not_are_named(tmp_path, capsys):
    for given, says in (("mnist,corra", "'corra'; there are published, mnist"), (" , ", "names none")):
        assert main(["bench", "quantised", "--out", str(tmp_path / "page.md"), "--parts", given]) == 2
        assert says in capsys.readouterr().err
    assert not (tmp_path / "page.md").exists()


def test_the_section_on_cora_has_more_seeds_and_what_others_report(tmp_path, monkeypatch, quick):
    def ring(data_root=None):
        task = Task.of(nodes())
        tables = {"training": {"epochs": 3}}
        make = {
            "gcn": lambda: quantised_cora.NodeClassifier(4, 2, layer="gcn", hidden_channels=4),
            "gat": lambda: quantised_cora.NodeClassifier(4, 2, layer="gat", hidden_channels=2),
        }
        return Problem("cora", task, task, make, dict.fromkeys(make, tables))

    monkeypatch.setattr(quantised_cora, "citations", ring)
    monkeypatch.setattr(quantised_cora, "rows", lambda net: [Row("float", "32 bits", net)])
    text = bench(tmp_path / "page.md", tmp_path / "runs", monkeypatch, "--parts", "cora")
    tests = [
        json.loads((tmp_path / "runs" / "cora" / f"gat-float-32-bits-{seed}.json").read_text())["result"]["test"]
        for seed in range(4)
    ]
    assert f"**{report.spread(tests, digits=2)}** |  | 83.0 ± 0.7 (Velickovic et al. 2018) |" in text


def test_what_was_asked_is_met_within_its_points_and_not_beyond():
    pairs = ((0.9, 0.8), (0.88, 0.84), (0.89, 0.79))
    whole, more, less = ([{"test": value} for value in pair] for pair in pairs)
    found = {"more": more, "short": less, "just": less}
    demands = [("more", "more", 0.5), ("short", "short", 0.5), ("just", "just", 1.0)]
    text = quantised_table.asked(demands, found, dict.fromkeys(found, whole))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    assert cells == [
        ["more", "-0.5", "+1.00", "yes"],
        ["short", "-0.5", "-1.00", "**no**"],
        ["just", "-1.0", "-1.00", "yes"],
    ]


def test_files_of_another_size_than_reported_are_told_of():
    good = {"bytes": 10, "reported": 10, "val": 0.5, "val_trained": 0.5}
    assert "as `report` tells" in quantised_table.checks([[good]]) and "0.00 points" in quantised_table.checks([[good]])
    text = quantised_table.checks([[good, {**good, "bytes": 11, "val": 0.52, "val_trained": 0.5}]])
    assert "**not** as `report` tells them in 1 of 2 runs" in text and "2.00 points" in text


def test_statistics_are_estimated_anew_at_the_end_of_every_epoch(monkeypatch):
    steps = []
    monkeypatch.setattr(quantised_run, "recalibrate_", lambda model, batches: steps.append(len(batches)))
    problem = small()
    rules = [quantised_run.Restated(problem.batches() * 3)]
    torch.manual_seed(0)
    quantised_run.fit(NETS["mlp"](width=4), problem.task, problem.settings["mlp"], rules, progress=False)
    assert steps == [3, 3]  # two epochs of three steps
