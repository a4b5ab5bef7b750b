"""What an installer sees: one version, all packages, nothing else."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from edgenet.ops import native

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
    newest = re.findall(r"pip .*install .*", make("-n", "test", "TORCH=latest", "VENV=.no-such-environment"))
    assert len(newest) == 3 and all("--upgrade torch torch_geometric" in line for line in newest)
    assert not any("constraints" in line for line in newest)
    assert ".venv-latest/bin" in make("-n", "test", "TORCH=latest")
    wrong = subprocess.run(["make", "-C", str(ROOT), "test", "TORCH=old"], capture_output=True, text=True)
    assert wrong.returncode and "TORCH is pinned, by constraints.txt, or latest; got old" in wrong.stderr


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


# ---------------------------------------------------------------- the kernels' build
def test_the_classifiers_name_the_versions_from_the_least_on():
    said = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
    assert said == ["3.11", "3.12", "3.13"] and PROJECT["project"]["requires-python"] == ">=3.11"


def setup_file():
    spec = importlib.util.spec_from_file_location("setup_file", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "system, machine, archflags, built",
    [
        ("linux", "x86_64", "", ["_base", "_v3", "_v4"]),
        ("linux", "aarch64", "", ["_base"]),
        ("darwin", "arm64", "", ["_base"]),
        ("darwin", "x86_64", "", ["_base", "_v3", "_v4"]),
        ("darwin", "x86_64", "-arch arm64 -arch x86_64", ["_base"]),
        ("win32", "AMD64", "", []),
        ("freebsd14", "amd64", "", ["_base", "_v3", "_v4"]),
    ],
)
def test_objects_are_built_for_processors_that_the_compiler_knows(system, machine, archflags, built):
    made = setup_file().levels(system, machine, archflags)
    assert list(made) == built and all(name == "_base" or made[name] for name in made)


def test_clang_is_not_asked_for_what_gcc_alone_knows():
    flags = setup_file().flags
    assert "-Wno-psabi" in flags("linux") and "-Wno-psabi" not in flags("darwin")
    assert not any("fast-math" in flag for flag in flags("linux"))


def build(what, source, out, **environment):
    """What an installer's call of setuptools makes, in a process of its own."""
    code = f"import setuptools.build_meta as b; print('made:' + b.build_{what}({str(out)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return out / re.search(r"made:(.+)", done.stdout)[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The source distribution, made of a copy of the tree that git knows, and unpacked."""
    if int(version("setuptools").split(".")[0]) < 77:
        pytest.skip("building without isolation needs setuptools >= 77")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("no git, or no repository: which files are the source's is not known")
    there = [name for name in tracked.stdout.splitlines() if (ROOT / name).is_file()]
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("made")
    for name in there:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    packed = build("sdist", source, out, EDGENET_LEVELS="")
    with tarfile.open(packed) as file:
        file.extractall(out, filter="data")
    return out / f"edgenet-{VERSION}", set(there)


def test_a_source_distribution_is_whole(unpacked):
    folder, there = unpacked
    inside = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert there - inside <= {".gitignore"}
    made = {name for name in inside - there if not name.startswith("edgenet.egg-info/")}
    assert made == {"PKG-INFO", "setup.cfg", "MANIFEST.in"} - there


def test_a_wheel_of_it_serves_every_python_of_a_platform(unpacked, tmp_path):
    folder, _ = unpacked
    plain = build("wheel", folder, tmp_path, EDGENET_LEVELS="")
    assert plain.name == f"edgenet-{VERSION}-py3-none-any.whl"
    none = {"CC": "/nothing/here", "CXX": "/nothing/here", "EDGENET_LEVELS": "_base"}
    compiled = build("wheel", folder, tmp_path, **none)  # whose one object does not compile, which is no failure
    assert re.fullmatch(rf"edgenet-{VERSION}-py3-none-(?!any)\w+\.whl", compiled.name)
    code = {str(file.relative_to(folder)) for file in (folder / "edgenet").rglob("*.py")}
    assert code <= set(zipfile.ZipFile(compiled).namelist())


def test_an_object_without_a_tag_goes_before_an_older_one_with(tmp_path, monkeypatch):
    for name in ("_base.so", f"_base{EXTENSION_SUFFIXES[0]}"):
        (tmp_path / name).touch()
    monkeypatch.setenv("EDGENET_NATIVE_DIR", str(tmp_path))
    native.path.cache_clear()
    try:
        assert native.path().name == "_base.so"
    finally:
        monkeypatch.undo()
        native.path.cache_clear()
