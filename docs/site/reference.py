"""The pages of the API: one for each public module, with every name that it lists, made of the docstrings."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from start import START

# Every public module, in the order of the menu, with what it is for. tests/docs/test_reference.py says what is missing.
MODULES = {
    "edgenet": "What most programs need",
    "edgenet.gso": "Shift operators: the numbers on edges that a graph comes with",
    "edgenet.nn": "Layers",
    "edgenet.nn.specializations": "Published layers, by name",
    "edgenet.phi": "Where edge weights come from",
    "edgenet.phi.rows": "Which edges share a weight",
    "edgenet.nn.lift": "From features to heads and channels",
    "edgenet.nn.taps": "From hops to outputs",
    "edgenet.nn.recurrent": "Recurrent cells over any maps",
    "edgenet.nn.graph_recurrent": "Recurrent cells over graphs, and their gates",
    "edgenet.nn.graph_signal": "Signals on one graph: local activations, pooling, aggregation",
    "edgenet.models": "Whole models",
    "edgenet.structured": "Structured matrices",
    "edgenet.compress": "Put them into a model, and train it",
    "edgenet.convert": "From PyG and torch",
    "edgenet.pretrained": "Save and load",
    "edgenet.export": "Files that run without edgenet",
    "edgenet.train": "Training",
    "edgenet.sampling": "Pieces of large graphs",
    "edgenet.scale": "Past one machine, or past its memory",
    "edgenet.config": "Configurations",
    "edgenet.presets": "Published settings",
    "edgenet.data": "Data sets",
    "edgenet.selection": "Remove hops, heads and edges",
    "edgenet.estimators": "Sparse estimators",
    "edgenet.plots": "Pictures",
    "edgenet.ops": "The operations below the layers",
    "edgenet.clstm": "Costs and schedules of LSTMs in circulant blocks",
    "edgenet.fixed": "LSTMs in whole numbers, and their C++",
    "edgenet.testing": "Contracts for parts of your own",
    "edgenet.errors": "Errors",
}
# What modules without a list of their names have from elsewhere, and their tables.
MORE = {
    "edgenet.nn.specializations": ("SPECIALIZATIONS", "appnp", "dagnn", "gcnii", "gpr", "grand"),
    "edgenet.presets": ("DEFAULT_LAYERS", "PRESETS"),
}


def names(module: ModuleType) -> list[str]:
    """The public names of a module that are no modules: those that it lists, or else those that it defines."""
    own = (name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__)
    listed = getattr(module, "__all__", None) or {
        *(name for name in own if not name.startswith("_")), *MORE.get(module.__name__, ())
    }  # fmt: skip
    return sorted(name for name in listed if not inspect.ismodule(getattr(module, name)) and name != "__version__")


def owners() -> dict[str, tuple[Any, str]]:
    """{"edgenet.nn.LSTM": (the class, the module whose page tells of it)}: the first module in ``MODULES`` to list it.

    What is no class or function, a table such as ``STRUCTURES``, is told of where it is listed first too.
    """
    found: dict[str, tuple[Any, str]] = {}
    first: dict[int, str] = {}
    for place in MODULES:
        module = importlib.import_module(place)
        for name in names(module):
            value = getattr(module, name)
            found[f"{place}.{name}"] = value, first.setdefault(id(value), place)
    return found


def page(place: str, known: Mapping[str, tuple[Any, str]]) -> str:
    """The page of a module, in Markdown around the directives of autodoc."""
    lines = [f"# {place}", "", f"*{MODULES[place]}.*", "", "```{eval-rst}", f".. automodule:: {place}", "```", ""]
    elsewhere = []
    for full, (value, owner) in known.items():
        module, _, name = full.rpartition(".")
        if module != place:
            continue
        if owner != place:
            elsewhere.append(f"{{py:obj}}`{owner}.{name}`")
            continue
        lines += [f"## {name}", "", "```{eval-rst}", *_directive(full, value), "```", ""]
    if elsewhere:
        lines += ["## Told of elsewhere", "", ", ".join(elsewhere), ""]
    return "\n".join(lines)


def _directive(full: str, value: Any) -> list[str]:
    if inspect.isclass(value):
        options = [] if issubclass(value, Exception) else ["   :members:"]
        return [f".. autoclass:: {full}", *options]
    if inspect.isfunction(value) or inspect.isbuiltin(value):
        return [f".. autofunction:: {full}"]
    lines = [f".. py:data:: {full}", ""]
    if isinstance(value, Mapping):
        return [*lines, f"   A table by name, of {len(value)}: {', '.join(f'``{key}``' for key in map(str, value))}."]
    return [*lines, f"   ``{value!r:.300}``"]


def write(folder: Path) -> None:
    """All pages and their index, where they are not already as they should be: an unchanged page is not built again."""
    folder.mkdir(exist_ok=True)
    known = owners()
    pages = {f"{place}.md": page(place, known) for place in MODULES}
    rows = [f"| [{place}]({place}.md) | {what} |" for place, what in MODULES.items()]
    toctree = ["```{toctree}", ":hidden:", "", *MODULES, "```"]
    head = ["# API", "", "Every public name, with what it takes and an example. All examples begin with", ""]
    start = [f"```pycon\n{START}```", "", "| module | |", "|---|---|"]
    pages["index.md"] = "\n".join([*head, *start, *rows, "", *toctree, ""])
    for old in folder.glob("*.md"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text:
            (folder / name).write_text(text, encoding="utf-8")
