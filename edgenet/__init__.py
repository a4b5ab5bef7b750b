"""edgenet: graph neural networks whose every edge may carry its own weight (EdgeNets).

The pieces, from the ground up: ``Graph`` and ``gso`` (graphs and shift operators), ``ops`` (what walks them),
``structured`` (matrices in slots), ``phi`` (edge weights), ``nn`` (layers), ``models``, ``compress`` (structured
matrices in the slots of any model), ``convert`` (PyG models as EdgeNets), ``estimators`` (sparse additive models and
quantile paths, in numpy), ``selection`` (EdgeNets without the hops, heads and edges that do not matter), ``data``,
``sampling`` (pieces of graphs that are too large for one step), ``train``, ``scale`` (tables past one machine, or past
its memory), ``export`` (files that run without it), ``testing`` (contracts for parts of your own).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgenet._version import __version__

if TYPE_CHECKING:
    from edgenet import (
        compress,
        convert,
        data,
        estimators,
        export,
        gso,
        models,
        nn,
        ops,
        phi,
        pretrained,
        sampling,
        scale,
        selection,
        structured,
        testing,
        train,
    )
    from edgenet.convert import freeze_attention, to_edgenet
    from edgenet.graph import Graph
    from edgenet.malloc import tune_malloc
    from edgenet.models import EdgeClassifier, GraphClassifier, NodeClassifier
    from edgenet.nn import EdgeNetConv
    from edgenet.pretrained import from_pretrained, save_pretrained
    from edgenet.registry import register
    from edgenet.shortcuts import kept
    from edgenet.train import fit

__all__ = [
    "EdgeClassifier",
    "EdgeNetConv",
    "Graph",
    "GraphClassifier",
    "NodeClassifier",
    "__version__",
    "compress",
    "convert",
    "data",
    "estimators",
    "export",
    "fit",
    "freeze_attention",
    "from_pretrained",
    "gso",
    "kept",
    "models",
    "nn",
    "ops",
    "phi",
    "pretrained",
    "register",
    "sampling",
    "save_pretrained",
    "scale",
    "selection",
    "structured",
    "testing",
    "to_edgenet",
    "train",
    "tune_malloc",
]

_FROM = {
    "EdgeClassifier": "edgenet.models",
    "EdgeNetConv": "edgenet.nn",
    "Graph": "edgenet.graph",
    "GraphClassifier": "edgenet.models",
    "NodeClassifier": "edgenet.models",
    "fit": "edgenet.train",
    "freeze_attention": "edgenet.convert",
    "from_pretrained": "edgenet.pretrained",
    "kept": "edgenet.shortcuts",
    "register": "edgenet.registry",
    "save_pretrained": "edgenet.pretrained",
    "to_edgenet": "edgenet.convert",
    "tune_malloc": "edgenet.malloc",
}


def __getattr__(name: str) -> Any:
    """Import on first use: the command line prints its help without loading torch."""
    if name in _FROM:
        return getattr(import_module(_FROM[name]), name)
    if name in __all__:
        return import_module(f"edgenet.{name}")
    raise AttributeError(f"module 'edgenet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
