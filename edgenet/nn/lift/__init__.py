"""Lifts: from (N, ..., F_in) features to (N, ..., H, C) heads x channels, before the walk."""

from edgenet.nn.lift.base import Lift
from edgenet.nn.lift.filter_bank import FilterBank
from edgenet.nn.lift.identity import Identity
from edgenet.nn.lift.linear import LinearLift

#: The lifts, by the name that phis and ``EdgeNetConv(lift=...)`` use.
LIFTS: dict[str, type[Lift]] = {"identity": Identity, "linear": LinearLift, "filter_bank": FilterBank}

__all__ = ["LIFTS", "FilterBank", "Identity", "Lift", "LinearLift"]
