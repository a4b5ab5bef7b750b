"""Writes a graph and its process to a file of plain arrays.

python datasets/graph_process/prepare.py --seed 0 --out graph_process.npz
"""

import argparse

from edgenet.data import prepare

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", default="graph_process.npz")
args = parser.parse_args()
print(prepare("graph_process", out=args.out, seed=args.seed)["out"])
