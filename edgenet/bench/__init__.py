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
    "compressed_gat": ("the published GAT for Cora in every structured family", 5),
    "edge_tensor": ("a matrix on every edge of Cora, 304 million weights, trained in factors of every form", 5),
    "ppi": ("the GAT form beside PyG's GATConv, trained the same way", 2),
}
#: name: what it shows, and how many seeds it takes by default. Each writes one section of docs/results/estimators.md
ESTIMATES = {
    "spam": ("sparse additive models: features found, and seconds beside other libraries", 50),
    "additive": ("edge weights that are sums of functions one can read, on Cora and on a graph where they matter", 10),
    "quantile_path": ("the whole path of l1,inf quantile regression beside single linear programs", 3),
    "intervals": ("intervals for node regression: how often they cover, and how wide they are", 50),
    "tap_selection": (
        "hops, shift operators, edges and heads that a quantile path keeps, and EdgeNets without the rest",
        50,
    ),
}
#: name: what is timed. Each writes one section of docs/results/performance.md
SPEED = {
    "aggregation": "speed of one hop beside torch, torch_scatter and DGL, its floor, threads, growth with the edges",
    "layers": "speed of layers beside PyG's and DGL's",
    "memory": "peak memory of layers beside PyG's and DGL's",
    "epoch": "speed of training steps of whole networks beside PyG and DGL",
}
#: name: what is timed. Has options of its own, and writes docs/results/NAME.md
PRODUCTS = {"structured": "forward time of structured matrices beside torch.nn.Linear, tensorly-torch and the floor"}
ESTIMATES_PAGE = Path("docs/results/estimators.md")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``edgenet bench``: those of each experiment."""
    benches = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, (text, _) in BENCHES.items():
        _training_arguments(benches.add_parser(name, help=text, description=text), "docs/results/NAME.md")
    for name, (text, _) in ESTIMATES.items():
        _training_arguments(benches.add_parser(name, help=text, description=text), str(ESTIMATES_PAGE))
    for name, text in SPEED.items():
        _speed_arguments(benches.add_parser(name, help=text, description=text))
    for name, text in PRODUCTS.items():
        _product_arguments(benches.add_parser(name, help=text, description=text))


def _training_arguments(parser: argparse.ArgumentParser, page: str) -> None:
    add = parser.add_argument
    add("--seeds", type=int, help="how many (default: as in docs/results)")
    add("--out", type=Path, help=f"page to write (default: {page})")
    add("--runs", type=Path, help="folder of the training runs, which go on where they were (default: runs/bench/NAME)")
    add("--processes", type=int, default=1, help="training runs at a time, one thread each")
    _common_arguments(parser)


def _speed_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--peers", default="pyg,dgl,scatter", help="libraries to measure beside (default: pyg,dgl,scatter)")
    add("--graphs", default="cora,ppi,arxiv,products8", help="graphs (default: cora,ppi,arxiv,products8)")
    add("--malloc", default="default,tuned", help="settings of the memory allocator (default: default,tuned)")
    add("--rounds", type=int, default=7, help="how often to measure every case (default: 7)")
    page = Path("docs/results/performance.md")
    add("--out", type=Path, default=page, help=f"page of which to rewrite a section (default: {page})")
    add("--json", type=Path, metavar="FILE", help="also write the raw numbers")
    _common_arguments(parser)


def _product_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    shapes = "25088x4096,4096x4096,1024x4096"
    help_text = f"INxOUT (default: 4096x4096, two minutes; all: {shapes}, ten minutes for each number of threads)"
    add("--shapes", default="4096x4096", help=help_text)
    add("--families", help="names of structures (default: all)")
    add("--batches", default="1,32,1024", help="rows of x (default: 1,32,1024)")
    add("--threads", default="1", help="numbers of threads, a table each (default: 1; all: 1,2)")
    add("--malloc", default="default", help="setting of the memory allocator, default or tuned (default: default)")
    add("--rounds", type=int, default=5, help="how often to measure every case (default: 5)")
    page = Path("docs/results/structured.md")
    add("--out", type=Path, default=page, help=f"page to write (default: {page})")
    add("--json", type=Path, metavar="FILE", help="also write the raw numbers")
    _debug_argument(parser)


def _common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-root", type=Path, help="folder to look for data in first")
    _debug_argument(parser)


def _debug_argument(parser: argparse.ArgumentParser) -> None:
    # once more than in edgenet.cli.entry, so that it may also stand behind the name
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )


def run(options: argparse.Namespace) -> int:
    """Run the experiment and write its page."""
    if options.name in SPEED or options.name in PRODUCTS:
        for path in filter(None, (options.out, options.json)):
            _check_writable(path)
    if options.name in PRODUCTS:
        return import_module(f"edgenet.bench.{options.name}").run(options)
    if options.name in SPEED:
        return import_module("edgenet.bench.speed").run(options.name, options)
    default = ESTIMATES_PAGE if options.name in ESTIMATES else Path("docs/results") / f"{options.name}.md"
    out = options.out or default
    runs = options.runs or Path("runs/bench") / options.name
    seeds = {**BENCHES, **ESTIMATES}[options.name][1] if options.seeds is None else options.seeds
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
