"""Files that were cut or changed: read as something, or refused with one of our errors."""

import pickle
import warnings

import networkx
import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from edgenet import errors
from edgenet.data import load

OURS = tuple(kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception))


@pytest.mark.parametrize(
    "name, says",
    [
        ("objects.npz", "x.npy holds Python objects, which could run code"),
        ("short.npz", "File is not a zip file"),
        ("pickle.pt", "no whole file of torch.save .*Nothing in it was run"),
    ],
)
def test_what_was_never_data_is_refused_in_words_and_without_a_warning(tmp_path, name, says):
    np.savez(tmp_path / "objects.npz", edge_index=np.zeros((2, 1), int), x=np.array([{}], dtype=object))
    (tmp_path / "short.npz").write_bytes((tmp_path / "objects.npz").read_bytes()[:99])
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps(networkx.path_graph(3)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(errors.DataError, match=says):
            load(str(tmp_path / name))


def make(folder):
    """A file of every kind, and what it is loaded with."""
    index = torch.arange(12)
    data = Data(x=torch.randn(12, 2), edge_index=torch.stack([index, (index + 1) % 12]), y=index % 2)
    torch.save(data, folder / "one.pt")
    np.savez(folder / "one.npz", x=data.x.numpy(), edge_index=data.edge_index.numpy(), y=data.y.numpy())
    rows = "\n".join(f"{a},{b},{0.5 * a},{a % 2}" for a, b in data.edge_index.T.tolist())
    (folder / "one.csv").write_text(f"source,target,worth,label\n{rows}\n")
    graph = networkx.path_graph(12)
    networkx.set_node_attributes(graph, {n: {"label": n % 2, "f": 0.5 * n} for n in graph})
    networkx.write_graphml(graph, folder / "one.graphml")


@pytest.mark.parametrize("suffix", ["pt", "npz", "csv", "graphml"])
def test_damage_is_refused_by_one_of_our_errors(tmp_path, suffix):
    make(tmp_path)
    path, rng, refused = tmp_path / f"one.{suffix}", np.random.default_rng(0), 0
    content = path.read_bytes()
    assert load(str(path)).num_outputs == 2
    for number in range(60):
        damaged = bytearray(content)
        if number % 2:
            del damaged[rng.integers(len(content)) :]
        else:
            for place in rng.integers(len(content), size=1 + number % 4):
                damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                load(str(path))
        except OURS:
            refused += 1
    assert refused >= 30  # all that were cut, but for a last line
