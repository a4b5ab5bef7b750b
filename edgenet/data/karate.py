"""Zachary's karate club: small enough to draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.datasets import KarateClub

from edgenet.data.check import check_data
from edgenet.data.dataset import Dataset
from edgenet.data.facts import FACTS as KNOWN
from edgenet.data.places import Place
from edgenet.data.split import mask

FACTS = KNOWN["karate"]


def make(where: Sequence[Place], *, seed: int = 0) -> Dataset:
    """The club as PyG has it: features are the identity, the training nodes are one per community.

    Args:
        where: not used; the graph is part of PyG.
        seed: draws which 10 of the other 30 nodes are for validation; the rest is for testing.
    """
    club = KarateClub()[0]
    others = np.random.default_rng(seed).permutation((~club.train_mask).nonzero()[:, 0].numpy())
    data = Data(
        x=torch.eye(34, dtype=torch.float32),
        y=club.y.long(),
        edge_index=club.edge_index.long(),
        train_mask=club.train_mask.clone(),
        val_mask=mask(others[:10], 34),
        test_mask=mask(others[10:], 34),
    )
    info = {
        "source": FACTS.source,
        "licence": FACTS.licence,
        "split": FACTS.split,
        "seed": seed,
        "normalisation": "none",
        "found": "part of PyG",
        "warnings": [],
    }
    lists = [check_data(data, "karate")]
    return Dataset("karate", "node", "class", "accuracy", 34, 4, lists, list(lists), list(lists), info)
