"""The commands ``edgenet convert``, ``compress`` and ``report``: what is done to models that are trained already.

Data sets come in here only to freeze attention on, to judge by and to fine-tune on. torch is imported by what needs it.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenet.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch_geometric.data import Data

    from edgenet.compress import Report
    from edgenet.data import Dataset

_MODEL = "a folder of save_pretrained, the folder of a run, a model.pt, or the published GAT for Cora (.npz)"
_AT_ONCE = 512  # signals in a batch


# ---------------------------------------------------------------- convert
def convert_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help=_MODEL)
    add("--out", required=True, help="folder for the EdgeNet")
    add("--freeze", metavar="DATASET", help="turn attention into edge weights on this data set's graph and features")
    _common(parser)


def convert(arguments: argparse.Namespace) -> int:
    """Turn the PyG layers of a model into EdgeNet layers, and attention into tables where that is asked."""
    from edgenet.convert import freeze_attention, to_edgenet
    from edgenet.pretrained import save_pretrained

    out = _out(arguments)
    model = to_edgenet(read_model(arguments.model)).eval()
    if arguments.freeze:
        dataset = _dataset(arguments.freeze, arguments)
        if dataset.task != "node" or "train_mask" not in dataset.train[0]:
            raise ConfigError(f"attention is frozen on one graph with features, and {dataset.name} has many.")
        data = dataset.train[0]
        _called(model, _inputs(model, data), dataset.name)
        model = freeze_attention(model, *_inputs(model, data))
    save_pretrained(model, out)
    _say(model, out)
    return 0


# ---------------------------------------------------------------- compress
def compress_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help=_MODEL)
    goal = parser.add_mutually_exclusive_group(required=True)
    goal.add_argument("--plan", metavar="PLAN.toml", help="which structure goes into which slots")
    goal.add_argument("--ratio", type=float, help="so many times fewer parameters, family and size chosen by slot")
    goal.add_argument("--max-drop", type=float, help="as few as the metric of --data allows with this loss")
    add("--family", action="append", help="choose from this family alone, or these (default: all)")
    add("--data", metavar="DATASET", help="judge by its validation score, and print its test score")
    add("--fine-tune", type=int, default=0, metavar="EPOCHS", help="train the compressed model on --data")
    add("--lr", type=float, default=0.005, help="learning rate of fine-tuning (default: 0.005)")
    add("--seed", type=int, default=0, help="of all random numbers")
    add("--out", required=True, help="folder for the compressed model, its report and picture")
    _common(parser)


def compress(arguments: argparse.Namespace) -> int:
    """Compress a model by a plan, to a ratio, or as far as a permitted drop allows; and save it."""
    import torch

    from edgenet.compress import Budget, Plan, compress_, search
    from edgenet.pretrained import save_pretrained

    out = _out(arguments)
    if arguments.fine_tune < 0 or not arguments.lr > 0:
        raise ConfigError(f"--fine-tune is 0 or more and --lr above 0, got {arguments.fine_tune} and {arguments.lr}.")
    for name in ("max_drop", "fine_tune"):
        if getattr(arguments, name) and not arguments.data:
            raise ConfigError(f"--{name.replace('_', '-')} needs --data, the data set to judge by.")
    if arguments.plan and arguments.family:
        raise ConfigError("--family is for --ratio and --max-drop; a plan names its structures itself.")
    torch.manual_seed(arguments.seed)
    model = read_model(arguments.model)
    judge = Judge(_dataset(arguments.data, arguments)) if arguments.data else None
    before = None if judge is None else judge.score(model, "test")
    teacher = copy.deepcopy(model)

    def fine_tune(model: nn.Module) -> None:
        judge.fine_tune(model, teacher, arguments.fine_tune, arguments.lr)

    if arguments.plan:
        report = compress_(model, Plan.from_toml(arguments.plan), progress=True)
        if arguments.fine_tune:
            fine_tune(model)
        text = f"compressed by {arguments.plan}"
    else:
        result = search(
            model, None if judge is None else judge.quality,
            None if arguments.ratio is None else Budget(ratio=arguments.ratio), arguments.max_drop, arguments.family,
            fine_tune=fine_tune if arguments.fine_tune else None, seed=arguments.seed,
        )  # fmt: skip
        model, report, text = result.model, result.report, result.text
    save_pretrained(model, out)
    (out / "report.json").write_text(report.to_json() + "\n", encoding="utf-8")
    print(f"{report}\n\n{text}")
    if judge is not None:
        after = judge.score(model, "test")
        print(f"test {judge.dataset.metric} on {judge.dataset.name}: {before:.4f} before, {after:.4f} now")
    _picture(report, out / "compression.png")
    _say(model, out)
    return 0


# ---------------------------------------------------------------- report
def report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=_MODEL)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON")
    form.add_argument("--markdown", action="store_true", help="as a table for a page")
    parser.add_argument("--picture", metavar="FILE.png", help="also draw it")


def report(arguments: argparse.Namespace) -> int:
    """Show what every slot of a model takes."""
    from edgenet.compress import Report
    from edgenet.compress import report as report_of

    errors, path = {}, Path(arguments.model) / "report.json"
    if path.is_file():  # which was written when there was something to compare with
        rows = Report.from_json(path.read_text(encoding="utf-8")).rows
        errors = {row.name.split(" = ")[0]: row.error for row in rows if row.error is not None}
    found = report_of(read_model(arguments.model), errors)
    print(found.to_json() if arguments.json else found.to_markdown() if arguments.markdown else found)
    if arguments.picture:
        from edgenet import plots

        plots.compression_picture(found, arguments.picture)
        print(f"picture: {arguments.picture}", file=sys.stderr)
    return 0


# ---------------------------------------------------------------- models
def read_model(path: str | Path) -> nn.Module:
    """A model from a file or folder, of any kind that the commands take.

    Raises:
        ConfigError: if it is none of them.
        CheckpointError, DataError: if it is damaged.
    """
    path = Path(path)
    if path.suffix == ".npz" and path.is_file():
        from edgenet.convert.published import gat_cora

        return gat_cora(path)
    if (path / "config.json").is_file():
        from edgenet.pretrained import from_pretrained

        return from_pretrained(path)
    if (path / "config.toml").is_file():  # a run: the best of its seeds by validation
        return _best_of(path)
    if path.suffix == ".pt" and path.is_file():
        from edgenet.train import load_model

        return load_model(path)[0]
    what = "has neither config.json nor config.toml" if path.is_dir() else "no such model"
    raise ConfigError(f"{path}: {what}. A model is {_MODEL}.")


def _best_of(run: Path) -> nn.Module:
    from edgenet.config import RunConfig
    from edgenet.data import describe
    from edgenet.train import load_model

    files = sorted(run.glob("seed-*/model.pt"))
    if not files:
        raise CheckpointError(f"{run}: no seed of this run is done. Go on with: edgenet train {run} --resume")
    least = describe(RunConfig.from_toml(run / "config.toml").dataset.name)["metric"] == "rmse"
    found = [load_model(file) for file in files]
    return (min if least else max)(found, key=lambda pair: pair[1].val)[0]


def _inputs(model: nn.Module, data: Data, x: Tensor | None = None) -> tuple[Any, ...]:
    """What a model is called with."""
    like = next((p for p in model.parameters() if p.is_floating_point()), None)
    x = data.x if x is None else x
    weight = data.get("edge_weight")
    if like is not None:
        x, weight = x.to(like), None if weight is None else weight.to(like)
    return (x, data.edge_index) if weight is None else (x, data.edge_index, weight)


def _called(model: nn.Module, inputs: tuple[Any, ...], name: str) -> Tensor:
    try:
        return model(*inputs)
    except (RuntimeError, IndexError, TypeError) as error:  # sizes that do not fit layers which are not edgenet's
        raise ConfigError(
            f"this {type(model).__name__} does not run on {name}: {str(error).splitlines()[0]}"
        ) from error


class Judge:
    """Scores of a model on a data set, and fine-tuning on it."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def quality(self, model: nn.Module) -> float:
        """The validation metric; higher is better."""
        score = self.score(model, "val")
        return -score if self.dataset.metric == "rmse" else score

    def score(self, model: nn.Module, split: str) -> float:
        """The metric of a split."""
        import torch

        from edgenet.train import Tally

        tally = Tally(self.dataset.target)
        model.eval()
        with torch.no_grad():
            for scores, target in self._answers(model, split):
                tally.add(scores, target, 0.0)
        return tally.metric()

    def fine_tune(self, model: nn.Module, teacher: nn.Module, epochs: int, lr: float) -> None:
        """Train in place on the labels, and on what the teacher says of every node; without dropout, for small models
        have nothing to spare. The epoch of the best validation score is kept, the untrained model among them."""
        import torch
        from tqdm import tqdm

        with torch.no_grad():
            told = [scores for scores, _, _ in self._outputs(teacher.eval(), "train")]
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
        best, kept = self.quality(model), _copied(model)
        for _ in tqdm(range(epochs), desc="fine-tune", leave=False):
            model.eval()
            for (scores, target, mask), soft in zip(self._outputs(model, "train"), told, strict=True):
                optimizer.zero_grad()
                self._loss(scores, target, mask, soft).backward()
                optimizer.step()
            quality = self.quality(model)
            if quality >= best:
                best, kept = quality, _copied(model)
        model.load_state_dict(kept)
        model.eval()

    def _loss(self, scores: Tensor, target: Tensor, mask: Tensor | None, soft: Tensor) -> Tensor:
        import torch.nn.functional as F

        from edgenet.compress import distillation

        own, labels = (scores, target) if mask is None else (scores[mask], target[mask])
        if self.dataset.target == "class":
            return F.cross_entropy(own, labels) + distillation(scores, soft)
        if self.dataset.target == "multilabel":
            loss = F.binary_cross_entropy_with_logits
            return loss(own, labels.to(own)) + loss(scores, soft.sigmoid())
        return F.mse_loss(own.squeeze(-1), labels.to(own)) + F.mse_loss(scores, soft)

    def _answers(self, model: nn.Module, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        """(scores, target) of every batch of a split, of its own nodes alone."""
        for scores, target, mask in self._outputs(model, split):
            yield (scores, target) if mask is None else (scores[mask], target[mask])

    def _outputs(self, model: nn.Module, split: str) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """(scores, target, mask of the split's nodes) of every batch."""
        for data in getattr(self.dataset, split):
            if self.dataset.task == "signal":
                for start in range(0, len(data.y), _AT_ONCE):
                    few = slice(start, start + _AT_ONCE)
                    yield _called(model, _inputs(model, data, data.x[few]), self.dataset.name), data.y[few], None
                continue
            yield _called(model, _inputs(model, data), self.dataset.name), data.y, data.get(f"{split}_mask")


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


# ---------------------------------------------------------------- what the commands share
def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace the model in the folder")
    parser.add_argument("--data-root", help="folder to look for data in first")


def _out(arguments: argparse.Namespace) -> Path:
    out = Path(arguments.out)
    if out.is_file() or ((out / "config.json").exists() and not arguments.overwrite):
        raise ConfigError(f"{out} exists. Replace it with --overwrite, or choose another --out.")
    if (out / "config.toml").exists():
        raise ConfigError(f"{out} is the folder of a run; choose another --out.")
    return out


def _dataset(name: str, arguments: argparse.Namespace) -> Dataset:
    from edgenet.data import load

    return load(name, root=arguments.data_root)


def _picture(report: Report, path: Path) -> None:
    from edgenet import plots

    try:
        print(f"picture: {plots.compression_picture(report, path)}")
    except ConfigError as error:
        print(f"edgenet: no picture: {error}", file=sys.stderr)


def _say(model: nn.Module, out: Path) -> None:
    from edgenet.compress import report
    from edgenet.pretrained.folder import CONFIG, TENSORS

    parameters = report(model).total.parameters
    tables = json.loads((out / CONFIG).read_text(encoding="utf-8"))["graphs"]
    bound = f", {len(tables)} of its tables bound to a graph" if tables else ""
    size = (out / TENSORS).stat().st_size
    print(f"model:   {out}, {type(model).__name__}, {parameters:,} parameters, {size:,} bytes{bound}")
