"""The API's pages: every public name is on one, with an example that runs."""

import doctest
import importlib
import inspect
import pkgutil

import pytest
import reference
import torch
from start import START

# Public by their underscore-free names, and told of elsewhere: what ops, benchmarks and commands are made of.
INNER = ("edgenet.bench", "edgenet.cli", "edgenet.ops.kernels", "edgenet.ops.native", "edgenet.testing.",
         "edgenet.compress.searching", "edgenet.data.own", "edgenet.graph", "edgenet.reading",
         "edgenet.writing")  # fmt: skip
OWNED = {
    full: value for full, (value, owner) in reference.owners().items() if full.rpartition(".")[0] == owner
}  # each name once
EXPLAINED = {
    full: value
    for full, value in OWNED.items()
    if inspect.isfunction(value) or (inspect.isclass(value) and not issubclass(value, Exception))
}


def packages(package="edgenet"):
    """The name of every package below, itself included."""
    yield package
    for found in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        if found.ispkg:
            yield from packages(found.name)


def test_every_public_package_has_a_page():
    listing = {name for name in packages() if hasattr(importlib.import_module(name), "__all__")}
    missing = {name for name in listing - set(reference.MODULES) if not name.startswith(INNER)}
    assert not missing, f"docs/site/reference.py has no {', '.join(sorted(missing))}"


def test_every_public_name_is_on_the_page_of_its_module():
    known = reference.owners()
    for place in reference.MODULES:
        text, module = reference.page(place, known), importlib.import_module(place)
        for name in reference.names(module):
            owner = known[f"{place}.{name}"][1]
            mark = f":: {place}.{name}\n" if owner == place else f"`{owner}.{name}`"
            assert mark in text, f"{place}.{name} is on no page"


def test_layers_by_name_are_on_the_page_of_layers_by_name():
    module = importlib.import_module("edgenet.nn.specializations")
    assert set(module.SPECIALIZATIONS) <= set(reference.names(module))


def test_every_public_function_and_class_has_an_example():
    bare = [full for full, value in EXPLAINED.items() if ">>>" not in (inspect.getdoc(value) or "")]
    assert not bare, f"no example: {', '.join(bare)}"


@pytest.mark.float32  # as a reader would run them
@pytest.mark.parametrize("place", reference.MODULES)
def test_the_examples_of_the_api_run(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(place)
    here = [(place, module), *((full, value) for full, value in EXPLAINED.items() if full.rpartition(".")[0] == place)]
    said: list[str] = []
    for full, value in here:
        for path, thing in [(full, value), *methods(full, value)]:
            torch.manual_seed(0)
            names: dict[str, object] = {}
            exec("\n".join(line.removeprefix(">>> ") for line in START.splitlines()), names)
            test = doctest.DocTestParser().get_doctest(inspect.getdoc(thing) or "", names, path, None, 0)
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
            runner.run(test, out=said.append)
    assert not said, "".join(said)


def methods(full, value):
    """The methods of a class that have an example."""
    if inspect.isclass(value):
        for name, member in vars(value).items():
            inner = getattr(member, "__func__", member)
            if inspect.isfunction(inner) and ">>>" in (inspect.getdoc(inner) or ""):
                yield f"{full}.{name}", inner


def test_what_every_example_begins_with_stands_on_the_index(tmp_path):
    reference.write(tmp_path / "api")
    assert START in (tmp_path / "api" / "index.md").read_text(encoding="utf-8")


def test_pages_that_are_no_more_go(tmp_path):
    folder = tmp_path / "api"
    folder.mkdir()
    (folder / "edgenet.old.md").write_text("# old")
    reference.write(folder)
    assert sorted(file.stem for file in folder.iterdir()) == sorted([*reference.MODULES, "index"])
