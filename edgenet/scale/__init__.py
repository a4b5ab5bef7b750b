"""Past one machine, or past its memory: tables whose rows lie on several processes or in files, and data parallel
trainings."""

from edgenet.scale.checkpoints import load_tables, read_table, save_tables
from edgenet.scale.mapped import Mapped
from edgenet.scale.replicated import Replicated
from edgenet.scale.row_optimizer import ROW_OPTIMIZERS, RowOptimizer
from edgenet.scale.row_table import Held, RowTable
from edgenet.scale.sharded import Sharded, available
from edgenet.scale.tables import ENGINES, dense_state, map_tables_, row_tables, shard_tables_

__all__ = [
    "ENGINES",
    "ROW_OPTIMIZERS",
    "Held",
    "Mapped",
    "Replicated",
    "RowOptimizer",
    "RowTable",
    "Sharded",
    "available",
    "dense_state",
    "load_tables",
    "map_tables_",
    "read_table",
    "row_tables",
    "save_tables",
    "shard_tables_",
]
