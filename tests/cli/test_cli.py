"""The command line: what it prints, what it writes, how it ends."""

import json
import re
import subprocess
import sys
import tomllib

import pytest
import torch

from edgenet import __version__, checkpoint, cli
from edgenet.config import RunConfig

QUICK = ["--epochs", "3", "--set", "model.options.heads=2", "--no-pictures"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(capsys, *arguments):
    """(exit code, stdout, stderr) of a command."""
    code = cli.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def train(capsys, *arguments):
    code, out, err = run(capsys, "train", "karate", "--model", "gat", *QUICK, *arguments)
    assert code == 0, err
    return out


# ---------------------------------------------------------------- the whole command
def test_the_version_is_printed():
    done = subprocess.run([sys.executable, "-m", "edgenet", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"edgenet {__version__}\n")


def test_help_and_usage_need_no_torch_of_their_own():
    code = (
        "import sys, types\n"
        "package = types.ModuleType('edgenet'); package.__path__ = [sys.argv[1]]; sys.modules['edgenet'] = package\n"
        "import edgenet.cli\n"
        "try: edgenet.cli.main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'numpy', 'matplotlib', 'torch_geometric'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, cli.__file__.rpartition("/")[0]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--resume" in done.stdout


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0 and "usage: edgenet" in capsys.readouterr().out


# ---------------------------------------------------------------- train
def test_training_ends_with_a_table_of_all_seeds_and_their_mean(capsys, tmp_path):
    out = train(capsys, "--seeds", "3").splitlines()
    title = out.index(next(line for line in out if line.startswith("gat on karate")))
    assert out[title + 1].split()[0] == "seed"
    assert [line.split()[0] for line in out[title + 3 : title + 6]] == ["0", "1", "2"]
    assert out[title + 7].startswith("mean") and out[title + 7].count("±") == 2
    summary = json.loads((tmp_path / "runs" / "karate-gat" / "summary.json").read_text())
    assert f"{summary['test']['mean']:.4f} ± {summary['test']['std']:.4f}" in out[title + 7]


def test_flags_and_assignments_override_the_preset(capsys, tmp_path):
    train(capsys, "--seeds", "4,2", "--out", "here", "--set", "optimizer.lr=0.5")
    config = RunConfig.from_toml(tmp_path / "here" / "config.toml")
    assert config.training.seeds == [4, 2] and config.training.epochs == 3
    assert config.optimizer.lr == 0.5 and config.model.options["heads"] == 2 and config.out == "here"


def test_a_configuration_file_is_trained_and_flags_override_it(capsys, tmp_path):
    (tmp_path / "my.toml").write_text('[dataset]\nname = "karate"\n[model]\nlayer = "gcn"\n[training]\nepochs = 50\n')
    code, out, _ = run(capsys, "train", "my.toml", "--epochs", 2, "--no-pictures")
    assert code == 0 and "gcn on karate" in out and "runs/karate-gcn" in out
    assert RunConfig.from_toml(tmp_path / "runs" / "karate-gcn" / "config.toml").training.epochs == 2


def test_the_configuration_of_a_run_makes_the_run_again(capsys, tmp_path):
    train(capsys)
    assert run(capsys, "train", "runs/karate-gat/config.toml", "--out", "again", "--no-pictures")[0] == 0
    first, again = (checkpoint.load(tmp_path / p / "seed-0" / "model.pt") for p in ("runs/karate-gat", "again"))
    assert all(torch.equal(first["model"][name], again["model"][name]) for name in first["model"])


def test_a_second_run_is_refused_resumed_or_replaced(capsys):
    train(capsys)
    code, out, err = run(capsys, "train", "karate", "--model", "gat", *QUICK)
    assert code == 2 and not out and err.count("\n") == 1 and "--resume" in err and "--overwrite" in err
    assert "gat on karate" in train(capsys, "--resume")
    assert "gat on karate" in train(capsys, "--overwrite", "--set", "optimizer.lr=0.1")
    code, _, err = run(capsys, "train", "karate", "--model", "gat", *QUICK, "--resume")
    assert code == 2 and "optimizer.lr was 0.1, is 0.01" in err


def test_resuming_what_was_never_begun_begins_and_says_so(capsys):
    code, _, err = run(capsys, "train", "karate", *QUICK, "--resume")
    assert code == 0 and "nothing to resume in runs/karate-gat, starting anew" in err


def test_an_interruption_says_how_to_go_on(capsys, monkeypatch):
    import edgenet.train as module

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_epoch", interrupt)
    code, _, err = run(capsys, "train", "karate", "--out", "mine")
    assert code == 130 and "edgenet train mine --resume" in err and "Traceback" not in err


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["train", "karat"], "there is no data set 'karat'"),
        (["train", "gone.toml"], "gone.toml: cannot be read"),
        (["train", "karate", "--model", "gatt"], "no layer is called 'gatt'"),
        (["train", "karate", "--set", "training.epoch=3"], "Did you mean 'epochs'"),
        (["train", "karate", "--set", "training.epochs"], "table.key=value"),
        (["train", "karate", "--seeds", "x"], "--seeds is a number of seeds"),
        (["train", "karate", "--seeds", ""], "--seeds is a number of seeds"),
        (["train", "karate", "--seeds", ","], "--seeds is a number of seeds"),
        (["train", "karate", "--set", "training.device=meta"], "training.device is cpu or cuda, got 'meta'"),
        (["bench", "cora", "--seeds", "0"], "--seeds is at least 1, got 0"),
        (["bench", "cora", "--processes", "0"], "--processes is at least 1, got 0"),
        (["train", "karate", "--seeds", "0"], "training.seeds is"),
        (["train", "karate", "--epochs", "0"], "training.epochs is at least 1"),
        (["data", "info", "karat"], "there is no data set 'karat'"),
        (["data", "prepare", "karate", "--set", "colour=3"], "no option 'colour'"),
        (["inspect", "nowhere"], "nowhere: is no run"),
    ],
)
def test_an_error_is_one_clear_line_and_exit_code_2(capsys, tmp_path, arguments, says):
    code, out, err = run(capsys, *arguments)
    assert code == 2 and not out
    assert err.startswith("edgenet: ") and says in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())  # and nothing is left behind


