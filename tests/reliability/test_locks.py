"""One process at a time in a folder: the second is told who is there, and a dead one holds nobody off."""

import errno
import json
import os
import signal
import socket
import threading
import time

import pytest
from reliability.processes import ended, forked
from reliability.small_runs import EPOCHS, At, epochs_in, numbers, rows, trained
from torch import nn

from edgenet.errors import ConfigError, FolderInUseError, WriteError
from edgenet.train import run_seeds
from edgenet.writing import held, lock

pytestmark = pytest.mark.filterwarnings("ignore:.*fork")


def wait_for(path):
    late = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < late
        time.sleep(0.01)


class Waits(At):
    """Says that it is there, and stays."""

    def __init__(self, place):
        super().__init__(3, lambda: (place.with_suffix(".there").touch(), time.sleep(60)))


def seeds(folder, *callbacks, **options):
    options = {"seeds": [0, 1], "epochs": EPOCHS, "progress": False, **options}
    return run_seeds(lambda: nn.Linear(3, 2), rows(), callbacks=list(callbacks), folder=folder, **options)


@pytest.mark.parametrize("train", [trained, seeds])
def test_a_second_process_is_refused_with_the_first_ones_number_and_a_dead_one_is_taken_over(tmp_path, train):
    folder = tmp_path / "run"
    child = forked(lambda: train(folder, Waits(folder), checkpoint_epochs=1))
    wait_for(folder.with_suffix(".there"))
    for options in ({"resume": True}, {"resume": False, "overwrite": True}):
        with pytest.raises(FolderInUseError, match=rf"run: process {child} is at work in it, since .*\(kill {child}\)"):
            train(folder, Waits(folder), **options)
    own = folder / "seed-0" if train is seeds else folder
    assert epochs_in(own) == [1, 2], "nothing was cleared"
    os.kill(child, signal.SIGKILL)
    assert ended(child) == -signal.SIGKILL
    assert (own / ".lock").exists(), "the dead one's"
    calm = At(0, int)
    calm.__class__ = type("Waits", (At,), {})  # a run goes on with callbacks of the same names alone
    train(folder, calm, resume=True)
    assert epochs_in(own) == list(range(1, EPOCHS + 1)) and not list(folder.rglob(".lock"))


def test_two_that_begin_at_once_do_every_epoch_once(tmp_path):
    wanted = numbers(trained(None, resume=False))
    for round_ in range(3):
        folder = tmp_path / str(round_)
        children = [forked(lambda folder=folder: trained(folder)) for _ in range(3)]
        assert 0 in [ended(child) for child in children]
        assert epochs_in(folder) == list(range(1, EPOCHS + 1))
        assert numbers(trained(folder)) == wanted


def test_a_worker_that_outlives_its_parent_holds_nothing(tmp_path):
    def work():
        with held(tmp_path):
            if os.fork() == 0:
                time.sleep(20)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)

    assert ended(forked(work)) == -signal.SIGKILL
    with held(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["process"] == os.getpid()
    assert not (tmp_path / ".lock").exists()


def test_threads_wait_for_each_other_or_are_told(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(5):
            with held(tmp_path, wait=True):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.002)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert most == [1] * 20
    with (
        held(tmp_path),
        pytest.raises(FolderInUseError, match="this process is at work in it already, in another thread"),
        held(tmp_path),
    ):
        pass


def test_where_there_are_no_locks_what_the_holder_wrote_decides(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", none)
    dead = forked(lambda: None)
    assert ended(dead) == 0
    here = {"machine": socket.gethostname(), "since": "2020-01-01"}
    for told in ("", "{", json.dumps({"process": dead, **here})):
        (tmp_path / ".lock").write_text(told)
        with held(tmp_path):
            pass
    for told in ({"process": os.getppid(), **here}, {"process": dead, **here, "machine": "another"}):
        (tmp_path / ".lock").write_text(json.dumps(told))
        with pytest.raises(FolderInUseError, match=rf"process {told['process']}.*The lock is .*\.lock"), held(tmp_path):
            pass


def test_a_lock_follows_no_link_and_what_stands_in_it_is_not_trusted(tmp_path):
    (tmp_path / "mine").write_text("keep")
    (tmp_path / ".lock").symlink_to(tmp_path / "mine")
    with pytest.raises(WriteError, match="is a symbolic link, which is not followed"), held(tmp_path):
        pass
    assert (tmp_path / "mine").read_text() == "keep"
    assert "\x1b" not in lock._who({"process": 1, "machine": "m" * 100, "since": 5})
    error = FolderInUseError(lock._who({"process": 1, "machine": "\x1b[2J", "since": "\x07"}))
    assert "\x1b" not in str(error) and "\\u001b[2J" in str(error)


def test_a_folder_that_only_holds_a_lock_is_free_and_a_seed_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/.lock").write_text("{}")
    assert trained(tmp_path / "run", resume=False).epochs == EPOCHS
    (tmp_path / "outside").mkdir()
    seeds(tmp_path / "seeds", seeds=[0])
    (tmp_path / "seeds/seed-1").symlink_to(tmp_path / "outside")
    with pytest.raises(ConfigError, match="seed-1: is a symbolic link, which is not followed"):
        seeds(tmp_path / "seeds", resume=True)
    assert not list((tmp_path / "outside").iterdir())


def test_without_locks_a_process_before_of_the_same_number_is_dead_and_waiting_ends(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", none)
    mine = {"process": os.getpid(), "machine": socket.gethostname(), "since": "2020-01-01"}
    (tmp_path / ".lock").write_text(json.dumps(mine))
    with held(tmp_path), pytest.raises(FolderInUseError, match="this process is at work"), held(tmp_path):
        pass
    (tmp_path / ".lock").write_text(json.dumps({**mine, "machine": "another"}))
    monkeypatch.setattr(lock, "_PATIENCE", 0.1)
    refused = pytest.raises(FolderInUseError, match="If it has ended and this stays, remove the lock")
    with refused, held(tmp_path, wait=True):
        pass


def test_a_fork_that_leaves_the_block_leaves_the_lock(tmp_path):
    holder = held(tmp_path)
    holder.__enter__()
    assert ended(forked(lambda: holder.__exit__(None, None, None))) == 0
    with pytest.raises(FolderInUseError), held(tmp_path):
        pass
    holder.__exit__(None, None, None)
    assert not (tmp_path / ".lock").exists()
