"""C-LSTM as a framework: an LSTM in circulant blocks as a graph of operators, its schedule, its costs and block sizes.

Wang, Li, Ding, Yuan, Qiu, Wang, Liang 2018, "C-LSTM: enabling efficient LSTM using structured compression techniques on
FPGAs".
"""

from edgenet.clstm.block_sizes import BlockSizes, choose_block_sizes, shared_inputs
from edgenet.clstm.cost import Cost, Machine, Product, by_block, lstm_cost
from edgenet.clstm.from_cell import shape_of
from edgenet.clstm.operators import GATES, LstmShape, Operator, OperatorGraph, lstm_graph
from edgenet.clstm.scheduling import Pipeline, Stage, critical_path, pipeline, priorities, schedule

__all__ = [
    "GATES",
    "BlockSizes",
    "Cost",
    "LstmShape",
    "Machine",
    "Operator",
    "OperatorGraph",
    "Pipeline",
    "Product",
    "Stage",
    "by_block",
    "choose_block_sizes",
    "critical_path",
    "lstm_cost",
    "lstm_graph",
    "pipeline",
    "priorities",
    "schedule",
    "shape_of",
    "shared_inputs",
]
