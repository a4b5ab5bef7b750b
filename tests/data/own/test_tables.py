"""Tables of a user's own: edges, nodes and graphs in csv, and GraphML."""

import networkx
import numpy as np
import pytest
import torch

from edgenet.data import load
from edgenet.data.own import Learned, questions_of
from edgenet.errors import ConfigError, DataError, DatasetNotFoundError, EdgeIndexError

SPLITS = ["train", "val", "test"]


def write(path, rows):
    path.write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")
    return str(path)


@pytest.fixture
def club(tmp_path):
    """Twelve nodes in a ring; ages 10, 20, 30 by split, two jobs, two teams; the last node has no team."""
    nodes = [["id", "age", "job", "label", "split", "price"]]
    for i in range(12):
        team = ("red", "blue")[i % 2] if i < 11 else ""
        nodes.append([f"n{i}", 10 * (1 + i % 3), ("cook", "smith")[i % 2], team, SPLITS[i % 3], 0.5 * i])
    edges = [["source", "target", "weight", "kind", "fraud"]]
    edges += [[f"n{i}", f"n{(i + 1) % 12}", 1 + i, ("a", "b")[i % 2], i % 2] for i in range(12)]
    return write(tmp_path / "edges.csv", edges), write(tmp_path / "nodes.csv", nodes)


def test_nodes_of_tables_get_features_classes_and_the_split_that_a_column_says(club):
    edges, nodes = club
    dataset = load(edges, nodes=nodes, ignore="price")
    data = dataset.train[0]
    assert (dataset.task, dataset.target, dataset.metric) == ("node", "class", "accuracy")
    assert dataset.num_features == 3 and dataset.num_outputs == 2  # an age, two jobs
    assert dataset.info["learned"]["names"] == ["blue", "red"]
    assert data.y.tolist() == [1, 0] * 5 + [1, 0] and data.edge_index[:, 1].tolist() == [1, 2]
    assert data.edge_weight.tolist() == list(range(1, 13)) and data.edge_attr.shape == (12, 3)
    assert data.train_mask.nonzero().flatten().tolist() == [0, 3, 6, 9]
    assert data.test_mask.nonzero().flatten().tolist() == [2, 5, 8]  # node 11 has no answer
    # of the nodes that are trained on all are 10 years old: their mean is taken away, and there is no spread
    assert data.x[:3, 0].tolist() == [0, 10, 20]
    assert data.x[:2, 1:].tolist() == [[1, 0], [0, 1]]


def test_values_and_labels_are_learned_as_such(club):
    edges, nodes = club
    dataset = load(edges, nodes=nodes, target="price", kind="value")
    assert (dataset.target, dataset.metric, dataset.num_outputs) == ("value", "rmse", 1)
    assert dataset.train[0].y.tolist() == [0.5 * i for i in range(12)]
    assert any("holds answers by its name" in warning for warning in dataset.info["warnings"])
    assert dataset.num_features == 3  # label is none
    both = load(edges, nodes=nodes, target="age,price")
    assert (both.target, both.num_outputs) == ("value", 2) and both.train[0].y.shape == (12, 2)


def test_several_columns_of_zeros_and_ones_or_one_of_lists_are_labels(tmp_path):
    rows = [["id", "f", "a", "b", "tags"], *[[i, i, i % 2, int(i > 4), ("x;y", "y")[i % 2]] for i in range(10)]]
    edges = write(tmp_path / "edges.csv", [["source", "target"], [0, 1], [1, 2]])
    nodes = write(tmp_path / "nodes.csv", rows)
    dataset = load(edges, nodes=nodes, target=["a", "b"], ignore=["tags"])
    assert (dataset.target, dataset.metric) == ("multilabel", "micro_f1")
    assert dataset.train[0].y[5].tolist() == [1, 1]
    dataset = load(edges, nodes=nodes, target="tags", kind="multilabel")
    assert dataset.info["learned"]["names"] == ["x", "y"] and dataset.train[0].y[:2].tolist() == [[1, 1], [0, 1]]


def test_edges_are_learned_of_with_their_own_features_and_both_ways_where_that_is_wanted(club):
    edges, _ = club
    dataset = load(edges, target="fraud", undirected=True)
    data = dataset.train[0]
    assert (dataset.task, dataset.num_outputs) == ("edge", 2) and data.edge_label.tolist() == [0, 1] * 6
    assert data.edge_label_index.shape == (2, 12) and data.edge_index.shape == (2, 24)
    assert data.edge_label_attr.shape == (12, 2)  # of the kinds; the weight is a weight, the answer no feature
    assert data.edge_index[:, 12:].tolist() == data.edge_index[:, :12].flip(0).tolist()
    assert data.edge_weight[12:].tolist() == data.edge_weight[:12].tolist()
    assert data.train_mask.shape == (12,) and any("no features" in text for text in dataset.info["warnings"])


