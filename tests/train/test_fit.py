"""fit: any module, on data of any form."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch_geometric.data import Batch as Joined
from torch_geometric.data import Data, HeteroData
from torch_geometric.loader import DataLoader as GraphLoader
from torch_geometric.nn import (
    GAT,
    GCNConv,
    GINEConv,
    HeteroConv,
    SAGEConv,
    Sequential,
    global_add_pool,
    global_mean_pool,
)

import edgenet
from edgenet.errors import ConfigError, EdgeIndexError, ShapeError
from edgenet.models import GraphClassifier, NodeClassifier
from edgenet.nn import EdgeNetConv
from edgenet.train import Batch, Task, call_model, fit

from train.small_data import graphs, nodes, ring, signals  # isort: skip


class Mine(nn.Module):
    """PyG layers, as anybody writes them."""

    def __init__(self, out=2):
        super().__init__()
        self.first, self.last = GCNConv(4, 8), GCNConv(8, out)

    def forward(self, x, edge_index):
        return self.last(self.first(x, edge_index).relu(), edge_index)


class Pooled(nn.Module):
    """Edge features, and one answer a graph."""

    def __init__(self, out=1):
        super().__init__()
        self.conv = GINEConv(nn.Linear(4, 8), edge_dim=3)
        self.head = nn.Linear(8, out)

    def forward(self, x, edge_index, edge_attr, batch):
        return self.head(global_add_pool(self.conv(x, edge_index, edge_attr).relu(), batch))


class Windows(nn.Module):
    """Readings of N sensors over T steps to the next H, one window an item; the graph is the model's own."""

    def __init__(self, edges, steps=12, ahead=3):
        super().__init__()
        self.conv = EdgeNetConv(steps, 16, order=2, phi="shift")
        self.head = nn.Linear(16, ahead)
        self.register_buffer("edges", edges)

    def forward(self, x):  # (B, N, T) -> (B, N, H)
        return self.head(self.conv(x, self.edges).relu())


def molecules(count=24, seed=0):
    """Graphs whose value is how many edges carry the first of three features."""
    random, made = torch.Generator().manual_seed(seed), []
    for i in range(count):
        n = 5 + i % 4
        kind = torch.randint(3, (2 * n,), generator=random)
        x = torch.randn(n, 4, generator=random)
        y = (kind == 0).double().mean().reshape(1)
        made.append(Data(x=x, edge_index=ring(n), edge_attr=F.one_hot(kind, 3).double(), y=y))
    return made


def readings(count=40, sensors=7, seed=0):
    """(windows, N, 12) and (windows, N, 3): waves, and how they go on."""
    random = torch.Generator().manual_seed(seed)
    phase = torch.rand(count, sensors, 1, generator=random) * 6
    wave = (phase + torch.arange(15) * 0.5).sin()
    return wave[..., :12].float(), wave[..., 12:].float()


def learned(result, times=0.7):
    first, last = result.history[0]["loss"], result.history[-1]["loss"]
    assert last < times * first, (first, last)
    return result


QUIET = {"progress": False, "seed": 0}


# ---------------------------------------------------------------- forms of data
def test_three_lines_train_a_module_of_ones_own_on_a_graph_with_masks():
    data = nodes().train[0]
    result = learned(edgenet.fit(Mine(), data, epochs=60, lr=0.05, **QUIET))
    assert result.metric == "accuracy" and result.epochs == 60 and result.test > 0.8
    model = result.model
    assert not model.training
    right = model(data.x.double(), data.edge_index).argmax(1) == data.y
    assert result.val == right[data.val_mask].double().mean().item()
    assert result.test == right[data.test_mask].double().mean().item()
    assert result.best_epoch == max(result.history, key=lambda r: (r["val"], -r["val_loss"]))["epoch"]


