"""Compression of any model: structured matrices in its slots, plans, reports, training callbacks and search."""

from edgenet.compress.compress import compress_, decompress_
from edgenet.compress.plan import Plan
from edgenet.compress.report import Report, Row, report, stored
from edgenet.compress.slots import Slot, replace, slots

__all__ = ["Plan", "Report", "Row", "Slot", "compress_", "decompress_", "replace", "report", "slots", "stored"]
