"""Compress a convolutional network

Compression needs no graph: it works on any module of torch. A small network learns the digits of scikit-learn; then its
kernels are put into structured matrices, into few bits, and into both.
"""

import copy

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

import edgenet
from edgenet.compress import Budget, compress_, recalibrate_, report, search
from edgenet.convert import quantise
from edgenet.train import Task, fine_tune

epochs, tuning = 12, 6

# ## Train

digits = load_digits()
x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
y = torch.tensor(digits.target)
order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
train, val, test = (TensorDataset(x[part], y[part]) for part in order.split([1000, 300, 497]))
task = Task(train, val, test)

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
    nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    nn.Linear(64, 10),
)  # fmt: skip
result = edgenet.fit(model, task, epochs=epochs, batch_size=50, lr=0.003, seed=0, progress=False)
print(f"test accuracy {result.test:.3f}, {report(model).total.bytes:,} bytes")


def accuracy(network):
    with torch.no_grad():
        return (network.eval()(test.tensors[0]).argmax(1) == test.tensors[1]).float().mean().item()


# ## A structure for every kernel
#
# A plan says what stands where. What batch norms have learned belongs to the old network, so it is measured anew, on
# inputs without labels.

small = copy.deepcopy(model)
print(compress_(small, {"4|7": {"structure": "low_rank", "rank": 8}, ".*": "keep"}))
recalibrate_(small, [train.tensors[0][:200]])
print(f"as it is: {accuracy(small):.3f}")
fine_tune(small, task, teacher=model, epochs=tuning, progress=False)
print(f"after learning from the network before: {accuracy(small):.3f}")

# ## Few bits in one call

for form in ("int8", "int4", "int2", "deepshift_q"):
    few = quantise(model, form, batches=[train.tensors[0][:200]])
    print(f"{form:12} {report(few).total.bytes:8,} bytes, test accuracy {accuracy(few):.3f}")

# ## Let it choose
#
# `search` tries structures and bits for every kernel, and picks the best that fits a size. It judges by how much the
# outputs change on inputs that you hand in.

found = search(
    model, budget=Budget(ratio=12), inputs=(val.tensors[0][:100],), families=("low_rank", "kronecker", "uniform"),
    bits=(8, 4), progress=False,
)  # fmt: skip
print(found.text)
recalibrate_(found.model, [train.tensors[0][:200]])
print(f"as it is: {accuracy(found.model):.3f}")
fine_tune(found.model, task, teacher=model, epochs=tuning, progress=False)
print(f"after learning from the network before: {accuracy(found.model):.3f}")
