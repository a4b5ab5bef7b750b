"""The classes that a saved model may be made of. A name in a file is looked up here, and nowhere else.

They are torch's common modules, PyG's layers, edgenet's own, and those that a user allows: ``allow(name, cls)``.
"""

from __future__ import annotations

import inspect
import sys

import torch_geometric.nn as pyg
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch_geometric.nn import aggr, conv, norm
from torch_geometric.nn.models import basic_gnn
from torch_geometric.utils._trim_to_layer import TrimToLayer

from edgenet import convert, fixed, models, phi, structured
from edgenet import nn as edgenet_nn
from edgenet.errors import CheckpointError

_TORCH = (
    "Identity", "Linear", "Bilinear", "Embedding", "EmbeddingBag", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d",
    "ConvTranspose2d", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout",
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "LayerNorm", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d",
    "InstanceNorm3d", "LocalResponseNorm", "RMSNorm", "ReLU", "ReLU6", "LeakyReLU", "PReLU", "RReLU", "ELU", "SELU",
    "CELU", "GELU", "SiLU", "Mish", "Tanh", "Sigmoid", "Softplus", "Softsign", "Softmax", "LogSoftmax", "Softmin",
    "Hardtanh", "Hardsigmoid", "Hardswish", "LogSigmoid", "Tanhshrink", "Softshrink", "Hardshrink", "Threshold",
    "GLU", "Flatten", "Unflatten", "MaxPool1d", "MaxPool2d", "AvgPool1d", "AvgPool2d", "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "LSTM", "GRU", "RNN", "LSTMCell", "GRUCell",
    "RNNCell", "MultiheadAttention", "TransformerEncoder", "TransformerEncoderLayer", "Sequential",
    "ModuleList", "ModuleDict",
)  # fmt: skip
_PARTS = {
    "nn": edgenet_nn, "phi": phi, "convert": convert, "models": models, "structured": structured, "fixed": fixed,
}  # fmt: skip


def _of_edgenet() -> dict[str, type[nn.Module]]:
    """Every module that is defined in a part of edgenet, but for structured matrices, which ``STRUCTURES`` has."""
    found: dict[str, type[nn.Module]] = {}
    for part, package in _PARTS.items():
        prefix = f"{package.__name__}."
        for path in sorted(path for path in sys.modules if path.startswith(prefix)):
            for name, kind in vars(sys.modules[path]).items():
                whole = isinstance(kind, type) and issubclass(kind, nn.Module) and not inspect.isabstract(kind)
                if whole and kind.__module__ == path and not issubclass(kind, structured.StructuredMatrix):
                    assert f"edgenet.{part}.{name}" not in found, f"two classes of edgenet.{part} are called {name}"
                    found[f"edgenet.{part}.{name}"] = kind
    return found


def _of_pyg() -> list[type[nn.Module]]:
    """Layers, norms, aggregations and the plain models. Not PyG's ``Sequential``, which makes code of its arguments."""
    found = [getattr(part, name) for part in (conv, norm, aggr) for name in part.__all__]
    found += [getattr(basic_gnn, name) for name in ("GCN", "GraphSAGE", "GIN", "GAT", "PNA", "EdgeCNN")]
    found += [pyg.Linear, pyg.MLP, pyg.JumpingKnowledge, TrimToLayer]
    return [kind for kind in found if isinstance(kind, type) and issubclass(kind, nn.Module)]


#: By the name that files use.
CLASSES: dict[str, type[nn.Module]] = {
    **{f"torch.nn.{name}": getattr(nn, name) for name in _TORCH if hasattr(nn, name)},
    "torch.nn.NonDynamicallyQuantizableLinear": NonDynamicallyQuantizableLinear,  # inside MultiheadAttention
    **{f"torch_geometric.nn.{kind.__name__}": kind for kind in _of_pyg()},
    **_of_edgenet(),
}

#: The reverse.
NAMES: dict[type[nn.Module], str] = {kind: name for name, kind in CLASSES.items()}

_BUILT_IN = frozenset(CLASSES)


def allow(name: str, kind: type[nn.Module]) -> None:
    """Let files name a class of a user's, and so make it: ``allow("phi.banded", Banded)``.

    Its constructor is called with arguments from the file. It is saved by the attributes that are called as its
    constructor's arguments, and by ``arguments()``, if it has that method: a dict of those that are not. Whoever loads
    a model must have allowed the same names; until then it is loaded into one that was built: ``model=``.

    Raises:
        CheckpointError: if it is no class of modules, the name is of edgenet, torch or PyG, or the name or the class is
            taken by another.
    """
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)) or inspect.isabstract(kind):
        raise CheckpointError(f"{name!r} is to name a class of modules that can be made, got {kind!r}.")
    if not name or name in _BUILT_IN or name.startswith(("torch.", "torch_geometric.", "edgenet.")):
        raise CheckpointError(f"{name!r} is, or looks like, a name of a built-in class; choose one of your own.")
    if CLASSES.get(name, kind) is not kind or NAMES.get(kind, name) != name:
        taken = CLASSES.get(name) or kind
        raise CheckpointError(f"{name!r} cannot name {kind.__qualname__}: {NAMES[taken]!r} names {taken.__qualname__}.")
    CLASSES[name], NAMES[kind] = kind, name
