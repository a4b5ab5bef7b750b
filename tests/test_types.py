"""The type checker's gate: which parts it holds wholly, what it holds everywhere, and that it fails."""

import fnmatch
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
LOOSENED = [pattern for override in SETTINGS["overrides"] for pattern in override["module"]]
WHOLE = (
    "checkpoint", "cli", "config", "estimators", "graph", "hub", "plots", "pretrained", "selection", "train",
)  # fmt: skip
FAULTS = {
    "__init__.py": "",
    "config.py": "def half(x: int) -> float:\n    return x / 2\n\n\nhalf('two')\n",
    "phi/__init__.py": "",
    "phi/wrong.py": "class Phi:\n    def hop(self, k: int) -> int:\n        return k\n\n\n"
    "class Other(Phi):\n    def hop(self, k: int, j: int) -> int:\n        return k.bit_lenght()\n\n\nOther().hop('a', 1)\n",
}


def packages() -> list[str]:
    """All modules of edgenet by their dotted names."""
    files = (file.relative_to(ROOT).with_suffix("") for file in (ROOT / "edgenet").rglob("*.py"))
    return [".".join(file.parts).removesuffix(".__init__") for file in files]


def test_the_parts_that_are_clean_are_checked_wholly():
    assert not {key for key in SETTINGS if "disable" in key or key == "ignore_errors"}
    held = [name for name in packages() if name.split(".")[1:2] and name.split(".")[1] in WHOLE]
    assert {name.split(".")[1] for name in held} == set(WHOLE)
    assert not [name for name in held if any(_covers(pattern, name) for pattern in LOOSENED)]


def test_what_is_loosened_is_there_and_holds_overrides_and_attributes():
    for override in SETTINGS["overrides"]:
        assert set(override) == {"module", "disable_error_code"}
        assert not {"override", "attr-defined", "name-defined"} & set(override["disable_error_code"])
    gone = [pattern for pattern in LOOSENED if not any(_covers(pattern, name) for name in packages())]
    assert not gone, f"these parts are not there any more: {gone}; take them out of pyproject.toml."


def test_an_ignored_fault_has_its_code_and_its_reason():
    bare = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in sorted((ROOT / "edgenet").rglob("*.py"))
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if "type: ignore" in line and not re.search(r"# type: ignore\[[\w-]+(, [\w-]+)*\]  # \S+", line)
    ]
    assert not bare, "\n".join(bare)


def test_the_checker_is_pinned_and_make_test_runs_it():
    assert re.search(r"^mypy==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    rule = (ROOT / "Makefile").read_text(encoding="utf-8").split("\ntest: ", 1)[1].split("\n\n", 1)[0]
    assert "\t$(BIN)/mypy" in rule.splitlines()


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not here")
def test_a_wrong_override_and_a_wrong_attribute_fail_anywhere_and_a_wrong_argument_in_clean_parts(tmp_path):
    for name, source in FAULTS.items():
        (tmp_path / "edgenet" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "edgenet" / name).write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", ".cache"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "MYPYPATH": str(tmp_path)}
    )
    found = set(re.findall(r"^edgenet/(\S+?):\d+: error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE))
    assert done.returncode == 1, done.stdout + done.stderr
    assert found == {("config.py", "arg-type"), ("phi/wrong.py", "override"), ("phi/wrong.py", "attr-defined")}


def _covers(pattern: str, name: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) or name == pattern.removesuffix(".*")
