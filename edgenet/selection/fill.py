"""fill_: an estimator that is linear in tap features becomes the taps of the layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from edgenet.errors import ConfigError, PlanError
from edgenet.nn import EdgeNetConv
from edgenet.nn.keep import combined, input_copies
from edgenet.nn.taps import Taps
from edgenet.selection.features import TapFeatures
from edgenet.shortcuts import hooked
from edgenet.structured.parameters import refuse_computed


@torch.no_grad()
def fill_(layer: EdgeNetConv, features: TapFeatures, *estimators: Any) -> EdgeNetConv:
    """Write the coefficients of linear estimators into the taps of a layer, in place, all or nothing: channel f of its
    output is then what estimator f predicts from the layer's tap features.

    Args:
        layer: with linear taps and a bias, from which the features were taken.
        features: of ``tap_features``, whole edges; ``scaled`` ones are scaled back.
        estimators: with ``coef_`` (p,) and ``intercept_``, one for each output channel; or with ``coef_`` (q, p) and
            ``intercept_`` (q,), for q channels.

    Returns:
        The layer.

    Raises:
        PlanError: if its taps are not linear or compressed, wrapped, hooked or computed of other tensors; if it has no
            bias, or features come in blocks of edges, which share their taps in a layer.
        ConfigError: if there is not one estimator a channel, one is not linear or of other columns, or the features are
            of another layer; a layer that has lost taps has features of its own.

    Example:
        >>> from sklearn.linear_model import LinearRegression
        >>> layer = edgenet.nn.specializations.gcnn(3, 1, order=1)
        >>> features = edgenet.selection.tap_features(layer, x, edges)
        >>> linear = LinearRegression().fit(features.values, [0.0, 1.0, 2.0, 3.0])
        >>> layer = edgenet.selection.fill_(layer, features, linear)
    """
    if not isinstance(layer.taps, Taps) or any(hooked(module) for module in layer.taps.modules()):
        raise PlanError(
            "something hangs on the taps of this layer, or stands around them (a hook, an adapter, pruning, a "
            "parametrization), and would change what is filled in; take it off first."
        )
    if layer.taps.in_width(1) is None and not layer.taps.folds:
        raise PlanError(f"coefficients are linear taps, and this layer has {type(layer.taps).__name__} taps.")
    if layer.bias is None:
        raise PlanError("intercepts need a bias: make the layer with bias=True.")
    refuse_computed(layer, "bias")
    if features.blocks is not None:
        raise PlanError(
            "blocks of edges have coefficients of their own, and share their taps in a layer: remove the blocks, and "
            "fit again on tap_features of what is left."
        )
    pairs = combined(layer)
    width = len(features.taps) // len({tap[:2] for tap in features.taps})
    own = layer.taps.in_width(len(pairs))
    if own not in (None, width):
        raise ConfigError(
            f"the layer has {own} channels a tap, and the features have {width}: they are of another layer."
        )
    parts = [_linear(estimator, features) for estimator in estimators]
    if sum(len(intercepts) for _, intercepts in parts) != layer.out_channels:
        raise ConfigError(
            f"the layer has {layer.out_channels} output channels, and {len(parts)} estimators came, with coefficients "
            f"for {[len(intercepts) for _, intercepts in parts]}."
        )
    coefficients, intercepts = (np.concatenate(part) for part in zip(*parts, strict=True))
    table = np.zeros((len(coefficients), len(pairs), width))
    copies = input_copies(layer)
    for start in range(0, len(features.taps), width):
        hop, head, _ = features.taps[start]
        place = next((p for p, pair in enumerate(pairs) if pair == (hop, head) or (copies and hop == pair[0] == 0)), -1)
        if place < 0:
            raise ConfigError(
                f"the layer has no tap (hop {hop}, head {head}); these features are of another, or from before taps "
                f"were removed: fill first, and remove then."
            )
        table[:, place] = coefficients[:, start : start + width]
    layer.taps.fill_(torch.as_tensor(table))
    layer.bias.copy_(torch.as_tensor(intercepts))
    return layer


def _linear(estimator: Any, features: TapFeatures) -> tuple[np.ndarray, np.ndarray]:
    """(q, p) coefficients of the columns that are not scaled, and (q,) intercepts."""
    if not hasattr(estimator, "coef_") or not hasattr(estimator, "intercept_"):
        raise ConfigError(f"{type(estimator).__name__} has no coef_ and intercept_: it is not linear, or not fitted.")
    coefficients = np.atleast_2d(np.asarray(estimator.coef_, dtype=float))
    if coefficients.ndim != 2 or coefficients.shape[1] != len(features.taps):
        raise ConfigError(
            f"there are {len(features.taps)} columns of features, and coefficients {np.shape(estimator.coef_)}."
        )
    intercepts = np.ravel(np.asarray(estimator.intercept_, dtype=float))
    if len(intercepts) not in (1, len(coefficients)):
        raise ConfigError(
            f"{len(coefficients)} channels have an intercept each, or one for all; got {len(intercepts)}."
        )
    return coefficients / features.scale, np.broadcast_to(intercepts, len(coefficients))
