"""Writes sequences of the adding problem to a file of plain arrays.

python datasets/adding_problem/prepare.py --seed 0 --out adding_problem.npz
"""

import argparse

from edgenet.data import prepare

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", default="adding_problem.npz")
args = parser.parse_args()
print(prepare("adding_problem", out=args.out, seed=args.seed)["out"])