def test_a_file_that_cannot_be_written_is_one_line_with_its_path_and_the_reason(capsys, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, "train", "karate", *QUICK, "--out", "file/run")
    assert (code, err) == (2, "edgenet: file/run: Not a directory\n")
    monkeypatch.setattr("edgenet.bench.results.cora.run", None)  # is not come to
    for out in ("file/page.md", "."):
        code, _, err = run(capsys, "bench", "cora", "--out", out)
        assert code == 2 and err.startswith("edgenet: ") and err.count("\n") == 1 and out.partition("/")[0] in err


def test_an_unknown_key_is_named_with_its_file(capsys, tmp_path):
    (tmp_path / "my.toml").write_text('[dataset]\nname = "karate"\n[model]\nlayer = "gcn"\nhiden_channels = 4\n')
    _, _, err = run(capsys, "train", "my.toml")
    assert "my.toml: [model] has no key 'hiden_channels'. Did you mean 'hidden_channels'?" in err


def test_the_traceback_is_shown_on_demand(capsys):
    code, _, err = run(capsys, "train", "karat", "--debug")
    assert code == 2 and "Traceback" in err


def test_an_error_of_ours_is_not_hidden(monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "inspect", cli.Command("", lambda parser: None, lambda arguments: 1 // 0))
    with pytest.raises(ZeroDivisionError):
        cli.main(["inspect"])


# ---------------------------------------------------------------- inspect
def test_a_run_is_shown_with_its_configuration_seeds_tensors_and_pictures(capsys):
    train(capsys, "--seeds", "2")
    code, out, _ = run(capsys, "inspect", "runs/karate-gat")
    assert code == 0
    text = out[: out.index("seed  state")]
    assert tomllib.loads(text)["model"]["layer"] == "gat"
    lines = out.splitlines()
    assert sum(" done " in line and line[0] in "01" for line in lines) == 2
    assert next(line for line in lines if line.startswith("mean")).count("±") == 1 and "no pictures yet" in out
    total = int(next(line for line in lines if line.startswith("NodeClassifier")).split()[1].replace(",", ""))
    table = lines[lines.index(next(line for line in lines if line.startswith("tensor"))) + 2 :]
    numbers = [int(line.split()[-1].replace(",", "")) for line in table if "convs" in line and "fixed" not in line]
    assert sum(numbers) == total


def test_an_unfinished_run_says_where_it_can_go_on(capsys, monkeypatch):
    import edgenet.train as module

    epoch = module._epoch

    def stop(task, run, bar):
        if run.epoch == 3:
            raise KeyboardInterrupt
        return epoch(task, run, bar)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_epoch", stop)
        often = ["--set", "training.checkpoint_epochs=1"]
        assert run(capsys, "train", "karate", "--seeds", "2", "--epochs", "5", *often)[0] == 130
    _, out, _ = run(capsys, "inspect", "runs/karate-gat")
    assert "can go on from epoch 2" in out and "not begun" in out
    assert "go on with: edgenet train runs/karate-gat --resume" in out


@pytest.mark.parametrize("name", ["seed-0/model.pt", "seed-0/metrics.jsonl", "config.toml"])
def test_a_damaged_file_of_a_run_is_refused_by_name(capsys, tmp_path, name):
    train(capsys)
    file = tmp_path / "runs" / "karate-gat" / name
    file.write_bytes(b"[nonsense\n" + file.read_bytes()[: file.stat().st_size // 2])
    code, _, err = run(capsys, "inspect", "runs/karate-gat")
    assert code == 2 and name.rpartition("/")[2] in err and err.count("\n") == 1


# ---------------------------------------------------------------- data
def test_the_data_sets_are_listed_with_where_they_are(capsys):
    code, out, _ = run(capsys, "data", "list")
    assert code == 0 and next(line for line in out.splitlines() if line.startswith("karate")).split()[1] == "node"


def test_a_data_set_is_described_and_prepared(capsys, tmp_path):
    code, out, _ = run(capsys, "data", "info", "karate")
    assert code == 0 and "34" in out and "licence" in out
    code, out, _ = run(capsys, "data", "prepare", "karate", "--out", "karate.npz")
    assert code == 0 and (tmp_path / "karate.npz").is_file() and "karate.npz" in out


# ---------------------------------------------------------------- demo
DEMO = ["demo", "karate", "--epochs", "4"]


@pytest.mark.float32  # as a user runs it
def test_the_demo_converts_compresses_saves_and_draws(capsys, tmp_path):
    code, out, _ = run(capsys, *DEMO, "--ratio", "5")
    assert code == 0
    assert float(re.search(r"scores differ by (\S+),", out)[1]) < 1e-4
    rows = [line.split("  ") for line in out.splitlines() if re.match(r"(none|low rank|kronecker|hashed) ", line)]
    assert len(rows) == 1 + 3 * 4  # four ratios of each family, and the network itself
    assert "saved and read back: runs/demo-karate/model" in out and "picture: runs/demo-karate/demo.png" in out
    assert (tmp_path / "runs/demo-karate/demo.png").read_bytes()[:4] == b"\x89PNG"
    assert {"model.safetensors", "config.json"} <= {
        file.name for file in (tmp_path / "runs/demo-karate/model").iterdir()
    }


@pytest.mark.float32
def test_the_demo_replaces_its_own_folder_and_nothing_of_the_user(capsys, tmp_path):
    assert run(capsys, *DEMO)[0] == run(capsys, *DEMO)[0] == 0
    assert run(capsys, *DEMO, "--out", "mine")[0] == 0
    before = {file: file.read_bytes() for file in (tmp_path / "mine").rglob("*") if file.is_file()}
    code, _, err = run(capsys, *DEMO, "--out", "mine")
    assert code == 2 and "mine/model exists" in err and "--overwrite" in err
    assert {file: file.read_bytes() for file in (tmp_path / "mine").rglob("*") if file.is_file()} == before
    assert run(capsys, *DEMO, "--out", "mine", "--overwrite")[0] == 0


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["demo", "source_localisation"], "one graph with classes of nodes"),
        ([*DEMO, "--ratio", "0.5"], "--ratio is at least 1"),
    ],
)
def test_a_demo_that_cannot_be_given_says_why(capsys, arguments, says):
    code, _, err = run(capsys, *arguments)
    assert code == 2 and says in err


def test_a_checkpoint_of_something_else_is_refused_by_name(capsys, tmp_path):
    train(capsys)
    own = tmp_path / "runs" / "karate-gat" / "seed-0"
    (own / "model.pt").unlink()
    for content in ([1], {"epoch": "x"}):
        checkpoint.save(own / "checkpoint.pt", content)
        code, _, err = run(capsys, "inspect", "runs/karate-gat")
        assert code == 2 and "checkpoint.pt: is no state of a training run" in err
