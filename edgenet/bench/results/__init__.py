"""Experiments that train and fit. Each writes a page of ``docs/results``, or a section of ``estimators.md``."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from edgenet.bench.harness.commands import add_common_arguments, check_writable
from edgenet.errors import ConfigError

#: name: what it shows, and how many seeds it takes by default. Each writes docs/results/NAME.md
PAGES = {
    "cora": ("EdgeNets of seven kinds on Cora", 10),
    "source_localisation": ("eight networks on three graphs, noise and held-out diffusion times", 3),
    "compressed": ("attention networks 10 to 250 times smaller on disk, beside what must be beaten", 10),
    "edge_tensor": ("a matrix on every edge of Cora, 304 million weights, trained in factors of every form", 5),
    "fit": ("one fit for models, data and losses of many kinds, each killed once and gone on with", 3),
    "quantised": ("binary, power-of-two, unified and fixed-point weights: accuracy, bytes and speed", 3),
    "recurrent": ("recurrent networks over structured maps, unitary maps and graphs", 3),
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
EXPERIMENTS = PAGES | ESTIMATES
#: the sections of a page that can be measured one by one
SECTIONS = {
    "compressed": "cora, digits, published, ppi, citeseer, pubmed; headline (rows of all teachers), made (none new)",
    "quantised": "mnist, cora, pretrained, speed",
    "recurrent": "copying, characters, characters_10x, adaptation, clstm, generated, traffic, speed",
}
ESTIMATES_PAGE = Path("docs/results/estimators.md")


def arguments(experiments: argparse._SubParsersAction) -> None:
    """A command for every experiment."""
    for name, (text, _) in EXPERIMENTS.items():
        parser = experiments.add_parser(name, help=text, description=text)
        add = parser.add_argument
        add("--seeds", type=int, help="how many (default: as in docs/results)")
        add("--out", type=Path, help=f"page to write (default: {_page(name)})")
        runs = "folder of the training runs, which go on where they were (default: runs/bench/NAME)"
        add("--runs", type=Path, help=runs)
        add("--processes", type=int, default=1, help="training runs at a time, one thread each")
        if name in SECTIONS:
            add("--parts", help=f"sections to measure, of {SECTIONS[name]} (default: all)")
        add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Run an experiment and write its page.

    Raises:
        ConfigError: if there are to be no seeds or processes.
        OSError: if the page cannot be written, before anything is computed.
    """
    name = options.name
    out = options.out or _page(name)
    runs = options.runs or Path("runs/bench") / name
    seeds = EXPERIMENTS[name][1] if options.seeds is None else options.seeds
    for option, number in (("seeds", seeds), ("processes", options.processes)):
        if number < 1:
            raise ConfigError(f"--{option} is at least 1, got {number}.")
    check_writable(out)
    more = {"parts": options.parts} if getattr(options, "parts", None) is not None else {}
    import_module(f"{__name__}.{name}").run(seeds, out, runs, options.processes, options.data_root, **more)
    print(out.read_text(encoding="utf-8"))
    print(f"written: {out}")
    return 0


def _page(name: str) -> Path:
    return ESTIMATES_PAGE if name in ESTIMATES else Path("docs/results") / f"{name}.md"
