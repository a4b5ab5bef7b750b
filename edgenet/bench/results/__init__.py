"""Experiments that train and fit. Each writes a page of ``docs/results``, or a page for each of its parts."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from edgenet.bench.harness.commands import add_common_arguments, check_writable
from edgenet.errors import ConfigError

#: name: what it shows, and how many seeds it takes by default
EXPERIMENTS = {
    "cora": ("EdgeNets of all kinds, shallow and deep, on the citation graphs whose files are there", 10),
    "source_localisation": ("where a diffusion started, on edges that differ and on others; the paper's protocol", 5),
    "compressed": ("attention networks 10 to 250 times smaller on disk, beside what must be beaten", 10),
    "edge_tensor": ("a matrix on every edge of Cora, 304 million weights, trained in factors of every form", 5),
    "fit": ("one fit for models, data and losses of many kinds, each killed once and gone on with", 3),
    "quantised": ("binary, power-of-two, unified and fixed-point weights: accuracy, bytes and speed", 3),
    "recurrent": ("recurrent networks over structured maps, unitary maps and graphs", 3),
    "reliability": ("damaged files, killed processes, long runs, and what checking costs", 10),
    "scale": ("graphs too large for one step: drawing neighbours, training by them", 10),
    "ppi": ("the GAT form beside PyG's GATConv, trained the same way", 2),
    "spam": ("sparse additive models: features found, and seconds beside other libraries", 50),
    "additive": ("edge weights that are sums of functions one can read, on Cora and on a graph where they matter", 10),
    "quantile_path": ("the whole path of l1,inf quantile regression beside single linear programs", 3),
    "intervals": ("intervals for node regression: how often they cover, and how wide they are", 50),
    "tap_selection": (
        "hops, shift operators, edges and heads that a quantile path keeps, and EdgeNets without the rest",
        50,
    ),
}
#: likewise, on files that a user has and nobody may ship: each writes NAME.md where it is run
OWN = {
    "movielens": ("edge-varying filters and GCNNs on MovieLens-100k, from your own u.data", 3),
    "heterophilic": ("GCNNs, GATs and edge-varying filters on graphs of your own whose neighbours differ", 10),
}
EXPERIMENTS |= OWN
#: the parts that are measured one by one, and have pages of their own
SECTIONS = {
    "compressed": "cora, digits, published, ppi, citeseer, pubmed; headline (rows of all teachers), made (none new)",
    "quantised": "published, mnist, cora, pretrained, speed",
    "reliability": "files, kills, soak, gate",
    "scale": "sampling, cora",
    "recurrent": "copying, characters, characters_10x, adaptation, clstm, generated, traffic, speed",
}


def arguments(experiments: argparse._SubParsersAction) -> None:
    """A command for every experiment."""
    for name, (text, _) in EXPERIMENTS.items():
        parser = experiments.add_parser(name, help=text, description=text)
        add = parser.add_argument
        add("--seeds", type=int, help="how many (default: as in docs/results)")
        add("--out", type=Path, help=f"page to write (default: {_page(name)}); parts add their names to its own")
        runs = "folder of the training runs, which go on where they were (default: runs/bench/NAME)"
        add("--runs", type=Path, help=runs)
        add("--processes", type=int, default=1, help="training runs at a time, one thread each")
        if name in SECTIONS:
            add("--parts", help=f"what to measure, of {SECTIONS[name]} (default: all)")
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
    for page in _pages(name, out, options):
        print(f"{page.read_text(encoding='utf-8')}\nwritten: {page}")
    return 0


def _pages(name: str, out: Path, options: argparse.Namespace) -> list[Path]:
    if name not in SECTIONS:
        return [out]
    parts = (SECTIONS[name] if options.parts is None else options.parts).split(",")
    own = [out.with_name(f"{out.stem}_{part.strip()}.md") for part in parts if part.strip()]
    return [page for page in own if page.exists()] or [out]  # of some, all parts stand on one page


def _page(name: str) -> Path:
    return Path(f"{name}.md") if name in OWN else Path("docs/results") / f"{name}.md"