def test_only_nodes_of_the_train_mask_are_learned():
    data = nodes().train[0]
    other = data.clone()
    other.y = torch.where(data.train_mask, data.y, 1 - data.y)
    models = [Mine()]
    models.append(copy.deepcopy(models[0]))
    for model, graph in zip(models, (data, other), strict=True):
        del graph.val_mask, graph.test_mask
        fit(model, graph, epochs=5, **QUIET)
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))


def test_a_list_of_graphs_makes_batches_of_graphs():
    result = learned(fit(Pooled(), molecules(), val=molecules(8, 1), epochs=40, lr=0.01, batch_size=6, **QUIET))
    assert result.metric == "rmse" and result.test is None and result.history[0]["val_loss"] > 0


def test_a_loader_of_molecules_gives_the_same_as_a_list_in_the_same_order():
    model = Pooled()
    again = copy.deepcopy(model)
    a = fit(model, GraphLoader(molecules(), 24), val=GraphLoader(molecules(8, 1), 4), epochs=3, **QUIET)
    b = fit(again, molecules(), val=molecules(8, 1), epochs=3, batch_size=24, **QUIET)
    assert a.val == pytest.approx(b.val, rel=1e-9) and a.history[-1]["loss"] == pytest.approx(b.history[-1]["loss"])


def test_windows_of_readings_are_learned_by_a_loss_of_ones_own():
    x, y = readings()

    def masked_mae(scores, target):  # readings that are missing are 0
        known = target != 0
        return ((scores - target).abs() * known).sum() / known.sum()

    model = Windows(ring(7))
    result = fit(
        model, TensorDataset(x, y), val=TensorDataset(*readings(12, seed=1)), loss=masked_mae, metric="mae",
        epochs=60, lr=0.01, batch_size=8, **QUIET,
    )  # fmt: skip
    assert learned(result).metric == "mae"
    assert result.val == pytest.approx(result.history[result.best_epoch - 1]["val_loss"], rel=1e-6)


def test_a_loader_of_tuples_is_a_form_too_and_so_is_a_dataset_of_samples():
    x, y = readings()
    for data in (DataLoader(TensorDataset(x, y), 8, shuffle=True), list(zip(x, y, strict=True))):
        learned(fit(Windows(ring(7)).float(), data, loss="mse", epochs=30, lr=0.01, batch_size=8, **QUIET))


def test_several_inputs_of_a_tuple_are_arguments_in_their_order():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.map = nn.Linear(2, 1)

        def forward(self, a, b):
            return self.map(torch.stack([a, b], 1))

    a, b = torch.randn(50), torch.randn(50)
    result = fit(Both(), TensorDataset(a, b, 2 * a - b), loss="mse", epochs=200, lr=0.05, batch_size=50, **QUIET)
    assert result.history[-1]["loss"] < 1e-3
    torch.testing.assert_close(result.model.map.weight.detach(), torch.tensor([[2.0, -1.0]]), atol=0.05, rtol=0)


class Pieces:
    """Like a NeighborLoader: pieces of a graph whose first nodes, the seeds, count."""

    def __init__(self, data):
        self.data = data

    def __iter__(self):
        for start in range(0, 12, 4):
            order = torch.cat([torch.arange(start, start + 4), torch.arange(24)]).unique(sorted=False)
            order = torch.cat([torch.arange(start, start + 4), order[(order < start) | (order >= start + 4)]])
            back = torch.empty(24, dtype=torch.long)
            back[order] = torch.arange(24)
            piece = Data(x=self.data.x[order], y=self.data.y[order], edge_index=back[self.data.edge_index])
            piece.n_id, piece.batch_size, piece.input_id = order, 4, order[:4]
            yield piece


def test_of_sampled_pieces_the_seeds_count_alone():
    data = nodes().train[0]
    seen = []

    def loss(scores, target):
        seen.append((len(scores), target))
        return F.cross_entropy(scores, target)

    fit(Mine(), Pieces(data), loss=loss, epochs=1, **QUIET)
    assert [n for n, _ in seen] == [4, 4, 4] and torch.equal(torch.cat([t for _, t in seen]), data.y[:12])
    result = fit(GAT(4, 8, 2, 2), Pieces(data), epochs=20, lr=0.05, **QUIET)
    assert learned(result).metric == "accuracy"


