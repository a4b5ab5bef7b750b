"""The table of docs/ecosystem.md: other people's tools, job by job, with a layer of PyG and with ours; each row is run.

``python -m edgenet.bench.results.ecosystem`` runs every row and puts the table between its marks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GATConv

from edgenet.bench.pages.marked import with_marked
from edgenet.compress import adapt_, merge_deltas_
from edgenet.errors import ConfigError, ContractError
from edgenet.nn import specializations as nets
from edgenet.testing.contract import fair
from edgenet.testing.ecosystem import JOBS, versions
from edgenet.testing.layer.case import EDGES, NODES, LayerCase
from edgenet.text import markdown_table
from edgenet.train import OptunaPruning, fit
from edgenet.writing import write_text

MARK = "jobs"
PAGE = Path("docs/ecosystem.md")
IMPOSSIBLE = 3
HEADER = ("job", "with PyG's layers", "friction", "with edgenet's", "friction", "run with")

PYG = (LayerCase(lambda i, o: GATConv(i, o, heads=2), batches=False, sparse=False, name="GATConv"),)
OURS = (
    LayerCase(lambda i, o: nets.gat(i, o, heads=2), name="gat"),
    LayerCase(lambda i, o: nets.edge_varying(i, o, bank="heads", heads=2), sparse=False, name="edge_varying"),
)


@dataclass(frozen=True)
class Row:
    """A job, how it is done with a layer of PyG and with one of ours, and what that takes.

    Attributes:
        job: of ``JOBS``, or of ``OWN_JOBS``.
        friction: 0: the tool's own lines. 1: a line or an argument more. 2: some lines of one's own. 3: it cannot be.
    """

    job: str
    pyg: str
    pyg_friction: int
    ours: str
    friction: int
    title: str = ""

    def cells(self) -> tuple[str, ...]:
        """As the page has it, but for the versions."""
        return self.title or self.job, self.pyg, str(self.pyg_friction), self.ours, str(self.friction)


_SAME = "the same"
ROWS = (
    Row("message hooks", "`register_message_forward_hook`, ...", 0, _SAME, 0),
    Row("AttentionExplainer", "layers with attention", 0, "every layer of edge weights", 0),
    Row("GNNExplainer", "`Explainer(model, GNNExplainer())`", 0, _SAME, 0),
    Row("GraphMaskExplainer", "`Explainer(model, GraphMaskExplainer(layers))`", 0, _SAME, 0),
    Row("CaptumExplainer", '`CaptumExplainer("IntegratedGradients")`', 0, _SAME, 0),
    Row("captum", "one signal at a time: `internal_batch_size=1`", 1, "signals stacked in a batch", 0, "captum itself"),
    Row("summary", "`summary(model, x, edge_index)`", 0, _SAME, 0),
    Row("vmap ensemble", "`stack_module_state`, `functional_call`", 0, _SAME, 0),
    Row("autocast", "`torch.autocast`, bfloat16", 0, _SAME, 0),
    Row("GradScaler", "`torch.amp.GradScaler`", 0, _SAME, 0),
    Row("checkpointing", "`torch.utils.checkpoint`", 0, _SAME, 0),
    Row("DDP", "`DistributedDataParallel`", 0, _SAME, 0),
    Row("FSDP2", "`fully_shard`", 0, _SAME, 0),
    Row("Lightning", "`Trainer.fit`, `load_from_checkpoint`", 0, _SAME, 0),
    Row("Optuna", "a training loop of one's own that reports", 2, "`fit(..., callbacks=[OptunaPruning(trial)])`", 0),
    Row("LoRA", "`target_parameters`, for `target_modules` wants torch's `Linear`", 1, "`target_parameters`", 1),
    Row("deltas", "no such function", 3, "`adapt_`", 0, "deltas of any structure"),
    Row("torchao", "`quantize_` on what is torch's `Linear`", 0, _SAME, 0),
)  # fmt: skip


# --- jobs that are none of a layer alone ------------------------------------------------------------------------------
def sweep(case: LayerCase) -> None:
    """A study of Optuna over the learning rate, whose pruner ends trials by what an epoch's validation says."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    data = _data()

    def objective(trial: Any) -> float:
        model, rate = case.bare(), trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        if case in PYG:
            return _loop(model, data, rate, trial)
        rules = [OptunaPruning(trial)]
        return float(fit(model, data, epochs=4, lr=rate, seed=0, callbacks=rules, progress=False).val or 0.0)

    pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=1)
    study = optuna.create_study(direction="maximize", pruner=pruner, sampler=optuna.samplers.RandomSampler(0))
    study.optimize(objective, n_trials=4)
    if study.best_value is None or not any(trial.intermediate_values for trial in study.trials):
        raise ContractError("the study heard nothing of its trials")


