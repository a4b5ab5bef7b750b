"""What each process does in the tests of trainings that share batches."""

import json
import os
from pathlib import Path

import torch
from scale.jobs import NODES, graph
from torch.utils.data import DataLoader, TensorDataset
from torch_geometric.data import Data

from edgenet import EdgeNetConv, NodeClassifier
from edgenet.compress import Callback
from edgenet.train import data_parallel, fit


class Stop(Callback):
    """An interruption, of all processes, before an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def before_epoch(self, training):
        if training.epoch == self.epoch:
            raise KeyboardInterrupt


def whole_graph():
    edges, x, y = graph()
    data = Data(x=x, y=y, edge_index=edges)
    order = torch.randperm(NODES, generator=torch.Generator().manual_seed(5))
    for name, part in zip(("train", "val", "test"), order.split((31, 15, 14)), strict=True):
        data[f"{name}_mask"] = torch.zeros(NODES, dtype=torch.bool)
        data[f"{name}_mask"][part] = True
    return data


def _model(data, seed, layer="edge_varying"):
    torch.manual_seed(seed)
    model = NodeClassifier(5, 4, layer=layer, hidden_channels=8, dropout=0.3)
    model.bind(data.edge_index, NODES)
    return model


def _fit(folder, seed=0, stop=99, **options):
    data, rank = whole_graph(), torch.distributed.get_rank()
    model = _model(data, seed + rank)  # the first process's numbers are everybody's
    options = {"epochs": 8, "lr": 0.05, "checkpoint_epochs": 1, "seed": 3, **options}
    with data_parallel():
        result = fit(model, data, callbacks=[Stop(stop)], folder=folder, progress=False, **options)
    return {"history": result.history, "val": result.val}


def in_one_go(folder: Path, argument: str) -> dict:
    world = torch.distributed.get_world_size()
    result = _fit(folder / f"run{world}", log="csv")
    torch.distributed.barrier()
    files = sorted(str(file.relative_to(folder / f"run{world}")) for file in (folder / f"run{world}").rglob("*.*"))
    return result | {"files": files}


def interrupted(folder: Path, name: str) -> dict:
    try:
        _fit(folder / name, stop=5)
    except KeyboardInterrupt:
        return {"stopped": True}
    return {}


def gone_on(folder: Path, name: str) -> dict:
    return _fit(folder / name, seed=9, resume=True)


def graphs(folder: Path, argument: str) -> dict:
    """Rows in batches of 5, the last of which has one: some processes have no part of it."""
    g = torch.Generator().manual_seed(0)
    rows = TensorDataset(torch.randn(11, 3, generator=g), torch.randint(0, 2, (11,), generator=g))
    torch.manual_seed(torch.distributed.get_rank())
    with data_parallel():
        result = fit(torch.nn.Linear(3, 2), rows, val=rows, epochs=4, lr=0.1, batch_size=5, seed=1, progress=False)
    return {"history": [{k: v for k, v in line.items() if k != "seconds"} for line in result.history]}


def a_loader(folder: Path, argument: str) -> dict:
    rows = TensorDataset(torch.randn(8, 3), torch.randint(0, 2, (8,)))
    with data_parallel():
        fit(torch.nn.Linear(3, 2), DataLoader(rows), epochs=1, progress=False)
    return {}


class Unbound(torch.nn.Module):
    """A layer that does not hand its table the graph."""

    def __init__(self):
        super().__init__()
        self.conv = EdgeNetConv(5, 4, phi="edge_varying", heads=2)

    def forward(self, x, edge_index):
        return self.conv(x, edge_index)


def unbound(folder: Path, argument: str) -> dict:
    data = whole_graph()
    with data_parallel():
        fit(Unbound(), data, epochs=1, progress=False)
    return {}


def command(folder: Path, argument: str) -> dict:
    """The command as torch.distributed.run starts it, in a group of its own."""
    from edgenet.cli import main

    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world)}
    arguments = ["train", "karate", "--model", "gcn", "--epochs", "3", "--seeds", "1", "--no-pictures"]
    code = main([*arguments, "--out", str(folder / f"command{world}")])
    lines = (folder / f"command{world}" / "seed-0" / "metrics.jsonl").read_text().splitlines()
    return {"code": code, "records": [json.loads(line) for line in lines]}