def test_graphs_are_learned_of_and_none_is_in_two_parts(tmp_path):
    nodes, edges, graphs = [["id", "graph", "f"]], [["source", "target", "graph"]], [["graph", "label"]]
    for g in range(20):
        nodes += [[i, f"g{g}", g + i] for i in range(3)]  # names begin anew in each
        edges += [[0, 1, f"g{g}"], [1, 2, f"g{g}"]]
        graphs.append([f"g{g}", ("no", "yes")[g % 2]])
    for name, rows in (("nodes", nodes), ("edges", edges), ("graphs", graphs)):
        write(tmp_path / f"{name}.csv", rows)
    dataset = load(str(tmp_path))
    assert (dataset.task, dataset.num_outputs) == ("graph", 2)
    assert [len(part) for part in (dataset.train, dataset.val, dataset.test)] == [12, 4, 4]
    assert dataset.train[0].edge_index.tolist() == [[0, 1], [1, 2]] and dataset.train[0].y.shape == (1,)
    trained = torch.cat([data.x for data in dataset.train])
    torch.testing.assert_close(float(trained.mean()), 0.0, atol=1e-6, rtol=0)  # scaled by what is trained on, float32
    assert sorted(int(data.y) for data in dataset.train) == [0] * 6 + [1] * 6  # of each class the same share


def test_graphml_is_read_with_its_attributes_both_ways(tmp_path):
    graph = networkx.karate_club_graph()
    for node in graph:
        graph.nodes[node]["old"] = node % 2 == 0
    networkx.write_graphml(graph, tmp_path / "club.graphml")
    dataset = load(str(tmp_path / "club.graphml"), target="club")
    data = dataset.train[0]
    assert dataset.info["learned"]["names"] == ["Mr. Hi", "Officer"] and data.edge_index.shape == (2, 156)
    assert data.x[:3].tolist() == [[1], [0], [1]] and float(data.edge_weight[0]) == 4.0


def test_a_split_by_shares_takes_them_of_every_class_and_follows_the_seed(club):
    edges, nodes = club
    first, again, other = (load(edges, nodes=nodes, split="0.4,0.3,0.3", seed=seed).train[0] for seed in (0, 0, 1))
    assert torch.equal(first.train_mask, again.train_mask) and not torch.equal(first.train_mask, other.train_mask)
    assert [int(first[f"{name}_mask"].sum()) for name in SPLITS] == [5, 3, 3]  # of 11, the nearest to 4.4, 3.3, 3.3
    assert sorted(first.y[first.train_mask].tolist()) == [0, 0, 1, 1, 1]  # of each class its share
    assert not bool((first.train_mask & first.test_mask).any()) and not bool(first.test_mask[11])


def test_what_was_learned_of_columns_is_used_on_other_tables(club, tmp_path):
    edges, nodes = club
    learned = Learned.from_dict(load(edges, nodes=nodes, ignore="price").info["learned"], "here")
    assert learned == Learned.from_dict(learned.to_dict(), "here")
    others = write(
        tmp_path / "n.csv", [["id", "job", "age"], ["x", "smith", 12], ["y", "pilot", ""], ["z", "cook", 10]]
    )
    asked = questions_of(
        write(tmp_path / "e.csv", [["source", "target", "kind", "fraud"], ["x", "y", "b", 0]]), learned, others
    )
    assert asked.rows == {"node": ["x", "y", "z"]}
    # twelve is two more than the mean; a job that was not met is none, and an unknown age the mean
    assert asked.graphs[0].x.tolist() == [[2, 0, 1], [0, 0, 0], [0, 1, 0]]
    with pytest.raises(DataError, match="no column 'age'"):
        questions_of(str(tmp_path / "e.csv"), learned, write(tmp_path / "m.csv", [["id", "job"], ["x", 1], ["y", 1]]))


NODES = [["id", "f", "label"], *[[i, i, i % 2] for i in range(9)]]
EDGES = [["source", "target"], [0, 1], [1, 2]]


