"""Planetoid files: put together as PyG does, checked against what is known of Cora, refused by name when damaged."""

import json
import pickle
import shutil

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch_geometric.datasets import Planetoid
from torch_geometric.io import read_planetoid_data
from torch_geometric.transforms import NormalizeFeatures

from edgenet import data
from edgenet.data import planetoid
from edgenet.errors import DataError, DatasetNotFoundError

CORA = "planetoid/Cora/raw"


def write_raw(folder, name="citeseer", known=520, train=6, test=(523, 520, 526, 522), features=5, classes=3, seed=0):
    """A small Planetoid folder; with gaps in the test indices, as CiteSeer has them."""
    rng = np.random.default_rng(seed)
    nodes = max(test) + 1

    def words(rows):
        return sp.csr_matrix((rng.random((rows, features)) < 0.6).astype(np.float32))

    def labels(rows):
        return np.eye(classes, dtype=np.int32)[rng.integers(classes, size=rows)]

    allx, ally = words(known), labels(known)
    graph = {node: rng.integers(nodes, size=3).tolist() for node in range(nodes)}  # with self-loops and repeats
    parts = {"x": allx[:train], "y": ally[:train], "allx": allx, "ally": ally, "graph": graph}
    parts |= {"tx": words(len(test)), "ty": labels(len(test))}
    folder.mkdir(parents=True, exist_ok=True)
    for part, value in parts.items():
        (folder / f"ind.{name}.{part}").write_bytes(pickle.dumps(value, 2))
    (folder / f"ind.{name}.test.index").write_text("".join(f"{node}\n" for node in test))
    return folder


def same(mine, theirs):
    for key in ("x", "y", "edge_index", "train_mask", "val_mask", "test_mask"):
        assert torch.equal(mine[key], theirs[key]), key


# --- real Cora --------------------------------------------------------------------------------------------------------
@pytest.fixture
def cora_raw(real_data):
    if not (real_data / CORA).is_dir():
        pytest.skip(f"no Cora: {real_data / CORA} is no folder")
    return real_data / CORA


def test_cora_has_the_known_facts(cora_raw):
    cora = data.load("cora", normalize_features=False)
    (graph,) = cora.train
    assert cora.train[0] is cora.val[0] is cora.test[0]
    assert (graph.num_nodes, graph.num_edges, cora.num_features, cora.num_outputs) == (2708, 10556, 1433, 7)
    assert int((graph.x != 0).sum()) == 49216
    assert [int(graph[f"{split}_mask"].sum()) for split in ("train", "val", "test")] == [140, 500, 1000]
    assert graph.is_undirected() and not graph.has_self_loops() and not graph.has_isolated_nodes()
    assert graph.x.dtype == torch.float32 and cora.info["found"] == str(cora_raw)
    shapes = data.describe("cora")["shapes"]
    assert shapes == {"nodes": 2708, "edges": 10556, "features": 1433, "outputs": 7}
    assert json.loads(json.dumps(cora.info)) == cora.info


def test_cora_equals_pygs_reader_on_the_same_files(cora_raw, tmp_path):
    shutil.copytree(cora_raw, tmp_path / "Cora" / "raw")  # PyG writes beside what it reads
    torch.set_default_dtype(torch.float32)
    same(data.load("cora", normalize_features=False).train[0], Planetoid(str(tmp_path), "Cora")[0])
    same(data.load("cora").train[0], Planetoid(str(tmp_path), "Cora", transform=NormalizeFeatures())[0])


def test_a_truncated_cora_file_is_named(cora_raw, tmp_path):
    shutil.copytree(cora_raw, tmp_path / "raw")
    file = tmp_path / "raw" / "ind.cora.allx"
    file.write_bytes(file.read_bytes()[:100_000])
    with pytest.raises(DataError, match=r"ind\.cora\.allx: sha256 is .*\(100000 bytes\) is damaged"):
        data.load("cora", root=tmp_path)
    with pytest.raises(DataError, match=r"ind\.cora\.allx: not a whole pickle.*of 100000\)"):
        data.load("cora", root=tmp_path, verify=False)


def test_an_edited_cora_file_is_refused_unless_asked_for(cora_raw, tmp_path):
    shutil.copytree(cora_raw, tmp_path / "Cora" / "raw")
    file = tmp_path / "Cora" / "raw" / "ind.cora.ally"
    labels = pickle.loads(file.read_bytes(), encoding="latin1")
    labels[0] = labels[0][::-1]
    file.write_bytes(pickle.dumps(labels, 2))
    with pytest.raises(DataError, match=r"ind\.cora\.ally: sha256 is .*verify=False"):
        data.load("cora", root=tmp_path)
    assert data.load("cora", root=tmp_path, verify=False).num_outputs == 7


# --- made files -------------------------------------------------------------------------------------------------------
@pytest.mark.float32
@pytest.mark.parametrize("test", [(523, 520, 526, 522), (520, 521, 522), (522, 521, 520)], ids=str)
def test_made_files_equal_pygs_reader_also_with_gaps(tmp_path, test):
    folder = write_raw(tmp_path / "raw", test=test)
    mine = planetoid.read_planetoid(folder, "citeseer")
    same(mine, read_planetoid_data(str(folder), "citeseer"))
    gaps = sorted(set(range(520, max(test) + 1)) - set(test))
    assert not mine.x[gaps].any() and not mine.test_mask[gaps].any()


