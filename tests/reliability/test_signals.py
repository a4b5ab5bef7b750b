"""SIGTERM and Ctrl-C: the epoch under way is saved, and the process says by its status what ended it."""

import os
import signal
import threading

import pytest
from reliability.processes import ended, forked
from reliability.small_runs import EPOCHS, At, epochs_in, numbers, trained

from edgenet import checkpoint
from edgenet.cli import main
from edgenet.train import signals
from edgenet.train.signals import Interruptible, Terminated

STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130}


def sends(number, times=1):
    return lambda: [os.kill(os.getpid(), number) for _ in range(times)]


@pytest.mark.filterwarnings("ignore:.*fork")
@pytest.mark.parametrize("number", STATUS)
def test_a_signal_saves_the_epoch_under_way_and_ends_the_process(tmp_path, number):
    wanted = numbers(trained(tmp_path / "whole", At(1, int)))
    folder = tmp_path / "run"
    options = {"checkpoint_seconds": 0}  # nothing else saves
    assert ended(forked(lambda: trained(folder, At(4, sends(number)), **options))) == STATUS[number]
    assert checkpoint.load(folder / "checkpoint.pt")["epoch"] == 4 and epochs_in(folder) == [1, 2, 3, 4]
    assert not [file.name for file in folder.iterdir() if file.name.startswith(".")], "no lock, no half file"
    again = trained(folder, At(0, int), **options)
    assert numbers(again) == wanted and epochs_in(folder) == list(range(1, EPOCHS + 1))


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_long_epochs_and_a_second_signal_end_at_once(tmp_path, monkeypatch, number, kind):
    before = signal.getsignal(number)
    with pytest.raises(kind):
        trained(tmp_path / "twice", At(4, sends(number, 2)), checkpoint_seconds=0)
    assert epochs_in(tmp_path / "twice") == [1, 2, 3] and not (tmp_path / "twice/checkpoint.pt").exists()
    monkeypatch.setattr(signals, "GRACE", 0.0)
    with pytest.raises(kind) as stop:
        trained(tmp_path / "long", At(4, sends(number)), checkpoint_epochs=2)
    assert checkpoint.load(tmp_path / "long/checkpoint.pt")["epoch"] == 2
    assert "holds epoch 2; resume=True goes on from there" in stop.value.__notes__[0]
    assert signal.getsignal(number) == before


def test_handlers_of_the_caller_stay_and_other_threads_have_none(tmp_path):
    came = []
    before = signal.signal(signal.SIGTERM, lambda *_: came.append(1))
    try:
        assert trained(tmp_path / "run", At(3, sends(signal.SIGTERM))).epochs == EPOCHS
        with Interruptible():
            assert signal.getsignal(signal.SIGINT) != signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [1] and signal.getsignal(signal.SIGINT) == signal.default_int_handler
    results = []
    thread = threading.Thread(target=lambda: results.append(trained(tmp_path / "thread").epochs))
    thread.start()
    thread.join()
    assert results == [EPOCHS]


@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_fork_is_ended_by_the_signal_as_any_process():
    with Interruptible() as signals_:
        signals_.epoch_done()
        assert ended(forked(sends(signal.SIGTERM))) == -signal.SIGTERM
        assert not signals_.asked


def test_the_command_line_says_how_to_go_on_and_exits_with_the_status_of_the_signal(tmp_path, capsys, monkeypatch):
    class Stops(At):
        def __init__(self):
            super().__init__(2, sends(signal.SIGTERM))

    from edgenet.train import from_config

    seeds = from_config.run_seeds
    monkeypatch.setattr(from_config, "run_seeds", lambda *given, **options: seeds(*given[:3], [Stops()], **options))
    code = main(["train", "karate", "--epochs", "4", "--seeds", "1", "--out", str(tmp_path / "run"), "--no-pictures"])
    assert code == 143
    assert f"interrupted. Go on with: edgenet train {tmp_path / 'run'} --resume" in capsys.readouterr().err
    assert checkpoint.load(tmp_path / "run/seed-0/checkpoint.pt")["epoch"] == 2
