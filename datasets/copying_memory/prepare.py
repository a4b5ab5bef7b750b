"""Writes sequences to copy to a file of plain arrays.

python datasets/copying_memory/prepare.py --seed 0 --out copying_memory.npz
"""

import argparse

from edgenet.data import prepare

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", default="copying_memory.npz")
args = parser.parse_args()
print(prepare("copying_memory", out=args.out, seed=args.seed)["out"])
