"""Writing: whole files or none, one writer at a time in a folder."""

from edgenet.writing.atomic import Appended, replaced, write_atomically, write_text
from edgenet.writing.lock import held

__all__ = ["Appended", "held", "replaced", "write_atomically", "write_text"]
