"""The rooms of experiments: what they share does not know them, and they do not know each other."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

from edgenet import bench

ROOT = Path(bench.__file__).parent


def rooms_imported(folder):
    """(file, room) of every import of a part of ``edgenet.bench`` in the files of a folder."""
    for file in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            for name in names:
                if name.startswith("edgenet.bench."):
                    yield file.name, name.split(".")[2]


@pytest.mark.parametrize("room, allowed", [("pages", {"pages"}), ("harness", {"harness", "pages"}),
                                           ("speed", {"harness", "pages", "speed"}),
                                           ("results", {"harness", "pages", "results"})])  # fmt: skip
def test_a_room_imports_only_itself_and_what_all_share(room, allowed):
    found = list(rooms_imported(ROOT / room))
    assert found and [one for one in found if one[1] not in allowed] == []


def test_the_registry_of_every_room_names_modules_that_run():
    for room in bench.ROOMS:
        for name in room.EXPERIMENTS:
            module = import_module(f"{room.__name__}.{name}")
            assert any(callable(getattr(module, part, None)) for part in ("run", "jobs")), name
    names = [name for room in bench.ROOMS for name in room.EXPERIMENTS]
    assert len(names) == len(set(names))  # each is a command of its own
