"""Cora: from a GAT of PyG to an EdgeNet, fifty times smaller

A network of PyG is trained on Cora, 2708 papers that cite each other. It becomes an EdgeNet that computes the same.
Then its weights go into matrices of fewer numbers and fewer bits, and the small network learns what the large one says.
"""

import torch
from torch_geometric.nn import GAT

import edgenet
from edgenet.train import compress

epochs, tuning = 100, 300

# ## Train
#
# `edgenet.data.load` reads the data set; `cora.train[0]` is a `Data` of PyG. `edgenet.fit` trains any module and keeps
# the epoch that validates best.

cora = edgenet.data.load("cora")
torch.manual_seed(0)
theirs = GAT(1433, 64, num_layers=2, out_channels=7, heads=8, dropout=0.6, act="elu")
result = edgenet.fit(theirs, cora, epochs=epochs, lr=0.005, weight_decay=5e-4, seed=0, progress=False)
print(f"test accuracy {result.test:.3f} with {sum(p.numel() for p in theirs.parameters()):,} parameters")

# ## Convert
#
# Every layer of PyG inside a model becomes an EdgeNet layer. The outputs are the same, or an error says which option is
# in the way.

graph = cora.train[0]
ours = edgenet.to_edgenet(theirs).eval()
with torch.no_grad():
    difference = (ours(graph.x, graph.edge_index) - theirs.eval()(graph.x, graph.edge_index)).abs().max()
print(f"outputs differ by {difference:.1e}")

# ## Compress
#
# One call looks for the structures, trains the small network on the scores of the large one, and judges both. Labels
# and scores of test nodes decide nothing.

made = compress(ours, cora, times=50, families=("low_rank", "kronecker"), bits=(4,), epochs=tuning, progress=False)
print(f"test accuracy {made.before['test']:.3f} before, {made.after['test']:.3f} after")
print(made.text)

# What every weight has become:

for row in made.report.rows:
    print(f"{row.name:28} {row.structure:12} {row.bytes_before:8,} -> {row.bytes:6,} bytes")

# ## Save and load
#
# The folder holds tensors and JSON. Loading runs no code from it.

edgenet.save_pretrained(made.model, "cora-small")
again = edgenet.from_pretrained("cora-small")
with torch.no_grad():
    right = again(graph.x, graph.edge_index).argmax(1) == graph.y
print(f"test accuracy after loading {right[graph.test_mask].float().mean():.3f}")

# ## Where to go on
#
# [Compress a model](../compression.md) has plans, budgets and training rules. The results of many seeds and families
# stand in [Attention networks, made small](../results/compressed.md).