@pytest.mark.parametrize(
    "edges, nodes, options, says, kind",
    [
        ([["source", "target"], [0, 99]], NODES, {}, "edges.csv:2: the edge names the node '99'", EdgeIndexError),
        ([["a", "b"], [0, 1]], NODES, {}, "two columns, source and target; there are a, b", DataError),
        ([[0, 1], [1, 2]], NODES, {}, "its first line, '0,1', holds numbers", DataError),
        (
            [["source", "target"], [0, 1, 2]],
            NODES,
            {},
            "edges.csv:2: has 3 cells, and the line of names has 2",
            DataError,
        ),
        ([["source", "source"], [0, 1]], NODES, {}, "names 'source' twice", DataError),
        ([], NODES, {}, "is empty", DataError),
        ([["source", "target", "weight"], [0, 1, "x"]], NODES, {}, "edges.csv:2: the weight of an edge", DataError),
        (EDGES, [["f", "label"], [1, 2]], {}, "a node has a column id", DataError),
        (EDGES, [*NODES, [3, 0, 0]], {}, "nodes.csv:11: column 'id' holds '3', as", DataError),
        (EDGES, [["id", "f"], [0, 1], [1, 1], [2, 1]], {}, "has a column label to learn", DataError),
        (EDGES, NODES, {"target": "labl"}, "has a column 'labl' to learn", DataError),
        (EDGES, NODES, {"task": "graph"}, "no table of graphs", DataError),
        (EDGES, NODES, {"split": "pat"}, "no column 'pat'", DataError),
        (EDGES, NODES, {"split": 2}, "a number chooses among columns of masks", ConfigError),
        (EDGES, NODES, {"split": "0.9,0.9,0.9"}, "together at most 1", ConfigError),
        (EDGES, NODES, {"kind": "clas"}, "is one of class, multilabel, value", ConfigError),
        (EDGES, NODES, {"metric": "rmse"}, "is one of accuracy", ConfigError),
        (EDGES, NODES, {"colour": 3}, "has no option 'colour'", ConfigError),
        (EDGES, NODES, {"seed": -1}, "seed", ConfigError),
        (EDGES, [["id", "f", "label"], *[[i, i, 1] for i in range(9)]], {}, "two classes at least", DataError),
        (EDGES, [["id", "f", "label"], *[[i, "inf", i % 2] for i in range(9)]], {}, "a finite number", DataError),
        (EDGES, [["id", "f", "label"], *[[i, "1e300", i % 2] for i in range(9)]], {}, "up to 3.4e", DataError),
        (EDGES, [["id", "f", "y"], *[[i, i, 1e300] for i in range(9)]], {"kind": "value"}, "1e+300, at", DataError),
        (EDGES, NODES, {"target": ","}, "target names columns, got ','", ConfigError),
        (EDGES, [["id", "f", "label"], [0, 1, 1], [1, 1, ""], [2, 0, 0]], {}, "2 rows have an answer", DataError),
        (
            EDGES,
            [["id", "f", "label"], *[[i, i, "1.5e999"] for i in range(9)]],
            {"kind": "value"},
            "holds infinity, at row 0",
            DataError,
        ),
    ],
)
def test_bad_tables_are_refused_with_their_place(tmp_path, edges, nodes, options, says, kind):
    paths = write(tmp_path / "edges.csv", edges), write(tmp_path / "nodes.csv", nodes)
    with pytest.raises(kind) as error:
        load(paths[0], nodes=paths[1], **options)
    assert says in str(error.value), error.value


def test_a_column_of_names_is_refused_and_can_be_left_out(tmp_path):
    rows = [["id", "name", "label"], *[[i, f"person {i}", i % 2] for i in range(500)]]
    edges, nodes = write(tmp_path / "edges.csv", EDGES), write(tmp_path / "nodes.csv", rows)
    with pytest.raises(DataError, match=r"column 'name' holds 300 different texts.*ignore"):
        load(edges, nodes=nodes)
    assert load(edges, nodes=nodes, ignore=["name"]).num_features == 2


def test_bytes_that_are_no_text_and_files_that_are_not_there_are_refused(tmp_path):
    (tmp_path / "edges.csv").write_bytes("source,target\né,1\n".encode("latin1"))
    with pytest.raises(DataError, match="no text in UTF-8"):
        load(str(tmp_path / "edges.csv"))
    with pytest.raises(DatasetNotFoundError, match=r"gone\.csv: no such file"):
        load(str(tmp_path / "gone.csv"))
    (tmp_path / "bad.graphml").write_text("<graphml><graph>")
    with pytest.raises(DataError, match="no GraphML"):
        load(str(tmp_path / "bad.graphml"))


def test_separators_quotes_and_marks_of_order_are_understood(tmp_path):
    (tmp_path / "edges.csv").write_text("source;target\n0;1\n\n1;2\n", encoding="utf-8-sig")
    text = "id;f;label\n" + "\n".join(f'{i};"{i % 4}";"a;b{i % 2}"' for i in range(9))
    (tmp_path / "nodes.csv").write_text(text)
    dataset = load(str(tmp_path / "edges.csv"), nodes=str(tmp_path / "nodes.csv"))
    assert dataset.info["learned"]["names"] == ["a;b0", "a;b1"] and dataset.train[0].edge_index.shape == (2, 2)
    assert np.isfinite(dataset.train[0].x.numpy()).all()
