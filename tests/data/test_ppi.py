"""PPI: equal to PyG's reader, quick the second time, and honest about labels that are not the published ones."""

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.datasets import PPI

from edgenet import data
from edgenet.data import ppi
from edgenet.errors import DataError, DatasetNotFoundError


def raw_files(directed=True, seed=0):
    """Small raw files by name: three graphs for training, two for each of the others."""
    rng, files, first = np.random.default_rng(seed), {}, 1
    for split, sizes in (("train", (4, 3, 5)), ("valid", (3, 4)), ("test", (2, 6))):
        ids = np.repeat(np.arange(first, first + len(sizes)), sizes)
        first += len(sizes)
        nodes = len(ids)
        links = [
            {"source": int(i), "target": int(j)}
            for i in range(nodes)
            for j in range(nodes)
            if ids[i] == ids[j] and (i == j or abs(i - j) == 1 or rng.random() < 0.4) and (directed or i <= j)
        ]
        graph = {"directed": directed, "multigraph": False, "graph": {}, "links": links}
        graph["nodes"] = [{"id": node} for node in range(nodes)]
        files[f"{split}_graph.json"] = json.dumps(graph).encode()
        for part, array in (
            ("feats", rng.standard_normal((nodes, 5))),
            ("labels", rng.integers(2, size=(nodes, 7))),
            ("graph_id", ids),
        ):
            buffer = io.BytesIO()
            np.save(buffer, array)
            files[f"{split}_{part}.npy"] = buffer.getvalue()
    return files


