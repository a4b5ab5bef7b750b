"""Taking hops, heads and input channels out of a layer: what is left is a smaller layer."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from edgenet.errors import PlanError
from edgenet.nn import lift as lifts
from edgenet.nn import taps as tapping
from edgenet.nn.conv import EdgeNetConv
from edgenet.phi import EdgeFactored, EdgeMatrix
from edgenet.structured import StructuredLinear
from edgenet.structured.dense import dense


def keep_taps_(conv: EdgeNetConv, pairs: Iterable[tuple[int, int]]) -> Tensor | None:
    """Keep some signals z^(k)[:, h] among those that a layer combines, and what makes them; in place, all or nothing.

    Hops behind the last that is combined are not walked any more, hops that are not combined have no taps, and heads
    that nothing reads are neither lifted nor weighed. Edge weights that are given for each head (several shift
    operators) must then have the columns of those kept. Where heads are averaged, it is over those kept. The rest
    computes what it did. Parameters are new ones: make the optimizer afterwards.

    Args:
        conv: the layer.
        pairs: (k, h), hop and head. Where heads carry copies of the input (shift operators), z^(0) is the same for all
            heads, and any of them stands for it.

    Returns:
        Which of its output channels the layer still has, (F',); None if all. Heads side by side take theirs along.

    Raises:
        PlanError: if a pair is not there, or a part cannot do without the rest, or is compressed.
    """
    wanted = sorted({(int(k), int(h)) for k, h in pairs})
    there = combined(conv)
    # heads of shift operators carry copies of the input, so that z^(0) is one signal with one tap, the sum of theirs
    copies = isinstance(conv.lift, lifts.Identity) and conv.self_tap and type(conv.taps) is tapping.Linear
    known = {*there, *((0, h) for h in range(conv.heads) if copies)}
    missing = [pair for pair in wanted if pair not in known]
    if missing or not wanted:
        what = f"no (hop, head) {missing[0]}" if missing else "nothing to keep"
        raise PlanError(f"{what}: this layer combines the signals (hop, head) {there}. It keeps one at least.")
    walked = sorted({h for k, h in wanted if k > 0 or not copies}) or [wanted[0][1]]
    hops = tuple(sorted({k for k, _ in wanted}))

    phi, lift, lift_target, taps = (copy.deepcopy(p) for p in (conv.phi, conv.lift, conv.lift_target, conv.taps))
    if copies:
        taps.fold_(0, len(conv.hops), conv.heads, walked[0])
        wanted = sorted({(k, h if k else walked[0]) for k, h in wanted})
    side_by_side = getattr(taps, "merge", None) == "concat" and not isinstance(phi, EdgeMatrix | EdgeFactored)
    phi.keep_(hops[-1], walked)
    taps.keep_([(conv.hops.index(k), h) for k, h in wanted], len(conv.hops), conv.heads)
    gone = len(walked) < conv.heads
    if gone:
        for part in (lift, lift_target):
            if part is not None:
                _keep_lifted(part, walked)

    kept = None
    if gone and side_by_side:
        channels = torch.arange(conv.heads * conv.out_channels).view(conv.heads, -1)
        kept = channels[walked].flatten()
        if conv.bias is not None:
            conv.bias = nn.Parameter(conv.bias.detach()[kept.to(conv.bias.device)].clone(), conv.bias.requires_grad)
    conv.phi, conv.lift, conv.lift_target, conv.taps = phi, lift, lift_target, taps
    conv.hops, conv.order, conv.heads = hops, hops[-1], len(walked)
    return kept


def combined(conv: EdgeNetConv) -> list[tuple[int, int]]:
    """The (hop, head) of the signals that a layer combines, in the order of its taps."""
    places = getattr(conv.taps, "pairs", None)
    if places is None:
        places = [(t, h) for t in range(len(conv.hops)) for h in range(conv.heads)]
    return [(conv.hops[t], h) for t, h in places]


def keep_inputs_(module: nn.Module, channels: Sequence[int] | Tensor) -> None:
    """Keep some input channels of a layer, in place, all or nothing: the others will not come any more.

    Args:
        module: an ``EdgeNetConv`` with a linear lift, or with linear taps of the input itself; a linear layer.
        channels: numbers of the channels, in the order in which they will come.

    Raises:
        PlanError: if the layer cannot do without the rest, or is compressed.
    """
    index = torch.as_tensor(channels, dtype=torch.long)
    if isinstance(module, nn.Linear):
        weight = module.weight
        module.weight = nn.Parameter(weight.detach()[:, index.to(weight.device)].clone(), weight.requires_grad)
        module.in_features = len(index)
    elif isinstance(module, StructuredLinear):
        module.keep_(columns=index)
    elif isinstance(module, EdgeNetConv) and isinstance(module.in_channels, int):
        phi, lift, taps = (copy.deepcopy(part) for part in (module.phi, module.lift, module.taps))
        phi.keep_inputs_(index)
        if isinstance(lift, lifts.LinearLift):
            lift.linear.keep_(columns=index)
        elif isinstance(lift, lifts.Identity) and type(taps) is tapping.Linear:
            width = dense(taps.linear.weight, "the taps").shape[1]
            blocks = torch.arange(width).view(-1, module.in_channels)
            taps.linear.keep_(columns=blocks[:, index].flatten())
        else:
            raise PlanError(f"no input channels can be taken from {module}: it has no linear lift and no linear taps.")
        module.phi, module.lift, module.taps, module.in_channels = phi, lift, taps, len(index)
    else:
        raise PlanError(f"{type(module).__name__} is no layer of which input channels can be taken.")


def _keep_lifted(lift: nn.Module, heads: Sequence[int]) -> None:
    if isinstance(lift, lifts.LinearLift):
        rows = dense(lift.linear.weight, "the lift").shape[0]
        lift.linear.keep_(rows=torch.arange(rows).view(lift.heads, -1)[list(heads)].flatten())
    elif not isinstance(lift, lifts.Identity):
        raise PlanError(f"a {type(lift).__name__} lift has a head for every pair of channels; remove hops only.")
    lift.heads = len(heads)
