"""Checkpoints: plain tensors and a JSON text, written atomically, read without running anything from the file.

A file is torch's zip format around ``{"format": int, "json": str, "tensors": {name: Tensor}}``. The JSON text holds the
nested state; where the state had a tensor, it names one.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgenet import reading
from edgenet._version import __version__
from edgenet.errors import CheckpointError
from edgenet.writing import write_atomically

FORMAT = 1
_BUDGET = reading.Budget(bytes=1 << 30, elements=50_000_000, depth=200)  # of the text

_TENSOR, _PAIRS, _TUPLE = "$tensor", "$pairs", "$tuple"


def save(path: str | Path, state: Any) -> None:
    """Write a nested state. The file is whole at any moment: the old one, or the new one.

    Args:
        path: of the file. Its folder must exist.
        state: dicts, lists, tuples, tensors, strings, numbers, booleans and None, nested in any way. Tensors are stored
            from the CPU, each once for every place it stands in.

    Raises:
        CheckpointError: if the state holds anything else; the text says where.
        WriteError: if the system cannot write it. The old file stands.
    """
    path = Path(path)
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_plain(state, tensors, path.name, ""))
    content = {"format": FORMAT, "version": __version__, "json": text, "tensors": tensors}
    write_atomically(path, lambda file: torch.save(content, file))


def load(path: str | Path) -> Any:
    """The state that ``save`` wrote, tensors on the CPU. Nothing in the file is executed.

    Raises:
        CheckpointError: if the file is missing, damaged, of another format version, or not a checkpoint; with the
            file and the reason.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file.")
    content = reading.read_torch(path, CheckpointError, "tensors and text")
    if not isinstance(content, dict) or "format" not in content:
        raise CheckpointError(f"{path}: not an edgenet checkpoint: it holds no format version.")
    if type(content["format"]) is not int or content["format"] != FORMAT:
        raise CheckpointError(
            f"{path}: has format version {_short(content['format'])} (written by edgenet "
            f"{_short(content.get('version', '?'))}), and edgenet {__version__} reads version {FORMAT}. Use the "
            f"edgenet that wrote it, or train anew."
        )
    text, tensors = content.get("json"), content.get("tensors")
    if not isinstance(text, str) or not isinstance(tensors, dict):
        raise CheckpointError(f"{path}: damaged, it lacks its text or its tensors.")
    if not all(type(value) is Tensor for value in tensors.values()):
        raise CheckpointError(f"{path}: damaged, what it holds as tensors are not plain tensors.")
    nested = reading.parse_json(text, f"{path}: its text", CheckpointError, _BUDGET)
    try:
        return _nested(nested, tensors)
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged, its text does not fit its tensors ({_first_line(error)}).") from error


def load_model_state(model: nn.Module, state: dict[str, Tensor], path: str | Path) -> None:
    """``model.load_state_dict(state)``, where a misfit says which file does not fit which model.

    Raises:
        CheckpointError: if names or shapes differ.
    """
    try:
        model.load_state_dict(state)
    except Exception as error:  # whatever a state that is none makes torch raise
        lines = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
        reason = lines[1] if len(lines) > 1 else lines[0]
        raise CheckpointError(
            f"{path}: does not fit this {type(model).__name__}: {reason} "
            f"Build the model with the configuration and the data of the run that wrote it."
        ) from error


def random_state(generators: dict[str, torch.Generator] | None = None) -> dict[str, Any]:
    """The state of every source of random numbers: torch (and its accelerators), numpy, Python, given generators."""
    state: Any = np.random.get_state()  # of numpy's two forms, the older
    kind, key, *rest = state
    version, numbers, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [kind, torch.from_numpy(key.astype(np.int64)), *rest],
        "python": [version, torch.tensor(numbers, dtype=torch.int64), gauss],
        "generators": {name: generator.get_state() for name, generator in (generators or {}).items()},
    }


def set_random_state(state: dict[str, Any], generators: dict[str, torch.Generator] | None = None) -> None:
    """Put back what ``random_state`` read."""
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    kind, key, *rest = state["numpy"]
    np.random.set_state((kind, key.numpy().astype(np.uint32), *rest))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
    for name, generator in (generators or {}).items():
        generator.set_state(state["generators"][name])




def _short(value: Any) -> str:
    """What a file of unknown origin says, on one short line."""
    if type(value) in (str, bool) or (type(value) is int and abs(value) < 10**9):
        return str(value).partition("\n")[0][:40]
    return f"a {type(value).__name__}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _plain(value: Any, tensors: dict[str, Tensor], file: str, where: str) -> Any:
    """The JSON-able form of a nested state; its tensors go into ``tensors``."""
    if isinstance(value, Tensor):
        name = where or "value"
        if name in tensors:  # keys 1 and "1", or "a/b" beside "a" with a "b" in it
            name = f"{name}#{len(tensors)}"
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {_TENSOR: name}
    if isinstance(value, dict):
        named = all(isinstance(key, str) and not key.startswith("$") for key in value)
        if not named and not all(isinstance(key, str | int | float | bool) for key in value):
            raise CheckpointError(f"{file}: the keys of {where or 'the state'} are not all text or numbers.")
        below = f"{where}/" if where else ""
        pairs = [(key, _plain(item, tensors, file, f"{below}{key}")) for key, item in value.items()]
        return dict(pairs) if named else {_PAIRS: [list(pair) for pair in pairs]}
    if isinstance(value, list | tuple):
        items = [_plain(item, tensors, file, f"{where}/{i}") for i, item in enumerate(value)]
        return items if isinstance(value, list) else {_TUPLE: items}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise CheckpointError(
        f"{file}: {where or 'the state'} is a {type(value).__name__}; a checkpoint holds tensors, numbers, text, lists "
        f"and dicts only."
    )


def _nested(value: Any, tensors: dict[str, Tensor]) -> Any:
    """What ``_plain`` was given."""
    if isinstance(value, list):
        return [_nested(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if _TENSOR in value:
        return tensors[value[_TENSOR]]
    if _TUPLE in value:
        return tuple(_nested(item, tensors) for item in value[_TUPLE])
    if _PAIRS in value:
        return {key: _nested(item, tensors) for key, item in value[_PAIRS]}
    return {key: _nested(item, tensors) for key, item in value.items()}
