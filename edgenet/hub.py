"""Pretrained: what makes a model save itself into a folder, load itself from one, and meet the Hugging Face hub.

The methods are those of huggingface_hub's ``PyTorchModelHubMixin``, with edgenet's own files. It is no base class here:
it would have to be installed, and it rewrites the constructors of its subclasses. It is asked for by the methods that
need it alone.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any, Self

from edgenet.errors import CheckpointError


class Pretrained:
    """Mixin of models that are whole enough to be shipped."""

    def save_pretrained(self, folder: str | Path, **options: Any) -> None:
        """Write the model into a folder; see ``edgenet.pretrained.save_pretrained``, which has the options."""
        _package().save_pretrained(self, folder, **options)

    @classmethod
    def from_pretrained(cls, name: str | Path, *, revision: str | None = None, **options: Any) -> Self:
        """The model in a folder, or in a repository of the Hugging Face hub, in eval mode.

        Args:
            name: a folder; else a repository, ``"owner/name"``, which huggingface_hub downloads.
            revision: of the repository.
            options: of ``edgenet.pretrained.from_pretrained``.

        Raises:
            CheckpointError: if there is no such model, or it is of another class; otherwise as
                ``edgenet.pretrained.from_pretrained``.
        """
        folder = Path(name)
        if not folder.is_dir():
            folder = _downloaded(str(name), revision)
        model = _package().from_pretrained(folder, **options)
        if not isinstance(model, cls):
            raise CheckpointError(
                f"{folder}: holds a {type(model).__name__}, no {cls.__name__}; edgenet.pretrained.from_pretrained "
                f"loads any."
            )
        return model

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str = "Push model using edgenet",
        **options: Any,
    ) -> str:
        """Upload the model to the Hugging Face hub; the repository is made where there is none.

        Args:
            repo_id: ``"owner/name"``.
            private, token, commit_message: as of huggingface_hub.
            options: of ``save_pretrained``.

        Returns:
            The address of the commit.

        Raises:
            CheckpointError: if huggingface_hub is not installed.
        """
        api = _hub().HfApi(token=token)
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, **options)
            return str(api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=commit_message))


def _package() -> Any:
    """edgenet itself, of which ``save_pretrained`` and ``from_pretrained`` are names that it imports on first use.

    What saves and loads knows every layer, and layers have these methods: neither file can import the other.
    """
    return sys.modules[__package__]


def _downloaded(name: str, revision: str | None) -> Path:
    if name.count("/") != 1 or name.startswith((".", "/", "~")) or name.endswith("/"):
        raise CheckpointError(f"{name}: no such folder, and no name of a repository (owner/name).")
    files = ["config.json", "model.safetensors", "README.md"]
    try:
        return Path(_hub().snapshot_download(name, revision=revision, allow_patterns=files))
    except (OSError, ValueError) as error:  # a CheckpointError is a ValueError, and says it all
        if isinstance(error, CheckpointError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{name}: no such folder, and nothing came from the hub: {reason}") from error


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise CheckpointError(
            "models are exchanged with the Hugging Face hub by huggingface_hub: pip install huggingface_hub."
        ) from error
    return huggingface_hub
