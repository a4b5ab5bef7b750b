"""The memory allocator: tuned, it keeps freed blocks; where it cannot be tuned, a warning says why."""

import ctypes
import json
import subprocess
import sys

import pytest

import edgenet
from edgenet import malloc

CODE = """
import json, edgenet
from edgenet.malloc import fresh_block
before = fresh_block(64)[0]
print(json.dumps([edgenet.tune_malloc(), before, fresh_block(64)[0], edgenet.tune_malloc()]))
"""


@pytest.mark.skipif(malloc.resource is None, reason="this system counts no page faults")
def test_a_tensor_takes_a_tenth_of_the_page_faults_once_the_allocator_is_tuned():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", CODE], capture_output=True, text=True, check=True)
    tuned, before, after, again = json.loads(done.stdout)
    assert isinstance(tuned, bool) and again == tuned
    if not tuned:
        pytest.skip("not glibc's allocator")
    if before < 64e6 / 4096 / 2:
        pytest.skip(f"a fresh tensor takes {before} page faults as it is: big pages, or a tuned allocator")
    assert after <= before / 10


def test_where_page_faults_are_not_counted_the_time_remains(monkeypatch):
    monkeypatch.setattr(malloc, "resource", None)
    faults, seconds = malloc.fresh_block(1, turns=4)
    assert faults is None and seconds >= 0


def unlike(monkeypatch, library):
    """``ctypes.CDLL`` finds ``library`` instead of the C library."""
    monkeypatch.setattr(ctypes, "CDLL", library)


def test_another_c_library_stays_as_it_is_and_is_named(monkeypatch):
    def absent(name):
        raise OSError(name)

    for system, library in (("win32", absent), ("darwin", absent), ("linux", lambda name: object())):
        monkeypatch.setattr(sys, "platform", system)
        unlike(monkeypatch, library)
        with pytest.warns(UserWarning, match=f"stays as it is.*{system} runs on another C library"):
            assert edgenet.tune_malloc() is False


class _Library:
    """A C library of Python functions."""

    def __init__(self, answer=1):
        self.malloc = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t)(lambda size: None)
        self.calls = []
        self.mallopt = lambda key, value: self.calls.append((key, value)) or answer(key, value)


def test_an_allocator_put_before_that_of_glibc_is_left_alone(monkeypatch):
    libraries = {None: _Library(), "libc.so.6": _Library()}
    unlike(monkeypatch, libraries.get)
    with pytest.warns(UserWarning, match="LD_PRELOAD"):
        assert edgenet.tune_malloc() is False
    assert not libraries["libc.so.6"].calls


def test_a_glibc_that_refuses_high_thresholds_maps_nothing_instead(monkeypatch):
    library = _Library(lambda key, value: int(key != malloc._M_MMAP_THRESHOLD))
    unlike(monkeypatch, lambda name: library)
    assert edgenet.tune_malloc() is True
    assert library.calls[1:] == [(malloc._M_MMAP_MAX, 0), (malloc._M_TRIM_THRESHOLD, -1)]


def test_a_glibc_that_refuses_all_is_said_so(monkeypatch):
    library = _Library(lambda key, value: 0)
    unlike(monkeypatch, lambda name: library)
    with pytest.warns(UserWarning, match="glibc refuses the settings"):
        assert edgenet.tune_malloc() is False
