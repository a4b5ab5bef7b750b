"""Saved models: a folder with plain tensors, a description in JSON and a model card. Loading runs no code from it."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.compress.sizes import report
from edgenet.errors import CheckpointError
from edgenet.pretrained import folder as files
from edgenet.pretrained import graphs
from edgenet.pretrained.building import Builder, share_pools
from edgenet.pretrained.describing import describe
from edgenet.pretrained.graphs import fingerprint
from edgenet.pretrained.model_card import card

__all__ = ["fingerprint", "from_pretrained", "save_pretrained"]


def save_pretrained(model: nn.Module, folder: str | Path, pack: bool = True) -> None:
    """Write a model into a folder, as ``model.safetensors``, ``config.json`` and a model card, ``README.md``.

    Any model of edgenet's layers, structured matrices, common modules of torch and layers of PyG can be loaded by
    ``from_pretrained`` alone. Of other modules the tensors are stored, and whoever loads them builds the model; the
    card names them. What is shared is stored once, and comes back shared.

    Args:
        model: any module whose layers all have their sizes.
        folder: is made where it is missing. Files in it are replaced.
        pack: store structured matrices in the form of their ``pack()``: the sizes are those of the report, and
            matrices under a mask come back as compressed rows. Pass False to go on with a schedule of densities.

    Raises:
        CheckpointError: if a layer has no size yet, something is no plain tensor, or a module that is to be loaded
            alone has hooks, pruning, a weight norm or other parametrizations of its own; with its path and the remedy.
            Nothing is written then.

    Example:
        >>> import os
        >>> edgenet.save_pretrained(edgenet.NodeClassifier(3, 2), "saved")
        >>> sorted(os.listdir("saved"))
        ['README.md', 'config.json', 'model.safetensors']
    """
    description = describe(model, pack)
    found = graphs.fingerprints(model)
    unknown = description.unknown()
    shapes = {name: tuple(tensor.shape) for name, tensor in description.tensors.items()}
    shapes |= {name: shapes[first] for name, first in description.tied.items()}
    if not unknown:  # what is written can be read
        _check_fit(_built(description.tree, shapes, description.pools), shapes)
    config = {
        "tree": description.tree,
        "tied": description.tied,
        "frozen": sorted(set(description.frozen)),
        "pools": description.pools,
        "graphs": found,
    }
    files.write(Path(folder), description.tensors, config, card(model, report(model), found, unknown))


def from_pretrained(
    folder: str | Path, model: nn.Module | None = None, edges: Any = None, num_nodes: int | None = None
) -> nn.Module:
    """The model in a folder, in eval mode, on the CPU. Nothing in the files is executed.

    Args:
        folder: that ``save_pretrained`` wrote.
        model: for a model that has modules which edgenet does not make: one that was built as the saved one was, before
            conversion and compression if there were any. All layers that edgenet makes are put into it, and then all
            tensors. All or nothing: an error leaves it as it was.
        edges, num_nodes: a graph to bind the layers to: a ``Graph``, a ``Data``, or an edge list with ``num_nodes``.

    Raises:
        CheckpointError: if the files are missing, damaged or of another format version, do not fit each other, or have
            a class that is not on the list; with the reason, and nothing loaded.
        SupportError: if tables of edge weights belong to another graph than ``edges``.

    Example:
        >>> edgenet.save_pretrained(edgenet.NodeClassifier(3, 2), "saved")
        >>> edgenet.from_pretrained("saved")(x, edges).shape
        torch.Size([4, 2])
    """
    folder = Path(folder)
    config = files.read_config(folder)
    shapes = files.check_index(folder, config)
    try:
        shapes = {name: shape[:-1] if name in config["complex"] else shape for name, shape in shapes.items()}
        shapes |= {name: shapes[first] for name, first in config["tied"].items()}
        return _loaded(folder, config, shapes, model, edges, num_nodes)
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}" if str(folder) not in str(error) else str(error)) from error
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError, MemoryError) as error:
        raise CheckpointError(
            f"{folder / files.CONFIG}: damaged, it describes no model ({type(error).__name__}: {str(error)[:80]})."
        ) from error


def _loaded(
    folder: Path,
    config: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    model: nn.Module | None,
    edges: Any,
    num_nodes: int | None,
) -> nn.Module:
    if model is None:
        skeleton = _built(config["tree"], shapes, config["pools"])
        _check_fit(skeleton, shapes)
        tensors = files.read_tensors(folder, config)
        if _needs_numbers(skeleton):  # which no file holds: made again, now that all sizes are known to be right
            with _default_dtype(tensors), torch.random.fork_rng(devices=[]):
                skeleton = Builder(config["tree"], shapes).build()
                share_pools(skeleton, config["pools"])
        _load(skeleton, tensors, config)
        loaded = skeleton
    else:
        trial = _copied(model)
        for target in (trial, model):  # all or nothing
            tensors = files.read_tensors(folder, config)
            with torch.random.fork_rng(devices=[]):
                builder = Builder(config["tree"], shapes)
                with torch.device("meta"):
                    builder.fill(target)
                share_pools(target, config["pools"])
            _check_fit(target, shapes)
            _load(target, tensors, config)
            if target is trial:
                _check_graphs(trial, config)
                if edges is not None:
                    graphs.bind(trial, edges, num_nodes)
        loaded = model
    _check_graphs(loaded, config)
    if edges is not None:
        graphs.bind(loaded, edges, num_nodes)
    return loaded.eval()


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except RuntimeError as error:  # torch copies no tensor that was computed
        raise CheckpointError(
            f"the model that was handed over cannot be copied, as is done to try the files first: {error} Pruning and "
            f"the old weight_norm leave such tensors: put them on after loading, or call the model under no_grad first."
        ) from error


def _built(tree: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], pools: Mapping[str, str]) -> nn.Module:
    """The model on the meta device: sizes, and no numbers."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = Builder(tree, shapes).build()
    share_pools(model, pools)
    return model


