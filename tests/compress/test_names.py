"""A module keeps its name: no function that a package hands out hides one of its files."""

import importlib
import pkgutil
import types

import pytest


@pytest.mark.parametrize("package", ["edgenet.compress", "edgenet.compress.searching", "edgenet.pretrained"])
def test_every_module_of_a_package_can_be_imported_by_its_name(package):
    owner = importlib.import_module(package)
    for found in pkgutil.iter_modules(owner.__path__, f"{package}."):
        module = importlib.import_module(found.name)
        own = getattr(owner, found.name.rpartition(".")[2])
        assert isinstance(own, types.ModuleType) and own is module, f"{found.name} is hidden by {own!r}"
