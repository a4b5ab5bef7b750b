"""Compression of any model: structured matrices in its slots."""

from edgenet.compress.slots import Slot, replace, slots

__all__ = ["Slot", "replace", "slots"]