def write_folder(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def huge_npy():
    """A header that claims 80 TB, with nothing behind it."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 10)})
    return buffer.getvalue()


def sorted_edges(graph):
    return (graph.edge_index[0] * graph.num_nodes + graph.edge_index[1]).sort().values


def assert_same(mine, theirs):
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs, strict=True):
        assert torch.equal(a.x, b.x) and torch.equal(a.y, b.y)
        assert torch.equal(sorted_edges(a), sorted_edges(b))


@pytest.mark.parametrize("directed", [True, False])
def test_made_files_equal_pygs_reader(tmp_path, directed):
    write_folder(tmp_path / "raw", raw_files(directed))
    mine = data.load("ppi", root=tmp_path)
    for split in ("train", "val", "test"):
        assert_same(getattr(mine, split), PPI(str(tmp_path), split=split))
    assert (mine.num_features, mine.num_outputs, mine.metric) == (5, 7, "micro_f1")
    assert mine.train[0].y.dtype == torch.float32 and mine.info["warnings"] == []


def test_real_graphs_equal_pygs_reader(real_data, tmp_path):
    """The two test graphs, beside small made ones: PyG takes half a minute over the training graphs."""
    archive = real_data / "ppi" / "ppi_pyg_raw_go2022.zip"
    if not archive.is_file():
        pytest.skip(f"no PPI: {archive} is no file")
    with zipfile.ZipFile(archive) as file:
        files = raw_files() | {name: file.read(name) for name in file.namelist() if name.startswith("test_")}
    write_folder(tmp_path / "raw", files)
    mine = data.load("ppi", root=tmp_path)
    assert_same(mine.test, PPI(str(tmp_path), split="test"))
    assert sum(graph.num_nodes for graph in mine.test) == 5524


def test_real_ppi_has_the_known_facts_and_its_warning(real_data):
    if not (real_data / "ppi").is_dir():
        pytest.skip(f"no PPI: {real_data / 'ppi'} is no folder")
    first = data.load("ppi")
    assert [len(first.train), len(first.val), len(first.test)] == [20, 2, 2]
    assert sum(graph.num_nodes for graph in first.train) == 44906
    assert sum(graph.num_edges for graph in first.train) == 1226368
    assert (first.num_features, first.num_outputs) == (50, 121)
    assert abs(float(torch.cat([graph.y for graph in first.train]).mean()) - 0.297) < 0.005
    assert "not comparable with published" in first.info["warnings"][0] and "written to" in first.info["cache"]
    everything = first.train + first.val + first.test
    sizes = {"nodes": sum(graph.num_nodes for graph in everything), "edges": sum(g.num_edges for g in everything)}
    assert data.describe("ppi")["shapes"] == {"graphs": 24, **sizes, "features": 50, "outputs": 121}
    again = data.load("ppi")
    assert "read from" in again.info["cache"] and again.info["warnings"] == first.info["warnings"]
    assert all(
        torch.equal(a[key], b[key])
        for a, b in zip(first.train, again.train, strict=True)
        for key in ("x", "y", "edge_index")
    )


def test_regenerated_labels_are_known_by_content_also_unzipped(tmp_path, monkeypatch):
    files = raw_files()
    monkeypatch.setattr(ppi, "REGENERATED_LABELS", ppi.sha256(files["train_labels.npy"]))
    write_folder(tmp_path / "folder" / "ppi" / "raw", files)
    write_zip(tmp_path / "zip" / "ppi" / "any_name.zip", files)
    for root in ("folder", "zip"):
        assert data.load("ppi", root=tmp_path / root).info["labels"].startswith("regenerated")


def test_the_cache_belongs_to_the_content_of_the_files(tmp_path):
    path = write_zip(tmp_path / "ppi" / "ppi.zip", raw_files(seed=0))
    one = data.load("ppi", root=tmp_path)
    write_zip(path, raw_files(seed=1))
    two = data.load("ppi", root=tmp_path)
    assert "written" in two.info["cache"] and not torch.equal(one.train[0].x, two.train[0].x)


def test_a_damaged_cache_is_made_anew(tmp_path):
    write_zip(tmp_path / "ppi.zip", raw_files())
    first = data.load("ppi", root=tmp_path / "ppi.zip")
    cached = Path(first.info["cache"].removeprefix("written to "))
    content = cached.read_bytes()
    for damaged in (b"", b"no zip", content[: len(content) // 2]):
        cached.write_bytes(damaged)
        again = data.load("ppi", root=tmp_path / "ppi.zip")
        assert "written to" in again.info["cache"] and torch.equal(again.train[0].x, first.train[0].x)


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    write_zip(tmp_path / "ppi.zip", raw_files())
    (tmp_path / "file").write_text("where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    loaded = data.load("ppi", root=tmp_path)
    assert "could not be written" in loaded.info["cache"] and len(loaded.train) == 3


def test_a_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def no_space(*_, **__):
        raise OSError(28, "No space left on device")

    write_zip(tmp_path / "ppi.zip", raw_files())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(np, "savez", no_space)
    assert "No space left" in data.load("ppi", root=tmp_path).info["cache"]
    assert [name for _, _, names in os.walk(tmp_path / "cache") for name in names] == []


@pytest.mark.parametrize(
    "name, content, says",
    [
        ("valid_feats.npy", huge_npy(), "more than its 128 bytes hold"),
        ("valid_feats.npy", npy(np.zeros((7, 5)))[:-8], "valid_feats.npy is no whole array"),
        ("valid_feats.npy", npy(np.array([print], dtype=object)), "valid_feats.npy is no whole array"),
        ("valid_feats.npy", npy(np.full((7, 5), np.nan)), "NaN or infinity at [0, 0]"),
        ("valid_feats.npy", npy(np.zeros((6, 5))), "6 feature rows, 7 label rows"),
        ("valid_labels.npy", npy(np.full((7, 7), 2)), "labels are 0 or 1"),
        ("valid_graph_id.npy", npy(np.array([4, 4, 5, 4, 5, 5, 5])), "must climb"),
        ("valid_graph_id.npy", npy(np.array([4, 4, 5, 5, 5, 5, 5])), "different graphs"),
        ("valid_graph.json", b'{"links": [', "valid_graph.json is no whole"),
        ("valid_graph.json", b'{"directed": true}', "lacks 'links'"),
        ("valid_graph.json", b'{"directed": true, "links": [{"source": 0, "target": 7}]}', "links run from 0 to 7"),
        ("valid_graph.json", b'{"directed": true, "links": [{"source": 0, "target": 1.5}]}', "links run between fl"),
        ("valid_graph.json", b"[" * 100_000, "no whole node-link JSON"),
        ("valid_graph.json", None, "lacks valid_graph.json"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, content, says):
    files = raw_files() | {name: content}
    if content is None:
        del files[name]
    path = write_zip(tmp_path / "ppi.zip", files)
    with pytest.raises(DataError) as error:
        data.load("ppi", root=path)
    assert says in str(error.value) and str(path) in str(error.value)


def test_a_truncated_zip_is_named(tmp_path):
    path = write_zip(tmp_path / "ppi" / "ppi.zip", raw_files())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"ppi\.zip: no whole zip"):
        data.load("ppi", root=tmp_path)


def test_a_zip_of_a_known_name_must_have_its_checksum(tmp_path):
    write_zip(tmp_path / "ppi_pyg_raw_go2022.zip", raw_files())
    with pytest.raises(DataError, match=r"sha256 is .* expected a0d4154a"):
        data.load("ppi", root=tmp_path / "ppi_pyg_raw_go2022.zip")
    assert len(data.load("ppi", root=tmp_path / "ppi_pyg_raw_go2022.zip", verify=False).train) == 3


def test_a_miss_says_what_was_tried(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"(?s)ppi/raw .*ppi/\*\.zip .*no network in tests.*To get it"):
        data.load("ppi", root=tmp_path)
