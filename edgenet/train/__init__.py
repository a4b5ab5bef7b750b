"""Training: one loop for any module and any data, several seeds, folders, and runs that resume to the same bits."""

from edgenet.compress import Callback, Training
from edgenet.train.batches import Batch, call_model
from edgenet.train.folders import read_result
from edgenet.train.log import Bar, Csv, JsonLines, TensorBoard, read_metrics
from edgenet.train.loop import DivergenceError, Fitting, fit
from edgenet.train.metrics import METRICS, Metric, Tally
from edgenet.train.optimizers import OPTIMIZERS
from edgenet.train.result import FitResult, RunResult, SeedResult
from edgenet.train.run import run
from edgenet.train.seeds import read_run_model, run_seeds
from edgenet.train.task import LOSSES, Score, Task

__all__ = [
    "LOSSES",
    "METRICS",
    "OPTIMIZERS",
    "Bar",
    "Batch",
    "Callback",
    "Csv",
    "DivergenceError",
    "FitResult",
    "Fitting",
    "JsonLines",
    "Metric",
    "RunResult",
    "Score",
    "SeedResult",
    "Tally",
    "Task",
    "TensorBoard",
    "Training",
    "call_model",
    "fit",
    "read_metrics",
    "read_result",
    "read_run_model",
    "run",
    "run_seeds",
]
