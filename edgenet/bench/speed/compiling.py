"""torch.compile as a peer is given it: all of a call in one graph, for the shapes of that call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

Called = TypeVar("Called", bound=Callable[..., Any])
FORMS = 64  # of one piece of code: networks hold layers of many shapes, in training and in evaluation


def compiled(function: Called, whole: bool = True) -> Called:
    """The function or module, compiled by torch's inductor at its first calls, which are warm-up and not timed.

    Args:
        function: keeps its parameters; a module is compiled anew when it changes between training and evaluation.
        whole: raise where a part would be left to Python. Sparse tensors always leave some.
    """
    from torch._dynamo import config as tracing
    from torch._inductor import config as inductor

    tracing.recompile_limit = max(FORMS, tracing.recompile_limit)  # beyond it, torch gives up without a word
    inductor.compile_threads = 1  # others would go on in the background of what is timed
    return torch.compile(function, dynamic=False, fullgraph=whole)
