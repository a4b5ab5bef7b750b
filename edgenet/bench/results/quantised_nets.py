"""The networks that ``edgenet bench quantised`` trains: every weight is followed by a batch norm, in all of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from torch import nn

from edgenet.nn import Sign

#: (channels of the three convolutions, width of the layer behind them)
WIDTHS = ((16, 32, 64), 128)


def mlp(activation: str = "relu", width: int = 512) -> nn.Sequential:
    """784 -> width -> width -> 10."""
    return nn.Sequential(
        OrderedDict(
            flat=nn.Flatten(),
            first=nn.Linear(784, width, bias=False),
            norm_1=nn.BatchNorm1d(width),
            act_1=ACTIVATIONS[activation](),
            second=nn.Linear(width, width, bias=False),
            norm_2=nn.BatchNorm1d(width),
            act_2=ACTIVATIONS[activation](),
            head=nn.Linear(width, 10, bias=False),
            norm_3=nn.BatchNorm1d(10),
        )
    )


def conv(activation: str = "relu", share: float = 1.0) -> nn.Sequential:
    """Three 3 x 3 convolutions, each with a pooling to half the side, and two linear layers.

    Args:
        activation: a name in ``ACTIVATIONS``.
        share: of the widths of the full network.
    """
    (a, b, c), d = ([max(1, round(share * width)) for width in WIDTHS[0]], max(1, round(share * WIDTHS[1])))
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for k, (before, after) in enumerate(((1, a), (a, b), (b, c)), 1):
        # the paper around a digit is -1, and a signal of signs knows no 0
        parts[f"pad_{k}"] = nn.ConstantPad2d(1, -1.0 if k == 1 or activation != "relu" else 0.0)
        parts[f"conv_{k}"] = nn.Conv2d(before, after, 3, bias=False)
        parts[f"pool_{k}"] = nn.MaxPool2d(2)
        parts[f"norm_{k}"] = nn.BatchNorm2d(after)
        parts[f"act_{k}"] = ACTIVATIONS[activation]()
    parts |= {"flat": nn.Flatten(), "wide": nn.Linear(9 * c, d, bias=False), "norm_4": nn.BatchNorm1d(d)}
    parts |= {"act_4": ACTIVATIONS[activation](), "head": nn.Linear(d, 10, bias=False), "norm_5": nn.BatchNorm1d(10)}
    return nn.Sequential(parts)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "sign": Sign,
    "sign without gate": partial(Sign, gate=float("inf")),
}

NETS: dict[str, Callable[..., nn.Module]] = {"mlp": mlp, "conv": conv}
