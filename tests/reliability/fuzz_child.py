"""Work in a child process, under a limit of memory and of processor time; what came of it."""

import os
import pickle
import resource
import signal
import traceback
from dataclasses import dataclass

from edgenet import errors

OURS = tuple(kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception))
SECONDS = 10
MORE = 200 << 20  # bytes that reading a file may take, besides ten times the file


@dataclass(frozen=True)
class Outcome:
    """
    Attributes:
        kind: "read"; "refused", by an error of ours; "raw", by another; "memory", "hang" or "crash".
        text: the digest of what was read, or the error.
        seconds: of the processor.
    """

    kind: str
    text: str
    seconds: float


def bounded(work, size, seconds=SECONDS):
    """What ``work()``, which returns a text, came to, reading a file of so many bytes."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        try:
            _limit(10 * size + MORE, seconds)
            message = _done(work)
        except BaseException as error:
            message = ("raw", repr(error)[:200])
        with os.fdopen(into, "wb") as pipe:
            pipe.write(pickle.dumps(message))
        os._exit(0)
    os.close(into)
    with os.fdopen(out, "rb") as pipe:
        message = pipe.read()
    _, status, usage = os.wait4(child, 0)
    spent = usage.ru_utime + usage.ru_stime
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        kind = "hang" if number in (signal.SIGXCPU, signal.SIGKILL) and spent >= seconds - 1 else "crash"
        return Outcome(kind, signal.Signals(number).name, spent)
    return Outcome(*pickle.loads(message), spent) if message else Outcome("crash", "ended without a word", spent)


def _limit(memory, seconds):
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _done(work):
    try:
        return "read", work()
    except MemoryError:
        return "memory", traceback.format_exc()[-600:]
    except OURS as error:
        causes, cause = [], error
        while cause is not None and cause not in causes:  # what a reader may have put into words
            causes.append(cause)
            cause = cause.__cause__
        if any(isinstance(cause, MemoryError) or "can't allocate memory" in str(cause) for cause in causes):
            return "memory", f"{type(error).__name__}: {error}"[:600]
        return "refused", f"{type(error).__name__}: {error}"[:600]
    except Exception as error:
        kind = "memory" if "can't allocate memory" in str(error) else "raw"
        lines = [f"{frame.name} in {frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]  # noqa: E501
        return kind, f"{error!r:.300} <- {' <- '.join(lines[:-6:-1])}"
