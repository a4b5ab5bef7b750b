"""In transformers: ``PreTrainedModel.from_pretrained`` is taught to rebuild the structures of a compressed model."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgenet import reading
from edgenet.compress import restructure_
from edgenet.errors import CheckpointError
from edgenet.structured.plan_in_state import is_plan


def teach_transformers() -> None:
    """Let ``from_pretrained`` of every model of transformers read what ``save_pretrained`` of a compressed one wrote.

    transformers copies tensors into a model by itself, and gives weights that it does not find new random numbers. Once
    this has been called, the structures are put in first. Call it beside the class of the model, say. Saving needs
    nothing.

    Raises:
        CheckpointError: if transformers is not installed, or has no ``PreTrainedModel._load_pretrained_model``.

    Example:
        >>> edgenet.pretrained.teach_transformers()  # where transformers is installed  # doctest: +SKIP
    """
    try:
        from transformers import PreTrainedModel
    except ImportError as error:
        raise CheckpointError("transformers is not installed: pip install transformers.") from error
    loads = getattr(PreTrainedModel, "_load_pretrained_model", None)
    if loads is None:
        import transformers

        raise CheckpointError(
            f"transformers {transformers.__version__} loads its models in a way that is not known here. Build the "
            f"model, and load the state with model.load_state_dict(state)."
        )
    if getattr(loads, "taught_by", None) != __name__:
        setattr(PreTrainedModel, "_load_pretrained_model", staticmethod(_taught(loads)))  # noqa: B010


def _taught(loads: Any) -> Any:
    @functools.wraps(loads)
    def load(model: Any, state_dict: Any, checkpoint_files: Any, *args: Any, **options: Any) -> Any:
        plan = _plan(state_dict, checkpoint_files or ())
        if plan:
            restructure_(model, _by_all_names(plan, getattr(model, "base_model_prefix", "")))
        return loads(model, state_dict, checkpoint_files, *args, **options)

    load.taught_by = __name__  # type: ignore[attr-defined]  # a mark
    return load


def _plan(state: Mapping[str, Any] | None, paths: Sequence[str]) -> dict[str, Any]:
    """The entries of a state, or of the files that it lies in, which tell of structures."""
    if state is not None:
        return {name: value for name, value in state.items() if is_plan(name)}
    found: dict[str, Any] = {}
    for path in map(str, paths):
        if path.endswith(".safetensors"):
            content = reading.read_tensors(Path(path), CheckpointError, is_plan)
        else:
            content = reading.read_torch(Path(path), CheckpointError, "tensors and plain containers", views=True)
        if isinstance(content, dict):
            found |= {name: value for name, value in content.items() if isinstance(name, str) and is_plan(name)}
    return found


def _by_all_names(plan: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """With and without the name of the base model in front: a head may be on the one and not on the other."""
    start = f"{prefix}." if prefix else ""
    with_it = {start + name: value for name, value in plan.items()}
    return {**with_it, **{name.removeprefix(start): value for name, value in plan.items()}, **plan}
