"""JSON and TOML are refused by size, items and depth before they are parsed, by the error that was asked for."""

import json
import os

import pytest
from torch import nn

from edgenet import reading
from edgenet.cli.entry import main
from edgenet.compress import Plan, Report, report
from edgenet.config import RunConfig
from edgenet.data.own.learned import Learned
from edgenet.errors import CheckpointError, ConfigError, PlanError
from edgenet.reading import Budget
from edgenet.selection import RemovalPlan
from edgenet.train import read_metrics, read_result

DEEP = b"[" * 100_000
JSON = {
    "deep": (DEEP, "100000 deep"),
    "deep and whole": (DEEP + b"]" * 100_000, "100000 deep"),
    "deep tables": (b'{"a":' * 5000, "5000 deep"),
    "half": (b'{"a": [1, 2', "no JSON"),
    "no text": (b'{"a": "\xff\xfe"}', "no text in UTF-8 .byte 7"),
    "digits": (b"[" + b"9" * 5000 + b"]", "no JSON"),
    "empty": (b"", "no JSON"),
}


@pytest.mark.parametrize("case", JSON)
def test_what_is_no_json_of_ours_is_refused_with_its_file(tmp_path, case):
    data, says = JSON[case]
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(PlanError, match=rf"x\.json: .*{says}"):
        reading.read_json(tmp_path / "x.json", PlanError)


def test_brackets_in_texts_are_none():
    text = json.dumps({"a": "[[[[" * 100 + '\\"' + "]" * 9, "b": ['\\', "{" * 300]})
    assert reading.parse_json(text, "x", PlanError)["b"][1] == "{" * 300
    tight = Budget(bytes=10_000, depth=2)
    assert reading.parse_json(text, "x", PlanError, tight)
    with pytest.raises(PlanError, match="3 deep inside each other, and such a text may have 2"):
        reading.parse_json('{"a": [[1]], "b": "' + "[" * 9 + '"}', "x", PlanError, tight)


def test_depth_is_counted_over_the_borders_of_pieces(monkeypatch):
    monkeypatch.setattr("edgenet.reading.texts._CHUNK", 7)
    text = '{"key]]": [[[["]]\\"]]", {"a": 1}]]]], "b": []}'
    tight = Budget(bytes=1000, depth=5)
    with pytest.raises(PlanError, match="6 deep"):
        reading.parse_json(text, "x", PlanError, tight)
    assert reading.parse_json(text, "x", PlanError, Budget(bytes=1000, depth=6)) == json.loads(text)


def test_size_and_items_are_bounded(tmp_path):
    (tmp_path / "x").write_bytes(b"[1, 2, 3]")
    with pytest.raises(PlanError, match="x: has 9 bytes, and such a file may have 8"):
        reading.read_json(tmp_path / "x", PlanError, Budget(bytes=8))
    with pytest.raises(PlanError, match="x: has more than the 2 items"):
        reading.read_json(tmp_path / "x", PlanError, Budget(bytes=99, elements=2))


def test_a_pipe_a_device_and_a_folder_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path):
        with pytest.raises(PlanError, match=r"cannot be read: (it is no regular file|Is a directory)"):
            reading.read_json(type(tmp_path)(path), PlanError)


TOML = {
    "deep": (b"a = " + DEEP, "100000 deep"),
    "dots": (b"a." * 100_000 + b"a = 1", "a key of more than 64 parts"),
    "table of dots": (b"[" + b"a." * 100_000 + b"a]", "a key of more than 64 parts"),
    "dots inside": (b"a = {" + b"a." * 100_000 + b"a = 1}", "a key of more than 64 parts"),
    "no text": (b'a = "\xff"', "no text in UTF-8 .byte 5"),
    "half": (b"a = [1", "not TOML"),
}
READERS = {
    "plan": (Plan.from_toml, PlanError),
    "removal": (RemovalPlan.from_toml, PlanError),
    "run": (RunConfig.from_toml, ConfigError),
}


@pytest.mark.parametrize("case", TOML)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_of_toml_refuses_in_its_own_words(tmp_path, case, reader):
    (data, says), (read, kind) = TOML[case], READERS[reader]
    (tmp_path / "x.toml").write_bytes(data)
    with pytest.raises(kind, match=rf"x\.toml.*{says}"):
        read(tmp_path / "x.toml")


@pytest.mark.parametrize("case", JSON)
def test_every_reader_of_json_refuses_in_its_own_words(tmp_path, case):
    data, _ = JSON[case]
    for name in ("result.json", "data.json", "metrics.jsonl"):
        (tmp_path / name).write_bytes(data + b"\n")
    readers = (read_result, lambda folder: Learned.read(folder / "data.json"))
    readers += (lambda folder: read_metrics(folder / "metrics.jsonl"),)
    for read in readers:
        with pytest.raises(CheckpointError, match=str(tmp_path)):
            read(tmp_path)
    with pytest.raises(PlanError):
        Report.from_json(data)


@pytest.mark.parametrize("case", JSON)
def test_the_command_line_says_so_in_one_line(tmp_path, case, capsys):
    (tmp_path / "report.json").write_bytes(JSON[case][0])
    assert main(["report", str(tmp_path)]) != 0
    told = capsys.readouterr().err
    assert "report.json" in told and "Traceback" not in told


@pytest.mark.parametrize("change", [{"parameters": 1e300}, {"error": "x"}, {"shape": [1]}, {"options": 3}, {"bytes": -1}])  # noqa: E501
def test_a_report_with_other_values_is_none(change):
    content = json.loads(report(nn.Linear(3, 8)).to_json())
    content["rows"][0].update(change)
    with pytest.raises(PlanError, match="no report of edgenet"):
        Report.from_json(json.dumps(content))
