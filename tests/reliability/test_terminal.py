"""What files say is shown on the terminal, and never obeyed by it."""

import json
import re
import warnings

import pytest
import torch
from torch import nn

import edgenet
from edgenet import errors
from edgenet.cli import main
from edgenet.compress import report
from edgenet.printable import printable
from edgenet.text import markdown_table, plain_table

ESCAPE = "\x1b]0;owned\x07\x1b[2J"
BAD = ["\x00", "\x08", "\r", "\x1b[31m", "\x7f", "\x9b2J", "\u202e", "\u2028", "\ud800"]
SEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@pytest.mark.parametrize("bad", BAD, ids=ascii)
def test_a_command_is_shown_and_json_stays_json(bad):
    shown = printable(f"a{bad}b\n\tc")
    assert not SEEN.search(shown) and shown.startswith("a\\u") and shown.endswith("b\n\tc")
    shown.encode()
    if bad != "\ud800":
        text = json.dumps({"name": f"a{bad}b"}, ensure_ascii=False)
        assert json.loads(printable(text)) == json.loads(text)


def test_usual_text_stays_as_it_is():
    for text in ("0.8 ± 0.1", "Ελλάδα", "表", "مرحبا", "a\n\tb", "👍"):
        assert printable(text) == text
    assert printable("a\nb", lines=False) == "a\\u000ab"


ERRORS = [name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)]


@pytest.mark.parametrize("name", ERRORS)
def test_no_error_carries_a_command(name):
    kind = getattr(errors, name)
    assert str(kind(f"x{ESCAPE}")) == printable(f"x{ESCAPE}") != f"x{ESCAPE}"
    assert not SEEN.search(str(kind(f"x{ESCAPE}")))


def test_tables_have_a_line_for_every_row():
    rows = [[f"{ESCAPE}\nname", 1], ["b", 2]]
    assert len(plain_table(["a", "b"], rows).splitlines()) == 4 and not SEEN.search(plain_table(["a", "b"], rows))
    assert not SEEN.search(markdown_table(["a", "b"], rows))


def hostile_model():
    return nn.ModuleDict({f"lin{ESCAPE}": nn.Linear(3, 2)})


def files_of(place):
    """Files whose every name is a command to the terminal."""
    edgenet.save_pretrained(hostile_model(), place / "model")
    (place / "model/report.json").write_text(report(hostile_model()).to_json())
    run = place / "run"
    run.mkdir()
    name = json.dumps(f"kar{ESCAPE}ate")
    (run / "config.toml").write_text(f"out = {name}\n[dataset]\nname = {name}\n[model]\nlayer = {name}\n")
    (place / "damaged").mkdir()
    (place / "damaged/config.json").write_text(json.dumps({"format": ESCAPE, "edgenet": ESCAPE}))
    (place / "bad.toml").write_text(f"[{name}]\na = 1\n")
    header = f"source,target,{ESCAPE}"
    rows = [f"{a},{b},{(a + b) % 3}.5" for a in range(12) for b in (a - 1, a - 2) if b >= 0]
    (place / "edges.csv").write_text("\n".join([header, *rows]) + "\n")
    labels = [f"{n},{n}.0,{'yes' if n % 2 else 'no'}{ESCAPE}" for n in range(12)]
    (place / "nodes.csv").write_text("\n".join([f"id,size{ESCAPE},label", *labels]) + "\n")


COMMANDS = {
    "inspect": ["inspect", "run"],
    "report": ["report", "model"],
    "report in json": ["report", "model", "--json"],
    "damaged": ["report", "damaged"],
    "toml": ["train", "bad.toml"],
    "train": ["train", "run", "--resume"],
    "data": ["data", "edges.csv"],
    "no such": ["report", f"no{ESCAPE}"],
    "debug": ["train", "run", "--resume", "--debug"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_of_a_file_reaches_the_terminal(tmp_path, monkeypatch, capfd, name):
    files_of(tmp_path)
    monkeypatch.chdir(tmp_path)
    main(COMMANDS[name])
    said = "".join(capfd.readouterr())
    assert said and not SEEN.search(said.replace("\r", "")), ascii(said)
    assert re.search(r"\\(u00|x)1b", said) or name == "data"


def test_names_in_a_users_own_tables_are_shown_too(tmp_path, monkeypatch, capfd):
    """Training, its bar, its table, and the predictions, whose columns and classes the file names."""
    files_of(tmp_path)
    monkeypatch.chdir(tmp_path)
    options = ["--nodes", "nodes.csv", "--epochs", "2", "--seeds", "1", "--no-pictures", "--out", "own"]
    assert main(["train", "--data", "edges.csv", *options]) == 0, capfd.readouterr().err
    assert main(["predict", "own", "edges.csv", "--nodes", "nodes.csv"]) == 0
    said = "".join(capfd.readouterr())
    assert not SEEN.search(said.replace("\r", "").replace("\x1b[A", "")) and "\\u001b" in said


def test_warnings_on_the_command_line_are_shown_and_not_obeyed(capsys, monkeypatch, tmp_path):
    from edgenet.cli import commands, entry

    command = commands.COMMANDS["doctor"]

    class Warns:
        def __getattr__(self, name):
            return getattr(command, name)

        def run(self, options):
            warnings.simplefilter("always")
            warnings.warn(f"odd {ESCAPE}", stacklevel=1)
            return 0

    usual = warnings.formatwarning
    monkeypatch.setitem(entry.COMMANDS, "doctor", Warns())
    with warnings.catch_warnings():
        warnings.showwarning = lambda *told, **_: print(warnings.formatwarning(*told[:4]))
        assert main(["doctor"]) == 0
    assert warnings.formatwarning is usual
    assert "odd \\u001b" in capsys.readouterr().out


def test_the_bar_is_named_in_one_line(capfd):
    bar = edgenet.train.Bar(2, f"run{ESCAPE}\n", 1)
    bar.start(0)
    bar({"loss": 0.5, "val": torch.tensor(1.0).item()})
    bar.close()
    assert not SEEN.search(capfd.readouterr().err.replace("\r", "").replace("\n", ""))
