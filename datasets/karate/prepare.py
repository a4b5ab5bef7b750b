"""Writes the karate club to a file of plain arrays.

python datasets/karate/prepare.py --seed 0 --out karate.npz
"""

import argparse

from edgenet.data import prepare

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", default="karate.npz")
args = parser.parse_args()
print(prepare("karate", out=args.out, seed=args.seed)["out"])
