"""Everything that the library writes passes by ``edgenet.writing``, and everything that it prints by one function."""

import ast
import functools
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "edgenet"
DOORS = ("writing/", "cli/printing.py")
# calls by which files come to be written, whatever they are called on
METHODS = {
    "write_text", "write_bytes", "savefig", "savez", "savez_compressed", "savetxt", "tofile", "save_file", "mkstemp",
    "NamedTemporaryFile", "umask", "to_csv", "touch", "symlink_to", "hardlink_to", "copyfile", "rename", "renames",
    "write_graphml", "memmap",
}  # fmt: skip
ON_OS = {"replace", "open", "link", "symlink", "truncate"}  # of the module os
SAVE = {"torch", "np", "numpy", "safetensors.torch", "torch.export"}  # whose save() writes, into a path or a file
PRINTS = ("sys.stdout.write", "sys.stderr.write", "traceback.print_exc")
# file -> calls that stand there all the same, with the reason
ALLOWED = {
    "bench/harness/commands.py": ({"open"}, "only looks whether a page can be written, and leaves no file"),
    "bench/harness/peak.py": ({"write_text"}, "a file of the kernel's"),
    "bench/harness/worker.py": ({"fdopen"}, "a pipe"),
    "bench/results/additive_run.py": ({"save"}, "into the writer's file"),
    "checkpoint.py": ({"save"}, "into the writer's file"),
    "data/fetching.py": ({"replace"}, "PyG's downloader writes by itself, into a folder of its own beside"),
    "data/files.py": ({"savez", "open"}, "to the writer's name"),
    "export/files.py": ({"save"}, "to the writer's name"),
    "plots/style.py": ({"savefig"}, "into the writer's file"),
    "pretrained/folder.py": ({"save"}, "into bytes"),
    "scale/mapped.py": ({"open", "memmap"}, "a table as large as a disk is filled in its place, piece by piece"),
    "testing/structure/storage.py": ({"save"}, "into memory"),
}


@functools.cache
def sources(package: Path) -> dict[str, ast.Module]:
    """Every file of a package by its name."""
    files = sorted(package.rglob("*.py"))
    return {file.relative_to(package).as_posix(): ast.parse(file.read_text(encoding="utf-8")) for file in files}


def writes(tree: ast.Module) -> set[str]:
    """The names of the calls in a file by which it may write, but those of the writer."""
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name not in METHODS | ON_OS | {"fdopen", "save"}:
            continue
        holder = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        modes = [a.value for a in (*node.args, *(k.value for k in node.keywords if k.arg == "mode"))
                 if isinstance(a, ast.Constant) and isinstance(a.value, str)]  # fmt: skip
        opens = name in ("open", "fdopen") and any(set(mode) & set("wax+") and len(mode) < 4 for mode in modes)
        method = name in METHODS and holder not in ("", "writing")  # a function write_text is the writer's
        on_os = holder == "os" and name in ON_OS and "O_RDONLY" not in ast.unparse(node)
        if opens or method or on_os or (name == "save" and holder in SAVE):
            found.add(name)
    return found


def writers(package: Path) -> list[str]:
    """Files that write by themselves, and exceptions that are none any more."""
    problems = []
    for name, tree in sources(package).items():
        if not name.startswith(DOORS[0]):
            found, (allowed, _) = writes(tree), ALLOWED.get(name, (set(), ""))
            problems += [f"{name} calls {call}: write by edgenet.writing" for call in sorted(found - allowed)]
            problems += [f"{name} calls {call} no more: take it off the list" for call in sorted(allowed - found)]
    return problems


def printers(package: Path) -> list[str]:
    """Files that print by themselves. Benchmarks print what they have measured."""
    problems = []
    for name, tree in sources(package).items():
        if name.startswith(("bench/", DOORS[1])):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (
                getattr(node.func, "id", "") == "print"
                or (getattr(node.func, "attr", "") in ("write", "print_exc") and ast.unparse(node.func) in PRINTS)
            ):
                problems.append(f"{name}:{node.lineno} prints: say it by edgenet.cli.printing.say")
    return problems


def test_all_files_are_written_by_the_one_writer():
    assert not writers(PACKAGE)


def test_all_lines_are_printed_by_the_one_printer():
    assert not printers(PACKAGE)


@pytest.mark.parametrize(
    "source",
    [
        "open(path, 'w')", "path.open('ab')", "open(path, mode='x')", "os.fdopen(handle, 'wb')", "path.write_text(t)",
        "numpy.savez(path, a=a)", "torch.save(x, path)", "figure.savefig(path)", "os.replace(a, b)", "os.umask(0)",
        "tempfile.mkstemp()", "os.open(path, os.O_WRONLY)", "shutil.copyfile(a, b)", "frame.to_csv(path)",
    ],
)  # fmt: skip
def test_another_writer_is_found(tmp_path, source):
    (tmp_path / "new.py").write_text(source)
    assert [problem for problem in writers(tmp_path) if problem.startswith("new.py calls")]


@pytest.mark.parametrize("source", ["open(path)", "open(path, 'rb')", "write_text(path, t)", "text.replace('a', 'b')"])
def test_readers_and_the_writer_itself_are_no_writers(tmp_path, source):
    (tmp_path / "new.py").write_text(source)
    assert not writers(tmp_path)


def test_another_printer_is_found(tmp_path):
    (tmp_path / "new.py").write_text("import sys\nprint('x')\nsys.stderr.write('y')")
    assert len(printers(tmp_path)) == 2
