"""Finds the files of a graph, checks them and says what is in them.

python datasets/heterophilic/prepare.py texas [--root FOLDER]
"""

import argparse
import json

from edgenet.data import prepare

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("graph", nargs="?", default="texas", help="texas, cornell, wisconsin, ..., or a graph of your own")
parser.add_argument("--root", help="folder to look in first")
args = parser.parse_args()
print(json.dumps(prepare("heterophilic", args.root, graph=args.graph), indent=2))
