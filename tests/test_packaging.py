"""What an installer sees: one version, all packages, nothing else."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "edgenet" / "_version.py").read_text(encoding="utf-8"))[1]


def test_there_is_one_version():
    assert f"\nversion: {VERSION}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    try:
        installed = version("edgenet")
    except PackageNotFoundError:
        pytest.skip("edgenet runs from its folder here, it is not installed")
    assert installed == VERSION, "installed metadata is old: pip install -c constraints.txt -e . renews it"


def test_every_folder_with_code_is_a_package():
    bare = {file.parent for file in (ROOT / "edgenet").rglob("*.py") if not (file.parent / "__init__.py").is_file()}
    assert not bare, f"without __init__.py these do not reach the wheel: {sorted(map(str, bare))}"


def test_torch_is_loose_in_the_project_and_pinned_in_the_constraints():
    assert "torch>=2.6" in PROJECT["project"]["dependencies"]
    assert re.search(r"^torch==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)


def test_torch_scatter_is_no_requirement():
    assert not any("scatter" in need for need in PROJECT["project"]["dependencies"])


def test_twelve_papers_are_cited():
    references = (ROOT / "CITATION.cff").read_text(encoding="utf-8").split("\nreferences:\n")[1]
    assert len(re.findall(r"^  - type:", references, re.MULTILINE)) == 12


def test_ci_runs_the_readmes_test_command_and_nothing_else():
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line.split()[0] for line in lines if line and not line.startswith("#")] == ["set", "cd", "exec"]
    assert lines[-1] == "exec make test"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not here")
def test_make_helps_by_default_and_installs_under_the_constraints():
    def make(*arguments):
        command = ["make", "-C", str(ROOT), "--no-print-directory", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    targets = {"help", "demo", "test", "slow", "lint", "sanitize", "clean"}
    assert set(re.findall(r"^  (\w+) ", make(), re.MULTILINE)) >= targets
    installs = re.findall(r"pip .*install .*", make("-n", "demo", "test", "VENV=.no-such-environment"))
    assert len(installs) == 4 and all("-c constraints.txt" in line for line in installs)


def test_a_wheel_holds_the_typed_package_and_no_tests(tmp_path):
    if int(version("setuptools").split(".")[0]) < 77:
        pytest.skip("building without isolation needs setuptools >= 77")
    source = tmp_path / "source"  # a build writes into the tree it builds from
    shutil.copytree(ROOT / "edgenet", source / "edgenet", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", source / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, source)
    options = ["--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wheel = next(tmp_path.glob("edgenet-*.whl"))
    assert wheel.name.split("-")[1] == VERSION
    names = set(zipfile.ZipFile(wheel).namelist())
    code = {str(file.relative_to(source)) for file in (source / "edgenet").rglob("*.py")}
    assert code | {"edgenet/py.typed"} <= names
    assert {name.split("/")[0] for name in names} == {"edgenet", f"edgenet-{VERSION}.dist-info"}
