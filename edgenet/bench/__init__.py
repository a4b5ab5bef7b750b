"""``edgenet bench``: the experiments behind ``docs/results``, one command each."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from edgenet.errors import ConfigError

#: name: what it shows, and how many seeds it takes by default
BENCHES = {
    "cora": ("EdgeNets of seven kinds on Cora", 10),
    "source_localisation": ("eight networks on three graphs, noise and held-out diffusion times", 3),
    "ppi": ("the GAT form beside PyG's GATConv, trained the same way", 2),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``edgenet bench``."""
    add = parser.add_argument
    lines = "; ".join(f"{name}: {text}" for name, (text, _) in BENCHES.items())
    add("name", choices=list(BENCHES), help=lines)
    add("--seeds", type=int, help="how many (default: as in docs/results)")
    add("--out", type=Path, help="page to write (default: docs/results/NAME.md)")
    add("--runs", type=Path, help="folder of the training runs, which go on where they were (default: runs/bench/NAME)")
    add("--processes", type=int, default=1, help="training runs at a time, one thread each")
    add("--data-root", type=Path, help="folder to look for data in first")


def run(options: argparse.Namespace) -> int:
    """Run the experiment and write its page."""
    out = options.out or Path("docs/results") / f"{options.name}.md"
    runs = options.runs or Path("runs/bench") / options.name
    seeds = BENCHES[options.name][1] if options.seeds is None else options.seeds
    for name, number in (("seeds", seeds), ("processes", options.processes)):
        if number < 1:
            raise ConfigError(f"--{name} is at least 1, got {number}.")
    _check_writable(out)
    import_module(f"edgenet.bench.{options.name}").run(seeds, out, runs, options.processes, options.data_root)
    print(out.read_text(encoding="utf-8"))
    print(f"written: {out}")
    return 0


def _check_writable(path: Path) -> None:
    """Raises OSError now and not after hours of training; leaves no file behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    path.open("a").close()
    if new:
        path.unlink()
