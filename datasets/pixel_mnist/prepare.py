"""Finds the files, checks them and says what is in them.

python datasets/pixel_mnist/prepare.py [--root FOLDER]
"""

import argparse
import json

from edgenet.data import prepare

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--root", help="folder to look in first")
args = parser.parse_args()
print(json.dumps(prepare("pixel_mnist", args.root), indent=2))