def test_a_loader_of_masked_pieces_learns_from_the_masked_nodes():
    data = nodes().train[0]
    seen = []

    def loss(scores, target):
        seen.append(len(target))
        return F.cross_entropy(scores, target)

    fit(Mine(), [data, data.clone()], loss=loss, epochs=1, batch_size=1, **QUIET)
    assert seen[:2] == [int(data.train_mask.sum())] * 2


@pytest.mark.parametrize("make", [nodes, graphs, signals, lambda: signals("value")])
def test_every_data_set_of_the_library_trains_a_model_of_the_library(make):
    data = make()
    if data.task == "node":
        model = NodeClassifier(data.num_features, data.num_outputs, layer="gcn", hidden_channels=8)
    else:
        model = GraphClassifier(data.num_features, data.num_outputs, readout="flatten", num_nodes=9)
    result = learned(fit(model, data, epochs=40, lr=0.02, **QUIET), 0.9)
    assert result.metric == data.metric and result.val is not None and result.test is not None


def test_tables_of_edge_weights_get_their_graph_and_are_trained():
    data = nodes().train[0]
    model = NodeClassifier(-1, 2, layer="edge_varying", bank="heads", heads=2, hidden_channels=4)
    result = fit(model, data, epochs=3, **QUIET)
    assert result.parameters == sum(p.numel() for p in model.parameters())
    assert any("edge_table" in name for name, _ in model.named_parameters())


# ---------------------------------------------------------------- how models are called
def a_batch(**more):
    data = Data(x=torch.randn(3, 4), edge_index=torch.tensor([[0, 1], [1, 2]]), y=torch.tensor([0, 1, 0]), **more)
    return Batch(data, data.y)


def arguments_of(forward, batch):
    """What a model with that forward is called with."""
    kind = type("Asked", (nn.Module,), {"forward": forward})
    return call_model(kind(), batch)


def test_a_forward_gets_what_it_names_in_its_own_order():
    batch = a_batch(edge_attr=torch.ones(2, 3), pos=torch.zeros(3, 2), temperature=torch.tensor(20.0))
    data = batch.whole
    got = arguments_of(lambda self, pos, x, edge_index, temperature: (pos, x, edge_index, temperature), batch)
    assert all(a is b for a, b in zip(got, (data.pos, data.x, data.edge_index, data.temperature), strict=True))
    got = arguments_of(lambda self, x, edge_index, edge_weight=None, edge_attr=None: (edge_weight, edge_attr), batch)
    assert got[0] is None and got[1] is data.edge_attr
    assert arguments_of(lambda self, x, edge_index, y=None, train_mask=None: (y, train_mask), batch) == (None, None)


def test_a_forward_may_call_its_model_as_it_likes_and_be_put_on_an_instance():
    batch = a_batch()
    assert arguments_of(lambda me, x, edge_index: x, batch) is batch.whole.x
    model = Mine()
    model.forward = lambda edge_index, x: (edge_index, x)
    assert call_model(model, batch)[0] is batch.whole.edge_index


def test_a_graph_of_several_kinds_is_read_by_the_names_of_its_parts():
    data = HeteroData()
    data["author"].x, data["paper"].x = torch.randn(6, 4), torch.randn(5, 3)
    data["author"].y = torch.randint(2, (6,))
    edges = torch.tensor([[0, 1, 4], [1, 2, 0]])
    data["author", "writes", "paper"].edge_index, data["paper", "of", "author"].edge_index = edges, edges

    class Kinds(nn.Module):
        def __init__(self):
            super().__init__()
            convs = {("author", "writes", "paper"): SAGEConv((4, 3), 2), ("paper", "of", "author"): SAGEConv((3, 4), 2)}
            self.conv = HeteroConv(convs)

        def forward(self, x_dict, edge_index_dict):
            return self.conv(x_dict, edge_index_dict)["author"]

    learned(fit(Kinds(), Task(data, target=lambda batch: batch["author"].y), epochs=60, lr=0.05, **QUIET))


