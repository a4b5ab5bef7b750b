"""Saving a model into a folder, or into a repository of the Hugging Face hub."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from edgenet import hub
from edgenet.compress.sizes import report
from edgenet.pretrained import folder as files
from edgenet.pretrained import graphs
from edgenet.pretrained.describing import describe
from edgenet.pretrained.fitting import built, check_fit
from edgenet.pretrained.model_card import card


def save_pretrained(model: nn.Module, folder: str | Path, pack: bool = True) -> None:
    """Write a model into a folder, as ``model.safetensors``, ``config.json`` and a model card, ``README.md``.

    A model that is in the folder is replaced at once, and whole: a process that is killed leaves it, or the new one.
    While the two are there, the tensors of one are called ``model-<sha256>.safetensors``; ``config.json`` says which.

    Any model of edgenet's layers, structured matrices, common modules of torch and layers of PyG can be loaded by
    ``from_pretrained`` alone. Of other modules the tensors are stored, and whoever loads them builds the model; the
    card names them. What is shared is stored once, and comes back shared.

    Args:
        model: any module whose layers all have their sizes.
        folder: is made where it is missing. Other files in it stay. No symbolic link is followed.
        pack: store structured matrices in the form of their ``pack()``: the sizes are those of the report, and
            matrices under a mask come back as compressed rows. Pass False to go on with a schedule of densities.

    Raises:
        CheckpointError: if a layer has no size yet, something is no plain tensor, or a module that is to be loaded
            alone has hooks, pruning, a weight norm or other parametrizations of its own; with its path and the remedy.
            Or if the folder is a file or a link. Nothing is written then.

    Example:
        >>> import os
        >>> edgenet.save_pretrained(edgenet.NodeClassifier(3, 2), "small")
        >>> sorted(os.listdir("small"))
        ['README.md', 'config.json', 'model.safetensors']
    """
    description = describe(model, pack)
    found = graphs.fingerprints(model)
    unknown = description.unknown()
    shapes = {name: tuple(tensor.shape) for name, tensor in description.tensors.items()}
    shapes |= {name: shapes[first] for name, first in description.tied.items()}
    if not unknown:  # what is written can be read
        check_fit(built(description.tree, shapes, description.pools), shapes)
    config = {
        "tree": description.tree,
        "tied": description.tied,
        "frozen": sorted(set(description.frozen)),
        "pools": description.pools,
        "graphs": found,
    }
    files.write(Path(folder), description.tensors, config, card(model, report(model), found, unknown))


def push_to_hub(model: nn.Module, repo_id: str, pack: bool = True, **options: Any) -> str:
    """Upload a model to the Hugging Face hub, as ``save_pretrained`` writes it.

    Args:
        model: any, as of ``save_pretrained``.
        repo_id: ``"owner/name"``. The repository is made where there is none.
        pack: as of ``save_pretrained``.
        options: of huggingface_hub's ``ModelHubMixin.push_to_hub``: ``private``, ``token``, ``commit_message``,
            ``branch``, ``create_pr``, ...

    Returns:
        The address of the commit.

    Raises:
        CheckpointError: if huggingface_hub is not installed; and as ``save_pretrained``.

    Example:
        >>> model = edgenet.NodeClassifier(3, 2)
        >>> edgenet.pretrained.push_to_hub(model, "owner/name", private=True)  # wants an account  # doctest: +SKIP
    """
    return hub.uploaded(repo_id, partial(save_pretrained, model, pack=pack), **options)
