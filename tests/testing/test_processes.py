"""Two processes train as one: DDP and FSDP2, each over half of the batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKER = '''
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from edgenet import NodeClassifier
from edgenet.convert import freeze_attention
from edgenet.testing.contract import fair
from edgenet.testing.ecosystem.processes import sharded, whole
from edgenet.testing.layer.case import EDGES, NODES

kind, layer, rank, path = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
with fair():
    x = torch.randn(2, NODES, 4)
    name = "gat" if layer == "frozen" else layer

    def made(seed):
        torch.manual_seed(seed)
        model = NodeClassifier(4, 3, layer=name, hidden_channels=4, dropout=0.0).bind(EDGES, NODES)
        return freeze_attention(model, x[0], EDGES) if layer == "frozen" else model

    one = made(0)
    other = made(rank if kind == "DDP" else 0)  # DDP hands out the numbers of rank 0
    model = DistributedDataParallel(other) if kind == "DDP" else sharded(other)
    for net, signals in ((one, x), (model, x[rank : rank + 1])):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            net(signals, EDGES).square().mean().backward()
            optimizer.step()
    pieces = [p for p in model.parameters() if hasattr(p, "to_local")]
    assert kind == "DDP" or any(p.to_local().numel() < p.numel() for p in pieces), "nothing is in pieces"
    found = whole(model.module if kind == "DDP" else model)
    for name, value in one.named_parameters():
        torch.testing.assert_close(found[name], value.detach(), rtol=1e-10, atol=1e-10, msg=name)
dist.destroy_process_group()
print("alike")
'''


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["gat", "gcnn", "edge_varying", "frozen"])
@pytest.mark.parametrize("kind", ["DDP", "FSDP2"])
def test_two_processes_learn_what_one_learns(kind, layer, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, kind, layer, str(rank), str(tmp_path / "meeting")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path,
        )
        for rank in range(2)
    ]  # fmt: skip
    told = [worker.communicate(timeout=300) for worker in workers]
    for out, err in told:
        assert out.strip().endswith("alike"), err[-3000:]
