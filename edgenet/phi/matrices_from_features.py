"""MatricesFromFeatures: what phis share whose edges have a matrix each by their features."""

from __future__ import annotations

from typing import Any, Self

from torch import Tensor, nn

from edgenet.errors import PlanError, ShapeError
from edgenet.phi.base import Choice, LayerSpec, Phi
from edgenet.phi.channels import ChannelTable, as_structure
from edgenet.phi.edge_matrix import check_no_heads


class MatricesFromFeatures(Phi):
    """A matrix on every edge by its features, in factors ``maps``; the first hop leads from F_in to F_out channels.

    There is no lift, and no matrix for the node itself.
    """

    needs_edge_attr = True
    reads_sparse = True
    mixes_channels = True
    taps_itself = False

    def __init__(
        self,
        order: int,
        in_channels: int,
        out_channels: int,
        normalize: str | None,
        structure: str | dict[str, Any] | None,
    ) -> None:
        super().__init__()
        if normalize not in ("rw", None):
            raise ShapeError(f"normalize is 'rw', the mean over in-edges, or None, got {normalize!r}.")
        self.order, self.heads, self.in_channels, self.out_channels = order, 1, in_channels, out_channels
        self.normalize, self.structure = normalize, as_structure(structure)

    def channel_maps(self, rank: int) -> nn.ModuleList:
        """So many matrices for every hop."""
        widths = [self.in_channels, *[self.out_channels] * (self.order - 1)]
        return nn.ModuleList(ChannelTable(rank, width, self.out_channels, self.structure) for width in widths)

    @classmethod
    def for_layer(cls, spec: LayerSpec, **options: Any) -> Self:
        check_no_heads(spec)
        return cls(spec.order, spec.in_channels, spec.out_channels, **options)

    def check_layer(self, spec: LayerSpec, lift: Any) -> None:
        fits = (spec.in_channels, spec.out_channels) == (self.in_channels, self.out_channels)
        if not fits or lift not in (None, "identity") or spec.self_tap:
            raise ShapeError(
                f"these matrices on edges lead from {self.in_channels} to {self.out_channels} channels without a lift "
                f"or a self tap (residual=True adds a map of the node itself); got {spec.in_channels} to "
                f"{spec.out_channels}, lift={lift}, self_tap={spec.self_tap}."
            )

    def default_lift(self, spec: LayerSpec) -> Choice:
        return "identity", {}

    def default_taps(self, spec: LayerSpec) -> Choice:
        return "sum", {"merge": "concat"}

    def keep_inputs_(self, channels: Tensor) -> None:
        raise PlanError("the first hop of matrices on edges leads from the input channels; none can be taken.")
