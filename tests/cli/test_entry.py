"""The program: help, errors, exit codes, interruptions."""

import subprocess
import sys

import pytest

from edgenet import __version__, cli

QUICK = ["--epochs", "3", "--set", "model.options.heads=2", "--no-pictures"]


def test_the_version_is_printed():
    done = subprocess.run([sys.executable, "-m", "edgenet", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"edgenet {__version__}\n")


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["compress", "gat", "--ratio", "x"]], ids=str)
def test_help_and_usage_do_not_wait_for_torch(arguments):
    code = (
        "import sys\n"
        "from edgenet.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
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


def test_an_interruption_says_how_to_go_on(run, monkeypatch):
    import edgenet.train as module

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_epoch", interrupt)
    code, _, err = run("train", "karate", "--out", "mine")
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
def test_an_error_is_one_clear_line_and_exit_code_2(run, tmp_path, arguments, says):
    code, out, err = run(*arguments)
    assert code == 2 and not out
    assert err.startswith("edgenet: ") and says in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())  # and nothing is left behind


def test_a_file_that_cannot_be_written_is_one_line_with_its_path_and_the_reason(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    code, _, err = run("train", "karate", *QUICK, "--out", "file/run")
    assert (code, err) == (2, "edgenet: file/run: Not a directory\n")
    monkeypatch.setattr("edgenet.bench.results.cora.run", None)  # is not come to
    for out in ("file/page.md", "."):
        code, _, err = run("bench", "cora", "--out", out)
        assert code == 2 and err.startswith("edgenet: ") and err.count("\n") == 1 and out.partition("/")[0] in err


def test_an_unknown_key_is_named_with_its_file(run, tmp_path):
    (tmp_path / "my.toml").write_text('[dataset]\nname = "karate"\n[model]\nlayer = "gcn"\nhiden_channels = 4\n')
    _, _, err = run("train", "my.toml")
    assert "my.toml: [model] has no key 'hiden_channels'. Did you mean 'hidden_channels'?" in err


def test_the_traceback_is_shown_on_demand(run):
    code, _, err = run("train", "karat", "--debug")
    assert code == 2 and "Traceback" in err


def test_an_error_of_ours_is_not_hidden(monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "inspect", cli.Command("", lambda parser: None, lambda arguments: 1 // 0))
    with pytest.raises(ZeroDivisionError):
        cli.main(["inspect"])
