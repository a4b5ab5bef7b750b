"""Checks of a contract that are held, or refused in words."""

from collections.abc import Mapping
from typing import Any

import pytest

from edgenet.testing import ContractError


def hold(checks: Any, check: str, case: Any, refused: Mapping[str, str]) -> None:
    """Hold a case to a check; skip the test where that is beside the point.

    Args:
        refused: what the words of a refusal are like, by the name of the check, or what comes before its comma.
    """
    refusal = refused.get(check) or refused.get(check.partition(",")[0])
    if refusal:
        with pytest.raises(ContractError, match=refusal):
            checks.hold(check, case)
        return
    beside_the_point = checks.hold(check, case)
    if beside_the_point:
        pytest.skip(beside_the_point)
