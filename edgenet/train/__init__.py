"""Training: one loop for any module and any data, several seeds, folders, and runs that resume to the same bits."""

from edgenet.compress import Callback, Training
from edgenet.train.batches import Batch
from edgenet.train.calling import call_model
from edgenet.train.compressing import Compressed, compress
from edgenet.train.fitting import fit
from edgenet.train.folders import read_result
from edgenet.train.from_config import model_of, run
from edgenet.train.log import Bar, Csv, JsonLines, TensorBoard, read_metrics
from edgenet.train.losses import LOSSES
from edgenet.train.metrics import METRICS, Metric, Tally
from edgenet.train.optimizers import OPTIMIZERS
from edgenet.train.optuna_pruning import OptunaPruning
from edgenet.train.predicting import predict
from edgenet.train.processes import data_parallel
from edgenet.train.result import FitResult, RunResult, SeedResult
from edgenet.train.seeds import read_run_model, run_seeds
from edgenet.train.sequences import Streams
from edgenet.train.shift_ada_max import ShiftAdaMax
from edgenet.train.sinks import SINKS, Wandb
from edgenet.train.task import Score, Task
from edgenet.train.training import DivergenceError, Fitting
from edgenet.train.tuning import Latest, fine_tune

__all__ = [
    "LOSSES",
    "METRICS",
    "OPTIMIZERS",
    "SINKS",
    "Bar",
    "Batch",
    "Callback",
    "Compressed",
    "Csv",
    "DivergenceError",
    "FitResult",
    "Fitting",
    "JsonLines",
    "Latest",
    "Metric",
    "OptunaPruning",
    "RunResult",
    "Score",
    "SeedResult",
    "ShiftAdaMax",
    "Streams",
    "Tally",
    "Task",
    "TensorBoard",
    "Training",
    "Wandb",
    "call_model",
    "compress",
    "data_parallel",
    "fine_tune",
    "fit",
    "model_of",
    "predict",
    "read_metrics",
    "read_result",
    "read_run_model",
    "run",
    "run_seeds",
]
