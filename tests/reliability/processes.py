"""Processes to be killed: forks of this one, each under a limit of memory."""

import contextlib
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator

GIB = 1 << 30


@contextlib.contextmanager
def limited(kind: int, value: int) -> Iterator[None]:
    """A limit of the system's on this process, while this lasts."""
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def memory_limit(more: int = GIB) -> contextlib.AbstractContextManager[None]:
    """A limit of the addresses that this process may have: those that it has, and some more."""
    return limited(resource.RLIMIT_AS, addresses() + more)


def addresses() -> int:
    """Bytes of addresses that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def resident() -> int:
    """Bytes of memory that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def forked(work: Callable[[], object]) -> int:
    """Do the work in a fork, under a limit of memory; its number. It ends with 0, as it exits, with 130 when it is
    interrupted, or with 1 after an error."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        with memory_limit():
            work()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def ended(child: int, seconds: float = 60.0) -> int:
    """The status of a fork when it has ended: minus the number of a signal. One that does not end in time is killed.

    Raises:
        TimeoutError: then.
    """
    late = time.monotonic() + seconds
    while True:
        number, status = os.waitpid(child, os.WNOHANG)
        if number:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > late:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise TimeoutError(f"a process did not end within {seconds:g} seconds")
        time.sleep(0.002)
