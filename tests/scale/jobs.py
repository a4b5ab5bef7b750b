"""What each process does in the tests of several processes. All numbers are drawn of seeds, the same everywhere."""

import os
import signal
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from edgenet import scale
from edgenet.nn import EdgeNetConv

NODES, CLASSES, SEEDS = 60, 4, 24


def graph() -> tuple[Tensor, Tensor, Tensor]:
    """Edges, some of them listed twice, so that a row is looked up several times a step; features; classes."""
    g = torch.Generator().manual_seed(0)
    edges = torch.randint(NODES, (2, 400), generator=g)
    edges = torch.cat([edges, edges[:, :60]], 1)
    x = torch.randn(NODES, 5, generator=g)
    return edges[:, edges[0] != edges[1]], x, torch.randint(CLASSES, (NODES,), generator=g)


def layer(heads: int, seed: int = 0) -> EdgeNetConv:
    torch.manual_seed(seed)
    edges, x, _ = graph()
    made = EdgeNetConv(5, CLASSES, order=1, heads=heads, phi="edge_varying", self_loops=False)
    made.bind(edges, num_nodes=NODES)
    made(x, edges)
    return made


def steps(net: nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int, die_at: int = -1) -> list[float]:
    """Steps of training on the same seeds of nodes however many processes share them; the last has none sometimes."""
    edges, x, y = graph()
    rank, world = dist.get_rank(), dist.get_world_size()
    losses = []
    for step in range(first, last):
        if step == die_at and rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        nodes = torch.randperm(NODES, generator=torch.Generator().manual_seed(step))[:SEEDS]
        parts = world - (step % 4 == 0 and world > 1)
        mine = nodes.tensor_split(parts)[rank] if rank < parts else nodes[:0]
        counts = torch.zeros(NODES, dtype=torch.bool)
        counts[mine] = True
        e_id = counts[edges[1]].nonzero().flatten()
        n_id, place = torch.unique(torch.cat([mine, edges[:, e_id].flatten()]), return_inverse=True)
        out = net(x[n_id], place[len(mine) :].view(2, -1), n_id=n_id, e_id=e_id)[place[: len(mine)]]
        loss = F.cross_entropy(out, y[mine], reduction="sum") / SEEDS * world
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total = loss.detach() / world
        dist.all_reduce(total)
        losses.append(total.item())
    return losses


def _model(kind: str, seed: int = 0):
    """A layer in DDP whose table is sharded, or replicated; its optimizer; the layer."""
    name, _, heads = kind.partition("-")
    conv = layer(int(heads or 3), seed)
    if name == "torch":
        scale.shard_tables_(conv, engine="torch")
    else:
        scale.shard_tables_(conv, scale.RowOptimizer(name, lr=0.1, eps=1e-6))
    net = DistributedDataParallel(conv, broadcast_buffers=False)
    return net, torch.optim.SGD(net.parameters(), 0.1), conv


def train(folder: Path, kind: str) -> dict:
    """30 steps, a checkpoint, and 10 more."""
    net, optimizer, conv = _model(kind, seed=dist.get_rank())  # the first process's numbers are everybody's
    world = dist.get_world_size()
    losses = steps(net, optimizer, 0, 30)
    scale.save_tables(conv, folder / f"{kind}-{world}")
    if dist.get_rank() == 0:
        torch.save(scale.dense_state(conv), folder / f"{kind}-{world}.pt")
    after = steps(net, optimizer, 30, 40)
    scale.save_tables(conv, folder / f"{kind}-{world}-end")
    held = sum(p.numel() for p in conv.parameters())
    return {"losses": losses, "after": after, "parameters": held, "rows": len(next(iter(_tables(conv))).held().weight)}


def _tables(conv: nn.Module) -> list:
    return list(scale.row_tables(conv).values())


def resume(folder: Path, argument: str) -> dict:
    """10 steps from a checkpoint of another number of processes: ``KIND/WORLD``."""
    kind, _, world = argument.partition("/")
    net, optimizer, conv = _model(kind, seed=7)
    scale.load_tables(conv, folder / f"{kind}-{world}")
    conv.load_state_dict(torch.load(folder / f"{kind}-{world}.pt", weights_only=True))
    return {"after": steps(net, optimizer, 30, 40)}


def killed(folder: Path, kind: str) -> dict:
    net, optimizer, _ = _model(kind)
    return {"losses": steps(net, optimizer, 0, 30, die_at=3)}


def load_damaged(folder: Path, kind: str) -> dict:
    _, _, conv = _model(kind)
    scale.load_tables(conv, folder / f"{kind}-damaged")
    return {}


def damage(folder: Path, kind: str) -> dict:
    """A checkpoint with a flipped byte in the part of the last process."""
    _, _, conv = _model(kind)
    scale.save_tables(conv, folder / f"{kind}-damaged")
    if dist.get_rank() == 0:
        file = max((folder / f"{kind}-damaged").glob("rows-*"), key=lambda path: int(path.stem.split("-")[-1]))
        data = bytearray(file.read_bytes())
        data[-5] ^= 1
        file.write_bytes(data)
    dist.barrier()
    return {}


def look_ups(folder: Path, argument: str) -> dict:
    """The largest difference of look-ups, rows and states from steps of one process that sees all gradients."""
    rank, world, g, found = dist.get_rank(), dist.get_world_size(), torch.Generator().manual_seed(1), {}
    for width in (1, 2, 3, 4, 8):
        for name in scale.ROW_OPTIMIZERS:
            optimizer, start = scale.RowOptimizer(name, lr=0.1, eps=1e-3), torch.randn(23, width, generator=g)
            table, whole, state = scale.Sharded((23, width), optimizer, start), start.clone(), torch.zeros(23)
            worst = []
            for step in range(4):
                index = [torch.randint(-23, 23, (0 if k == step % 3 else 40,), generator=g) for k in range(world)]
                gradient = [torch.randn(len(i), width, generator=g) for i in index]
                rows = table.rows(index[rank])
                worst.append((rows - whole[index[rank]]).abs().max().item() if len(rows) else 0.0)
                (rows * gradient[rank]).sum().backward()
                every = torch.cat(index) % 23, torch.cat(gradient) / world
                optimizer.step_(whole, state if optimizer.has_state else None, *every)
            held = table.held()
            mine = slice(held.first, held.first + len(held.weight))
            worst.append((held.weight - whole[mine]).abs().max().item())
            if held.state is not None:
                worst.append((held.state / table.state_scale - state[mine]).abs().max().item())
            found[f"{width} {name}"] = max(worst)
    try:
        table.rows(torch.tensor([23]))
    except IndexError as error:
        found["outside"] = str(error)
    return found


def too_few_rows(folder: Path, argument: str) -> dict:
    scale.Sharded((4, 2))
    return {}
