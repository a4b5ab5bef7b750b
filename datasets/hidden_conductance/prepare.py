"""Writes a graph and its signals to a file of plain arrays.

python datasets/hidden_conductance/prepare.py --seed 0 --out hidden_conductance.npz
"""

import argparse

from edgenet.data import prepare

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", default="hidden_conductance.npz")
args = parser.parse_args()
print(prepare("hidden_conductance", out=args.out, seed=args.seed)["out"])
