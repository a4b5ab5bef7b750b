"""The files of a saved model: its tensors, ``config.json`` and ``README.md``.

``config.json`` names the file of tensors, ``model.safetensors`` or ``model-<sha256>.safetensors``, and has its checksum
and one of itself. A model that is saved over another writes its tensors under another name than those before it have.
The switch is the replacement of ``config.json``; what was before is removed after it. So whoever reads finds the old
model or the new one, also where the writer was killed in between.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from edgenet import reading
from edgenet._version import __version__
from edgenet.errors import CheckpointError
from edgenet.pretrained.short_tree import lengthened, shortened
from edgenet.writing import held, write_atomically

FORMAT = 2
TENSORS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
#: of the names above, as patterns for whatever copies such folders
PATTERNS = ("model.safetensors", "model-*.safetensors", CONFIG, CARD)

_NAME = re.compile(r"model(-[0-9a-f]{16})?\.safetensors")
_LEFT = re.compile(r"\.(model(-[0-9a-f]{16})?\.safetensors|config\.json|README\.md)\..*\.tmp")
_BUDGET = reading.Budget(bytes=64 << 20, elements=4_000_000, depth=512)  # modules stand deep in modules
_NEEDED = {"tree": dict, "sha256": str, "file": str, "checksum": str}
_OTHER = {"tied": dict, "frozen": list, "pools": dict, "graphs": dict, "complex": list}
_FIRST_FORMAT = {"tree": dict, "tensors": dict, "sha256": str, **_OTHER}  # whose tensors have one name


def write(folder: Path, tensors: Mapping[str, Tensor], config: dict[str, Any], card: str) -> None:
    """Write the three files. A model that is there already stays until this one is whole.

    Raises:
        CheckpointError: if the folder is a file or a symbolic link, or cannot be made. No link in it is followed: what
            it points to stays as it is.
    """
    _make(folder)
    plain, views = {}, []
    for name, tensor in tensors.items():
        if tensor.is_complex():  # of which safetensors knows one kind only
            tensor = torch.view_as_real(tensor.resolve_conj())
            views.append(name)
        plain[name] = tensor.to("cpu", copy=True).contiguous()
    data = safetensors.torch.save(plain, {"format": "pt"})
    digest = hashlib.sha256(data).hexdigest()
    with held(folder, wait=True):
        taken = (folder / TENSORS).exists() and (folder / CONFIG).exists()
        file = f"model-{digest[:16]}.safetensors" if taken else TENSORS
        told = {"format": FORMAT, "edgenet": __version__, "library_name": "edgenet", **config, "complex": sorted(views)}
        told = {key: value for key, value in told.items() if value not in ([], {}) or key not in _OTHER}
        told |= {"tree": shortened(told["tree"]), "file": file, "sha256": digest}
        told["checksum"] = checksum(told)
        _write(folder / file, data)
        _write(folder / CARD, card.encode())
        _write(folder / CONFIG, json.dumps(told, separators=(",", ":"), allow_nan=False).encode())
        for path in folder.iterdir():
            if path.name != file and (_NAME.fullmatch(path.name) or _LEFT.fullmatch(path.name)):
                path.unlink(missing_ok=True)


def checksum(config: Mapping[str, Any]) -> str:
    """sha256 of a config, in whatever order and spacing, but for its own checksum. It has that of the tensors in it."""
    rest = {key: value for key, value in config.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _make(folder: Path) -> None:
    if folder.is_symlink():
        raise CheckpointError(f"{folder}: is a symbolic link, which is not followed. Save into {folder.resolve()}.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder}: is to be a folder, and cannot be made: {error.strerror}.") from error


def _write(path: Path, data: bytes) -> None:
    write_atomically(path, lambda file: file.write(data))


def config_text(folder: Path) -> bytes:
    """What stands in ``config.json``, as it is.

    Raises:
        CheckpointError: if there is none.
    """
    try:
        return reading.content(folder / CONFIG, reading.TEXT, CheckpointError)
    except CheckpointError as error:
        raise CheckpointError(
            f"{folder}: is no saved model, it has no {CONFIG} that can be read. save_pretrained writes one."
        ) from error


def read_config(folder: Path, text: bytes | None = None) -> dict[str, Any]:
    """What ``config.json`` says, with all its fields.

    Args:
        text: of the file, if it was read already.

    Raises:
        CheckpointError: if it is missing, damaged, or of another format version.
    """
    path = folder / CONFIG
    text = config_text(folder) if text is None else text
    config = reading.parse_json(text, str(path), CheckpointError, _BUDGET)
    if not isinstance(config, dict) or "format" not in config:
        raise CheckpointError(f"{path}: no config of edgenet, it has no format version.")
    if type(config["format"]) is not int or config["format"] not in (1, FORMAT):
        raise CheckpointError(
            f"{path}: has format version {str(config['format'])[:40]} (written by edgenet "
            f"{str(config.get('edgenet', '?'))[:40]}), and edgenet {__version__} reads versions 1 and {FORMAT}. Use "
            f"the edgenet that wrote it."
        )
    if config["format"] == 1:
        _check_fields(path, config, _FIRST_FORMAT)
        return {**config, "file": TENSORS}
    filled = {key: kind() for key, kind in _OTHER.items()} | config
    _check_fields(path, filled, {**_NEEDED, **_OTHER})
    if not _NAME.fullmatch(config["file"]):
        raise CheckpointError(f"{path}: damaged, {config['file'][:80]!r} is no name of a file of tensors.")
    try:
        same = checksum(config) == config["checksum"]
        tree = lengthened(config["tree"]) if same else {}
    except CheckpointError as error:
        raise CheckpointError(f"{path}: damaged, {error}") from error
    except RecursionError as error:
        raise CheckpointError(f"{path}: damaged, it describes modules inside modules without end.") from error
    if not same:
        raise CheckpointError(f"{path}: damaged or changed by hand, its checksum differs.")
    return {**filled, "tree": tree}


def _check_fields(path: Path, config: Mapping[str, Any], fields: Mapping[str, type]) -> None:
    for key, kind in fields.items():
        if not isinstance(config.get(key), kind):
            raise CheckpointError(f"{path}: damaged, its {key!r} is missing or no {kind.__name__}.")


def check_index(folder: Path, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes in the header of the tensors' file; those in the config, if it has them, must be the same.

    Raises:
        CheckpointError: if the file is missing or damaged, or tensors are missing, too many, or of another shape or
            dtype.
    """
    path = folder / config["file"]
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; {CONFIG} is there.")
    index = reading.read_index(path, CheckpointError)
    found: dict[str, list[Any]] = {name: [dtype, list(shape)] for name, (dtype, shape) in index.items()}
    wanted = config.get("tensors", found)
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


def check_sum(folder: Path, config: Mapping[str, Any]) -> bytes:
    """The bytes of the tensors' file.

    Raises:
        CheckpointError: if its checksum differs, or it cannot be read.
    """
    path = folder / config["file"]
    data = reading.content(path, reading.TENSORS, CheckpointError)
    if hashlib.sha256(data).hexdigest() != config["sha256"]:
        raise CheckpointError(f"{path}: is not the file that {CONFIG} was written with: its checksum differs.")
    return data


def read_tensors(folder: Path, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors, on the CPU.

    Raises:
        CheckpointError: if the checksum differs.
    """
    tensors = reading.parse_tensors(check_sum(folder, config), folder / config["file"], CheckpointError)
    for name in config["complex"]:
        if name not in tensors or tensors[name].shape[-1:] != (2,) or not tensors[name].is_floating_point():
            raise CheckpointError(f"{folder / config['file']}: {str(name)[:80]} holds no complex numbers.")
        tensors[name] = torch.view_as_complex(tensors[name])
    return tensors
