"""Networks of published settings whose training steps are timed: ours, and the same of a peer's layers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet.bench.speed.peer_edges import Edges
from edgenet.bench.speed.peer_layers import PeerForm
from edgenet.bench.speed.reference import LayerShape
from edgenet.bench.speed.same_parameters import Parameters
from edgenet.models import NodeClassifier


@dataclass(frozen=True)
class Network:
    """A network of GAT layers, of published settings.

    Attributes:
        title: for the page.
        features, outputs: at a node.
        hidden: channels of each head of the hidden layers.
        layers: how many.
        heads, out_heads: of the hidden layers, side by side; of the last, averaged.
        dropout: of features and of attention.
        skip: a linear map of each layer's input is added to its output.
        lr, weight_decay: of Adam.
    """

    title: str
    features: int
    outputs: int
    hidden: int
    layers: int
    heads: int
    out_heads: int
    dropout: float
    skip: bool
    lr: float
    weight_decay: float

    def shapes(self) -> list[LayerShape]:
        shapes, width = [], self.features
        for depth in range(self.layers):
            last = depth == self.layers - 1
            channels, heads = (self.outputs, self.out_heads) if last else (self.hidden, self.heads)
            shapes.append(LayerShape("gat", width, channels, heads))
            width = channels * heads
        return shapes

    def ours(self) -> NodeClassifier:
        return NodeClassifier(
            self.features, self.outputs, layer="gat", hidden_channels=self.hidden, num_layers=self.layers,
            dropout=self.dropout, attention_dropout=self.dropout, heads=self.heads, out_heads=self.out_heads,
            skip=self.skip, activation="elu",
        )  # fmt: skip


#: graph: the network that is trained on it (Velickovic et al. 2018, 3.3)
NETWORKS = {
    "cora": Network("Cora: 8 heads of 8, then 1 of 7, dropout 0.6", 1433, 7, 8, 2, 8, 1, 0.6, False, 0.005, 5e-4),
    "ppi": Network("PPI's size: 4 x 256, 4 x 256, 6 x 121 averaged, skips", 50, 121, 256, 3, 4, 6, 0.0, True, 0.005, 0),
}


class PeerNetwork(nn.Module):
    """What ``NodeClassifier`` is, of another library's layers. Features may be a sparse CSR tensor."""

    def __init__(self, network: Network, form: PeerForm, edges: Edges) -> None:
        super().__init__()
        shapes, options = network.shapes(), {"compile": False} if form.compiled else {}
        self.layers = [
            form.build(shape, edges, concat=shape is not shapes[-1], dropout=network.dropout, **options)
            for shape in shapes
        ]
        self.convs = nn.ModuleList(layer.module for layer in self.layers)
        widths = [shape.channels if shape is shapes[-1] else shape.width for shape in shapes]
        maps = [nn.Linear(shape.in_channels, width) for shape, width in zip(shapes, widths, strict=True)]
        self.skips = nn.ModuleList(maps if network.skip else [])
        self.dropout = network.dropout

    def forward(self, x: Tensor) -> Tensor:
        for depth, layer in enumerate(self.layers):
            x = dropped(x, self.dropout, self.training)
            y = layer.call(x)
            if len(self.skips):
                y = y + self.skips[depth](x)
            x = y if depth == len(self.layers) - 1 else F.elu(y)
        return x

    def mapping(self, ours: Parameters) -> dict[str, Tensor]:
        """All parameters made of ours."""
        found = {name: value for name, value in ours.items() if name.startswith("skips.")}
        for depth, layer in enumerate(self.layers):
            prefix = f"convs.{depth}."
            own = {name.removeprefix(prefix): value for name, value in ours.items() if name.startswith(prefix)}
            found |= {prefix + name: value for name, value in layer.mapping(own).items()}
        return found


def dropped(x: Tensor, probability: float, training: bool) -> Tensor:
    """Dropout, which torch has not for sparse CSR tensors: there it draws for the numbers that are not 0, as ours."""
    if x.layout == torch.strided or not training or probability == 0:
        return F.dropout(x, probability, training)
    values = F.dropout(x.values(), probability)
    return torch.sparse_csr_tensor(x.crow_indices(), x.col_indices(), values, x.shape, check_invariants=False)
