"""Saved models: a folder with plain tensors, a description in JSON and a model card. Loading runs no code from it."""

from edgenet.pretrained.fitting import tensors_of
from edgenet.pretrained.graphs import fingerprint
from edgenet.pretrained.in_transformers import teach_transformers
from edgenet.pretrained.loading import from_pretrained
from edgenet.pretrained.predictor import Predictor
from edgenet.pretrained.saving import push_to_hub, save_pretrained

__all__ = [
    "Predictor",
    "fingerprint",
    "from_pretrained",
    "push_to_hub",
    "save_pretrained",
    "teach_transformers",
    "tensors_of",
]
