"""Checkpoints of tables: every process writes its rows, and any number of processes reads them.

::

    tables.json         what stands where, with checksums; its own is in it. Replaced last, when all files are on disk
    rows-*.safetensors  ``weight`` (r, n) and perhaps ``state`` (r,) of some rows of one table

Nothing in them is executed.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from edgenet import reading
from edgenet.errors import CheckpointError
from edgenet.pretrained.folder import checksum
from edgenet.scale import row_files
from edgenet.scale.row_table import Held
from edgenet.scale.tables import row_tables
from edgenet.writing import write_atomically

MANIFEST, FORMAT = "tables.json", 1
_NOTHING = "0" * 64  # the checksum of a file that was not written


def save_tables(model: nn.Module, folder: str | Path) -> None:
    """Write the row tables of a model; called by all processes, with one folder that they all see.

    A checkpoint that is in the folder stays whole until the new one is. Rows are on disk with the state of their
    optimizer; the rest of the model is ``dense_state(model)``.

    Raises:
        PlanError: if the model has no row tables.

    Example:
        >>> edgenet.scale.save_tables(model, "tables")  # doctest: +SKIP
    """
    folder, content = Path(folder), {}
    folder.mkdir(parents=True, exist_ok=True)
    token = _agreed(torch.frombuffer(bytearray(uuid.uuid4().bytes), dtype=torch.uint8)).numpy().tobytes().hex()
    for number, (name, table) in enumerate(row_tables(model).items()):
        first, weight, state = table.held()
        last, mine = first + len(weight), len(weight) < table.shape[0] or _rank() == 0
        file, digest = f"rows-{token[:12]}-{number}-{first}.safetensors", _NOTHING
        if mine:
            if state is not None:
                state = state / getattr(table, "state_scale", 1.0)
            digest = _write(folder / file, weight, state)
        parts = [
            {"file": f"rows-{token[:12]}-{number}-{begin}.safetensors", "first": begin, "last": end, "sha256": sha}
            for begin, end, sha in sorted(_gathered(first, last, digest))
            if sha != _NOTHING
        ]
        content[name] = {"shape": list(table.shape), "optimizer": _optimizer(table), "parts": parts}
    if _rank() == 0:
        body: dict[str, Any] = {"format": FORMAT, "tables": content}
        text = json.dumps({**body, "checksum": checksum(body)}, indent=1)
        write_atomically(folder / MANIFEST, lambda out: out.write(text.encode()))
        for old in folder.glob("rows-*.safetensors"):
            if not old.name.startswith(f"rows-{token[:12]}-"):
                old.unlink()
    _agreed(torch.zeros(1))  # nobody goes on before the checkpoint is whole


def load_tables(model: nn.Module, folder: str | Path) -> None:
    """Fill the row tables of a model with what ``save_tables`` wrote, on any number of processes; called by all.

    Every file that is read is compared with its checksum first. If one process finds damage, all raise.

    Raises:
        CheckpointError: if files are missing or damaged, or of another model's tables.

    Example:
        >>> edgenet.scale.load_tables(model, "tables")  # doctest: +SKIP
    """
    folder, problem, found = Path(folder), None, []
    try:
        tables, stored = row_tables(model), _manifest(folder)
        if set(tables) != set(stored):
            raise CheckpointError(f"{folder}: holds tables {sorted(stored)}, and the model has {sorted(tables)}.")
        found = [(table, _rows_for(table, name, stored[name], folder)) for name, table in tables.items()]
    except CheckpointError as error:
        problem = error
    damaged = torch.tensor([float(problem is not None)])
    if dist.is_initialized():
        dist.all_reduce(damaged)
    if problem is not None:
        raise problem
    if damaged.item():
        raise CheckpointError(f"{folder}: another process could not read its part; see its message.")
    with torch.no_grad():
        for table, (weight, state) in found:
            held = table.held()
            held.weight.copy_(weight)
            if held.state is not None and state is not None:
                held.state.copy_(state * getattr(table, "state_scale", 1.0))


def read_table(folder: str | Path, name: str) -> Tensor:
    """The whole (m, n) table of a checkpoint, on this process; neither TorchRec nor a process group is needed.

    Raises:
        CheckpointError: if there is none of that name, or files are missing or damaged.

    Example:
        >>> edgenet.scale.read_table("tables", "conv.phi.edge_table")  # doctest: +SKIP
    """
    stored = _manifest(Path(folder))
    if name not in stored:
        raise CheckpointError(f"{folder}: has no table {name!r}; there are {', '.join(stored)}.")
    return _read(stored[name], Path(folder), 0, stored[name]["shape"][0])[0]


def _write(path: Path, weight: Tensor, state: Tensor | None) -> str:
    found: list[str] = []
    write_atomically(path, lambda out: found.append(row_files.write(out, weight, state)))
    return found[0]


# ---------------------------------------------------------------- reading
def _rows_for(table: Any, name: str, stored: dict[str, Any], folder: Path) -> tuple[Tensor, Tensor | None]:
    """What the rows that this process holds should be."""
    held: Held = table.held()
    if stored["shape"] != list(table.shape):
        raise CheckpointError(f"{folder}: {name} is {tuple(stored['shape'])} there, and {table.shape} in the model.")
    if held.state is not None and stored["optimizer"] != _optimizer(table):
        raise CheckpointError(
            f"{folder}: {name} was trained by {stored['optimizer']}, and is by {_optimizer(table)} here: use the same "
            f"optimizer, or begin with the rows alone: fill_(read_table(folder, {name!r}))."
        )
    weight, state = _read(stored, folder, held.first, held.first + len(held.weight))
    if held.state is not None and state is None:
        raise CheckpointError(f"{folder}: {name} lacks the state of its optimizer.")
    return weight, state


def _read(stored: dict[str, Any], folder: Path, first: int, last: int) -> tuple[Tensor, Tensor | None]:
    weights, states = [], []
    for part in stored["parts"]:
        begin, end = max(first, part["first"]), min(last, part["last"])
        if begin >= end:
            continue
        path = folder / part["file"]
        row_files.check_digest(path, part["sha256"])
        weight, state = row_files.read(path, begin - part["first"], end - part["first"])
        if weight.shape[1] != stored["shape"][1]:
            raise CheckpointError(f"{path}: has rows of {weight.shape[1]} numbers, and {stored['shape'][1]} are told.")
        weights.append(weight)
        states += [] if state is None else [state]
    return torch.cat(weights), torch.cat(states) if len(states) == len(weights) else None


def _manifest(folder: Path) -> dict[str, Any]:
    """The tables of a checkpoint, by name; checksum, names of files and rows are looked at."""
    path = folder / MANIFEST
    if not path.is_file():
        raise CheckpointError(f"{path}: is not there. Was save_tables called?")
    body = reading.read_json(path, CheckpointError)
    try:
        wanted = body["checksum"]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: damaged, or no list of tables.") from error
    if wanted != checksum(body):
        raise CheckpointError(f"{path}: damaged, its checksum does not fit. Take another copy of the checkpoint.")
    try:
        if body["format"] != FORMAT:
            raise CheckpointError(f"{path}: has format {body['format']!r}, and this edgenet reads {FORMAT}.")
        for table in body["tables"].values():
            at = 0
            for part in table["parts"]:
                if part["first"] != at or Path(part["file"]).name != part["file"]:
                    raise CheckpointError(f"{path}: row {at} of a table is in no file, or a file is not in the folder.")
                at = part["last"]
            if at != table["shape"][0]:
                raise CheckpointError(f"{path}: lacks rows from {at} on, of {table['shape'][0]}.")
        return body["tables"]
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise CheckpointError(f"{path}: is no list of tables ({type(error).__name__}: {error}).") from error


def _optimizer(table: Any) -> str | None:
    optimizer = getattr(table, "optimizer", None)
    return None if optimizer is None else optimizer.name


# ---------------------------------------------------------------- among processes
def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _agreed(value: Tensor) -> Tensor:
    """The tensor of the first process."""
    if dist.is_initialized():
        dist.broadcast(value, 0)
    return value


def _gathered(first: int, last: int, digest: str) -> list[tuple[int, int, str]]:
    """What every process has written. No objects are sent: those would be pickles."""
    mine = torch.tensor([first, last, *bytes.fromhex(digest)])
    if not dist.is_initialized():
        return [(first, last, digest)]
    rows = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(rows, mine)
    return [(int(row[0]), int(row[1]), bytes(row[2:].tolist()).hex()) for row in rows]
