"""check_layer: a graph layer, held to what models, loaders, explainers, compression and files ask of one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from torch import nn

from edgenet.testing.contract import Contract, check_maker
from edgenet.testing.layer.case import WIDTHS, LayerCase
from edgenet.testing.layer.doors import DOORS
from edgenet.testing.layer.lasting import LASTING
from edgenet.testing.layer.shortcuts import SHORTCUTS
from edgenet.testing.layer.symmetry import SYMMETRY

#: All of the contract: symmetry, doors, life, shortcuts.
CHECKS: Contract[LayerCase] = Contract(SYMMETRY, DOORS, LASTING, SHORTCUTS)


def check_layer(
    make: Callable[[Any, int], nn.Module] | LayerCase,
    *,
    weights: int = 0,
    features: int = 0,
    batches: bool = True,
    sparse: bool = True,
    pair: bool = False,
    only: Collection[str] | str | None = None,
    skip: Collection[str] | str = (),
) -> None:
    """Hold a layer to its contract, in float64, from a fixed seed, where it widens a signal and where it narrows one.

    Args:
        make: a function (in_channels, out_channels), or a class of layers, as ``register("layer", name, make)`` takes
            it. The layer's ``forward`` takes ``x``, ``edge_index`` and what is named below. Or a ``LayerCase``.
        weights, features: columns of ``edge_weight`` and of ``edge_attr`` that it is given; 0 for none. Of
            ``features``, -T gives integer types of edges.
        batches, sparse: whether it takes a batch of signals on one graph, and sparse features.
        pair: whether it is called with the signals of sources and targets; ``make`` then gets a pair of sizes.
        only, skip: names of checks to run alone, or to leave out: "compile", "edges as, Graph". They are the keys of
            ``edgenet.testing.layer.CHECKS.checks``.

    Raises:
        ContractError: which is an AssertionError; it names every failed check, what differs and what was asked.
        ConfigError: if there is no check of such a name.

    Example:
        >>> make = lambda width, out: edgenet.nn.specializations.gcnn(width, out)
        >>> edgenet.testing.check_layer(make, weights=1)  # doctest: +SKIP
    """
    if isinstance(make, LayerCase):
        case = make
    else:
        check_maker("check_layer", make)
        made = (lambda i, o: make((i, i + 1), o)) if pair else make
        name = getattr(make, "__name__", str(make))
        case = LayerCase(made, weights, features, tuple(WIDTHS), batches, sparse, pair, name)
    for width in case.widths:
        CHECKS.hold_all(case.at(width), only, skip)
