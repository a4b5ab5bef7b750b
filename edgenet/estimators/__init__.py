"""Sparse estimators in the manner of scikit-learn: numpy and scipy, ``fit`` and ``predict``."""

from importlib import import_module
from typing import Any

#: name -> the module it is in; loaded when it is first asked for, since scikit-learn takes its time
_MODULES = {
    "ConformalInterval": "conformal",
    "QuantilePath": "quantile",
    "SpAM": "spam",
    "SpAMPath": "spam_path",
    "conformal_margin": "conformal",
    "coverage_range": "conformal",
    "prox_linf": "linf",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
