"""Compression of any model: structured matrices in its slots, plans, reports, training callbacks and search."""

from edgenet.compress.adaptation_record import AdaptationRecord, adaptation
from edgenet.compress.admm import ADMM
from edgenet.compress.binary_recipe import BinaryRecipe
from edgenet.compress.budget import Budget
from edgenet.compress.callbacks import Callback, Training
from edgenet.compress.compress import compress_, decompress_
from edgenet.compress.compress_rule import Compress
from edgenet.compress.consistency_loss import consistency
from edgenet.compress.consistency_rule import Consistency
from edgenet.compress.deltas import Delta, adapt_, delta_state, merge_deltas_
from edgenet.compress.distill import distillation
from edgenet.compress.distill_rule import Distill
from edgenet.compress.end_when import EndWhen
from edgenet.compress.finding import slots
from edgenet.compress.from_tables import CALLBACKS, make_callbacks
from edgenet.compress.group_lasso import GroupLasso
from edgenet.compress.groups import Groups
from edgenet.compress.l1_inf import L1Inf
from edgenet.compress.plan import Plan
from edgenet.compress.pool import pool_
from edgenet.compress.proximal import GroupRow
from edgenet.compress.quantise import quantise_
from edgenet.compress.rates import regroup_
from edgenet.compress.recalibrate import recalibrate_
from edgenet.compress.refit import refit_
from edgenet.compress.reports import Report, Row
from edgenet.compress.restructuring import restructure_
from edgenet.compress.row_dropout import RowDropout
from edgenet.compress.schedules import Anneal, cubic_density
from edgenet.compress.searching import Point, SearchResult, search
from edgenet.compress.shift_recipe import ShiftRecipe
from edgenet.compress.sizes import report, stored
from edgenet.compress.slot import Slot, replace
from edgenet.compress.unify_rule import Unify
from edgenet.compress.without_rounding import unrounded

__all__ = [
    "ADMM",
    "CALLBACKS",
    "AdaptationRecord",
    "Anneal",
    "BinaryRecipe",
    "Budget",
    "Callback",
    "Compress",
    "Consistency",
    "Delta",
    "Distill",
    "EndWhen",
    "GroupLasso",
    "GroupRow",
    "Groups",
    "L1Inf",
    "Plan",
    "Point",
    "Report",
    "Row",
    "RowDropout",
    "SearchResult",
    "ShiftRecipe",
    "Slot",
    "Training",
    "Unify",
    "adapt_",
    "adaptation",
    "compress_",
    "consistency",
    "cubic_density",
    "decompress_",
    "delta_state",
    "distillation",
    "make_callbacks",
    "merge_deltas_",
    "pool_",
    "quantise_",
    "recalibrate_",
    "refit_",
    "regroup_",
    "replace",
    "report",
    "restructure_",
    "search",
    "slots",
    "stored",
    "unrounded",
]
