"""The molecules of the G2 set as graphs, with their zero-point energies, as the package ``ase`` ships them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

BOND = 1.25  # two atoms are bonded up to so many times the sum of their covalent radii


def molecules() -> list[Data]:
    """148 molecules and radicals (Curtiss et al. 1997), in one random order.

    Nodes are atoms: ``x`` (N, elements) says which. Every bond is an edge each way, with its length in angstrom as
    ``edge_attr`` (E, 1). ``y`` (1,) is the zero-point energy in kcal/mol.

    Raises:
        ImportError: if ``ase`` does not import; it is in the extra ``bench``.
    """
    from ase.build import molecule
    from ase.data import covalent_radii
    from ase.data.g2 import data, molecule_names

    found = []
    for name in molecule_names:
        atoms = molecule(name)
        edges, length = bonds(atoms.positions, covalent_radii[atoms.numbers])
        y = torch.tensor([data[name]["ZPE"]], dtype=torch.float32)
        found.append(Data(z=torch.as_tensor(atoms.numbers), edge_index=edges, edge_attr=length, y=y))
    elements = torch.cat([graph.z for graph in found]).unique()
    for graph in found:
        graph.x = (graph.z[:, None] == elements).float()
    return [found[i] for i in np.random.default_rng(0).permutation(len(found))]


def bonds(positions: np.ndarray, radii: np.ndarray) -> tuple[Tensor, Tensor]:
    """(N, 3) and (N,) in angstrom -> (2, E) bonds, each in both directions, and (E, 1) lengths."""
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    close = distance <= BOND * (radii[:, None] + radii[None])
    np.fill_diagonal(close, False)
    target, source = np.nonzero(close)
    length = torch.as_tensor(distance[target, source], dtype=torch.float32)
    return torch.as_tensor(np.stack([source, target])), length[:, None]
