"""What every test starts from: float64, fixed seeds, one thread, and memory in which unwritten output shows."""

# ruff: noqa: E402
import os
import random
import tempfile
from pathlib import Path

# before anything imports matplotlib, numba or an OpenMP library
_CACHE = Path(tempfile.gettempdir()) / f"edgenet-tests-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("MPLCONFIGDIR", str(_CACHE / "matplotlib"))
os.environ.setdefault("NUMBA_CACHE_DIR", str(_CACHE / "numba"))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for commands that tests start; the tests themselves: below

import hypothesis
import numpy as np
import pytest
import torch
from stored import NONE, ORACLES, folder

ROOT = Path(__file__).resolve().parents[1]

torch.set_num_threads(1)  # sums come out in one order, and two cores are shared
hypothesis.settings.register_profile("edgenet", deadline=None, derandomize=True)  # the same examples every run
hypothesis.settings.load_profile("edgenet")


class _TorchSeed:
    """Lets hypothesis seed torch before every example, as it does random and numpy."""

    seed, getstate, setstate = map(staticmethod, (torch.manual_seed, torch.get_rng_state, torch.set_rng_state))


_torch_seed = _TorchSeed()  # hypothesis keeps a weak reference only
hypothesis.register_random(_torch_seed)


@pytest.fixture(autouse=True)
def _clean_state(request: pytest.FixtureRequest):
    """float64 (float32 for tests marked so), seeds, and NaN in every ``torch.empty``. Put back afterwards."""
    before = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    torch.set_default_dtype(torch.float32 if request.node.get_closest_marker("float32") else torch.float64)
    # strict, not warn_only: nothing that runs on the CPU lacks a deterministic form
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    yield
    torch.set_default_dtype(before[0])
    torch.use_deterministic_algorithms(before[1])


_DATA = folder("EDGENET_DATA", "data")


def pytest_itemcollected(item: pytest.Item) -> None:
    """``-k oracle`` selects the tests that read arrays of independent implementations, whatever they are called."""
    if {"stored", "oracle_root"} & set(getattr(item, "fixturenames", ())):
        item.add_marker("oracle")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Raw files of real data sets; skips where there are none."""
    if not _DATA.is_dir():
        pytest.skip(f"no raw data: {_DATA} is no folder. Set EDGENET_DATA to one.")
    return _DATA


@pytest.fixture(scope="session")
def oracle_root() -> Path:
    """Arrays made by independent implementations; skips where there are none."""
    if not ORACLES.is_dir():
        pytest.skip(NONE)
    return ORACLES


@pytest.fixture
def stored(request: pytest.FixtureRequest) -> Path:
    """A file of such arrays; ``stored.oracle`` says which."""
    return request.param
