"""Finds the file, checks it and says what is in it.

python datasets/chickenpox/prepare.py [--root FOLDER]
"""

import argparse
import json

from edgenet.data import prepare

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--root", help="folder to look in first")
args = parser.parse_args()
print(json.dumps(prepare("chickenpox", args.root), indent=2))
