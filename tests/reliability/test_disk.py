"""A disk that is full, a folder that cannot be written, a limit of files: an error that says so, and the old files."""

import errno
import os
import resource
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from reliability.processes import ended, forked, limited, memory_limit
from reliability.small_runs import EPOCHS, At, numbers, trained
from torch import nn

import edgenet
from edgenet import checkpoint, writing
from edgenet.data.files import write_npz
from edgenet.errors import WriteError
from edgenet.plots import style
from edgenet.train import Csv, JsonLines

pytestmark = pytest.mark.filterwarnings("ignore:.*fork")
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
CALLS = ("open", "fsync", "replace", "ftruncate", "write")  # of the module os, by which files are written


class FullDisk:
    """The n-th call of those that write raises, and all after it: what is full stays full."""

    def __init__(self, monkeypatch, at, root):
        self.calls, self.at, self.root = 0, at, str(root)
        for name in CALLS:
            monkeypatch.setattr(os, name, self.failing(getattr(os, name), name))
        noting = writing.atomic._Noting
        monkeypatch.setattr(noting, "write", self.failing(noting.write, "file"))

    def failing(self, call, name):
        def failing(*given, **options):
            ours = name not in ("open", "replace") or os.fspath(given[0]).startswith(self.root)
            if ours:
                self.calls += 1
                if self.calls > self.at:
                    raise FULL if name != "file" else self._noted(given[0])
            return call(*given, **options)

        return failing

    def _noted(self, file):
        file._error = FULL
        return FULL


def picture(path, number):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, number])
    return style.saved(figure, path)


#: what writes: (write a number, read it)
WRITERS = {
    "text": (lambda p, n: writing.write_text(p / "f", str(n)), lambda p: int((p / "f").read_text())),
    "checkpoint": (
        lambda p, n: checkpoint.save(p / "c.pt", {"n": n, "t": torch.full((2000,), float(n))}),
        lambda p: int(checkpoint.load(p / "c.pt")["t"].unique().item()),
    ),
    "npz": (
        lambda p, n: write_npz(p / "a.npz", {"a": np.full(2000, n)}),
        lambda p: int(np.unique(np.load(p / "a.npz")["a"]).item()),
    ),
    "picture": (lambda p, n: picture(p / "p.png", n), lambda p: (p / "p.png").stat().st_size > 100),
    "model": (
        lambda p, n: edgenet.save_pretrained(model_of(n), p / "m"),
        lambda p: int(edgenet.from_pretrained(p / "m").weight.unique().item()),
    ),
}


def model_of(number):
    model = nn.Linear(40, 40)
    nn.init.constant_(model.weight, number)
    return model


def leftovers(folder):
    return [path.name for path in folder.rglob(".*")]


@pytest.mark.parametrize("name", WRITERS)
def test_an_error_at_any_write_leaves_the_old_file_or_the_new_one(tmp_path, monkeypatch, name):
    write, read = WRITERS[name]
    write(tmp_path, 1)
    old, failures = read(tmp_path), 0
    for at in range(60):
        with monkeypatch.context() as patched:
            FullDisk(patched, at, tmp_path)
            try:
                write(tmp_path, 2)
            except WriteError as error:
                assert error.errno == errno.ENOSPC and "No space left on device. Make space" in str(error)
                failures += 1
            else:
                break
        if name != "model":  # which has several files, and is the old or the new one as a whole
            assert read(tmp_path) == old, at
        assert read(tmp_path) in (old, 2) and not leftovers(tmp_path), at
    assert 2 <= failures < 59
    write(tmp_path, 3)
    assert name == "picture" or read(tmp_path) == 3


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("most", [0, 100, 4000])
def test_a_file_that_may_not_be_so_long_is_an_error_and_the_old_one_stays(tmp_path, name, most):
    """By the system itself: its errors come out of torch, numpy and matplotlib as they are."""
    write, read = WRITERS[name]
    write(tmp_path, 1)
    old = read(tmp_path)
    try:
        with limited(resource.RLIMIT_FSIZE, most), memory_limit():
            write(tmp_path, 2)
    except WriteError as error:
        assert "cannot be written: File too large. Make space" in str(error)
    else:
        assert most > 100 or name == "text"
    assert read(tmp_path) in (old, 2) and not leftovers(tmp_path)


