"""``edgenet bench``: the experiments behind docs/results, each with arguments of its own."""

from edgenet import bench
from edgenet.cli.command import Command

COMMAND = Command("run an experiment of docs/results and write its page", bench.arguments, bench.run)
