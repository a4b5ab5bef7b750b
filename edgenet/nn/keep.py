"""Taking hops, heads and input channels out of a layer: what is left is a smaller layer."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from edgenet.errors import PlanError
from edgenet.nn.conv import EdgeNetConv
from edgenet.nn.lift import Lift
from edgenet.nn.taps import Taps
from edgenet.phi import Phi
from edgenet.structured import StructuredLinear
from edgenet.structured.linear import take_
from edgenet.structured.parameters import replace_

M = TypeVar("M", bound=nn.Module | None)

_HOOKS = "_forward_", "_backward_"  # how the names of their dictionaries begin in torch


def keep_taps_(conv: EdgeNetConv, pairs: Iterable[tuple[int, int]]) -> Tensor | None:
    """Keep some signals z^(k)[:, h] among those that a layer combines, and what makes them; in place, all or nothing.

    Hops behind the last that is combined are not walked any more, hops that are not combined have no taps, and heads
    that nothing reads are neither lifted nor weighed. Edge weights that are given for each head (several shift
    operators) must then have the columns of those kept. Where heads are averaged, it is over those kept. The rest
    computes what it did, hooks included. Parameters are new ones: make the optimizer afterwards.

    Args:
        conv: the layer.
        pairs: (k, h), hop and head. Where heads carry copies of the input (shift operators), z^(0) is the same for all
            heads, and any of them stands for it.

    Returns:
        Which of its output channels the layer still has, (F',); None if all. Heads side by side take theirs along.

    Raises:
        PlanError: if a pair is not there, or a part cannot do without the rest, or is compressed or pruned, or has no
            size yet.
    """
    _check_parts(conv)
    wanted = sorted({(int(k), int(h)) for k, h in pairs})
    all_heads = conv.phi.heads  # of a filter bank, they may not have been known when the layer was made
    wanted, walked, folds = _signals(conv, wanted, all_heads)
    hops = tuple(sorted({k for k, _ in wanted}))

    phi, lift, lift_target, taps = (copied_module(p) for p in (conv.phi, conv.lift, conv.lift_target, conv.taps))
    if folds:
        taps.fold_(0, len(conv.hops), all_heads, walked[0])
    side_by_side = getattr(taps, "merge", None) == "concat" and not phi.mixes_channels
    phi.keep_(hops[-1], walked)
    try:
        taps.keep_([(conv.hops.index(k), h) for k, h in wanted], len(conv.hops), all_heads)
    except PlanError as error:
        raise PlanError(f"(hop, head) {wanted} cannot be all that stays: {error}") from error
    gone = len(walked) < all_heads
    if gone:
        for part in (lift, lift_target):
            if part is not None:
                part.keep_(walked)

    kept, root = None, copied_module(conv.root)
    if gone and side_by_side:
        channels = torch.arange(all_heads * conv.out_channels).view(all_heads, -1)
        kept = channels[walked].flatten()
        if root is not None:
            take_(root, rows=kept)
        if conv.bias is not None:
            replace_(conv, bias=conv.bias[kept.to(conv.bias.device)])
    conv.phi, conv.lift, conv.lift_target, conv.taps, conv.root = phi, lift, lift_target, taps, root
    conv.hops, conv.order, conv.heads = hops, hops[-1], len(walked)
    if not conv.lifts_target:
        conv.lift_target = None
    return kept


def _signals(
    conv: EdgeNetConv, wanted: list[tuple[int, int]], all_heads: int
) -> tuple[list[tuple[int, int]], list[int], bool]:
    """What to keep of a layer, (hop, head): the signals in its taps' terms, the heads that are walked, and whether the
    taps of the input, which all heads carry, become one."""
    there = combined(conv)
    copied = conv.self_tap and input_copies(conv)
    folds = copied and conv.taps.folds  # z^(0) is then one signal with one tap, the sum of theirs
    known = {*there, *((0, h) for h in range(all_heads) if folds)}
    missing = [pair for pair in wanted if pair not in known]
    if missing or not wanted:
        what = f"no (hop, head) {missing[0]}" if missing else "nothing to keep"
        raise PlanError(f"{what}: this layer combines the signals (hop, head) {there}. It keeps one at least.")
    if isinstance(conv.in_channels, tuple):
        _check_pair(conv, wanted)
    walked = sorted({h for k, h in wanted if k > 0 or not folds}) or [wanted[0][1]]
    if folds:
        wanted = sorted({(k, h if k else walked[0]) for k, h in wanted})
    elif copied and wanted[0][0] == 0:  # these taps have one a head, and the input may be named once
        wanted = sorted({*wanted, *((0, h) for h in walked)})
    return wanted, walked, folds


def combined(conv: EdgeNetConv) -> list[tuple[int, int]]:
    """The (hop, head) of the signals that a layer combines, in the order of its taps."""
    heads = conv.phi.heads
    if heads == -1:
        raise PlanError("how many heads this layer has is not known yet: run it once first.")
    return [(conv.hops[t], h) for t, h in conv.taps.pairs_of(len(conv.hops), heads)]


def input_copies(conv: EdgeNetConv) -> bool:
    """Whether z^(0) is the same for all heads: the input, as shift operators walk it."""
    return conv.lift.copies_input and not conv.phi.has_initial


def copied_module(module: M) -> M:
    """A copy with parameters of its own, and with the same hooks: what looks on or changes weights goes on doing so.

    Raises:
        PlanError: if it cannot be copied, as a module that is being pruned.
    """
    try:
        other = copy.deepcopy(module)
    except RuntimeError as error:  # of torch: tensors that are no leaves
        raise PlanError(
            "a module whose parameters are computed from others cannot be made smaller; make that permanent first "
            f"(torch.nn.utils.prune.remove, parametrize.remove_parametrizations): {error}"
        ) from error
    if module is not None:
        for old, new in zip(module.modules(), other.modules(), strict=True):
            new.__dict__.update({name: value for name, value in vars(old).items() if name.startswith(_HOOKS)})
    return other


def keep_inputs_(module: nn.Module, channels: Sequence[int] | Tensor) -> None:
    """Keep some input channels of a layer, in place, all or nothing: the others will not come any more.

    Args:
        module: an ``EdgeNetConv`` with a linear lift, or with linear taps of the input itself; a linear layer.
        channels: numbers of the channels, in the order in which they will come.

    Raises:
        PlanError: if the layer cannot do without the rest, or is compressed, or has no size yet, or has no such
            channels.
    """
    index = _checked_channels(channels, _width(module))
    if isinstance(module, nn.Linear):
        replace_(module, weight=module.weight[:, index.to(module.weight.device)])
        module.in_features = len(index)
    elif isinstance(module, StructuredLinear):
        module.keep_(columns=index)
    elif isinstance(module, EdgeNetConv) and isinstance(module.in_channels, int):
        _check_parts(module)
        phi, lift, taps = (copied_module(part) for part in (module.phi, module.lift, module.taps))
        phi.keep_inputs_(index)
        if not lift.keep_inputs_(index):
            if not lift.copies_input:
                raise PlanError(f"no input channels can be taken from {module}: it has no linear lift.")
            taps.keep_inputs_(index, len(combined(module)))
        besides = {name: copied_module(getattr(module, name)) for name in module.reads_input_besides()}
        for part in besides.values():
            take_(part, columns=index)
        module.phi, module.lift, module.taps, module.in_channels = phi, lift, taps, len(index)
        for name, part in besides.items():
            setattr(module, name, part)
    else:
        raise PlanError(f"{type(module).__name__} is no layer of which input channels can be taken.")


def _width(module: nn.Module) -> int | None:
    """How many input channels there are; None where the module says what is wrong itself."""
    if isinstance(module, nn.Linear):
        if is_lazy(module.weight):
            raise PlanError("the size of this linear layer is not known yet: run the model once first.")
        return module.in_features
    if isinstance(module, StructuredLinear):
        return None if module.weight.is_lazy else module.weight.shape[1]
    if not isinstance(module, EdgeNetConv) or module.in_channels != -1:
        return getattr(module, "in_channels", None)
    width = module.lift.in_width() if not module.lift.copies_input else module.taps.in_width(len(combined(module)))
    if width in (None, -1):
        raise PlanError(f"how many input channels {module} has is not known yet: run the model once first.")
    return width


def _check_parts(conv: EdgeNetConv) -> None:
    """Refuse to take anything from what wraps a part, whose own weights would stay as they are."""
    for part, kind in ((conv.lift, Lift), (conv.phi, Phi), (conv.taps, Taps)):
        if not isinstance(part, kind):
            raise PlanError(
                f"a {type(part).__name__} stands in the place of the layer's {kind.__name__.lower()}, and nothing can "
                f"be taken from it: merge it, or take it out, first."
            )


def _checked_channels(channels: Sequence[int] | Tensor, width: int | None) -> Tensor:
    index = torch.as_tensor(channels)
    whole = not (index.dtype.is_floating_point or index.dtype.is_complex or index.dtype == torch.bool)
    least, most = (int(n) for n in index.aminmax()) if whole and index.numel() else (0, -1)
    beyond = isinstance(width, int) and most >= width
    if index.dim() != 1 or least < 0 or most < 0 or beyond or len(index.unique()) < len(index):
        last = "F - 1" if width is None else width - 1
        raise PlanError(
            f"input channels to keep are numbers from 0 to {last}, each once, one at least; got {index.tolist()}."
        )
    return index.long()


def _check_pair(conv: EdgeNetConv, wanted: list[tuple[int, int]]) -> None:
    """What cannot be taken from a layer between two sets of nodes."""
    if wanted[-1][0] == 0:
        raise PlanError("without its hop, a layer between two sets of nodes walks nothing; keep a pair of hop 1.")
    source, target = conv.in_channels
    if conv.lift.copies_input and conv.self_tap and source != target:
        raise PlanError(
            f"taps of sources with {source} channels and of targets with {target} stand in one matrix, of which none "
            "can be taken; lift both to one width first."
        )
