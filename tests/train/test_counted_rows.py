"""Which rows count: masks, pieces of graphs that have none of a split, graphs of several kinds of nodes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch_geometric.data import HeteroData, InMemoryDataset
from torch_geometric.loader import DataLoader as GraphLoader
from torch_geometric.nn import GCNConv, SAGEConv, to_hetero

from edgenet import fit
from edgenet.errors import ConfigError, ShapeError
from edgenet.train import Task

from train.small_data import nodes  # isort: skip

QUICK = {"epochs": 2, "lr": 0.01, "seed": 0, "progress": False}


class Conv(nn.Module):
    def __init__(self, outputs=2):
        super().__init__()
        self.conv = GCNConv(4, outputs)

    def forward(self, x, edge_index):
        return self.conv(x, edge_index)


class Pairs(Conv):
    """Scores pairs of nodes."""

    def forward(self, x, edge_index, edge_label_index):
        z = self.conv(x, edge_index)
        return (z[edge_label_index[0]] * z[edge_label_index[1]]).sum(-1)


def test_masks_of_nodes_say_nothing_of_pairs_of_nodes():
    data = nodes().train[0]
    data.edge_label_index, data.edge_label = data.edge_index, (torch.arange(48) % 2).float()
    seen = []

    def loss(scores, target):
        seen.append(len(target))
        return F.binary_cross_entropy_with_logits(scores, target)

    fit(Pairs(), Task(data, target="edge_label", loss=loss, metric="auroc"), **QUICK)
    assert set(seen) == {48}  # and not 8, the nodes of train_mask


@pytest.mark.parametrize("form", [lambda data: data, lambda data: [data, data], lambda data: GraphLoader([data])])
def test_nodes_to_be_judged_by_are_not_trained_on_where_the_mask_is_missing(form):
    data = nodes().train[0]
    del data.train_mask
    with pytest.raises(ConfigError, match=r"have val_mask and test_mask, and no train_mask.*~\(val_mask"):
        fit(Conv(), form(data), **QUICK)


def test_several_splits_in_one_mask_are_refused_by_loaders_too():
    data = nodes().train[0]
    data.train_mask = data.train_mask[:, None].repeat(1, 10)
    with pytest.raises(ShapeError, match=r"must be \(24,\) of torch.bool.*\(24, 10\).*train_mask\[:, 0\]"):
        fit(Conv(), GraphLoader([data]), **QUICK)


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("form", [list, GraphLoader])
def test_a_graph_without_nodes_of_a_split_is_passed_over(split, form):
    graphs = [nodes().train[0] for _ in range(3)]
    graphs[1][f"{split}_mask"] = torch.zeros(24, dtype=torch.bool)
    own = {"batch_size": 1} if form is list else {"val": form(graphs)}
    result = fit(Conv(), form(graphs), **own, **QUICK)
    assert result.val is not None and len(result.history) == 2


class Once:
    """Walks over its items in the first pass alone."""

    def __init__(self, items):
        self.items = iter(items)

    def __iter__(self):
        return (item for item in self.items)


def rows(count):
    return TensorDataset(torch.randn(count, 3), torch.arange(count) % 2)


@pytest.mark.parametrize(
    ("val", "error", "says"),
    [
        (lambda: Once([tuple(rows(4).tensors)]), ConfigError, "val data gave nothing to judge by"),
        (lambda: DataLoader(rows(4), 8, drop_last=True), ConfigError, "val data gave nothing to judge by"),
        (lambda: rows(0), ShapeError, "without rows"),
    ],
    ids=["one pass", "drop_last", "empty"],
)
def test_validation_data_that_give_nothing_are_no_score_of_zero(val, error, says):
    with pytest.raises(error, match=says):
        fit(nn.Linear(3, 2), rows(8), val=val(), **QUICK)


def several_kinds():
    data = HeteroData()
    data["paper"].x, data["paper"].y = torch.randn(10, 4), torch.arange(10) % 2
    data["paper"].train_mask = torch.arange(10) < 6
    data["paper"].val_mask = torch.arange(10) >= 6
    data["author"].x = torch.randn(6, 3)
    data["author", "writes", "paper"].edge_index = torch.stack([torch.arange(20) % 6, torch.arange(20) % 10])
    data["paper", "of", "author"].edge_index = data["author", "writes", "paper"].edge_index.flip(0)
    return data


class Sage(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = SAGEConv((-1, -1), 2)

    def forward(self, x, edge_index):
        return self.conv(x, edge_index)


class Papers(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, x_dict, edge_index_dict):
        return self.head(x_dict["paper"])


@pytest.mark.parametrize("model", [lambda: to_hetero(Sage(), several_kinds().metadata()), Papers])
@pytest.mark.parametrize("form", [lambda data: data, lambda data: [data, data], lambda data: GraphLoader([data])])
def test_one_kind_of_nodes_of_several_is_learned(model, form):
    seen, data = [], several_kinds()

    def loss(scores, target):
        seen.append(len(target))
        return F.cross_entropy(scores, target)

    result = fit(model(), Task(form(data), form(data), target="paper", loss=loss), batch_size=1, **QUICK)
    assert set(seen) == {6, 4} and result.metric == "accuracy" and result.val is not None


def test_masks_of_one_kind_of_nodes_want_the_kind():
    for target in (None, lambda data: data["paper"].y):
        with pytest.raises(ConfigError, match=r"kind.*target= (that|the) kind"):
            fit(Papers(), Task(several_kinds(), target=target), **QUICK)


def test_a_task_follows_its_model_to_another_dtype():
    task, model = Task(rows(8), rows(8)), nn.Linear(3, 2).float()
    before = task.evaluate(model)["val"].loss
    assert task.evaluate(model.double())["val"].loss == pytest.approx(before)


class Drawn(torch.utils.data.Dataset):
    """Graphs whose features are drawn at every look."""

    def __len__(self):
        return 4

    def __getitem__(self, number):
        data = nodes().train[0]
        data.x = torch.randn(24, 4)
        return data


@pytest.mark.parametrize("make", [Drawn, lambda: torch.utils.data.Subset(Drawn(), [0, 1])])
def test_graphs_that_are_drawn_anew_are_so_in_every_epoch(make):
    seen = []

    class Looks(Conv):
        def forward(self, x, edge_index):
            if self.training:
                seen.append(x.sum().item())
            return super().forward(x, edge_index)

    for _ in range(2):
        fit(Looks(), make(), batch_size=1, **QUICK)
    assert len(set(seen[: len(seen) // 2])) == len(seen) // 2
    assert seen[: len(seen) // 2] == seen[len(seen) // 2 :]  # by the seed


class Citations(InMemoryDataset):
    """One graph with masks, as PyG's data sets are."""

    def __init__(self):
        super().__init__(None)
        self.data, self.slices = self.collate([nodes().train[0]])


def test_a_data_set_of_pyg_is_judged_by_its_masks():
    result = fit(Conv(), Citations(), **QUICK)
    assert result.val is not None and result.test is not None


def test_no_more_is_scored_at_once_than_the_size_of_batches_suggests():
    seen = []

    class Looks(nn.Linear):
        def forward(self, x):
            seen.append(len(x))
            return super().forward(x)

    fit(Looks(3, 2), rows(100), val=rows(100), batch_size=2, **QUICK)
    assert max(seen) == 16
