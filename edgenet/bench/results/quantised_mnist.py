"""The digits of ``edgenet bench quantised``: a perceptron and a convolutional network, in formats of every kind."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from edgenet.bench.results.quantised_nets import NETS
from edgenet.bench.results.quantised_run import Problem, Row
from edgenet.data.mnist import mnist
from edgenet.train import Task

EPOCHS = {"mlp": 25, "conv": 15}
#: of the networks' layers, for plans
WEIGHTS = {"mlp": r"(first|second|head)\.", "conv": r"(conv_\d|wide|head)\."}
#: those that have blocks of 16: not the first convolution, nine numbers a channel, nor the ten rows of the last layer
LARGE = {"mlp": r"(first|second)\.", "conv": r"(conv_[23]|wide)\."}
#: the epoch before which structures are put into a network that was dense until then; 0: they are there from the start
START = 5
#: the same for signs and shifts; their scale, if there is one, stays that of the weights they are made of
SHIFTS_AT = {"mlp": 13, "conv": 8}
#: the last epoch in which ADMM pulls
PULLED = {"mlp": 15, "conv": 9}
#: of a network whose activations are signs: its loss, and its options
HINGE = "squared_hinge"
SIGNS = {"activation": "sign"}
_MLP = {"in_modes": [7, 8, 14], "out_modes": [8, 8, 8]}, {"in_modes": [8, 8, 8], "out_modes": [8, 8, 8]}
_CONV = (
    {"in_modes": [4, 4, 9], "out_modes": [8, 4, 1]},  # the nine places of a kernel stay apart from the channels
    {"in_modes": [4, 8, 9], "out_modes": [8, 8, 1]},
    {"in_modes": [8, 8, 9], "out_modes": [8, 16, 1]},
)
#: {network: {family: {layer: options}}}, such that the whole network has at least 10 times fewer parameters
TENTHS: dict[str, dict[str, dict[str, dict[str, Any]]]] = {
    "mlp": {
        "low_rank": {"first": {"rank": 27}, "second": {"rank": 24}},
        "kronecker": {"first": {"factor": [16, 28], "terms": 26}, "second": {"factor": [16, 16], "terms": 19}},
        "tensor_train": {"first": {"rank": 22, **_MLP[0]}, "second": {"rank": 18, **_MLP[1]}},
        # one block: several are fitted in turns, for minutes at this size
        "block_term": {
            "first": {"blocks": 1, "rank": 30, **_MLP[0]},
            "second": {"blocks": 1, "rank": 26, **_MLP[1]},
        },
        "hashed": {"first": {"ratio": 11.1}, "second": {"ratio": 11.1}},
    },
    "conv": {
        "low_rank": {"conv_2": {"rank": 3}, "conv_3": {"rank": 4}, "wide": {"rank": 8}},
        "kronecker": {
            "conv_2": {"factor": [8, 16], "terms": 2},
            "conv_3": {"factor": [16, 32], "terms": 3},
            "wide": {"factor": [16, 64], "terms": 5},
        },
        "tensor_train": {
            "conv_2": {"rank": [4, 4], **_CONV[0]},
            "conv_3": {"rank": [5, 4], **_CONV[1]},
            "wide": {"rank": [7, 6], **_CONV[2]},
        },
        "block_term": {
            "conv_2": {"blocks": 2, "rank": 4, **_CONV[0]},
            "conv_3": {"blocks": 2, "rank": 5, **_CONV[1]},
            "wide": {"blocks": 4, "rank": 6, **_CONV[2]},
        },
        "hashed": {"conv_2": {"ratio": 12.2}, "conv_3": {"ratio": 12.2}, "wide": {"ratio": 12.2}},
    },
}
#: (times fewer parameters, options) of networks that are float and small
SMALLER: dict[str, list[tuple[int, dict[str, Any]]]] = {
    "mlp": [(10, {"width": 77}), (40, {"width": 20})],
    "conv": [(10, {"share": 0.3}), (40, {"share": 0.15})],
}


@lru_cache(maxsize=1)
def digits(data_root: Path | None) -> Problem:
    """The problem: 4,000 images to train on, 1,000 to choose by, 10,000 for the last word."""
    data = mnist(data_root)
    common = {"scheduler": {"name": "cosine"}, "optimizer": {"lr": 0.003}}
    x = data.train.tensors[0][:2000]
    return Problem(
        "mnist",
        Task(data.train, data.val, name="mnist"),
        Task(data.train, data.val, data.test, name="mnist"),
        NETS,
        {net: {**common, "training": {"epochs": epochs}} for net, epochs in EPOCHS.items()},
        lambda: list(torch.split(x, 500)),
    )


# ---------------------------------------------------------------- what goes into the layers
def everywhere(net: str, spec: dict[str, Any], epoch: int = 0) -> dict[str, Any]:
    """Settings that put one structure into all layers."""
    return {"compress": {"plan": {WEIGHTS[net]: spec}, "epoch": epoch}}


def powers(net: str, bits: int, form: str = "latent", epoch: int | None = None, **options: Any) -> dict[str, Any]:
    """Powers of two in all layers, trained as DeepShift is."""
    spec = {"structure": "dense", "quantiser": "power_of_two", "bits": bits, "form": form}
    rates = options.pop("rates", {})
    if form == "latent":
        return {**everywhere(net, {**spec, **options}), "callback": [{"kind": "shift_recipe"}]}
    plan = everywhere(net, {**spec, **options}, SHIFTS_AT[net] if epoch is None else epoch)
    return {**plan, "callback": [{"kind": "shift_recipe", "shift": 0.1, "sign": 0.05, **rates}]}


def binary(net: str, per: str = "none", **recipe: Any) -> dict[str, Any]:
    """Signs in all layers, trained as binarised networks are."""
    spec = {"structure": "dense", "quantiser": "binary", "per": per}
    rate = {"optimizer": {"lr": 0.01}} if per == "none" else {}
    return {**everywhere(net, spec), "callback": [{"kind": "binary_recipe", **recipe}], **rate}


def unified(net: str, block: Any, rho: float | None = None, epoch: int = START) -> dict[str, Any]:
    """One magnitude a block, put in at once or where ADMM has led."""
    spec = {"structure": "unified", "block": block, "ratio": 1.0}
    if rho is None:
        return {"compress": {"plan": {LARGE[net]: spec}, "epoch": epoch}}
    pull = {"rho": rho, "relative": True, "every": 20, "grow": 3, "grow_every": 2, "until": PULLED[net]}
    return {"callback": [{"kind": "admm", "plan": {LARGE[net]: spec}, **pull}]}


def structured(net: str, family: str, bits: int | None = None, epoch: int = START) -> dict[str, Any]:
    """A family at a tenth of the parameters, and its numbers rounded."""
    rounding = {} if bits is None else {"bits": bits}
    plan = {rf"{layer}\.": {"structure": family, **own, **rounding} for layer, own in TENTHS[net][family].items()}
    return {"compress": {"plan": plan, "epoch": epoch}}


# ---------------------------------------------------------------- the rows
def rows(net: str) -> list[Row]:
    """Every row of a network's table, in order."""
    whole = Row("float", "32 bits", net)
    rounded = {b: {WEIGHTS[net]: {"structure": "dense", "bits": b, "per": "row"}} for b in (8, 4)}
    made = [
        whole,
        *(Row("float", f"{times}x smaller layers", net, options) for times, options in SMALLER[net]),
        *(Row("uniform", f"{b} bits, rounded only", net, rounded=rounded[b], of=whole) for b in (8, 4)),
        Row("uniform", "4 bits, trained", net, settings=everywhere(net, rounded[4][WEIGHTS[net]])),
        Row("binary", "weights and activations (BNN)", net, SIGNS, binary(net), restated=True, loss=HINGE),
        Row("binary", "weights alone, mean per row", net, settings=binary(net, "row")),
        *(Row("power_of_two", f"Q, {b} bits", net, settings=powers(net, b)) for b in (5, 4, 3)),
        *(Row("power_of_two", f"PS, {b} bits", net, settings=powers(net, b, "sign_shift")) for b in (5, 4, 3, 2)),
    ]
    for text, block in (("1 x 16", [1, 16]), ("4 x 4", [4, 4])):
        made.append(Row("unified", f"{text}, at once", net, settings=unified(net, block)))
        made.append(Row("unified", f"{text}, by ADMM", net, settings=unified(net, block, RHO)))
    for family in TENTHS[net]:
        for b in (None, 8, 4):
            name = "10x" if b is None else f"10x, {b} bits"
            made.append(Row(family, name, net, settings=structured(net, family, b)))
    return made


#: of ADMM, relative to the scale of each weight
RHO = 0.1

#: (name in a table, what may be lost in percent points) by network
DEMANDS: dict[str, list[tuple[str, float]]] = {
    net: [
        ("weights and activations (BNN)", points),
        *((f"Q, {bits} bits", 0.3) for bits in (5, 4, 3)),
        ("PS, 5 bits", 0.3),
        ("PS, 4 bits", 0.5),
        *((f"{block}, {how}", 0.5) for block in ("1 x 16", "4 x 4") for how in ("at once", "by ADMM")),
    ]
    for net, points in (("mlp", 1.0), ("conv", 1.5))
}
