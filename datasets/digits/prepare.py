"""Writes the graph of digits to a file of plain arrays.

python datasets/digits/prepare.py --seed 0 --out digits.npz
"""

import argparse

from edgenet.data import prepare

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", default="digits.npz")
args = parser.parse_args()
print(prepare("digits", out=args.out, seed=args.seed)["out"])
