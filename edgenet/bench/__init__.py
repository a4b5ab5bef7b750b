"""``edgenet bench``: the experiments behind ``docs/results``, one command each.

``results`` trains and fits, ``speed`` times, ``harness`` is what they share, ``pages`` writes what they found.
"""

from __future__ import annotations

import argparse

from edgenet.bench import pages, results, speed
from edgenet.bench.pages import provenance

#: rooms of experiments; each has a registry, the arguments of its commands, and what runs one of them
ROOMS = (results, speed, pages)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``edgenet bench``: those of each experiment."""
    experiments = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for room in ROOMS:
        room.arguments(experiments)


def run(options: argparse.Namespace) -> int:
    """Run the experiment and write its page."""
    provenance.begin()
    room = next(room for room in ROOMS if options.name in room.EXPERIMENTS)
    return room.run(options)
