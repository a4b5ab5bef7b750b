"""The command ``edgenet``, one file a sub-command.

A file imports torch inside the functions that need it, so that a line of help does not wait for it.
"""

from edgenet.cli.command import Command
from edgenet.cli.commands import COMMANDS
from edgenet.cli.entry import main

__all__ = ["COMMANDS", "Command", "main"]
