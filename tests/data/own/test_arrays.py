"""Arrays of a user's own: npz, PyG's files, and what functions return."""

import pickle

import networkx
import numpy as np
import pytest
import torch
from torch_geometric.data import Data, InMemoryDataset

from edgenet.data import Dataset, load, load_object
from edgenet.data.own import Learned, questions_of
from edgenet.errors import ConfigError, DataError, EdgeIndexError, ShapeError


def ring(n=12, **fields):
    index = torch.arange(n)
    made = Data(x=torch.randn(n, 3), edge_index=torch.stack([index, (index + 1) % n]), y=index % 3)
    for name, value in fields.items():
        made[name] = value
    return made


def small(g):
    return ring(3 + g % 3, y=torch.tensor([g % 2]))


def test_a_data_in_a_file_is_read_and_only_its_tensors_are(tmp_path):
    torch.save(ring(note="mine", name=["a"]), tmp_path / "one.pt")
    dataset = load(str(tmp_path / "one.pt"))
    assert (dataset.task, dataset.num_features, dataset.num_outputs) == ("node", 3, 3)
    assert dataset.info["sizes"] == {"train": 7, "val": 3, "test": 2} and "note" not in dataset.train[0]
    assert dataset.train[0].x.dtype == torch.float32


def test_of_masks_with_several_columns_one_is_chosen(tmp_path):
    index = torch.arange(12)
    masks = {f"{n}_mask": torch.stack([(index + shift) % 3 == k for shift in range(4)], 1)
             for k, n in enumerate(("train", "val", "test"))}  # fmt: skip
    torch.save(ring(**masks), tmp_path / "one.pt")
    data = load(str(tmp_path / "one.pt"), split=1).train[0]
    assert torch.equal(data.train_mask, masks["train_mask"][:, 1])
    for split in (None, 4, "-1"):
        with pytest.raises(ConfigError, match="split"):
            load(str(tmp_path / "one.pt"), split=split)
    overlapping = {**masks, "val_mask": masks["train_mask"]}
    torch.save(ring(**overlapping), tmp_path / "two.pt")
    with pytest.raises(DataError, match="rows are for train and for val"):
        load(str(tmp_path / "two.pt"), split=0)


def test_lists_of_graphs_and_the_files_of_data_sets_are_graphs(tmp_path):
    graphs = [small(g) for g in range(20)]
    torch.save(graphs, tmp_path / "many.pt")
    data, slices = InMemoryDataset.collate(graphs)
    torch.save((data.to_dict(), slices, Data), tmp_path / "processed.pt")
    for name in ("many.pt", "processed.pt"):
        dataset = load(str(tmp_path / name))
        assert dataset.task == "graph" and [len(p) for p in (dataset.train, dataset.val, dataset.test)] == [12, 4, 4]
    first = dataset.train[0]
    original = next(g for g in graphs if g.x.shape == first.x.shape and torch.equal(g.x.float(), first.x))
    assert torch.equal(original.edge_index, first.edge_index) and torch.equal(original.y, first.y)


def test_nodes_of_several_graphs_are_split_by_graph():
    dataset = load_object([ring(6) for _ in range(10)], "mine", {})
    data = dataset.train[0]
    assert dataset.task == "node" and data.num_nodes == 60
    assert data.train_mask.view(10, 6).all(1).sum() == 6 == data.train_mask.view(10, 6).any(1).sum()


def test_an_npz_has_nodes_edges_or_graphs_to_learn_of(tmp_path):
    edge_index, rng = np.array([[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]]), np.random.default_rng(0)
    x = rng.normal(size=(6, 2))
    path = str(tmp_path / "mine.npz")
    np.savez(path, edge_index=edge_index, x=x, edge_label=np.array([0, 1, 0, 1, 0]), edge_attr=np.ones((5, 2)))
    dataset = load(path, split="0.4,0.2,0.4")
    assert dataset.task == "edge" and dataset.train[0].edge_label_attr.shape == (5, 2)
    pairs = np.array([[0, 5, 3, 1], [5, 0, 1, 3]])
    np.savez(path, edge_index=edge_index, x=x, edge_label=np.array([0.5, 1, 2, 3]), edge_label_index=pairs)
    dataset = load(path, split="0.5,0.25,0.25")
    assert (dataset.task, dataset.target) == ("edge", "value") and "edge_label_attr" not in dataset.train[0]
    np.savez(path, edge_index=np.array([[0, 2], [1, 3]]), x=x, y=[0, 1, 0], batch=[0, 0, 1, 1, 2, 2])
    dataset = load(path, split="0.34,0.33,0.33")
    assert dataset.task == "graph" and dataset.info["sizes"] == {"train": 1, "val": 1, "test": 1}
    np.savez(path, edge_index=edge_index, y=np.array([[0, 1], [1, 1], [0, 0], [1, 0], [0, 1], [1, 1]]))
    dataset = load(path)
    assert dataset.target == "multilabel" and dataset.train[0].x.shape == (6, 2)  # degrees, for want of features
    np.savez(path, edge_index=edge_index, x=x, colour=np.arange(6))
    assert load(path, target="colour", kind="value", split="0.4,0.3,0.3").target == "value"


def test_classes_may_have_gaps_and_rows_no_answer():
    data = ring(y=torch.tensor([-1, 10, 30] * 4))
    dataset = load_object(data, "mine", {"split": "0.5,0.25,0.25"})
    assert dataset.info["learned"]["names"] == ["10", "30"] and dataset.num_outputs == 2
    assert sum(dataset.info["sizes"].values()) == 8 and not bool(dataset.train[0].train_mask[::3].any())


