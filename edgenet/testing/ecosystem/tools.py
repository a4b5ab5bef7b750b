"""Tools that others wrote, which run with the layers: what is installed, and in which version."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from edgenet.testing.contract import Contract
from edgenet.testing.layer.case import LayerCase

#: What other people's tools do with a layer or a model.
JOBS: Contract[LayerCase] = Contract()

#: job -> names of the packages that do it, as pip has them
TOOLS: dict[str, tuple[str, ...]] = {}


def job(name: str, *tools: str, **variants: Any) -> Callable[[Callable[..., str | None]], Callable[..., str | None]]:
    """Adds the decorated function to ``JOBS``, as ``Contract.promise`` does.

    Args:
        tools: packages that do the job. Without one of them the check says so, and looks at nothing.
    """
    TOOLS[name] = tools

    def add(function: Callable[..., str | None]) -> Callable[..., str | None]:
        def check(case: LayerCase, **chosen: Any) -> str | None:
            gone = missing(name)
            return f"{', '.join(gone)} is not installed" if gone else function(case, **chosen)

        check.__doc__ = function.__doc__
        return JOBS.promise(name, **variants)(check)

    return add


def missing(name: str) -> list[str]:
    """The packages of a job that are not installed."""
    return [tool for tool in TOOLS[name.partition(",")[0]] if _version(tool) is None]


def versions(name: str) -> str:
    """The packages of a job and their versions, "captum 0.8.0"; those that are missing are named without one."""
    return ", ".join(f"{tool} {_version(tool) or '-'}" for tool in TOOLS[name.partition(",")[0]])


def _version(tool: str) -> str | None:
    try:
        return version(tool)
    except PackageNotFoundError:
        return None