def _check_fit(model: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare what a model wants with what there is.

    Raises:
        CheckpointError: if names or shapes differ.
    """
    wanted = {name: tuple(t.shape) for name, t in model.state_dict(keep_vars=True).items() if isinstance(t, Tensor)}
    for name in sorted(set(wanted) | set(shapes)):
        if wanted.get(name) != shapes.get(name):
            raise CheckpointError(
                f"the tensors do not fit the model: {name} is {shapes.get(name, 'not there')} and should be "
                f"{wanted.get(name, 'not there')}."
            )


def _load(model: nn.Module, tensors: dict[str, Tensor], config: Mapping[str, Any]) -> None:
    """Hand all tensors over; parameters that are tied become one."""
    frozen = set(config["frozen"])
    state: dict[str, Tensor] = {}
    own = dict(model.named_parameters(remove_duplicate=False))
    wanted = model.state_dict(keep_vars=True)
    for name, there in wanted.items():
        first = config["tied"].get(name, name)
        tensor = state[first] if first in state else tensors[first]
        kinds = [(t.is_floating_point(), t.is_complex(), t.dtype == torch.bool) for t in (there, tensor)]
        real = there.is_complex() or there.is_floating_point()
        if kinds[0] != kinds[1] and not (real and (tensor.is_complex() or tensor.is_floating_point())):
            raise CheckpointError(f"{name} is of {tensor.dtype}, and the model has {there.dtype} there.")
        if name not in own:
            state[name] = tensor.detach()
            continue
        if not isinstance(tensor, nn.Parameter):
            wants = name not in frozen and (tensor.is_floating_point() or tensor.is_complex())
            tensor = nn.Parameter(tensor, requires_grad=wants)
        own[name].requires_grad_(tensor.requires_grad)  # torch hands the old parameter's wish on
        state[name] = tensor
    try:
        model.load_state_dict(state, strict=True, assign=True)
    except Exception as error:  # whatever a state that does not fit makes torch raise
        lines = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
        raise CheckpointError(f"the tensors do not fit the model: {lines[min(1, len(lines) - 1)]}") from error


def _needs_numbers(model: nn.Module) -> bool:
    """Whether anything outside ``state_dict`` stands on the meta device."""
    for module in model.modules():
        hidden = [module._buffers[name] for name in module._non_persistent_buffers_set]
        if any(isinstance(t, Tensor) and t.is_meta for t in (*hidden, *vars(module).values())):
            return True
    return False


def _check_graphs(model: nn.Module, config: Mapping[str, Any]) -> None:
    found = graphs.fingerprints(model)
    if found != config["graphs"]:
        path = next(p for p in sorted({*found, *config["graphs"]}) if found.get(p) != config["graphs"].get(p))
        raise CheckpointError(f"the table {path} belongs to another graph than the one that {files.CONFIG} names.")


@contextmanager
def _default_dtype(tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """What layers make by themselves is of the dtype that most numbers have."""
    counts = Counter(t.dtype for t in tensors.values() if t.is_floating_point())
    before = torch.get_default_dtype()
    torch.set_default_dtype(counts.most_common(1)[0][0] if counts else before)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
