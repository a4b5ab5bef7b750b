"""Heterophilic graphs: read from a user's files, in the layout that PyG keeps them in."""

import numpy as np
import pytest
import torch
from torch_geometric.datasets import WebKB

from edgenet import data
from edgenet.data import heterophilic
from edgenet.errors import ConfigError, DataError, DatasetNotFoundError


def write(root, name="texas", nodes=40, splits=2, seed=0, folder="{}/raw", shuffled=True):
    """A graph in which every edge joins two classes, and features say nothing of them."""
    rng = np.random.default_rng(seed)
    label = np.arange(nodes) % 2
    edges = [(i, int(j)) for i in range(nodes) for j in rng.choice(np.flatnonzero(label != label[i]), 3, replace=False)]
    place = root / folder.format(name)
    place.mkdir(parents=True)
    features = rng.integers(2, size=(nodes, 6))
    features[:, 0] = label
    order = rng.permutation(nodes) if shuffled else range(nodes)
    lines = [f"{k}\t{','.join(map(str, features[k]))}\t{label[k]}" for k in order]
    (place / heterophilic.NODES).write_text("\n".join(["node_id\tfeature\tlabel", *lines]) + "\n")
    lines = [f"{i}\t{j}" for i, j in edges]
    (place / heterophilic.EDGES).write_text("\n".join(["node_id\tnode_id", *lines]) + "\n")
    for split in range(splits):
        part = np.split(rng.permutation(nodes), [nodes // 2, 3 * nodes // 4])
        masks = {f"{key}_mask": np.isin(np.arange(nodes), own) for key, own in zip(("train", "val", "test"), part)}  # noqa: B905
        np.savez(place / f"{name}_split_0.6_0.2_{split}.npz", **masks)
    return features, label, edges


def test_a_graph_is_what_its_files_say(tmp_path):
    features, label, edges = write(tmp_path)
    loaded = data.load("heterophilic", root=tmp_path, graph="texas", split=1)
    graph = loaded.train[0]
    assert (graph.x.numpy() == features).all() and (graph.y.numpy() == label).all()
    assert set(map(tuple, graph.edge_index.t().tolist())) == set(edges)
    assert loaded.info["homophily"] == 0 and loaded.info["split"] == "texas_split_0.6_0.2_1.npz"
    assert ((graph.train_mask.int() + graph.val_mask.int() + graph.test_mask.int()) == 1).all()
    other = data.load("heterophilic", root=tmp_path, graph="texas", split=0).train[0]
    assert not torch.equal(graph.train_mask, other.train_mask)
    both = data.load("heterophilic", root=tmp_path, graph="texas", undirected=True).train[0]
    assert both.is_undirected() and not graph.is_undirected()


def test_pyg_reads_the_same_from_the_same_files(tmp_path, monkeypatch):
    write(tmp_path, splits=10, shuffled=False)  # PyG numbers the nodes by their lines
    monkeypatch.setattr(WebKB, "download", lambda self: pytest.fail("the files are there"))
    theirs, ours = WebKB(str(tmp_path), "texas")[0], data.load("heterophilic", root=tmp_path, split=3).train[0]
    for name in ("x", "y", "edge_index"):
        assert torch.equal(theirs[name], ours[name])
    assert torch.equal(theirs.train_mask[:, 3], ours.train_mask)


def test_graphs_are_found_in_every_layout(tmp_path):
    write(tmp_path, "texas")
    write(tmp_path, "cornell", folder="webkb/{}/raw")
    write(tmp_path, "squirrel", folder="{}/geom_gcn/raw")
    write(tmp_path, "mine", folder="{}")
    assert heterophilic.graphs(tmp_path) == ["cornell", "mine", "squirrel", "texas"]
    for name in heterophilic.graphs(tmp_path):
        assert data.load("heterophilic", root=tmp_path, graph=name).train[0].num_nodes == 40


def test_without_split_files_a_split_is_drawn(tmp_path):
    write(tmp_path, splits=0)
    loaded = data.load("heterophilic", root=tmp_path, split=4)
    sizes = [int(loaded.train[0][f"{name}_mask"].sum()) for name in ("train", "val", "test")]
    assert sizes == [24, 8, 8] and "drawn from seed 0 and split 4" in loaded.info["split"]


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"(?s)no copy.* of wisconsin .*wisconsin/raw.*geom-gcn"):
        data.load("heterophilic", root=tmp_path, graph="wisconsin")
    write(tmp_path)
    with pytest.raises(ConfigError, match=r"texas has no split 2; there are texas_split_0\.6_0\.2_0\.npz"):
        data.load("heterophilic", root=tmp_path, split=2)


@pytest.mark.parametrize(
    "file, line, says",
    [
        (heterophilic.NODES, "40\t1,0,1,0,0,0", r":42: .* not a node, its features between commas"),
        (heterophilic.NODES, "40\t1,x,1,0,0,0\t1", "not a node"),
        (heterophilic.NODES, "3\t1,0,1,0,0,0\t1", "node 3 comes twice"),
        (heterophilic.NODES, "41\t1,0,1,0,0,0\t1", "0 to N - 1, and 41 are there"),
        (heterophilic.NODES, "40\t1,0\t1", "node 40 has 2 features and node 0 6.*write zeros and ones"),
        (heterophilic.EDGES, "1\t2\t3", "not two whole numbers"),
    ],
)
def test_a_bad_line_is_named(tmp_path, file, line, says):
    write(tmp_path)
    path = tmp_path / "texas" / "raw" / file
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=says):
        data.load("heterophilic", root=tmp_path)
