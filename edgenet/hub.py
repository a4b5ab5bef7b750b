"""Pretrained: what makes a model save itself into a folder, load itself from one, and meet the Hugging Face hub.

huggingface_hub's ``ModelHubMixin`` does the transport. It is no base class of models here: it would have to be
installed, and it rewrites the constructors of its subclasses. What it carries are edgenet's own files.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from edgenet.errors import CheckpointError

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


class Pretrained:
    """Mixin of models that are whole enough to be shipped."""

    def save_pretrained(self, folder: str | Path, **options: Any) -> None:
        """Write the model into a folder; see ``edgenet.pretrained.save_pretrained``, which has the options."""
        _package().save_pretrained(self, folder, **options)

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> Self:
        """The model in a folder, or in a repository of the Hugging Face hub, in eval mode.

        Args:
            name: a folder; else a repository, ``"owner/name"``, which huggingface_hub downloads.
            options: of ``edgenet.pretrained.from_pretrained``; ``revision`` of a repository, say.

        Raises:
            CheckpointError: if there is no such model, or it is of another class; otherwise as
                ``edgenet.pretrained.from_pretrained``.
        """
        model = _package().from_pretrained(name, **options)
        if not isinstance(model, cls):
            raise CheckpointError(
                f"{name}: holds a {type(model).__name__}, no {cls.__name__}; edgenet.from_pretrained loads any."
            )
        return model

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the model to the Hugging Face hub; see ``edgenet.pretrained.push_to_hub``, which has the options.

        Returns:
            The address of the commit.

        Raises:
            CheckpointError: if huggingface_hub is not installed.
        """
        return _package().push_to_hub(self, repo_id, **options)


def is_repository(name: str) -> bool:
    """Whether a text may be the name of a repository, ``"owner/name"``."""
    return _REPOSITORY.fullmatch(name) is not None and ".." not in name


def downloaded(name: str, patterns: Sequence[str], **options: Any) -> Path:
    """The folder into which a repository of the hub was downloaded.

    Args:
        name: ``"owner/name"``.
        patterns: of the files that are wanted.
        options: of ``ModelHubMixin.from_pretrained``.

    Raises:
        CheckpointError: if that is no such name, nothing came, or huggingface_hub is not installed.
    """
    if not is_repository(name):
        raise CheckpointError(f"{name}: is no saved model: no such folder, and no name of a repository (owner/name).")
    try:
        return _transport(tuple(patterns)).from_pretrained(name, **options).content
    except Exception as error:  # whatever the transport says: no network, no such repository, no leave to read it
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{name}: no such folder, and nothing came from the hub: {reason}") from error


def uploaded(repo_id: str, save: Callable[[Path], None], **options: Any) -> str:
    """Upload the folder that ``save`` writes to a repository of the hub; the address of the commit.

    Args:
        options: of ``ModelHubMixin.push_to_hub``.

    Raises:
        CheckpointError: if huggingface_hub is not installed.
    """
    return str(_transport(())(save).push_to_hub(repo_id, **{"commit_message": "Push model using edgenet", **options}))


def _transport(patterns: tuple[str, ...]) -> Any:
    """The class that huggingface_hub carries to and fro: a function that saves, or the folder that has come."""
    hub: Any = _hub()
    mixin: Any = hub.ModelHubMixin

    class Transport(mixin, library_name="edgenet"):  # type: ignore[call-arg]  # a class of Any takes any
        def __init__(self, content: Any) -> None:
            self.content = content

        def _save_pretrained(self, save_directory: Path) -> None:
            self.content(save_directory)

        @classmethod
        def _from_pretrained(cls, *, model_id: str, **options: Any) -> Any:
            return cls(Path(hub.snapshot_download(model_id, allow_patterns=list(patterns), **options)))

    return Transport


def _package() -> Any:
    """edgenet's part that saves and loads, which is imported on first use.

    It knows every layer, and layers have these methods: neither file can import the other.
    """
    return sys.modules[__package__].pretrained


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise CheckpointError(
            "models are exchanged with the Hugging Face hub by huggingface_hub: pip install huggingface_hub."
        ) from error
    return huggingface_hub
