"""fill_: an estimator that is linear in tap features becomes the taps of the layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from edgenet.errors import ConfigError, PlanError
from edgenet.nn import EdgeNetConv, lift
from edgenet.nn.keep import combined
from edgenet.nn.taps import Linear
from edgenet.selection.features import TapFeatures
from edgenet.structured.dense import dense


@torch.no_grad()
def fill_(layer: EdgeNetConv, features: TapFeatures, *estimators: Any) -> EdgeNetConv:
    """Write the coefficients of linear estimators into the taps of a layer, in place: channel f of its output is then
    what estimator f predicts from the layer's tap features.

    Args:
        layer: with linear taps and a bias, from which the features were taken.
        features: of ``tap_features``, whole edges; ``scaled`` ones are scaled back.
        estimators: with ``coef_`` (p,) and ``intercept_``, one for each output channel.

    Returns:
        The layer.

    Raises:
        PlanError: if its taps are not linear or compressed, it has no bias, or features come in blocks of edges, which
            share their taps in a layer.
        ConfigError: if there is not one estimator a channel, or one is not linear or of other columns.
    """
    if not isinstance(layer.taps, Linear):
        raise PlanError(f"coefficients are linear taps, and this layer has {type(layer.taps).__name__} taps.")
    if layer.bias is None:
        raise PlanError("intercepts need a bias: make the layer with bias=True.")
    if features.blocks is not None:
        raise PlanError(
            "blocks of edges have coefficients of their own, and share their taps in a layer: remove the blocks, and "
            "fit again on tap_features of what is left."
        )
    pairs = combined(layer)
    width = len(features.taps) // len({tap[:2] for tap in features.taps})
    weight = layer.taps.linear.weight
    if layer.taps.linear.weight.shape[1] == -1 or getattr(weight, "is_lazy", False):
        weight.materialise(weight.shape[0], len(pairs) * width)
    matrix = dense(weight, "the taps")
    if len(estimators) != matrix.shape[0]:
        raise ConfigError(f"the layer has {matrix.shape[0]} output channels, and {len(estimators)} estimators came.")
    coefficients = np.stack([_coefficients(estimator, features) for estimator in estimators])
    table = np.zeros((len(estimators), len(pairs), width))
    copies = isinstance(layer.lift, lift.Identity)
    for start in range(0, len(features.taps), width):
        hop, head, _ = features.taps[start]
        place = next((p for p, pair in enumerate(pairs) if pair == (hop, head) or (copies and hop == pair[0] == 0)), -1)
        if place < 0:
            raise ConfigError(f"the layer has no tap (hop {hop}, head {head}); these features are of another.")
        table[:, place] = coefficients[:, start : start + width]
    matrix.weight.copy_(torch.as_tensor(table.reshape(len(table), -1)))
    intercepts = torch.tensor([float(np.squeeze(estimator.intercept_)) for estimator in estimators])
    layer.bias.copy_(intercepts)
    if layer.taps.linear.bias is not None:
        nn.init.zeros_(layer.taps.linear.bias)
    return layer


def _coefficients(estimator: Any, features: TapFeatures) -> np.ndarray:
    if not hasattr(estimator, "coef_"):
        raise ConfigError(f"{type(estimator).__name__} has no coef_: it is not linear, or not fitted.")
    coefficients = np.asarray(estimator.coef_, dtype=float).reshape(-1)
    if len(coefficients) != len(features.taps):
        raise ConfigError(f"there are {len(features.taps)} columns of features, and {len(coefficients)} coefficients.")
    return coefficients / features.scale
