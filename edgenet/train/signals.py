"""Signals: Ctrl-C and SIGTERM let the epoch under way come to its end, if that is near, so that it can be saved."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

#: seconds that an epoch may take if its end is to be waited for: whoever sends SIGTERM sends SIGKILL some time later
GRACE = 5.0

_WHEN = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class Terminated(SystemExit):
    """SIGTERM has come. A process that catches nothing ends with the status 143, as shells have it, its state saved."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


class Interruptible:
    """While this lasts, a first SIGINT or SIGTERM is kept until ``stop`` is asked at the end of an epoch.

    It is obeyed at once where no epoch has come to its end yet or the last one took longer than ``GRACE``, and when it
    comes twice. Signals for which the caller has a handler of his own stay his, and so do all outside the main thread.
    A process that is forked meanwhile has none of this.
    """

    def __init__(self) -> None:
        self._asked: int | None = None
        self._before: dict[int, Any] = {}
        self._process, self._since, self._near = os.getpid(), time.monotonic(), False

    def __enter__(self) -> Interruptible:
        if threading.current_thread() is threading.main_thread():
            for number, usual in _WHEN.items():
                if signal.getsignal(number) == usual:
                    self._before[number] = signal.signal(number, self._come)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def epoch_done(self) -> None:
        """An epoch is at its end; the next one will take as long."""
        now = time.monotonic()
        self._near, self._since = now - self._since <= GRACE, now

    @property
    def asked(self) -> bool:
        """Whether a signal has come that is not obeyed yet."""
        return self._asked is not None

    def stop(self) -> None:
        """
        Raises:
            KeyboardInterrupt, Terminated: if ``asked``.
        """
        if self._asked is not None:
            raise KeyboardInterrupt if self._asked == signal.SIGINT else Terminated

    def _come(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # in a fork, a loader's worker say
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        again, self._asked = self.asked, number
        if again or not self._near:
            self.stop()
