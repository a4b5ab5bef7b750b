"""Your own graph: from tables, networkx, scipy or a file

Three ways lead a graph into edgenet: a `Data` of PyG, a `Graph`, and a file of plain arrays. Here a small road network
is made by hand; the same lines work on yours.
"""

import networkx
import numpy as np
import torch
from torch_geometric.data import Data

import edgenet
from edgenet import Graph, NodeClassifier

epochs = 60

# ## A table of edges
#
# An edge list has two rows: where edges start, and where they end. Signals flow from row 0 to row 1. Nodes are numbered
# from 0 without gaps, so names have to become numbers first.

roads = [("Ulm", "Munich", 156), ("Munich", "Ulm", 156), ("Ulm", "Bonn", 420), ("Bonn", "Ulm", 420)]
towns = sorted({town for start, end, _ in roads for town in (start, end)})
number = {town: i for i, town in enumerate(towns)}
edge_index = torch.tensor([[number[start], number[end]] for start, end, _ in roads]).T
kilometres = torch.tensor([float(length) for *_, length in roads])
print(towns, edge_index.tolist())

# ## From networkx and scipy
#
# `from_networkx` keeps the order of the nodes, and takes an undirected edge both ways. `from_scipy` reads A[i, j] as
# the weight of the edge from j to i. Both return the graph and the weights.

graph, weights = Graph.from_networkx(networkx.karate_club_graph())
print(graph.num_nodes, graph.num_edges, weights.shape)
adjacency = networkx.to_scipy_sparse_array(networkx.path_graph(5))
print(Graph.from_scipy(adjacency)[0])

# ## Features, labels, masks
#
# What is learned stands in a `Data`: `x` has a row a node, `y` a class a node. The masks say which nodes are learned
# from, which choose the epoch, and which are only judged.

club = networkx.karate_club_graph()
x = torch.eye(34)
y = torch.tensor([int(club.nodes[node]["club"] != "Mr. Hi") for node in club])
order = torch.randperm(34, generator=torch.Generator().manual_seed(0))
masks = {f"{name}_mask": torch.zeros(34, dtype=torch.bool) for name in ("train", "val", "test")}
for mask, part in zip(masks.values(), order.split([8, 8, 18]), strict=True):
    mask[part] = True
data = Data(x=x, edge_index=graph.edge_index, edge_weight=weights, y=y, **masks)

torch.manual_seed(0)
model = NodeClassifier(34, 2, layer="gcn", hidden_channels=16)
result = edgenet.fit(model, data, epochs=epochs, lr=0.01, seed=0, progress=False)
print(f"test accuracy {result.test:.2f}, best epoch {result.best_epoch}")

# ## A file of arrays
#
# An `.npz` of plain arrays is read with checks: edges that name no node, NaN, lengths that differ. Pickles are refused,
# for they can run code.

np.savez("club.npz", edge_index=data.edge_index, x=x, y=y, **masks)
again = edgenet.data.read_graph("club.npz")
print(again)

# An error says what was wanted and what came:

np.savez("broken.npz", edge_index=np.array([[0, 1], [1, 99]]), x=np.ones((3, 2)))
try:
    edgenet.data.read_graph("broken.npz")
except edgenet.errors.EdgeIndexError as error:
    print(error)

# ## A weight for every edge
#
# A layer with a weight for every edge belongs to one graph. `bind` shows it the graph before the optimizer is made;
# edges that it does not know raise an error then, also in another order of the list.

torch.manual_seed(0)
model = NodeClassifier(34, 2, layer="edge_varying", bank="heads", heads=2, order=2).bind(graph)
result = edgenet.fit(model, data, epochs=epochs, lr=0.01, seed=0, progress=False)
print(f"test accuracy {result.test:.2f}, {sum(p.numel() for p in model.parameters()):,} parameters")

# Many graphs of your own are a list of `Data`, as in [molecules](molecules.md). What `fit` takes besides stands in
# [Training](../training.md).
