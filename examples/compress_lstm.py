"""Compress an LSTM

`edgenet.nn.LSTM` computes what `torch.nn.LSTM` computes, and has a place for a structured matrix in every map. Here one
learns to add: of a sequence of numbers two are marked, and their sum is asked for.
"""

import torch

from edgenet import data, fit
from edgenet.compress import compress_, report
from edgenet.models import Sequence
from edgenet.nn.recurrent import from_torch
from edgenet.structured import structure
from edgenet.train import Task

epochs, batches = 15, 40

# ## From torch
#
# A trained LSTM of torch comes over with its numbers. Then each of its maps is a slot.

torch.manual_seed(0)
theirs = torch.nn.LSTM(16, 64)
ours = from_torch(theirs)
x = torch.randn(20, 3, 16)
print(f"outputs differ by {(ours(x)[0] - theirs(x)[0]).abs().max():.1e}")

print(compress_(ours, {r"cells\.0\.input_map": "keep", r"cells\.0\.state_map": structure("low_rank", rank=8)}))

# ## Trained small from the start
#
# `structure=` makes the maps of a family from the first step. Numbers are drawn so that entries vary as those of a
# dense matrix do. `stacked=True` keeps one matrix for all maps of a cell.

task = Task(
    data.fresh("adding_problem", batch_size=50, batches=batches, length=10),
    call=lambda net, batch: net(*batch.whole)[:, 0],
    loss="mse",
)
families = {
    "dense": None,
    "low rank": {"structure": "low_rank", "rank": 8},
    "Kronecker": {"structure": "kronecker", "factor": [16, 8], "terms": 2},
    "circulant blocks": {"structure": "block_circulant", "block": 8},
}
print(f"who always says 1 has an error of {data.adding_problem.BASELINE:.3f}")
for name, made in families.items():
    torch.manual_seed(0)
    model = Sequence(2, 1, hidden_channels=64, per="sequence", stacked=True, structure=made)
    result = fit(model, task, epochs=epochs, lr=0.005, seed=0, clip_norm=1.0, progress=False)
    print(f"{name:17} {report(model).total.parameters:7,} numbers, error {result.history[-1]['loss']:.4f}")

# [Recurrent networks](../recurrent.md) has the doped and the unitary ones, and code in C++ for 16-bit numbers.
# [LSTMs, 20 times fewer numbers](../results/recurrent_characters.md) has every family on characters.
