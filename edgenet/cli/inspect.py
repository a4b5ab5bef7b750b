"""``edgenet inspect``: what came of a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgenet.cli.command import Command
from edgenet.cli.printing import score
from edgenet.errors import CheckpointError, ConfigError
from edgenet.text import plain_table


def arguments(parser: argparse.ArgumentParser) -> None:
    """``inspect RUN``."""
    parser.add_argument("run", metavar="RUN", help="the folder of a run")


def run(options: argparse.Namespace) -> int:
    """Print configuration, seeds, tensors and pictures."""
    from statistics import fmean, stdev

    from edgenet import checkpoint
    from edgenet.config import RunConfig
    from edgenet.pretrained import from_pretrained
    from edgenet.train import read_metrics, read_result

    folder = Path(options.run)
    if not (folder / "config.toml").is_file():
        raise ConfigError(f"{folder}: is no run: it has no config.toml. `edgenet train --out FOLDER` makes one.")
    config = RunConfig.from_toml(folder / "config.toml")
    print(f"# {folder / 'config.toml'}\n{config.to_toml()}")
    rows, tests, model = [], [], None
    for seed in config.training.seeds:
        own = folder / f"seed-{seed}"
        records = read_metrics(own / "metrics.jsonl")
        if (own / "result.json").exists():
            result, model = read_result(own), from_pretrained(own / "model")
            tests.append(result.test)
            epochs, scores = f"{result.best_epoch}/{result.epochs}", (score(result.val), score(result.test))
            rows.append([str(seed), "done", epochs, *scores, f"{result.seconds:.1f}"])
        elif (own / "checkpoint.pt").exists():
            state = checkpoint.load(own / "checkpoint.pt")
            epoch = state.get("epoch") if isinstance(state, dict) else None
            if type(epoch) is not int:
                raise CheckpointError(f"{own / 'checkpoint.pt'}: is no state of a training run: no epoch.")
            rows.append([str(seed), f"can go on from epoch {epoch}", f"-/{len(records)}", "", "", ""])
        else:
            rows.append([str(seed), "not begun" if not records else "no checkpoint", f"-/{len(records)}", "", "", ""])
    if tests:
        spread = f"{fmean(tests):.4f}" + (f" ± {stdev(tests):.4f}" if len(tests) > 1 else "")
        rows.append(["mean", f"{len(tests)} of {len(config.training.seeds)} done", "", "", spread, ""])
    print(
        plain_table(
            ["seed", "state", "best/epochs", "val", "test", "seconds"], rows, rule=len(rows) - 1 if tests else None
        )
    )
    if model is not None:
        trainable = {name for name, p in model.named_parameters() if p.requires_grad}
        tensors = [(name, value) for name, value in model.state_dict().items() if value.numel()]
        parameters = sum(value.numel() for name, value in tensors if name in trainable)
        print(f"\n{type(model).__name__}, {parameters:,} parameters")
        lines = [
            [name, " x ".join(map(str, value.shape)) or "number", str(value.dtype).removeprefix("torch."),
             f"{value.numel():,}", "" if name in trainable else "fixed"]
            for name, value in tensors
        ]  # fmt: skip
        print(plain_table(["tensor", "shape", "dtype", "numbers", ""], lines))
    pictures = sorted(folder.glob("*.png"))
    print("\n" + "\n".join(f"picture: {path}" for path in pictures) if pictures else "\nno pictures yet")
    if len(tests) < len(config.training.seeds):
        print(f"go on with: edgenet train {folder} --resume")
    return 0


COMMAND = Command("show what came of a run", arguments, run)
