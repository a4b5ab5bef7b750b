"""Small data sets of every kind, made on the spot."""

import torch
from torch_geometric.data import Data

from edgenet.config import RunConfig, changed
from edgenet.data import Dataset


def ring(n):
    """(2, 2n) the edges of a ring, both ways."""
    a, b = torch.arange(n), (torch.arange(n) + 1) % n
    return torch.stack([torch.cat([a, b]), torch.cat([b, a])])


def nodes(n=24, **fields):
    """A ring of nodes in two classes, which one feature gives away up to noise."""
    random = torch.Generator().manual_seed(7)
    y = torch.arange(n) * 2 // n
    x = torch.randn(n, 4, generator=random, dtype=torch.float32)
    x[:, 0] += 2.0 * y - 1
    number = torch.randperm(n, generator=random)
    masks = {f"{name}_mask": number % 3 == i for i, name in enumerate(("train", "val", "test"))}
    data = Data(**{"x": x, "y": y, "edge_index": ring(n), **masks, **fields})
    return Dataset("ring", "node", "class", "accuracy", 4, 2, [data], [data], [data])


def graphs(count=5):
    """Rings of different sizes, nodes with three labels each: mini-batches of graphs."""
    random = torch.Generator().manual_seed(7)
    made = []
    for i in range(count + 2):
        x = torch.randn(6 + i, 4, generator=random, dtype=torch.float32)
        made.append(Data(x=x, y=(x[:, :3] > 0).float(), edge_index=ring(6 + i)))
    return Dataset("rings", "node", "multilabel", "micro_f1", 4, 3, made[:count], [made[-2]], [made[-1]])


def signals(target="class", count=40):
    """Signals on one weighted ring; the class is where the largest entry is, the value is that of node 2."""
    random = torch.Generator().manual_seed(7)

    def split(size):
        x = torch.randn(size, 9, 1, generator=random, dtype=torch.float32)
        weight = torch.full((18,), 0.5, dtype=torch.float32)
        if target == "class":
            return Data(x=x, y=x[:, :, 0].argmax(1) // 3, edge_index=ring(9), edge_weight=weight, num_nodes=9)
        y = x[:, 2, 0].clone()
        return Data(x=x, y=y, edge_index=ring(9), edge_weight=weight, num_nodes=9, target_node=2)

    kind = ("class", "accuracy", 3) if target == "class" else ("value", "rmse", 1)
    parts = [[split(size)] for size in (count, 20, 20)]
    return Dataset("waves", "signal", kind[0], kind[1], 1, kind[2], *parts)


DATASETS = {"nodes": nodes, "graphs": graphs, "signals": signals, "values": lambda: signals("value")}


def config(layer="gcn", **changes):
    """A quick run; dots in names are written as two underscores."""
    tables = {"dataset": {"name": "small"}, "model": {"layer": layer, "hidden_channels": 8}}
    tables["training"] = {"epochs": 6, "batch_size": 16, "checkpoint_epochs": 1, "checkpoint_seconds": 0.0}
    tables["optimizer"] = {"lr": 0.02}
    return RunConfig.from_dict(changed(tables, {key.replace("__", "."): value for key, value in changes.items()}))
