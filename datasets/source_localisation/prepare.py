"""Writes a graph and its signals to a file of plain arrays.

python datasets/source_localisation/prepare.py --seed 0 --out source_localisation.npz
"""

import argparse

from edgenet.data import prepare

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", default="source_localisation.npz")
args = parser.parse_args()
print(prepare("source_localisation", out=args.out, seed=args.seed)["out"])
