"""What a user hands in: each mistake has an error of its own type, with the value and the remedy in it."""

import io
import zipfile

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from edgenet import data
from edgenet.errors import ConfigError, DataError, DatasetNotFoundError, EdgeIndexError, ShapeError


def graph(**changes):
    parts = {
        "x": torch.ones(3, 2),
        "y": torch.tensor([0, 1, 0]),
        "edge_index": torch.tensor([[0, 1], [1, 2]]),
        "edge_weight": torch.ones(2),
        "train_mask": torch.tensor([True, False, False]),
    } | changes
    return Data(**{name: value for name, value in parts.items() if value is not None})


def with_nan(*shape):
    values = torch.ones(*shape)
    values.view(-1)[1] = float("nan")
    return values


def test_a_good_graph_passes_and_is_given_back():
    good = graph()
    assert data.check_data(good) is good


@pytest.mark.parametrize(
    "empty",
    [
        Data(edge_index=torch.empty(2, 0).long(), num_nodes=0),
        Data(edge_index=torch.empty(2, 0).long(), x=torch.empty(0, 4)),
        Data(edge_index=torch.empty(2, 0).long(), x=torch.ones(3, 4), y=torch.zeros(3)),
    ],
    ids=["no nodes", "no rows", "no edges"],
)
def test_an_empty_graph_passes(empty):
    data.check_data(empty)


@pytest.mark.parametrize(
    "changes, error, says",
    [
        (
            {"edge_index": torch.tensor([[0, 1], [1, 3]])},
            EdgeIndexError,
            r"edge 1 is \[1, 3\], but node 3 .* 3 nodes, 0 to",
        ),
        ({"edge_index": torch.tensor([[0, -1], [1, 2]])}, EdgeIndexError, r"edge 1 is \[-1, 2\], but node -1"),
        ({"edge_index": torch.tensor([[0.0], [1.0]])}, EdgeIndexError, r"torch\.float.*edge_index\.long\(\)"),
        ({"edge_index": torch.tensor([[0], [1]]).int()}, EdgeIndexError, r"torch\.int32"),
        ({"edge_index": torch.zeros(3, 2).long()}, EdgeIndexError, r"\(2, E\).*got \(3, 2\)"),
        ({"edge_index": torch.zeros(4).long()}, EdgeIndexError, r"got \(4,\)"),
        ({"edge_index": None}, EdgeIndexError, "no edge_index"),
        ({"x": with_nan(3, 2)}, ShapeError, r"x\[0, 1\] is nan; 1 of 6 .*nan_to_num"),
        ({"x": torch.full((3, 2), float("inf"))}, ShapeError, r"x\[0, 0\] is inf; 6 of 6"),
        ({"x": torch.ones(3, 2).long()}, ShapeError, r"floating point.*x\.float\(\)"),
        ({"x": torch.ones(3)}, ShapeError, "number of nodes is not known"),
        ({"x": torch.ones(4, 2), "num_nodes": 3}, ShapeError, "x has 4 rows and the graph 3 nodes"),
        ({"x": None}, ShapeError, "Give num_nodes"),
        ({"edge_weight": torch.ones(3)}, ShapeError, r"each of 2 edges, got \(3,\)"),
        ({"edge_weight": with_nan(2)}, ShapeError, r"edge_weight\[1\] is nan"),
        ({"y": torch.zeros(2).long()}, ShapeError, "y must have 3 rows"),
        ({"y": with_nan(3)}, ShapeError, r"y\[1\] is nan"),
        ({"train_mask": torch.tensor([1, 0, 0])}, ShapeError, r"train_mask must be \(3,\) of torch\.bool"),
    ],
)
def test_a_bad_graph_is_refused_with_the_value_and_the_remedy(changes, error, says):
    with pytest.raises(error, match=says):
        data.check_data(graph(**changes))


def test_signals_are_counted_by_their_first_axis():
    signals = Data(edge_index=torch.tensor([[0], [1]]), x=torch.ones(5, 2, 1), y=torch.zeros(5), num_nodes=2)
    data.check_data(signals)
    signals.y = torch.zeros(2)
    with pytest.raises(ShapeError, match="y must have 5 rows"):
        data.check_data(signals)


# --- graph files ------------------------------------------------------------------------------------------------------
def write(tmp_path, **arrays):
    np.savez(tmp_path / "graph.npz", **arrays)
    return tmp_path / "graph.npz"


EDGES = np.array([[0, 1], [1, 2]])


def test_a_graph_file_of_any_integer_and_float_type_is_read(tmp_path):
    path = write(tmp_path, edge_index=EDGES.astype(np.uint16), x=np.ones((4, 2)), y=np.arange(4, dtype="i2"),
                 edge_weight=np.array([1, 2]), train_mask=np.array([True, False, True, False]))  # fmt: skip
    back = data.read_graph(path)
    assert back.edge_index.tolist() == EDGES.tolist() and back.edge_index.dtype == back.y.dtype == torch.int64
    assert back.x.dtype == back.edge_weight.dtype == torch.float32 and back.num_nodes == 4
    assert back.train_mask.dtype == torch.bool


def test_nodes_are_counted_from_the_edges_where_nothing_else_says(tmp_path):
    assert data.read_graph(write(tmp_path, edge_index=EDGES)).num_nodes == 3
    assert data.read_graph(write(tmp_path, edge_index=np.zeros((2, 0), dtype=int))).num_nodes == 0
    assert data.read_graph(write(tmp_path, edge_index=EDGES, num_nodes=7)).num_nodes == 7


