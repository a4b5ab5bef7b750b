"""Tests of data sets never see a user's cache, and never reach for the network."""

import pytest

from edgenet.data import planetoid, ppi


@pytest.fixture(autouse=True)
def _own_cache_and_no_network(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("EDGENET_DATA", raising=False)
    for module in (planetoid, ppi):
        monkeypatch.setattr(module, "fetch", lambda urls, folder: f"failed at {urls[0]}: no network in tests")


@pytest.fixture
def real_data(data_root, monkeypatch):
    """The folder of real raw files, as a user would have set it."""
    monkeypatch.setenv("EDGENET_DATA", str(data_root))
    return data_root
