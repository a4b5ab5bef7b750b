"""Sharded: a table whose rows lie on several processes, by TorchRec."""

from __future__ import annotations

import importlib
import logging
import math
import warnings
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from edgenet.errors import BackendError, PlanError, ShapeError
from edgenet.scale.row_optimizer import RowOptimizer
from edgenet.scale.row_table import Held, RowTable, Start
from edgenet.structured.base import row_numbers

_WIDTH = 4  # fbgemm reads rows of so many numbers at once
_NAME, _FEATURE = "table", "row"


class Sharded(RowTable):
    """The rows of a table in equal parts on all processes; every look-up and every backward pass is one of all.

    A row is read from the process that holds it, and gradients go there, divided by the number of processes: as DDP
    means those of other parameters. Every process makes every look-up, with as many rows as it likes, none included,
    and every backward pass; else the others wait until the group's time-out.

    Args:
        shape: (m, n); every process holds some rows, so m is at least the number of processes.
        optimizer: of the rows, fused into the backward pass.
        start: its first numbers; each process asks for its own rows only.
        device: of the rows.

    Raises:
        BackendError: if TorchRec or fbgemm is missing, or gives another kernel than the fused one.
        PlanError: if there is no process group.
        ShapeError: if a process would hold no row.

    Example:
        >>> edgenet.scale.Sharded((5, 2))  # doctest: +SKIP
        Sharded(shape=(5, 2), optimizer=rowwise_adagrad, lr=0.05)
    """

    def __init__(
        self,
        shape: tuple[int, int],
        optimizer: RowOptimizer | None = None,
        start: Start = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(shape, optimizer or RowOptimizer())
        if not dist.is_initialized():
            raise PlanError(
                "sharded tables want a process group: run under `python -m torch.distributed.run` and call "
                "torch.distributed.init_process_group first."
            )
        world = dist.get_world_size()
        self._part = -(-shape[0] // world)
        if self._part * (world - 1) >= shape[0]:
            raise ShapeError(f"{shape[0]} rows in parts of {self._part} leave a process of {world} without any.")
        self._padded = -(-shape[1] // _WIDTH) * _WIDTH
        device = torch.device(device)
        # in a tuple, where no optimizer, no DDP and no state_dict finds it
        collection = _collection(shape[0], self._padded, self.optimizer, shape[1], device)
        self._engine = collection, _fused_kernel(collection)
        self.fill_(start)

    def rows(self, index: Tensor) -> Tensor:
        jagged = importlib.import_module("torchrec.sparse.jagged_tensor")
        index = row_numbers(index, self._shape[0])  # the engine writes past its memory for rows that it has not
        # one bag of all ids: bags of one each would be as many offsets again
        bag = jagged.KeyedJaggedTensor(
            keys=[_FEATURE], values=index, lengths=torch.tensor([len(index)], device=index.device)
        )
        found = self._engine[0](bag)[_FEATURE].values()
        if found.shape != (len(index), self._padded):
            raise BackendError(f"TorchRec gave {tuple(found.shape)} for {len(index)} rows of {self._padded} numbers.")
        return found[:, : self._shape[1]]

    def held(self) -> Held:
        kernel = self._engine[1]
        (weight,) = kernel.split_embedding_weights()
        state = None
        if self.optimizer.has_state:
            ((state, *_),) = kernel.split_optimizer_states()
            state = state.view(-1)
        return Held(dist.get_rank() * self._part, weight[:, : self._shape[1]], state)

    @property
    def state_scale(self) -> float:
        """What the engine's state is of ours: its mean is over the padded row."""
        return self._shape[1] / self._padded


def available() -> bool:
    """Whether TorchRec and fbgemm can be imported.

    Example:
        >>> edgenet.scale.available() in (True, False)
        True
    """
    try:
        _torchrec()
    except BackendError:
        return False
    return True


def _torchrec() -> Any:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it tells of GPU operators that are not there
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("fbgemm_gpu")
            return importlib.import_module("torchrec.distributed.embedding")
    except Exception as error:  # a missing module, or one that was built for another torch
        raise BackendError(
            f"sharded tables need TorchRec and fbgemm, which cannot be imported ({str(error).splitlines()[0]}). "
            f"`make scale` installs the versions that fit this torch; without them, engine='torch' keeps every row on "
            f"every process."
        ) from error
    finally:
        logging.disable(before)


def _collection(rows: int, width: int, optimizer: RowOptimizer, used: int, device: torch.device) -> Any:
    """A sharded embedding collection of one table."""
    embedding = _torchrec()
    get = importlib.import_module
    config = get("torchrec.modules.embedding_configs").EmbeddingConfig(
        name=_NAME, embedding_dim=width, num_embeddings=rows, feature_names=[_FEATURE]
    )
    whole = get("torchrec.modules.embedding_modules").EmbeddingCollection(tables=[config], device=torch.device("meta"))
    kinds = get("fbgemm_gpu.split_embedding_configs").EmbOptimType
    # the engine's mean is over the padded row; so scaled, the step is that of the row alone
    scale = math.sqrt(used / width) if optimizer.has_state else 1.0
    fused = {
        "optimizer": kinds.EXACT_ROWWISE_ADAGRAD if optimizer.has_state else kinds.EXACT_SGD,
        "learning_rate": optimizer.lr * scale,
        "eps": optimizer.eps * scale,
    }
    sharder = embedding.EmbeddingCollectionSharder(fused_params=fused)
    plans, world = get("torchrec.distributed.sharding_plan"), dist.get_world_size()
    plan = plans.construct_module_sharding_plan(
        whole, {_NAME: plans.row_wise()}, local_size=world, world_size=world, device_type=device.type, sharder=sharder
    )
    kernel = get("torchrec.distributed.embedding_types").EmbeddingComputeKernel.FUSED
    plan[_NAME].compute_kernel = kernel.value
    environment = get("torchrec.distributed.types").ShardingEnv.from_process_group(dist.GroupMember.WORLD)
    return sharder.shard(whole, plan, environment, device)


def _fused_kernel(collection: Any) -> Any:
    """The engine's table on this process.

    Raises:
        BackendError: if it is not the fused kernel: the dense one gives one row for a bag of many, and writes past its
            memory on several processes.
    """
    kernels = importlib.import_module("torchrec.distributed.batched_embedding_kernel")
    found = [
        part
        for lookup in collection._lookups
        for part in getattr(lookup, "module", lookup)._emb_modules
    ]
    if len(found) != 1 or type(found[0]) is not kernels.BatchedFusedEmbedding:
        names = ", ".join(type(part).__name__ for part in found) or "none"
        raise BackendError(f"TorchRec made kernels {names} where a BatchedFusedEmbedding is wanted: run `make scale`.")
    return found[0].emb_module
