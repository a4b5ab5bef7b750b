"""What is timed, and how much memory it takes, beside other libraries and what the machine can do."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from edgenet.bench.harness.commands import add_common_arguments, add_debug_argument, check_writable

#: name: what is timed. Each writes docs/results/performance_NAME.md
SECTIONS = {
    "aggregation": "speed of one hop beside torch, torch_scatter and DGL, its floor, threads, growth with the edges",
    "layers": "speed of layers beside PyG's and DGL's",
    "memory": "peak memory of layers beside PyG's and DGL's",
    "epoch": "speed of training steps of whole networks beside PyG and DGL",
}
#: name: what is timed. Has options of its own, and writes docs/results/NAME.md
PAGES = {"structured": "forward time of structured matrices beside torch.nn.Linear, tensorly-torch and the floor"}
EXPERIMENTS = SECTIONS | PAGES


def arguments(experiments: argparse._SubParsersAction) -> None:
    """A command for every experiment."""
    for name, text in SECTIONS.items():
        _section_arguments(name, experiments.add_parser(name, help=text, description=text))
    for name, text in PAGES.items():
        _page_arguments(experiments.add_parser(name, help=text, description=text))


def _section_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--peers", default="pyg,dgl,scatter", help="libraries to measure beside (default: pyg,dgl,scatter)")
    add("--graphs", default="cora,ppi,arxiv,products8", help="graphs (default: cora,ppi,arxiv,products8)")
    add("--malloc", default="default,tuned", help="settings of the memory allocator (default: default,tuned)")
    add("--rounds", type=int, default=7, help="how often to measure every case (default: 7)")
    page = Path(f"docs/results/performance_{name}.md")
    add("--out", type=Path, default=page, help=f"page to write; its rows lie beside it (default: {page})")
    add_common_arguments(parser)


def _page_arguments(parser: argparse.ArgumentParser) -> None:
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
    add("--out", type=Path, default=page, help=f"page to write; its rows lie beside it (default: {page})")
    add_debug_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Run an experiment and write its page.

    Raises:
        OSError: if the page cannot be written, before anything is measured.
    """
    check_writable(options.out)
    module = import_module(f"{__name__}.{options.name}")
    if options.name in PAGES:
        return module.run(options)
    from edgenet.bench.harness import performance

    return performance.run(module, options)
