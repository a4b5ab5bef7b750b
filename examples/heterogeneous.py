"""A heterogeneous graph: several kinds of nodes and edges

Authors write papers, and papers cite papers. PyG describes this by a `HeteroData` and turns a model for plain graphs
into one for such graphs. Layers of edgenet take part, because they are message passing layers of PyG.
"""

import torch
from torch_geometric.data import HeteroData
from torch_geometric.nn import HeteroConv, to_hetero

import edgenet
from edgenet.nn import specializations as nets
from edgenet.train import Task

papers, authors, epochs = 300, 100, 40

# ## The data
#
# Each author has a subject, which is that of the papers. Papers cite mostly papers of their subject.

torch.manual_seed(0)
subject = torch.randint(0, 3, (authors,))
author = torch.randint(0, authors, (papers,))
wrote = torch.stack([author, torch.arange(papers)])
label = subject[author]
cited = torch.randint(0, papers, (2, 4 * papers))
cited = cited[:, (label[cited[0]] == label[cited[1]]) | (torch.rand(4 * papers) < 0.2)]

data = HeteroData()
data["author"].x = torch.eye(3)[subject] + 0.5 * torch.randn(authors, 3)
data["paper"].x, data["paper"].y = torch.eye(3)[label] + torch.randn(papers, 3), label
data["author", "writes", "paper"].edge_index = wrote
data["paper", "written_by", "author"].edge_index = wrote.flip(0)
data["paper", "cites", "paper"].edge_index = cited
for name, start in (("train", 0), ("val", 100), ("test", 200)):
    mask = torch.zeros(papers, dtype=torch.bool)
    mask[start : start + 100] = True
    data["paper"][f"{name}_mask"] = mask
print(data)

# ## A layer for every kind of edge
#
# `HeteroConv` holds one layer for each kind of edge and adds what arrives. A pair of sizes makes a layer between two
# kinds of nodes.


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        kinds = {
            ("paper", "written_by", "author"): nets.gat((3, 3), 8, heads=2, add_self_loops=False),
            ("author", "writes", "paper"): nets.gat((3, 3), 8, heads=2, add_self_loops=False),
            ("paper", "cites", "paper"): nets.gcnn(3, 16, order=2),
        }
        self.conv = HeteroConv(kinds, aggr="sum")
        self.head = torch.nn.Linear(16, 3)

    def forward(self, x_dict, edge_index_dict):
        return {"paper": self.head(self.conv(x_dict, edge_index_dict)["paper"].relu())}


torch.manual_seed(0)
result = edgenet.fit(Net(), Task(data, target="paper"), epochs=epochs, lr=0.02, seed=0, progress=False)
print(f"HeteroConv: test accuracy {result.test:.2f}")

# ## A plain model, turned over
#
# `to_hetero` copies a model for every kind of edge. `-1` channels are read off the first input. Authors need edges
# that enter them, here those of the papers they wrote, or they would get nothing.


class Plain(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nets.gat((-1, -1), 8, heads=2, add_self_loops=False)
        self.second = nets.gat((-1, -1), 3, add_self_loops=False)

    def forward(self, x, edge_index):
        return self.second(self.first(x, edge_index).relu(), edge_index)


torch.manual_seed(0)
model = to_hetero(Plain(), data.metadata(), aggr="sum")
with torch.no_grad():
    model(data.x_dict, data.edge_index_dict)  # sizes that were left open are now known
result = edgenet.fit(model, Task(data, target="paper"), epochs=epochs, lr=0.02, seed=0, progress=False)
print(f"to_hetero: test accuracy {result.test:.2f}")
