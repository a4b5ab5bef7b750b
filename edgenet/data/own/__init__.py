"""A user's own data: tables, arrays, PyG's files and GraphML, as data sets, and as questions to a trained model."""

from edgenet.data.own.learned import Learned
from edgenet.data.own.loading import Questions, load_file, load_object, questions_of

__all__ = ["Learned", "Questions", "load_file", "load_object", "questions_of"]
