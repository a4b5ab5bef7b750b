"""The program: help, errors, exit codes, interruptions."""

import subprocess
import sys

import pytest

from edgenet import __version__, cli


def test_the_version_is_printed():
    done = subprocess.run([sys.executable, "-m", "edgenet", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"edgenet {__version__}\n")


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["compress", "gat", "--ratio", "x"]], ids=str)
def test_help_and_usage_do_not_wait_for_torch(arguments):
    code = (
        "import sys\n"
        "from edgenet.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass  # argparse ends so after help\n"
        "assert not {'torch', 'numpy', 'matplotlib', 'torch_geometric'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout + done.stderr


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_explains_itself(capsys, command):
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0 and "usage: edgenet" in capsys.readouterr().out


def test_an_interruption_says_how_to_go_on(run, interrupt):
    code, _, err = run("train", "karate", "--out", "mine", "--set", interrupt)
    assert code == 130 and "edgenet train mine --resume" in err and "Traceback" not in err


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["train", "karat"], "there is no data set 'karat'"),
        (["train", "gone.toml"], "gone.toml: cannot be read"),
        (["train", "karate", "--model", "gatt"], "no layer is called 'gatt'"),
        (
            ["train", "karate", "--set", "model.options.heads=two"],
            "ConfigError: heads of NodeClassifier is a whole number",
        ),
        (["train", "karate", "--set", "model.options.heads=0"], "heads is 1 or more, got 0"),
        (
            ["train", "karate", "--set", "model.options.skip=maybe"],
            "skip of NodeClassifier is True or False, got 'maybe'",
        ),
        (["train", "karate", "--model", "gcnn", "--set", "model.options.order=-1"], "got -1, 1, 16.\n"),
        (["train", "karate", "--set", "scheduler.name=cosin"], "scheduler.name is one of none, cosine"),
        (
            ["train", "karate", "--set", "scheduler.factor=0.1"],
            "scheduler.factor is for 'step', 'exponential', 'plateau'",
        ),
        (["train", "karate", "--set", "optimizer.momentum=0.9"], "optimizer.momentum is for 'sgd'"),
        (["train", "karate", "--resume", "--overwrite"], "--overwrite: not allowed with argument --resume"),
        (["train", "karate", "--set", "training.epoch=3"], "Did you mean 'epochs'"),
        (["train", "karate", "--set", "training.epochs"], "table.key=value"),
        (["train", "karate", "--seeds", "x"], "--seeds: how many seeds, from 1 to 10,000, or a list"),
        (["train", "karate", "--seeds", ""], "got ''"),
        (["train", "karate", "--seeds", ","], "got ','"),
        (["train", "karate", "--seeds", "-1"], "got '-1'"),
        (["train", "karate", "--seeds", "0"], "got '0'"),
        (["train", "karate", "--seeds", "99999999999"], "got '99999999999'"),
        (["train", "karate", "--seeds", "1,1"], "different whole numbers from 0 to 2^32 - 1 are wanted, got '1,1'"),
        (["train", "karate", "--seeds=-1,2"], "got '-1,2'"),
        (["train", "karate", "--epochs", "-3"], "--epochs: a whole number from 1 is wanted, got '-3'"),
        (["train", "karate", "--data-root", "gone"], "--data-root: no such folder: 'gone'"),
        (["train", "karate", "--out", ""], "--out: a path is wanted, got ''"),
        (["train"], "what is to be trained on?"),
        (["trian"], "invalid choice: 'trian'"),
        ([], "COMMAND"),
        (["train", "karate", "--set", "training.device=meta"], "training.device is cpu or cuda, got 'meta'"),
        (["bench", "cora", "--seeds", "0"], "--seeds is at least 1, got 0"),
        (["bench", "cora", "--processes", "0"], "--processes is at least 1, got 0"),
        (["train", "karate", "--set", "training.seeds=[]"], "training.seeds is"),
        (["train", "karate", "--set", "training.epochs=0"], "training.epochs is at least 1"),
        (["data", "info", "karat"], "there is no data set 'karat'"),
        (["data", "prepare", "karate", "--set", "colour=3"], "no option 'colour'"),
        (["inspect", "nowhere"], "nowhere: is no run"),
    ],
)
def test_an_error_is_one_clear_line_and_exit_code_2(refused, tmp_path, arguments, says):
    assert says in refused(*arguments)
    assert not list(tmp_path.iterdir())  # and nothing is left behind


def test_a_file_that_cannot_be_written_is_one_line_with_its_path_and_the_reason(refused, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    assert refused("train", "karate", "--out", "file/run") == (
        "edgenet: ConfigError: file/run: cannot be made: Not a directory. Choose another folder.\n"
    )
    monkeypatch.setattr("edgenet.bench.results.cora.run", None)  # is not come to
    for out in ("file/page.md", "."):
        assert out.partition("/")[0] in refused("bench", "cora", "--out", out)


def test_an_unknown_key_is_named_with_its_file(refused, tmp_path):
    (tmp_path / "my.toml").write_text('[dataset]\nname = "karate"\n[model]\nlayer = "gcn"\nhiden_channels = 4\n')
    err = refused("train", "my.toml")
    assert "my.toml: [model] has no key 'hiden_channels'. Did you mean 'hidden_channels'?" in err


def test_the_traceback_is_shown_on_demand(run):
    code, _, err = run("train", "karat", "--debug")
    assert code == 2 and "Traceback" in err


def test_an_error_of_ours_is_one_line_with_its_place_and_the_way_to_its_traceback(run, monkeypatch):
    def fails(options):
        return cli.commands.COMMANDS["a name that is not there"]

    monkeypatch.setitem(cli.COMMANDS, "inspect", cli.Command("", lambda parser: None, fails))
    code, out, err = run("inspect")
    assert (code, out, err.count("\n")) == (2, "", 1) and "test_entry.py" in err and "--debug" in err
    monkeypatch.setattr("edgenet.cli.inspect._config", lambda file: 1 // 0)
    monkeypatch.undo()
