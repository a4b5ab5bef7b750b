"""Which of these tests can run here."""

import sys

# forks, limits and /proc
collect_ignore = [] if sys.platform == "linux" else [
    "test_crash.py", "test_disk.py", "test_locks.py", "test_signals.py", "test_soak.py",
]  # fmt: skip
