"""Compress a transformer block

The encoder of a transformer, as BERT stacks it: attention, two wide linear maps, norms. The task is a small one that
needs attention: are most symbols of the kind that the first one names?
"""

import copy

import torch
from torch import nn
from torch.utils.data import TensorDataset

import edgenet
from edgenet.compress import Budget, compress_, report, search, slots
from edgenet.train import Task, fine_tune

count, epochs, tuning = 4000, 15, 6

# ## A model, trained
#
# Nine symbols, 0 or 1. The answer is 1 if more than half of the last eight equal the first.

torch.manual_seed(0)
symbols = torch.randint(0, 2, (count, 9))
answer = ((symbols[:, 1:] == symbols[:, :1]).sum(1) > 4).long()
parts = torch.arange(count).split([count // 2, count // 4, count // 4])
task = Task(*(TensorDataset(symbols[part], answer[part]) for part in parts))


class Encoder(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.embedding = nn.Embedding(2, width)
        self.place = nn.Parameter(0.1 * torch.randn(9, width))
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        return self.head(self.blocks(self.embedding(x) + self.place)[:, 0])


model = Encoder()
result = edgenet.fit(model, task, epochs=epochs, batch_size=100, lr=0.001, seed=0, progress=False)
print(f"test accuracy {result.test:.3f}, {report(model).total.bytes:,} bytes")

# ## What can be compressed
#
# The two linear maps of a block are swapped for structured ones. The weights inside torch's attention stay tensors to
# torch: a structure stands behind them. That is slower, and torch's fused path is left.

for name, slot in slots(model).items():
    print(f"{name:40} {tuple(slot.shape)}")

# ## By a plan

small = copy.deepcopy(model)
compress_(
    small,
    {
        r".*linear[12]": {"structure": "kronecker", "factor": (16, 8), "terms": 4, "bits": 8},
        r".*self_attn": {"structure": "low_rank", "rank": 12, "bits": 8},
        ".*": "keep",
    },
)
teacher = copy.deepcopy(model)
fine_tune(small, task, teacher=teacher, epochs=tuning, progress=False)
x, y = task.test.tensors
with torch.no_grad():
    print(f"{report(small).total.bytes:,} bytes, accuracy {(small.eval()(x).argmax(1) == y).float().mean():.3f}")

# ## By a budget

found = search(
    model, budget=Budget(ratio=10), inputs=(task.val.tensors[0][:100],), families=("low_rank", "uniform"), bits=(8, 4),
    progress=False,
)  # fmt: skip
fine_tune(found.model, task, teacher=teacher, epochs=tuning, progress=False)
with torch.no_grad():
    right = (found.model.eval()(x).argmax(1) == y).float().mean()
print(f"{report(found.model).total.bytes:,} bytes, accuracy {right:.3f}")