def test_rows_of_features_add_up_to_one_unless_empty(tmp_path):
    write_raw(tmp_path / "citeseer" / "raw")
    x = data.load("citeseer", root=tmp_path).train[0].x
    sums = x.sum(1)
    assert ((sums - 1).abs() < 1e-6).logical_or(sums == 0).all() and (sums == 0).any()


def put(folder, part, value):
    (folder / f"ind.citeseer.{part}").write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, 2))


@pytest.mark.parametrize(
    "part, value, says",
    [
        ("graph", {0: [1], 9999: [0]}, "names node 9999"),
        ("graph", {0: [1, -1]}, "names node -1"),
        ("graph", {0: [1.5]}, "names node 1.5"),
        ("graph", {10**5000: [0]}, "numbers below 2**63"),
        ("graph", {0: 1}, "neighbour lists"),
        ("graph", np.arange(3), "neighbour lists"),
        ("x", np.arange(3.0), "wanted a matrix"),
        ("x", {0: [1]}, "wanted a matrix"),
        ("y", np.arange(6), "a row per node"),
        ("ty", np.eye(3), "4 rows and ind.citeseer.ty 3"),
        ("ty", np.eye(4), "4 columns"),
        ("x", np.full((6, 5), np.nan), None),
        ("allx", np.full((520, 5), np.nan), "is nan"),
        ("test.index", b"520\nfive\n", "whole number"),
        ("test.index", b"520\n521\n521\n522\n", "3 different"),
        ("test.index", b"519\n520\n521\n522\n", "start at 520"),
        ("test.index", b"520\n521\n522\n99999999\n", "99999999"),
        ("test.index", b"520\n", "wanted 4"),
    ],
)
def test_a_file_of_other_content_is_refused_by_name(tmp_path, part, value, says):
    folder = write_raw(tmp_path / "raw")
    put(folder, part, value)
    if says is None:  # x repeats the first rows of allx, which are used
        assert planetoid.read_planetoid(folder, "citeseer").x.isfinite().all()
        return
    with pytest.raises(ValueError) as error:
        planetoid.read_planetoid(folder, "citeseer")
    assert says in str(error.value) and str(folder) in str(error.value)


def test_a_checksum_is_compared_before_the_file_is_parsed(tmp_path):
    folder = write_raw(tmp_path / "raw")
    put(folder, "x", b"no pickle")
    with pytest.raises(DataError, match=r"ind\.citeseer\.x: sha256 is .* expected 0000"):
        planetoid.read_planetoid(folder, "citeseer", {"ind.citeseer.x": "0000"})


def test_too_few_nodes_for_validation_are_refused(tmp_path):
    with pytest.raises(DataError, match="500 validation"):
        planetoid.read_planetoid(write_raw(tmp_path / "raw", known=100, test=(100, 101)), "citeseer")


# --- where they are looked for ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("layout", ["planetoid/CiteSeer/raw", "CiteSeer/raw", "citeseer/raw", "raw", "."])
def test_every_layout_of_a_root_is_found(tmp_path, layout):
    folder = write_raw(tmp_path / layout)
    assert data.load("citeseer", root=tmp_path).info["found"] == str(folder)


def test_a_folder_that_lacks_a_file_is_passed_over_and_named_in_the_miss(tmp_path):
    write_raw(tmp_path / "CiteSeer" / "raw")
    (tmp_path / "CiteSeer" / "raw" / "ind.citeseer.ty").unlink()
    with pytest.raises(DatasetNotFoundError) as error:
        data.load("citeseer", root=tmp_path)
    text = str(error.value)
    assert f"{tmp_path / 'CiteSeer' / 'raw'} (the given root: lacks ind.citeseer.ty)" in text
    assert "no network in tests" in text and "github.com/kimiyoung/planetoid" in text and "To get it" in text
    assert isinstance(error.value, FileNotFoundError)


def test_without_download_the_network_is_not_asked(tmp_path):
    with pytest.raises(DatasetNotFoundError) as error:
        data.load("citeseer", root=tmp_path, download=False)
    assert "no network in tests" not in str(error.value)


def test_what_is_downloaded_goes_to_the_cache_and_is_read_without_running_it(tmp_path, monkeypatch):
    asked = []

    def fetch(urls, folder):
        asked.extend(urls)
        write_raw(folder)

    monkeypatch.setattr(planetoid, "fetch", fetch)
    first = data.load("citeseer")
    assert len(asked) == 8 and all(url.startswith(Planetoid.url) for url in asked)
    assert "edgenet/planetoid/CiteSeer/raw" in first.info["found"]
    data.load("citeseer")
    assert len(asked) == 8, "the second load finds the cache"
    (row,) = (row for row in data.available() if row["name"] == "citeseer")
    assert row["found"] == first.info["found"]
