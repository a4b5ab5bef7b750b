"""``edgenet inspect``: what came of a run."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenet.cli.command import Command
from edgenet.cli.printing import emit, score, spread
from edgenet.errors import CheckpointError, ConfigError
from edgenet.text import plain_table

if TYPE_CHECKING:
    from edgenet.config import Settings


def arguments(parser: argparse.ArgumentParser) -> None:
    """``inspect RUN``."""
    parser.add_argument("run", metavar="RUN", help="the folder of a run, of one seed, or of edgenet.fit")


def run(options: argparse.Namespace) -> int:
    """Print configuration, seeds, tensors and pictures."""
    folder = Path(options.run)
    config: Settings | None = None
    if (folder / "config.toml").is_file():
        config = _config(folder / "config.toml")
        seeds = {str(seed): folder / f"seed-{seed}" for seed in config.training.seeds}
    elif (folder / "metrics.jsonl").is_file() or (folder / "result.json").is_file():
        seeds = {"": folder}
    else:
        raise ConfigError(f"{folder}: is no run: it has no config.toml. `edgenet train --out FOLDER` makes one.")
    results = {seed: _result(own) for seed, own in seeds.items()}
    done = [result for result in results.values() if result is not None]
    lines = [] if config is None else [f"# {folder / 'config.toml'}\n{config.to_toml()}"]
    lines.append(_table(seeds, results))
    tensors: list[list[str]] = []
    if done:
        last = next(own for seed, own in reversed(seeds.items()) if results[seed] is not None)
        kind, tensors = _tensors(last / "model")
        table = plain_table(["tensor", "shape", "dtype", "numbers", ""], tensors)
        lines.append(f"\n{kind}, {done[-1].parameters:,} parameters\n{table}")
    pictures = sorted(folder.glob("*.png"))
    lines.append("\n" + "\n".join(f"picture: {path}" for path in pictures) if pictures else "\nno pictures yet")
    if len(done) < len(seeds) and config is not None:
        lines.append(f"go on with: edgenet train {folder} --resume")
    facts = {
        "run": str(folder), "config": None if config is None else config.to_dict(),
        "seeds": {seed: None if result is None else asdict(result) for seed, result in results.items()},
        "tensors": [dict(zip(("name", "shape", "dtype", "numbers", "fixed"), row, strict=True)) for row in tensors],
        "pictures": list(map(str, pictures)),
    }  # fmt: skip
    emit(options, facts, *lines)
    return 0


def _config(file: Path) -> Settings:
    """The configuration of a run; of ``run_seeds``, which makes neither model nor data, the settings alone."""
    from edgenet import reading
    from edgenet.config import RunConfig, Settings

    whole = b"[dataset]" in reading.content(file, reading.TEXT, ConfigError)
    return (RunConfig if whole else Settings).from_toml(file)


def _result(folder: Path) -> Any:
    """The result of a training that is done, else None."""
    from edgenet.train import read_result

    return read_result(folder) if (folder / "result.json").exists() else None


def _table(seeds: dict[str, Path], results: dict[str, Any]) -> str:
    """A line for each seed, and their mean."""
    from edgenet.train import read_metrics

    rows, done = [], [result for result in results.values() if result is not None]
    for seed, folder in seeds.items():
        records, result = read_metrics(folder / "metrics.jsonl"), results[seed]
        if result is not None:
            epochs, numbers = f"{result.best_epoch}/{result.epochs}", [score(result.val), score(result.test)]
            rows.append([seed, "done", epochs, *numbers, f"{result.seconds:.1f}"])
        else:
            rows.append([seed, _state(folder, len(records)), f"-/{len(records)}", "", "", ""])
    if done:
        rows.append(["mean", f"{len(done)} of {len(seeds)} done", "", "", spread([result.test for result in done]), ""])
    return plain_table(
        ["seed", "state", "best/epochs", "val", "test", "seconds"], rows, rule=len(rows) - 1 if done else None
    )


def _state(folder: Path, records: int) -> str:
    """How far a training has come that is not done."""
    from edgenet import checkpoint

    file = folder / "checkpoint.pt"
    if not file.exists():
        return "no checkpoint" if records else "not begun"
    state = checkpoint.load(file)
    epoch = state.get("epoch") if isinstance(state, dict) else None
    if type(epoch) is not int:
        raise CheckpointError(f"{file}: is no state of a training: no epoch.")
    return f"can go on from epoch {epoch}"


def _tensors(folder: Path) -> tuple[str, list[list[str]]]:
    """The class of a saved model, and a row for each of its tensors."""
    from edgenet.pretrained import from_pretrained, tensors_of
    from edgenet.pretrained.folder import read_config, read_tensors
    from edgenet.pretrained.tree import nodes

    config = read_config(folder)
    if any("unknown" in node for _, node in nodes(config["tree"])):  # only who wrote the class can make the model
        tensors, fixed = read_tensors(folder, config), set(config["frozen"])
    else:
        model = from_pretrained(folder)
        tensors = {name: value for name, value in tensors_of(model).items() if value.numel()}
        fixed = set(tensors) - {name for name, p in model.named_parameters() if p.requires_grad}
    lines = [
        [name, " x ".join(map(str, value.shape)) or "number", str(value.dtype).removeprefix("torch."),
         f"{value.numel():,}", "fixed" if name in fixed else ""]
        for name, value in tensors.items()
    ]  # fmt: skip
    return config["tree"]["class"].rpartition(".")[2], lines


COMMAND = Command("show what came of a run", arguments, run, json=True)