def test_functions_give_parts_or_whole_data_sets():
    parts = tuple([small(g) for g in range(4)] for _ in range(3))
    dataset = load_object(parts, "mine", {})
    assert dataset.task == "graph" and [len(p) for p in (dataset.train, dataset.val, dataset.test)] == [4, 4, 4]
    assert load_object(dataset, "mine", {}) is dataset
    with pytest.raises(ConfigError, match="would do nothing"):
        load_object(dataset, "mine", {"seed": 1})
    for thing in (3, "text", [], [1], {"x": 1}):
        with pytest.raises(DataError, match="mine: gave a"):
            load_object(thing, "mine", {})


def test_questions_have_the_features_of_the_training():
    learned = Learned.from_dict(load_object(ring(), "mine", {}).info["learned"], "here")
    asked = questions_of(ring(5), learned)
    assert asked.rows == {"node": list("01234")} and "y" not in asked.graphs[0]
    with pytest.raises(ShapeError, match="have 4 features, and the model was trained on 3"):
        questions_of(ring(5, x=torch.zeros(5, 4)), learned)
    bare = Data(edge_index=torch.tensor([[0], [1]]), num_nodes=2)
    with pytest.raises(ShapeError, match="has no features x"):
        questions_of(bare, learned)


# ---------------------------------------------------------------- refused
class Runs:
    """A pickle that would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_in_a_file_is_run(tmp_path):
    made = tmp_path / "made"
    torch.save(ring(note=Runs(made)), tmp_path / "evil.pt")
    torch.save({"x": Runs(made)}, tmp_path / "dict.pt")
    for name in ("evil.pt", "dict.pt"):
        with pytest.raises(DataError, match=r"nothing in it was run"):
            load(str(tmp_path / name))
    assert not made.exists()


def test_pickles_are_refused_with_the_way_to_a_file_that_is_read(tmp_path):
    graph = networkx.karate_club_graph()
    for name in ("club.pkl", "club.gpickle", "club.graph"):
        (tmp_path / name).write_bytes(pickle.dumps(graph))
        with pytest.raises(DataError, match=r"is a pickle, .* networkx\.write_graphml\(graph, 'club\.graphml'\)"):
            load(str(tmp_path / name))


@pytest.mark.parametrize(
    "content, says",
    [
        (b"", "no whole file of torch.save"),
        (b"PK\x03\x04 nonsense", "no whole file of torch.save"),
        ([1, 2], "holds a list"),
        ({"x": torch.zeros(3)}, "holds a dict"),
        (torch.zeros(3), "holds a Tensor"),
        (Data(x=torch.zeros(3, 2), y=torch.zeros(3)), "has no edge_index"),
        (Data(x=torch.zeros(3, 2), edge_index=torch.zeros(2, 1).long()), "has no y to learn"),
        (Data(x=torch.zeros(3, 2), y=torch.arange(4), edge_index=torch.zeros(2, 1).long()), "y has 4 rows"),
    ],
    ids=str,
)
def test_what_is_no_graph_is_refused(tmp_path, content, says):
    path = tmp_path / "mine.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(DataError) as error:
        load(str(path))
    assert says in str(error.value)


@pytest.mark.parametrize(
    "fields, says, kind",
    [
        ({"edge_index": torch.tensor([[0], [99]])}, "node 99 does not exist", EdgeIndexError),
        ({"edge_index": torch.tensor([[0.0], [1.0]])}, "int64", EdgeIndexError),
        ({"x": torch.full((12, 3), torch.nan)}, "x[0, 0] is nan", ShapeError),
        ({"batch": torch.arange(12) * 10**12}, "batch is the graph of each of 12 nodes", ShapeError),
        ({"x": torch.zeros(11, 3)}, "x is (nodes, features)", ShapeError),
        ({"edge_weight": torch.ones(3)}, "edge_weight has a row for each of 12 edges", ShapeError),
        ({"y": torch.arange(5)}, "y has 5 rows", DataError),
        ({"y": torch.zeros(12, 2, 2)}, "(rows,) or (rows, labels)", DataError),
        ({"y": torch.full((12,), torch.inf)}, "infinity", DataError),
        ({"train_mask": torch.ones(12, dtype=torch.bool)}, "no val_mask", DataError),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_arrays_that_do_not_fit_are_refused(fields, says, kind):
    data = ring(**fields)
    data.num_nodes = 12
    with pytest.raises(kind) as error:
        load_object(data, "mine", {})
    assert says in str(error.value)


def test_a_small_file_cannot_ask_for_any_memory(tmp_path):
    np.savez(tmp_path / "x.npz", edge_index=np.array([[0], [10**13]]), y=np.zeros(3))
    with pytest.raises(DataError, match="claims 10,000,000,000,001 nodes"):
        load(str(tmp_path / "x.npz"))


def test_a_file_of_an_unknown_kind_is_refused_with_those_that_are_read(tmp_path):
    (tmp_path / "graph.json").write_text("{}")
    with pytest.raises(DataError, match=r"is of no kind that is read; these are \.csv"):
        load(str(tmp_path / "graph.json"))
    np.savez(tmp_path / "x.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="lacks edge_index"):
        load(str(tmp_path / "x.npz"))
    assert isinstance(load("karate"), Dataset)
