"""Published models, read from files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgenet.errors import DataError
from edgenet.models import NodeClassifier
from edgenet.reading import read_npz

_SHAPES: dict[str, tuple[int, ...]] = {
    "W1": (1433, 64), "att_src1": (8, 8), "att_dst1": (8, 8), "att_bias1": (8,), "bias1": (64,),
    "W2": (64, 7), "att_src2": (7,), "att_dst2": (7,), "att_bias2": (), "bias2": (7,),
}  # fmt: skip


def gat_cora(path: str | os.PathLike) -> NodeClassifier:
    """The pre-trained GAT for Cora of Velickovic et al. 2018 (github.com/PetarV-/GAT, MIT), as an EdgeNet.

    Two layers, of 8 heads of 8 channels and of one head for the 7 classes, with a bias a head in the attention scores.
    Wants row-normalised features; test accuracy 0.844 on the public split. float32, in eval mode; dropout as published.

    Args:
        path: ``gat_cora_pyg.npz``.

    Raises:
        DataError: if the file is not that model: arrays missing, of another shape, or not finite.
    """
    arrays = _arrays(Path(path))
    model = NodeClassifier(
        1433, 7, layer="gat", hidden_channels=8, heads=8, out_heads=1, dropout=0.6, attention_dropout=0.6,
        activation="elu", score_bias=True,
    ).float()  # fmt: skip
    state = {}
    for depth in (0, 1):
        own = {name[:-1]: value for name, value in arrays.items() if name.endswith(str(depth + 1))}
        channels = 7 if depth else 8
        state |= {
            f"convs.{depth}.lift.linear.weight.weight": own["W"].t(),
            f"convs.{depth}.phi.att_source.weight": own["att_src"].reshape(-1, channels),
            f"convs.{depth}.phi.att_target.weight": own["att_dst"].reshape(-1, channels),
            f"convs.{depth}.phi.score_bias": own["att_bias"].reshape(1, -1),
            f"convs.{depth}.bias": own["bias"],
        }
    model.load_state_dict(state)
    return model.eval()


def _arrays(path: Path) -> dict[str, Tensor]:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file.")
    arrays = read_npz(path, DataError, tuple(_SHAPES))
    missing = sorted(set(_SHAPES) - set(arrays))
    if missing:
        raise DataError(f"{path} is not the published GAT: it has no {', '.join(missing)}.")
    for name, value in arrays.items():
        if value.shape != _SHAPES[name] or value.dtype != np.float32 or not np.isfinite(value).all():
            raise DataError(
                f"{path} is not the published GAT: {name} is {value.dtype} {value.shape}, finite float32 "
                f"{_SHAPES[name]} is wanted."
            )
    return {name: torch.from_numpy(value) for name, value in arrays.items()}
