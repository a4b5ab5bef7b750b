"""Hashes of what code does: comments, docstrings, formatting do not count."""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

#: edgenet's folder
PACKAGE = Path(__file__).resolve().parents[2]
#: parts in which no result is made: how pages are written, what is printed, which experiments there are
NOT_COUNTED = ("bench/pages/", "bench/harness/beside.py", "bench/harness/cells.py", "bench/harness/commands.py",
               "bench/harness/report.py", "bench/__init__.py", "bench/results/__init__.py",
               "bench/speed/__init__.py", "cli/",
               "__init__.py", "__main__.py", "_version.py", "errors.py", "text.py")  # fmt: skip
#: names of what makes text and tables of rows, in modules of experiments: the page is compared with what they make
TEXT_NAMES = {"content", "claim", "parts", "LIMITS", "TITLE"}
#: a module whose name ends so makes text and tables of rows, likewise
PAGE_MODULE = "_page.py"
_DIGITS = 12  # of a hash, in base 16
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_LEFT_OUT = ("kind", "type_comment", "type_params", "ctx")  # say nothing, or differ between versions of Python

Sources = Mapping[str, bytes]  # path below edgenet's folder, with slashes: what stands there


def sources(package: Path = PACKAGE) -> dict[str, bytes]:
    """All code of the package: Python, and the C++ of the kernels."""
    files = (file for kind in ("*.py", "*.cpp", "*.h") for file in package.rglob(kind))
    return {file.relative_to(package).as_posix(): file.read_bytes() for file in sorted(files)}


def imported(package: Path = PACKAGE) -> set[str]:
    """Files of the package's modules that this process has imported."""
    files = (getattr(module, "__file__", None) for name, module in list(sys.modules.items())
             if name.partition(".")[0] == package.name)  # fmt: skip
    paths = (Path(file).resolve() for file in files if file)
    return {path.relative_to(package).as_posix() for path in paths if path.is_relative_to(package)}


def reached(start: Iterable[str], code: Sources) -> set[str]:
    """Files that are read when those of ``start`` are imported, and what these import inside functions; C++ files that
    lie beside one of them count as read."""
    found: set[str] = set()
    left = [path for path in start if path in code]
    while left:
        path = left.pop()
        if path not in found and path.endswith(".py"):
            found.add(path)
            # parts that do not count are not followed either: some hand on every name there is
            left += [] if _is_left_out(path) else [other for other in _read(path, code[path])[1] if other in code]
    folders = {path.rpartition("/")[0] for path in found}
    return found | {path for path in code if not path.endswith(".py") and path.rpartition("/")[0] in folders}


def counted(paths: Iterable[str]) -> list[str]:
    """The files in which results are made, in order."""
    return sorted(path for path in paths if not path.endswith(PAGE_MODULE) and not _is_left_out(path))


def _is_left_out(path: str) -> bool:
    return any(path.startswith(part) if part.endswith("/") else path == part for part in NOT_COUNTED)


def hashes(paths: Iterable[str], code: Sources) -> dict[str, str]:
    """A hash a file; files that are not there are left out."""
    return {path: _read(path, code[path])[0] for path in paths if path in code}


@lru_cache(maxsize=4096)
def _read(path: str, source: bytes) -> tuple[str, tuple[str, ...]]:
    """The hash of a file, and the files that its imports may mean."""
    if not path.endswith(".py"):
        return _hash(_COMMENT.sub(" ", source.decode("utf-8")).split()), ()
    tree = ast.parse(source)
    imports = _imports(path, tree)
    if path.startswith("bench/"):
        tree.body = [node for node in tree.body if not _names(node) & TEXT_NAMES]
    if path.endswith("__init__.py"):  # a part that gains a name gives the old ones no other meaning
        tree.body = [node for node in tree.body if not _only_names(node)]
    return _hash(_canonical(tree)), imports


def _hash(words: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:_DIGITS]


def _imports(path: str, tree: ast.Module) -> tuple[str, ...]:
    names: set[tuple[str, ...]] = set()
    here = path.split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {tuple(alias.name.split(".")[1:]) for alias in node.names if _ours(alias.name)}
        elif isinstance(node, ast.ImportFrom) and (node.level or _ours(node.module or "")):
            base = here[: len(here) - node.level + 1] if node.level else []
            words = (node.module or "").split(".")[0 if node.level else 1 :]
            names |= {tuple(word for word in [*base, *words, alias.name] if word) for alias in node.names}
    packages = {name[:length] for name in names for length in range(1, len(name) + 1)}
    return tuple(f"{'/'.join(name)}{end}" for name in sorted(packages) for end in (".py", "/__init__.py"))


def _ours(name: str) -> bool:
    return name.partition(".")[0] == PACKAGE.name


def _only_names(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom) or "__all__" in _names(node)


def _names(node: ast.stmt) -> set[str]:
    """What a statement defines: a function, or variables."""
    if isinstance(node, ast.FunctionDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _canonical(node: ast.AST) -> Iterator[str]:
    """A syntax tree as words, the same in every version of Python that has its syntax."""
    yield type(node).__name__
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            value = _without_docstring(value)
        if name in _LEFT_OUT or (value is None and not isinstance(node, ast.Constant)) or value == []:
            continue
        yield f"{name}("
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, ast.AST):
                yield from _canonical(item)
            else:
                yield repr(item)
        yield ")"


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    told = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return body[1:] if told else body
