"""What is said of errors on the command line: ours as they are, those of others in words, and where they come from."""

from __future__ import annotations

import os
from traceback import FrameSummary, extract_tb

from edgenet import errors
from edgenet.plainly import PACKAGE, first_line, is_users, words

OURS = tuple(kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception))
#: exit codes: of what the user can mend, and of a fault that is ours
MENDABLE, FAULT = 2, 1


def told(error: BaseException) -> tuple[str, int]:
    """One line about an error, and the exit code."""
    if isinstance(error, OURS):
        return f"{type(error).__name__}: {error}", MENDABLE
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or type(error).__name__}: {error.strerror}", MENDABLE
    said = words(error)
    if isinstance(error, MemoryError) or "memory" in said:
        return f"{type(error).__name__}: {said}.", MENDABLE
    frames = extract_tb(error.__traceback__)
    own = [frame for frame in frames if is_users(frame.filename)]
    if own:
        said = f"{type(error).__name__}: {said}"
        return f"in your code, {_shown(own[-1])}: {said}. --debug shows the traceback.", MENDABLE
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {first_line(str(error))}", MENDABLE
    inside = [frame for frame in frames if frame.filename.startswith(PACKAGE)]
    where = _shown(inside[-1]) if inside else "the command line"
    return (
        f"{type(error).__name__} in {where}: {said}. This case is not foreseen: --debug shows the traceback, for "
        f"a report."
    ), FAULT


def _shown(frame: FrameSummary) -> str:
    file = frame.filename
    file = (
        os.path.join("edgenet", os.path.relpath(file, PACKAGE)) if file.startswith(PACKAGE) else os.path.relpath(file)
    )
    return f"{file}:{frame.lineno} ({frame.name})"