def test_a_forward_of_the_whole_data_gets_them():
    batch = a_batch()
    for forward in (lambda self, data: data, lambda self, batch: batch, lambda self, graph: graph):
        assert arguments_of(forward, batch) is batch.whole


def test_graph_numbers_and_their_count_follow_pygs_conventions():
    joined = Joined.from_data_list([a_batch().whole, a_batch().whole])
    batch = Batch(joined, joined.y)
    got = arguments_of(lambda self, x, edge_index, batch, batch_size=None: (batch, batch_size), batch)
    assert got[0].tolist() == [0, 0, 0, 1, 1, 1] and got[1] == 2
    piece = a_batch(batch_size=2, input_id=torch.arange(2))  # the seeds of a sampler are no number of graphs
    assert arguments_of(lambda self, x, edge_index, batch=None, batch_size=None: batch_size, piece) is None


def test_pygs_sequential_and_its_ready_models_are_called():
    data = nodes().train[0]
    sequential = Sequential("x, edge_index", [(GCNConv(4, 8), "x, edge_index -> x"), nn.ReLU(), nn.Linear(8, 2)])
    learned(fit(sequential, data, epochs=40, lr=0.05, **QUIET))
    learned(fit(GAT(4, 8, 2, 2, heads=2), data, epochs=40, lr=0.05, **QUIET))
    learned(fit(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), data, epochs=40, lr=0.05, **QUIET))


def test_a_name_that_the_data_lack_is_said_with_those_they_have():
    with pytest.raises(ConfigError, match=r"Asked\.forward wants 'edge_time', and the data have .*edge_index.*call="):
        arguments_of(lambda self, x, edge_time: x, a_batch())


def test_call_is_a_way_of_ones_own():
    data = nodes().train[0]
    task = Task(data, call=lambda model, batch: model(batch.x * 0 + 1, batch.edge_index))
    result = fit(Mine(), task, epochs=30, **QUIET)
    assert result.history[-1]["train"] <= 0.9  # which the features would have given away


# ---------------------------------------------------------------- targets, losses, metrics
def test_another_field_or_a_function_says_what_to_learn():
    data = nodes().train[0]
    data.level, data.y = data.x[:, :1] * 2, None
    for target in ("level", lambda batch: batch.x[:, :1] * 2):
        model = nn.Linear(4, 1)
        result = fit(model, Task(data, target=target, loss="mse", metric="r2"), epochs=200, lr=0.05, **QUIET)
        assert result.test > 0.99 and result.metric == "r2"
    with pytest.raises(ConfigError, match=r"no 'label' to learn; there are .*level"):
        fit(nn.Linear(4, 1), Task(data, target="label"), **QUIET)


def test_scores_that_do_not_fit_targets_are_said_so():
    with pytest.raises(ShapeError, match=r"the model says \(24, 8\) and the targets are \(24, 2\)"):
        data = nodes().train[0]
        fit(Mine(8), Task(Data(x=data.x, edge_index=data.edge_index, y=data.x[:, :2])), **QUIET)


def test_a_loss_that_is_no_number_is_said_so():
    with pytest.raises(ConfigError, match=r"has shape \(8,\); take its mean"):
        fit(Mine(), nodes().train[0], loss=lambda s, t: F.cross_entropy(s, t, reduction="none"), **QUIET)


