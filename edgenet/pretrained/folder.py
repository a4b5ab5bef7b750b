"""The files of a saved model: ``model.safetensors``, ``config.json`` and ``README.md``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from edgenet._version import __version__
from edgenet.checkpoint import write_atomically
from edgenet.errors import CheckpointError

FORMAT = 1
TENSORS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"

_FIELDS = {
    "tree": dict, "tensors": dict, "tied": dict, "frozen": list, "pools": dict, "graphs": dict, "complex": list,
    "sha256": str,
}  # fmt: skip


def write(folder: Path, tensors: Mapping[str, Tensor], config: dict[str, Any], card: str) -> None:
    """Write the three files, each whole at any moment.

    The config has the checksum of the tensors' file, so that one of another version is found out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plain, views = {}, []
    for name, tensor in tensors.items():
        if tensor.is_complex():  # of which safetensors knows one kind only
            tensor = torch.view_as_real(tensor.resolve_conj())
            views.append(name)
        plain[name] = tensor.to("cpu", copy=True).contiguous()
    data = safetensors.torch.save(plain, {"format": "pt"})
    with safetensors.safe_open(_written(folder / TENSORS, data), framework="pt") as file:
        index = {name: _entry(file.get_slice(name)) for name in sorted(file.keys())}
    config = {
        "format": FORMAT, "edgenet": __version__, "library_name": "edgenet", **config, "tensors": index,
        "complex": sorted(views), "sha256": hashlib.sha256(data).hexdigest(),
    }  # fmt: skip
    text = json.dumps(config, indent=1, allow_nan=False)
    _written(folder / CONFIG, text.encode())
    _written(folder / CARD, card.encode())


def _written(path: Path, data: bytes) -> Path:
    write_atomically(path, lambda file: file.write(data))
    return path


def _entry(piece: Any) -> list[Any]:
    return [piece.get_dtype(), list(piece.get_shape())]


def read_config(folder: Path) -> dict[str, Any]:
    """What stands in ``config.json``.

    Raises:
        CheckpointError: if it is missing, damaged, or of another format version.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{folder}: is no saved model, it has no {CONFIG}. save_pretrained writes one.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise CheckpointError(f"{path}: damaged, it is no JSON: {error}") from error
    if not isinstance(config, dict) or "format" not in config:
        raise CheckpointError(f"{path}: no config of edgenet, it has no format version.")
    if type(config["format"]) is not int or config["format"] != FORMAT:
        raise CheckpointError(
            f"{path}: has format version {str(config['format'])[:40]} (written by edgenet "
            f"{str(config.get('edgenet', '?'))[:40]}), and edgenet {__version__} reads version {FORMAT}. Use the "
            f"edgenet that wrote it."
        )
    for key, kind in _FIELDS.items():
        if not isinstance(config.get(key), kind):
            raise CheckpointError(f"{path}: damaged, its {key!r} is missing or no {kind.__name__}.")
    return config


def check_index(folder: Path, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes in the header of ``model.safetensors``, which must be as the config has them. No tensor is read.

    Raises:
        CheckpointError: if the file is missing or damaged, or tensors are missing, too many, or of another shape or
            dtype.
    """
    path = folder / TENSORS
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; {CONFIG} is there.")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            found = {name: _entry(file.get_slice(name)) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # SafetensorError, OSError, ...
        raise CheckpointError(f"{path}: damaged, cut short, or no file of tensors: {error}") from error
    wanted = config["tensors"]
    for name in sorted(set(wanted) | set(found)):
        if found.get(name) != wanted.get(name):
            raise CheckpointError(
                f"{path}: does not fit {CONFIG}: {name[:80]} is {_told(found.get(name))} and should be "
                f"{_told(wanted.get(name))}."
            )
    return {name: tuple(shape) for name, (_, shape) in found.items()}


def _told(entry: Any) -> str:
    if entry is None:
        return "not there"
    return f"{entry[0]} {entry[1]}" if isinstance(entry, list) and len(entry) == 2 else str(entry)[:40]


def read_tensors(folder: Path, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors, on the CPU.

    Raises:
        CheckpointError: if the checksum differs.
    """
    path = folder / TENSORS
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != config["sha256"]:
        raise CheckpointError(f"{path}: is not the file that {CONFIG} was written with: its checksum differs.")
    tensors = safetensors.torch.load(data)
    for name in config["complex"]:
        if name not in tensors or tensors[name].shape[-1:] != (2,) or not tensors[name].is_floating_point():
            raise CheckpointError(f"{path}: {str(name)[:80]} holds no complex numbers.")
        tensors[name] = torch.view_as_complex(tensors[name])
    return tensors
