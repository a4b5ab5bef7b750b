"""Writes a contextual stochastic block model to a file of plain arrays.

python datasets/csbm/prepare.py --seed 0 --out csbm.npz
"""

import argparse

from edgenet.data import prepare

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", default="csbm.npz")
args = parser.parse_args()
print(prepare("csbm", out=args.out, seed=args.seed)["out"])