def _loop(model: nn.Module, data: Data, rate: float, trial: Any) -> float:
    """What one writes for a layer without ``fit``."""
    import optuna

    optimizer, score = torch.optim.Adam(model.parameters(), rate), 0.0
    for epoch in range(4):
        optimizer.zero_grad()
        y = model(data.x, data.edge_index)
        nn.functional.cross_entropy(y[data.train_mask], data.y[data.train_mask]).backward()
        optimizer.step()
        hits = (y.argmax(-1) == data.y)[data.val_mask]
        score = float(hits.double().mean())
        trial.report(score, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return score


def deltas(case: LayerCase) -> None:
    """Low-rank and Kronecker deltas on a frozen layer, merged into its weights."""
    for structure in ({"structure": "low_rank", "rank": 1}, "kronecker"):
        layer, x, more = case.ready()
        adapt_(layer, {".*": structure})
        optimizer = torch.optim.SGD([p for p in layer.parameters() if p.requires_grad], 0.1)
        layer(x, **more).square().mean().backward()
        optimizer.step()
        adapted = layer(x, **more)
        merge_deltas_(layer)
        torch.testing.assert_close(layer(x, **more), adapted)


def _data() -> Data:
    """Nodes of four classes, which a feature gives away."""
    y = torch.arange(NODES) % 4
    mask = torch.arange(NODES) % 2 == 0
    x = nn.functional.one_hot(y, 4).to(torch.get_default_dtype())
    return Data(x=x, y=y, edge_index=EDGES, train_mask=mask, val_mask=~mask)


#: job -> what does it, and the packages that it is done with
OWN_JOBS: dict[str, tuple[Callable[[LayerCase], None], str]] = {
    "Optuna": (sweep, "optuna"),
    "deltas": (deltas, "torch"),
}


# --- running ----------------------------------------------------------------------------------------------------------
def why_not(job: str, cases: Iterable[LayerCase]) -> str | None:
    """Why a job cannot be done with one of these layers; None if it can with all."""
    for case in cases:
        try:
            if job in OWN_JOBS:
                with fair():
                    OWN_JOBS[job][0](case)
                continue
            reasons = [JOBS.hold(name, case) for name in JOBS.chosen(job)]
        except Exception as error:  # whatever a tool raises is what is told of it
            return str(error)
        for reason in reasons:
            if reason is not None:
                return reason
    return None


def checked(row: Row) -> tuple[str, ...]:
    """A row of the table, after its job was done, or not, on both sides.

    Raises:
        ConfigError: if it goes otherwise than the row says.
    """
    for side, friction, cases in (("PyG", row.pyg_friction, PYG), ("edgenet", row.friction, OURS)):
        reason = why_not(row.job, cases)
        if (reason is not None) != (friction == IMPOSSIBLE):
            found = reason or "it works"
            raise ConfigError(f"{row.job} with {side} has friction {friction} in the table, and: {found}")
    with_what = versions(row.job) if row.job not in OWN_JOBS else _version(OWN_JOBS[row.job][1])
    return *row.cells(), with_what


def _version(tool: str) -> str:
    from importlib.metadata import version

    return f"{tool} {version(tool)}"


def main() -> None:
    """Run every row and write the table."""
    made = markdown_table(HEADER, map(checked, ROWS), right=(2, 4))
    write_text(PAGE, with_marked(PAGE.read_text(encoding="utf-8"), MARK, made, str(PAGE)))


if __name__ == "__main__":
    main()