def test_a_metric_may_be_a_function_or_a_metric_of_torchmetrics():
    from torchmetrics.classification import MulticlassCohenKappa

    data = nodes().train[0]

    def share_of_ones(scores, target):
        return (scores.argmax(1) == 1).double().mean()

    kappa = MulticlassCohenKappa(2)
    for metric, name in ((share_of_ones, "share_of_ones"), (kappa, "MulticlassCohenKappa")):
        result = fit(Mine(), data, metric=metric, epochs=5, **QUIET)
        assert result.metric == name and 0 <= result.history[-1]["val"] <= 1
    assert kappa.update_count == 0  # the one that was handed in stays as it is


def test_without_validation_the_last_epoch_is_kept():
    result = fit(Pooled(), molecules(), epochs=7, **QUIET)
    assert result.best_epoch == result.epochs == 7 and result.val is None and "val" not in result.history[0]
    with pytest.raises(ConfigError, match=r"patience \(3\) waits for a better validation score"):
        fit(Pooled(), molecules(), patience=3, **QUIET)


# ---------------------------------------------------------------- what is refused
def test_what_is_no_model_data_or_setting_is_said_so():
    data = nodes().train[0]
    with pytest.raises(ConfigError, match=r"fit trains a torch\.nn\.Module"):
        fit(Mine, data)
    for thing in (3, "cora", data.x, {"x": data.x}):
        with pytest.raises(ConfigError, match="the train data are a"):
            fit(Mine(), thing)
    with pytest.raises(ConfigError, match="used up after one epoch"):
        fit(Pooled(), iter(molecules()))
    with pytest.raises(ShapeError, match="the train split is empty"):
        fit(Pooled(), [])
    with pytest.raises(ConfigError, match=r"no setting is called 'epoch'.*Did you mean 'epochs'"):
        fit(Mine(), data, epoch=3)
    with pytest.raises(ConfigError, match=r"training\.epochs is at least 1"):
        fit(Mine(), data, epochs=0)
    with pytest.raises(ConfigError, match=r"no metric is called 'acuracy'.*Did you mean 'accuracy'"):
        fit(Mine(), data, metric="acuracy")
    with pytest.raises(ConfigError, match="no loss is called 'hinge'"):
        fit(Mine(), data, loss="hinge")
    with pytest.raises(ConfigError, match="a loss is a name or a callable"):
        fit(Mine(), data, loss=nn.MSELoss)
    with pytest.raises(ConfigError, match="belongs to a run"):
        fit(Mine(), data, {"model": {"layer": "gcn"}})


def test_bad_graphs_are_refused_by_number():
    bad = molecules(3)
    bad[1].x[0, 0] = float("nan")
    with pytest.raises(ShapeError, match=r"train graph 1: x\[0, 0\] is nan"):
        fit(Pooled(), bad, **QUIET)
    bad = molecules(3)
    bad[2].edge_index[0, 0] = 77
    with pytest.raises(EdgeIndexError, match=r"val graph 2: .*node 77 does not exist"):
        fit(Pooled(), molecules(3), val=bad, **QUIET)


def test_the_data_and_the_callers_settings_stay_as_they_are():
    data = nodes().train[0]
    before = {key: value.clone() for key, value in data.to_dict().items() if isinstance(value, torch.Tensor)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(Mine().double(), data, epochs=2, **QUIET)
    assert data.x.dtype == torch.float32 and all(torch.equal(data[key], value) for key, value in before.items())


def test_equal_seeds_give_equal_numbers_and_no_seed_goes_on_with_torchs():
    def trained(seed):
        torch.manual_seed(1)
        model = Pooled()
        fit(model, molecules(), epochs=2, batch_size=4, progress=False, seed=seed)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(trained(3), trained(3)) and not torch.equal(trained(3), trained(4))
    assert torch.equal(trained(None), trained(None))


def test_a_graph_level_model_reads_one_graph_and_many():
    class Readout(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = GCNConv(4, 8), nn.Linear(8, 1)

        def forward(self, x, edge_index, batch):
            return self.head(global_mean_pool(self.conv(x, edge_index).relu(), batch))

    for size in (1, 5):
        fit(Readout(), molecules(5), epochs=1, batch_size=size, **QUIET)
