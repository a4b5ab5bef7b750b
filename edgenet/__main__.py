"""``python -m edgenet``: the same as the command ``edgenet``."""

import sys

from edgenet.cli import main

if __name__ == "__main__":
    sys.exit(main())
