"""No shortcut is ever visible: whatever is put on a module or a parameter counts as if every module was called."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from layers import LAYERS

from edgenet.testing.layer import CHECKS, LayerCase
from edgenet.testing.touches import ON_MODULES, ON_PARAMETERS

CASES = [(name, width) for name, case in LAYERS.items() for width in case.widths]
#: the rarer kinds, at one width, and not at every variant of a layer: shortcuts ask one question about all of them
RARE = {"own forward": "narrow", "subclass": "wide", "backward hook": "wide", "weight norm, old": "narrow"}
RARE |= {"weight norm, new": "wide"}
#: layers that sum no messages, or more than messages: spectral filters, and corrections of single entries
NO_SUM = ("spectral", "edge_varying, doped")


def at(kinds: Iterable[str]) -> list[tuple[str, str, str]]:
    """The kinds at every layer and width."""
    return [(name, width, kind) for name, width in CASES for kind in kinds if is_looked_at(LAYERS[name], width, kind)]


def is_looked_at(case: LayerCase, width: str, kind: str) -> bool:
    return kind not in RARE or (width == RARE[kind] and len(case.widths) == 2)


@pytest.mark.parametrize(("name", "width"), CASES, ids=[f"{name}-{width}" for name, width in CASES])
def test_a_layer_gives_what_its_modules_give_one_by_one(name: str, width: str):
    CHECKS.hold("modules one by one", LAYERS[name].at(width))


@pytest.mark.parametrize(("name", "width", "kind"), at(ON_MODULES), ids=lambda part: part)
def test_what_is_put_on_a_module_counts_wherever_it_is(name: str, width: str, kind: str):
    CHECKS.hold(f"on modules, {kind}", LAYERS[name].at(width))


@pytest.mark.parametrize("kind", ON_MODULES)
@pytest.mark.parametrize(
    "name", [name for name, case in LAYERS.items() if len(case.widths) == 2 and name not in NO_SUM]
)
def test_what_is_put_on_the_sum_of_messages_counts(name: str, kind: str):
    """PyG's layers call a module for it. Corrections of single entries are no messages."""
    case = LAYERS[name]
    assert CHECKS.hold(f"on the sum of messages, {kind}", case.at(case.widths[-1])) is None


@pytest.mark.parametrize(("name", "width", "kind"), at(ON_PARAMETERS), ids=lambda part: part)
def test_what_a_parameter_has_become_counts_wherever_it_is(name: str, width: str, kind: str):
    CHECKS.hold(f"on parameters, {kind}", LAYERS[name].at(width))
