"""Shortcuts past the modules that a layer is made of, and past computing things anew: when they are invisible."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.modules import module as torch_module

#: whose classes are known to compute what their names say
_KNOWN = ("edgenet.", "torch_geometric.nn.aggr.")

#: and torch's, which hold what others call; a layer of torch's in the place of a part has none of the part's shortcuts
_LISTS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)

#: what torch keeps of the callers' functions around a module's ``forward`` and its gradients
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

#: and around reading and loading its state
STATE_HOOKS = (
    "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip

_known: set[type] = set()

#: Whether computed things may be kept now, as ``kept`` has it. Read as ``shortcuts.keeping``: an import would copy it.
keeping = True


class kept:
    """Whether anything that was computed may be kept for the next call: merged matrices, sort orders, rows of tables.

    ``edgenet.kept(False)`` turns keeping off, and ``with edgenet.kept(False):`` until the block ends. Everything is
    then computed anew at each call, more slowly. A result that differs from the one with keeping on is a fault here.

    Example:
        >>> with edgenet.kept(False):  # nothing is taken over from an earlier call
        ...     y = edgenet.NodeClassifier(3, 2)(x, edges)
    """

    def __init__(self, mode: bool) -> None:
        global keeping
        self._before, keeping = keeping, bool(mode)

    def __enter__(self) -> kept:
        return self

    def __exit__(self, *_: object) -> None:
        global keeping
        keeping = self._before


def plain(*parts: nn.Module | None) -> bool:
    """Whether a shortcut past these parts is invisible: fusion, another order of products, a walk before the lift.

    True only if the parts are ``untouched`` and nothing watches the calls (``unwatched``). Otherwise they must be
    called one by one, as modules. None counts as plain.
    """
    return unwatched() and untouched(*parts)


def untouched(*parts: nn.Module | None, but_for_pre_hooks_of: nn.Module | None = None) -> bool:
    """Whether every part, and everything inside it, is of exactly a class of this library (or a list of torch's,
    or PyG's aggregations), without a ``forward`` of its own, without hooks of any kind and without parametrizations.

    Args:
        but_for_pre_hooks_of: a module whose own forward pre-hooks do not count, because the caller runs them.
    """
    if torch_module._has_any_global_hook():
        return False
    stack: list[nn.Module | None] = list(parts)
    while stack:
        part = stack.pop()
        if part is None:
            continue
        kind, own = type(part), part.__dict__
        if kind not in _known:
            if kind not in _LISTS and not kind.__module__.startswith(
                _KNOWN
            ):  # parametrised modules have classes of torch's making
                return False
            _known.add(kind)
        if "forward" in own or own["_forward_hooks"] or own["_backward_hooks"] or own["_backward_pre_hooks"]:
            return False
        if own["_forward_pre_hooks"] and part is not but_for_pre_hooks_of:
            return False
        stack.extend(own["_modules"].values())
    return True


def unwatched() -> bool:
    """Whether modules that nobody looks at may be passed by at all: no functional transform, fake tensors, dispatch
    mode, tracing or export is under way. ``torch.compile`` alone does not count."""
    if torch.compiler.is_compiling():
        return not torch.compiler.is_exporting()
    return not (
        torch._C._are_functorch_transforms_active() or torch._C._len_torch_dispatch_stack() or torch._C._is_tracing()
    )


def hooked(module: nn.Module, kinds: Sequence[str] = HOOKS) -> bool:
    """Whether hooks of these kinds, parametrizations or a ``forward`` of its own are on this very module.

    Unlike ``untouched`` it does not ask whose class it is: what stands here was put on a single object by its owner.
    """
    own = module.__dict__
    return "forward" in own or any(own.get(kind) for kind in kinds) or "parametrizations" in own["_modules"]