def test_a_training_on_a_disk_that_gets_full_can_be_gone_on_with(tmp_path):
    wanted = numbers(trained(tmp_path / "whole", At(1, int)))
    folder = tmp_path / "run"

    def fills_up():
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))

    def work():
        try:
            trained(folder, At(4, fills_up), checkpoint_epochs=1)
        except OSError as error:
            raise SystemExit(7 if isinstance(error, WriteError) else 8) from error

    assert ended(forked(work)) == 7
    assert checkpoint.load(folder / "checkpoint.pt")["epoch"] == 3
    assert numbers(trained(folder, At(0, int), checkpoint_epochs=1)) == wanted


@pytest.mark.parametrize("sink", [JsonLines, Csv])
def test_records_that_cannot_be_written_say_where(tmp_path, sink):
    log = sink(tmp_path / "records.x")
    says = pytest.raises(WriteError, match=r"records\.x: cannot be written: File too large")
    with says, limited(resource.RLIMIT_FSIZE, 40):
        log.start(0)
        for epoch in range(1, 5):
            log({"epoch": epoch, "loss": 0.123456789})


def test_a_folder_that_may_not_be_written_is_named_and_what_is_done_in_it_is_read():
    """As another user, for root may write anywhere."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        folder = Path(place) / "run"
        trained(folder, At(1, int))
        for path in (folder, folder / "model"):
            os.chmod(path, 0o555)

        def work():
            if os.geteuid() == 0:
                os.setgroups([])
                os.setegid(65534)
                os.seteuid(65534)
            assert trained(folder, At(1, int)).epochs == EPOCHS  # done: it is read, and nothing is written
            assert edgenet.from_pretrained(folder / "model").in_features == 3
            for write in (
                lambda: trained(folder, At(1, int), overwrite=True),
                lambda: edgenet.save_pretrained(model_of(1), folder / "model"),
                lambda: writing.write_text(folder / "result.json", ""),
            ):
                with pytest.raises(WriteError, match=r"cannot be written: Permission denied\. Choose a folder that"):
                    write()

        assert ended(forked(work)) == 0
        assert trained(folder, At(1, int)).epochs == EPOCHS
        for path in (folder, folder / "model"):
            os.chmod(path, 0o755)


def test_a_limit_of_open_files_is_an_error_that_says_so(tmp_path):
    edgenet.save_pretrained(model_of(1), tmp_path / "m")

    def work():
        taken = []
        with limited(resource.RLIMIT_NOFILE, 64):
            try:
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                pass
            save = lambda number: edgenet.save_pretrained(model_of(number), tmp_path / "m")  # noqa: E731
            for write in (lambda: trained(tmp_path / "run"), lambda: save(2)):
                with pytest.raises(WriteError, match=r"Too many open files\. Close files, or raise the limit"):
                    write()
            for handle in taken:
                os.close(handle)
            save(3)  # nothing of ours is left open
            assert trained(tmp_path / "run").epochs == EPOCHS

    assert ended(forked(work)) == 0
    assert int(edgenet.from_pretrained(tmp_path / "m").weight.unique().item()) == 3


def test_handles_do_not_pile_up(tmp_path):
    count = lambda: len(os.listdir("/proc/self/fd"))  # noqa: E731
    trained(tmp_path / "first")
    before = count()
    for number in range(5):
        trained(tmp_path / str(number))
        edgenet.save_pretrained(model_of(number), tmp_path / "m")
        edgenet.from_pretrained(tmp_path / "m")
    assert count() == before


def test_the_umask_of_the_process_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("other threads would make their files by it"))
    writing.write_text(tmp_path / "usual", "")
    writing.Appended(tmp_path / "more").close()
    monkeypatch.undo()
    before = os.umask(0o077)
    try:
        writing.write_text(tmp_path / "own", "")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"usual": 0o666 & ~before, "more": 0o666 & ~before, "own": 0o600}


def test_no_link_is_written_through(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("keep")
    for name, write in {
        "text": lambda path: writing.write_text(path, "new"),
        "picture": lambda path: picture(path, 2),
        "npz": lambda path: write_npz(path, {"a": np.zeros(3)}),
        "csv": lambda path: Csv(path).start(0),
    }.items():
        (tmp_path / name).symlink_to(outside)
        write(tmp_path / name)
        assert not (tmp_path / name).is_symlink() and outside.read_text() == "keep", name
    (tmp_path / "lines").symlink_to(outside)
    with pytest.raises(WriteError, match="is a symbolic link, which is not followed"):
        writing.Appended(tmp_path / "lines")
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN  # Python's: limits come as errors


def test_no_pipe_and_no_device_is_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    for place in (tmp_path / "pipe", tmp_path / "link", Path("/dev/none")):
        with pytest.raises(WriteError, match=f"{place}: cannot be written: it is a device or a pipe"):
            writing.write_text(place, "x")
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink() and not Path("/dev/none").exists()
