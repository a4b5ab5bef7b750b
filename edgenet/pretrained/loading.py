"""Loading a model from a folder, or from a repository of the Hugging Face hub."""

from __future__ import annotations

import copy
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgenet import hub
from edgenet.errors import CheckpointError, ClassWarning
from edgenet.pretrained import folder as files
from edgenet.pretrained import graphs
from edgenet.pretrained.building import Builder, share_pools
from edgenet.pretrained.fitting import check_fit, planned, tensors_of

#: the default dtype and torch's random numbers, which are the process's, are changed and put back while a model is made
_ONE_AT_A_TIME = threading.RLock()


def from_pretrained(
    folder: str | Path,
    model: nn.Module | Callable[[], nn.Module] | None = None,
    edges: Any = None,
    num_nodes: int | None = None,
    *,
    stand_ins: bool = False,
    **download: Any,
) -> nn.Module:
    """The model in a folder, or in a repository of the Hugging Face hub, in eval mode, on the CPU. Nothing in the files
    is executed.

    Args:
        folder: that ``save_pretrained`` wrote; else a repository, ``"owner/name"``, which huggingface_hub downloads.
        model: for a model that has modules which edgenet does not make: one that was built as the saved one was, before
            conversion and compression if there were any; or what makes one, a class or a function. All layers that
            edgenet makes are put into it, and then all tensors. What counts is its structure: children and shapes.
            All or nothing: an error leaves it as it was.
        edges, num_nodes: a graph to bind the layers to: a ``Graph``, a ``Data``, or an edge list with ``num_nodes``.
        stand_ins: let modules that edgenet does not make be stood for by their children and tensors alone. Such a model
            does not run; it can be reported on, compressed and saved.
        download: of a repository: ``revision``, ``token``, ``cache_dir``, ``local_files_only``, ...

    Raises:
        CheckpointError: if the files are missing, damaged or of another format version, do not fit each other, or have
            a class that is not on the list; with the reason, and nothing loaded.
        SupportError: if tables of edge weights belong to another graph than ``edges``.

    Warns:
        ClassWarning: if classes of ``model`` have other names than in the file, or stand in other modules.

    Example:
        >>> edgenet.save_pretrained(edgenet.NodeClassifier(3, 2), "saved")
        >>> edgenet.from_pretrained("saved")(x, edges).shape
        torch.Size([4, 2])
    """
    folder = _folder_of(folder, **download)
    made = model if model is None or isinstance(model, nn.Module) else _made(model)
    text = files.config_text(folder)
    while True:
        try:
            with _ONE_AT_A_TIME:
                return _read(folder, text, made, edges, num_nodes, stand_ins)
        except CheckpointError:
            before, text = text, files.config_text(folder)
            if text == before:
                raise  # else another model was saved here in the meantime


def _folder_of(name: str | Path, **download: Any) -> Path:
    folder, given = Path(name), [key for key, value in download.items() if value is not None]
    if not folder.is_dir():
        return hub.downloaded(str(name), files.PATTERNS, **download)
    if given:
        raise CheckpointError(f"{folder}: is a folder here, and {', '.join(given)} is for a repository of the hub.")
    return folder


def _made(model: Callable[[], nn.Module]) -> nn.Module:
    made = model() if callable(model) else model
    if not isinstance(made, nn.Module):
        raise CheckpointError(f"model is a module, or what makes one without arguments; got {made!r:.80}.")
    return made


def _read(
    folder: Path, text: bytes, model: nn.Module | None, edges: Any, num_nodes: int | None, stand_ins: bool
) -> nn.Module:
    config = files.read_config(folder, text)
    shapes = files.check_index(folder, config)
    try:
        shapes = {name: shape[:-1] if name in config["complex"] else shape for name, shape in shapes.items()}
        shapes |= {name: shapes[first] for name, first in config["tied"].items()}
        if model is None:
            loaded = _alone(folder, config, shapes, stand_ins)
        else:
            loaded = _into(model, folder, config, shapes, edges, num_nodes)
        _check_graphs(loaded, config)
        if edges is not None:
            graphs.bind(loaded, edges, num_nodes)
        return loaded.eval()
    except CheckpointError as error:
        files.check_sum(folder, config)  # of what is damaged nothing else need be said
        raise CheckpointError(f"{folder}: {error}" if str(folder) not in str(error) else str(error)) from error
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError, MemoryError) as error:
        files.check_sum(folder, config)
        raise CheckpointError(
            f"{folder / files.CONFIG}: damaged, it describes no model ({type(error).__name__}: {str(error)[:80]})."
        ) from error


def _alone(
    folder: Path, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], stand_ins: bool
) -> nn.Module:
    """The model that the files describe."""
    skeleton, limits = planned(config["tree"], shapes, config["pools"], stand_ins)
    check_fit(skeleton, shapes)
    tensors = files.read_tensors(folder, config)
    if _needs_numbers(skeleton):  # which no file holds: made again, now that all sizes are known to be right
        limits.check_numbers()
        with _default_dtype(tensors), torch.random.fork_rng(devices=[]):
            skeleton = Builder(config["tree"], shapes, stand_ins).build()
            share_pools(skeleton, config["pools"])
    _load(skeleton, tensors, config)
    return skeleton


def _into(
    model: nn.Module,
    folder: Path,
    config: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    edges: Any,
    num_nodes: int | None,
) -> nn.Module:
    """A model that was handed over, filled; all or nothing."""
    trial = _copied(model)
    for target in (trial, model):
        tensors = files.read_tensors(folder, config)
        with torch.random.fork_rng(devices=[]):
            builder = Builder(config["tree"], shapes)
            with torch.device("meta"):
                builder.fill(target)
            share_pools(target, config["pools"])
        check_fit(target, shapes)
        _load(target, tensors, config)
        if target is trial:
            _check_graphs(trial, config)
            if edges is not None:
                graphs.bind(trial, edges, num_nodes)
    if builder.other_classes:
        others = builder.other_classes.items()
        told = [f"{path or 'the model'} was a {was} and is a {now}" for path, (was, now) in others]
        more = f", and {len(told) - 3} more" if len(told) > 3 else ""
        warnings.warn(
            f"{folder}: {'; '.join(told[:3])}{more}. The structure is the same, so the tensors are put there; that "
            f"both compute the same is yours to know.",
            ClassWarning,
            stacklevel=4,
        )
    return model


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except RuntimeError as error:  # torch copies no tensor that was computed
        raise CheckpointError(
            f"the model that was handed over cannot be copied, as is done to try the files first: {error} Pruning and "
            f"the old weight_norm leave such tensors: put them on after loading, or call the model under no_grad first."
        ) from error


def _load(model: nn.Module, tensors: dict[str, Tensor], config: Mapping[str, Any]) -> None:
    """Hand all tensors over; parameters that are tied become one."""
    frozen = set(config["frozen"])
    state: dict[str, Tensor] = {}
    own = dict(model.named_parameters(remove_duplicate=False))
    for name, there in tensors_of(model).items():
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
