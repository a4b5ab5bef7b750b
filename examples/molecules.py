"""Molecules: many small graphs, whose edges have features

Each graph is a ring of atoms with a tail, and each bond has features: its kind and its length. The task asks for the
bonds: a molecule is of class 1 if it has more double bonds than single ones. A network that reads atoms alone cannot
tell.
"""

import torch
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import global_mean_pool

import edgenet
from edgenet import EdgeNetConv, GraphClassifier

count, epochs = 300, 30

# ## The data
#
# A `Data` for each molecule: `x` (atoms, 4), `edge_index` (2, bonds both ways), `edge_attr` (bonds both ways, 3), and
# one label `y`.


def molecule(generator):
    atoms = int(torch.randint(5, 9, (), generator=generator))
    start, end = torch.arange(atoms), (torch.arange(atoms) + 1) % atoms
    double = torch.rand(atoms, generator=generator) < 0.5
    length = 1.5 - 0.2 * double + 0.02 * torch.randn(atoms, generator=generator)
    bond = torch.stack([double, ~double, length], dim=1).float()
    kind = torch.randint(0, 4, (atoms,), generator=generator)
    edge_index = torch.stack([torch.cat([start, end]), torch.cat([end, start])])
    label = int(2 * double.sum() > atoms)
    return Data(torch.eye(4)[kind], edge_index, torch.cat([bond, bond]), torch.tensor([label]))


generator = torch.Generator().manual_seed(0)
molecules = [molecule(generator) for _ in range(count)]
parts = [molecules[i::3] for i in range(3)]
print(molecules[0])

# ## Attention that reads bonds
#
# `edge_dim` says how many features an edge has. `GraphClassifier` adds a readout over the atoms of each molecule; `fit`
# hands it the fields of a batch by name.

torch.manual_seed(0)
model = GraphClassifier(4, 2, layer="gat", edge_dim=3, heads=4, hidden_channels=16, num_layers=2, readout="mean")
result = edgenet.fit(
    model, parts[0], val=parts[1], test=parts[2], epochs=epochs, batch_size=20, lr=0.01, seed=0, progress=False
)
print(f"attention that reads bonds: test accuracy {result.test:.2f}")

torch.manual_seed(0)
blind = GraphClassifier(4, 2, layer="gat", heads=4, hidden_channels=16, num_layers=2, readout="mean")
result = edgenet.fit(
    blind, parts[0], val=parts[1], test=parts[2], epochs=epochs, batch_size=20, lr=0.01, seed=0, progress=False
)
print(f"attention that does not: test accuracy {result.test:.2f}")

# ## A model of your own
#
# Layers go into any module. With `phi="additive"` the weight of an edge is a sum of smooth functions of its features,
# which can be drawn.


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = EdgeNetConv(4, 16, phi="additive", edge_dim=3, endpoints="none")
        self.head = torch.nn.Linear(16, 2)

    def forward(self, x, edge_index, edge_attr, batch):
        return self.head(global_mean_pool(self.conv(x, edge_index, edge_attr=edge_attr).relu(), batch))


torch.manual_seed(0)
net = Net()
result = edgenet.fit(
    net, parts[0], val=parts[1], test=parts[2], epochs=epochs, batch_size=20, lr=0.01, seed=0, progress=False
)
print(f"additive edge weights: test accuracy {result.test:.2f}")

# ## Use it
#
# Batches come from PyG's loader, as usual.

for batch in DataLoader(parts[2][:40], batch_size=20):
    scores = net(batch.x, batch.edge_index, batch.edge_attr, batch.batch)
    print(scores.shape, (scores.argmax(1) == batch.y).float().mean().item())