@pytest.mark.parametrize(
    "arrays, error, says",
    [
        ({"edge_index": EDGES.astype(float)}, EdgeIndexError, r"dtype float64.*astype\(numpy\.int64\)"),
        ({"edge_index": EDGES, "num_nodes": 2}, EdgeIndexError, "node 2 does not exist: there are 2 nodes"),
        ({"edge_index": EDGES - 1}, EdgeIndexError, "node -1"),
        ({"edge_index": EDGES.T[:1]}, EdgeIndexError, r"\(2, E\)"),
        ({"edge_index": EDGES, "x": np.full((3, 1), np.nan)}, ShapeError, r"x\[0, 0\] is nan"),
        ({"edge_index": EDGES, "edge_weight": np.array([1.0, np.inf])}, ShapeError, r"edge_weight\[1\] is inf"),
        ({"edge_index": EDGES, "num_nodes": 3.0}, DataError, "one whole number, got 3.0"),
        ({"edge_index": EDGES, "num_nodes": [1, 2]}, DataError, r"got \[1, 2\]"),
        ({"edges": EDGES}, DataError, "holds edges"),
        ({"x": np.ones((3, 1))}, DataError, "lacks edge_index"),
        ({"edge_index": EDGES, "y": np.array(["a", "b", "c"])}, DataError, "y is of dtype <U1"),
        ({"edge_index": EDGES, "y": np.array([print, 1, 2], dtype=object)}, DataError, "no whole .npz"),
    ],
)
def test_a_bad_graph_file_is_refused_with_its_name(tmp_path, arrays, error, says):
    path = write(tmp_path, **arrays)
    with pytest.raises(error, match=says) as raised:
        data.read_graph(path)
    assert str(path) in str(raised.value)


def npy_header(shape, dtype="<i8"):
    """An .npy file that claims an array and holds none of it."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
@pytest.mark.parametrize("lie_in_zip", [False, True])
def test_a_small_file_that_claims_a_large_array_is_refused_before_memory_is_asked_for(tmp_path, packing, lie_in_zip):
    path = tmp_path / "graph.npz"
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("edge_index.npy", npy_header((2, 10**8 if lie_in_zip else 10**12)))
    if lie_in_zip:  # the sizes of the member in the directory of the zip: packed at 20, unpacked at 24
        content = bytearray(path.read_bytes())
        at = content.index(b"PK\x01\x02") + 24
        content[at : at + 4] = (2**31).to_bytes(4, "little")
        path.write_bytes(content)
    claims = r"graph\.npz: .* claims (shape \(2, 10+\) of int64, more than its \d+|\d+) bytes"
    with pytest.raises(DataError, match=claims):
        data.read_graph(path)


def test_a_large_array_that_packs_well_is_read(tmp_path):
    np.savez_compressed(tmp_path / "graph.npz", edge_index=np.zeros((2, 10**6), dtype=int), num_nodes=1)
    assert data.read_graph(tmp_path / "graph.npz").num_edges == 10**6


@pytest.mark.parametrize("num_nodes", [10**8 + 1, 10**13, 2**64 - 1])
def test_a_number_of_nodes_that_no_array_bears_out_is_bounded(tmp_path, num_nodes):
    claim = np.array(num_nodes, dtype=np.uint64)
    for arrays in (
        {"num_nodes": claim},
        {"num_nodes": claim, "x": np.zeros((10**13, 0))},
        {"edge_index": EDGES + 10**13},
    ):
        with pytest.raises((DataError, ShapeError), match=r"graph\.npz: (claims \d+ nodes|x has)"):
            data.read_graph(write(tmp_path, **{"edge_index": EDGES, **arrays}))


def test_a_member_that_is_no_array_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "graph.npz", "w") as archive:
        archive.writestr("edge_index.npy", "text in place of an array")
    with pytest.raises(DataError, match=r"no whole \.npz"):
        data.read_graph(tmp_path / "graph.npz")


def test_an_export_replaces_an_npz_file_and_nothing_else(tmp_path):
    karate = data.load("karate")
    thesis = tmp_path / "thesis.tex"
    thesis.write_text("years of work")
    with pytest.raises(ConfigError, match=r"thesis\.tex: is there already and is no \.npz"):
        data.export(karate, thesis)
    assert thesis.read_text() == "years of work"
    with pytest.raises(ConfigError, match="is a folder"):
        data.export(karate, tmp_path)
    for _ in range(2):
        assert data.read_graph(data.export(karate, tmp_path / "karate.npz")).num_nodes == 34


def test_a_graph_file_cut_off_or_of_another_kind_is_refused(tmp_path):
    path = write(tmp_path, edge_index=EDGES)
    whole = path.read_bytes()
    for content in (
        whole[: len(whole) // 2],
        b"",
        b"text",
        whole.replace(b"\x01\x00\x00\x00\x00", b"\x02\x00\x00\x00\x00"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"no whole \.npz"):
            data.read_graph(path)
    np.save(tmp_path / "bare.npy", EDGES)
    with pytest.raises(DataError, match="one bare array"):
        data.read_graph(tmp_path / "bare.npy")
    with pytest.raises(DatasetNotFoundError, match=r"nowhere\.npz: no such file.*numpy\.savez"):
        data.read_graph(tmp_path / "nowhere.npz")


def test_a_data_set_with_an_unknown_task_or_metric_cannot_be_made():
    with pytest.raises(ValueError, match="node, edge, graph, signal, sequence, got 'link'"):
        data.Dataset("mine", "link", "class", "accuracy", 1, 2, [], [], [])
    with pytest.raises(ValueError, match=r"class by accuracy or bits or .* got 'value' by 'accuracy'"):
        data.Dataset("mine", "node", "value", "accuracy", 1, 1, [], [], [])
