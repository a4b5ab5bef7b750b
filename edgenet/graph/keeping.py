"""What a graph keeps, changed by one thread at a time."""

from __future__ import annotations

import os
import threading
from typing import Any

# held for a few steps of Python alone, never while anything is computed: so no two threads can wait for each other
_lock = threading.Lock()


def kept_once(known: dict[Any, Any], key: Any, value: Any, at_most: int | None) -> Any:
    """The value that stands under the key: this one, if no other thread was faster.

    Args:
        at_most: so many keys (kind, ...) that begin as this one are kept, the latest; None: all.
    """
    with _lock:
        value = known.setdefault(key, value)
        if at_most is not None:
            alike = [other for other in known if isinstance(other, tuple) and other[0] == key[0]]
            for oldest in alike[:-at_most]:
                del known[oldest]
        return value


def orders(memo: dict[Any, Any]) -> dict[Any, Any]:
    """The edges in sorted order, by (kind, row); one dict for all graphs of the same edges that differ in ids."""
    return memo.setdefault("orders", {})


def _new_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # a thread that is not in the child may hold the old one
    os.register_at_fork(after_in_child=_new_lock)
