"""edgenet completion."""

import shutil
import subprocess

import pytest

ASK = """
source ./script
ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _edgenet; echo "${COMPREPLY[*]}"; }
"""


@pytest.fixture
def completed(run, tmp_path):
    """What bash would complete the words to, the last of which is begun."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    code, script, _ = run("completion", "bash")
    assert code == 0
    (tmp_path / "script").write_text(script)

    def completed(*words):
        line = f"{ASK}\nask {' '.join(repr(word) for word in words)}"
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert not done.stderr
        return done.stdout.split()

    return completed


def test_commands_arguments_and_names_are_completed(completed):
    assert completed("edgenet", "tr") == ["train"]
    assert {"list", "info", "prepare"} <= set(completed("edgenet", "data", ""))
    assert completed("edgenet", "data", "info", "kar") == ["karate"]
    assert completed("edgenet", "train", "karate", "--und") == ["--undirected"]
    assert completed("edgenet", "predict", "run", "--undirected", "--over") == ["--overwrite"]
    assert completed("edgenet", "completion", "f") == ["fish"]


def test_values_of_options_are_completed(completed):
    assert completed("edgenet", "export", "model", "--to", "") == ["onnx", "pt2"]
    assert completed("edgenet", "train", "--kind", "mul") == ["multilabel"]
    assert completed("edgenet", "export", "model", "--data", "kar") == ["karate"]
    assert completed("edgenet", "train", "--kind", "class", "--und") == ["--undirected"]


def test_every_shell_has_a_script(run, refused):
    assert "bashcompinit" in run("completion", "zsh")[1]
    fish = run("completion", "fish")[1].splitlines()
    assert any(
        line.startswith("complete -c edgenet -n '__fish_seen_subcommand_from train' -l undirected") for line in fish
    )
    assert any(" -l kind -r -a 'class multilabel value' -d " in line for line in fish)
    assert "invalid choice: 'tcsh'" in refused("completion", "tcsh")
