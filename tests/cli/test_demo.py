"""edgenet demo."""

import re

import pytest

DEMO = ["demo", "karate", "--epochs", "4"]


@pytest.mark.float32  # as a user runs it
def test_the_demo_converts_compresses_saves_and_draws(run, tmp_path):
    code, out, _ = run(*DEMO, "--ratio", "5")
    assert code == 0
    assert float(re.search(r"scores differ by (\S+),", out)[1]) < 1e-4
    rows = [line.split("  ") for line in out.splitlines() if re.match(r"(none|low rank|kronecker|hashed) ", line)]
    assert len(rows) == 1 + 3 * 4  # four ratios of each family, and the network itself
    assert "saved and read back: runs/demo-karate/model" in out and "picture: runs/demo-karate/demo.png" in out
    assert (tmp_path / "runs/demo-karate/demo.png").read_bytes()[:4] == b"\x89PNG"
    assert {"model.safetensors", "config.json"} <= {
        file.name for file in (tmp_path / "runs/demo-karate/model").iterdir()
    }


@pytest.mark.slow  # five demonstrations
@pytest.mark.float32
def test_the_demo_replaces_its_own_folder_and_nothing_of_the_user(run, tmp_path):
    assert run(*DEMO)[0] == run(*DEMO)[0] == 0
    assert run(*DEMO, "--out", "mine")[0] == 0
    before = {file: file.read_bytes() for file in (tmp_path / "mine").rglob("*") if file.is_file()}
    code, _, err = run(*DEMO, "--out", "mine")
    assert code == 2 and "mine/model exists" in err and "--overwrite" in err
    assert {file: file.read_bytes() for file in (tmp_path / "mine").rglob("*") if file.is_file()} == before
    assert run(*DEMO, "--out", "mine", "--overwrite")[0] == 0


@pytest.mark.parametrize(
    "arguments, says",
    [
        ([*DEMO, "--ratio", "inf"], "got 'inf'"),
        ([*DEMO, "--epochs", "0"], "--epochs: a whole number from 1 is wanted, got '0'"),
        ([*DEMO, "--seed", "99999999999"], "--seed: a whole number from 0 to 4,294,967,295 is wanted"),
        ([*DEMO, "--out", "file"], "file is a file"),
        ([*DEMO, "--out", "file/demo"], "file is a file, and file/demo is to be a folder"),
        (["demo", "source_localisation"], "one graph with classes of nodes"),
        ([*DEMO, "--ratio", "0.5"], "--ratio: a number of at least 1 is wanted, got '0.5'"),
    ],
)
def test_a_demo_that_cannot_be_given_says_why(refused, arguments, says, tmp_path):
    (tmp_path / "file").write_text("")
    assert says in refused(*arguments)
