"""check_model: a whole model, held to what training, loaders and files ask of one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader

from edgenet.testing.contract import Contract, check_maker, require, same
from edgenet.testing.layer.case import LayerCase, takes
from edgenet.testing.layer.lasting import LASTING
from edgenet.testing.layer.symmetry import SYMMETRY

#: nodes that the graphs of a list have: parts of one graph, so that tables have weights for all of them
_SIZES = (7, 5, 6)


@dataclass(frozen=True)
class ModelCase(LayerCase):
    """A model to look into; ``make`` gives it, of its numbers of input channels and of scores.

    Attributes:
        graphs: whether it gives a row of scores for every graph, and not for every node.

    Example:
        >>> case = edgenet.testing.ModelCase(lambda width, out: edgenet.NodeClassifier(width, out), name="mine")
    """

    graphs: bool = False
    name: str = "model"
    batches: bool = False
    widths: tuple[str, ...] = ("narrow",)

    def data(self) -> list[Data]:
        """Graphs with signals, and with weights and features where the model is given some."""
        _, x, more = self.ready()
        edges, found = more["edge_index"], []
        for place, size in enumerate(_SIZES):
            inside = (edges < size).all(0)
            given = {name: value[inside] for name, value in more.items() if name != "edge_index"}
            ids = torch.arange(size)
            found.append(Data(x=(1 - 0.5 * place) * x[:size], edge_index=edges[:, inside], n_id=ids, **given))
        return found


def called(model: nn.Module, data: Data) -> Tensor:
    """The model of a ``Data`` or ``Batch``: it is handed what it has an argument for."""
    given = {name: data[name] for name in ("edge_weight", "edge_attr", "n_id") if name in data and takes(model, name)}
    if getattr(data, "batch", None) is not None and takes(model, "batch"):
        given["batch"] = data.batch
    return model(data.x, data.edge_index, **given)


#: What only models promise.
_OWN: Contract[ModelCase] = Contract()


@_OWN.promise("scores")
def scores(case: ModelCase) -> None:
    """It gives a finite row of as many scores as were asked for, for every node or for every graph."""
    model = case.ready()[0]
    for data in case.data():
        y, rows = called(model, data), 1 if case.graphs else data.num_nodes
        require(isinstance(y, Tensor), f"it gives a {type(y).__name__}, no tensor")
        wanted = (rows, case.channels[1])
        require(tuple(y.shape) == wanted, f"of {data.num_nodes} nodes it gives {tuple(y.shape)}, not {wanted}")
        require(bool(y.isfinite().all()), "it gives what is not finite")


@_OWN.promise("batch of graphs")
def batch(case: ModelCase) -> None:
    """Of a PyG Batch every graph gets what it gets alone, also one that stands alone in it."""
    model, data = case.ready()[0], case.data()
    alone = [called(model, one) for one in data]
    same(called(model, Batch.from_data_list(data)), torch.cat(alone), "graphs in a batch get something else")
    same(called(model, Batch.from_data_list(data[1:2])), alone[1], "in a batch of one, a graph gets something else")


@_OWN.promise("batch by position")
def by_position(case: ModelCase) -> str | None:
    """The third argument of a model of graphs is ``batch``, as PyG's models have it."""
    if not case.graphs or case.weights or case.features:
        return "its third argument may be another"
    model, data = case.ready()[0], case.data()
    if takes(model, "n_id"):
        data = data[:1]  # of more, tables would need their ids
    together = Batch.from_data_list(data)
    got = model(together.x, together.edge_index, together.batch)
    same(got, called(model, together), "called as model(x, edge_index, batch) it gives something else")
    return None


@_OWN.promise("loader")
def loader(case: ModelCase) -> None:
    """Of the batches of a loader, graphs get what each gets alone."""
    model, data = case.ready()[0], case.data()
    got = torch.cat([called(model, part) for part in DataLoader(data, batch_size=2)])
    same(got, torch.cat([called(model, one) for one in data]), "from a loader, graphs get something else than alone")


@_OWN.promise("relabelled nodes")
def relabelled(case: ModelCase) -> None:
    """With the nodes numbered anew, every node, or the graph, gets what it got."""
    model, data = case.ready()[0], case.data()[0]
    order = torch.randperm(data.num_nodes)
    other = data.clone()
    other.x, other.n_id, other.edge_index = data.x[order], order, order.argsort()[data.edge_index]
    wanted = called(model, data)
    same(called(model, other), wanted if case.graphs else wanted[order], "when nodes are numbered anew, scores differ")


@_OWN.promise("graph without edges")
def without_edges(case: ModelCase) -> None:
    """A graph without edges, alone or among others, gets finite scores."""
    model, data = case.ready()[0], case.data()
    for name in ("edge_index", "edge_weight", "edge_attr"):
        if name in data[1]:
            data[1][name] = data[1][name][..., :0] if name == "edge_index" else data[1][name][:0]
    y = called(model, data[1])
    require(bool(y.isfinite().all()), "the scores of a graph without edges are not finite")
    together = torch.cat([called(model, one) for one in data])
    same(called(model, Batch.from_data_list(data)), together, "beside a graph without edges, others get something else")


@_OWN.promise("training step")
def training_step(case: ModelCase) -> None:
    """In training, a loss of its scores gives every parameter a finite gradient, and a step changes the scores."""
    model, data = case.fresh()[0], Batch.from_data_list(case.data())
    y = called(model, data)
    torch.nn.functional.cross_entropy(y, torch.arange(len(y)) % case.channels[1]).backward()
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    require(not missing, f"no gradient reaches {', '.join(missing)}")
    bad = [name for name, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    require(not bad, f"the gradients of {', '.join(bad)} are not finite")
    before = called(model.eval(), data).detach()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    require(not torch.equal(called(model, data), before), "a step of an optimizer does not change the scores")


#: All of the contract: its own, and of that of layers what holds for models.
CHECKS: Contract[Any] = Contract(_OWN, SYMMETRY.some("shuffled edges"), LASTING)


def check_model(
    make: Callable[[Any, int], nn.Module] | ModelCase,
    *,
    graphs: bool = False,
    weights: int = 0,
    features: int = 0,
    only: Collection[str] | str | None = None,
    skip: Collection[str] | str = (),
) -> None:
    """Hold a model to its contract, in float64 and from a fixed seed.

    It is called by the names in its ``forward``: ``x, edge_index``, and ``edge_weight``, ``edge_attr``, ``batch``,
    ``n_id`` where it has them.

    Args:
        make: a function (in_channels, out_channels), or a class of models. Or a ``ModelCase``.
        graphs: whether it gives a row of scores for every graph, and not for every node.
        weights, features: columns of ``edge_weight`` and of ``edge_attr`` that it is given; 0 for none. Of
            ``features``, -T gives integer types of edges.
        only, skip: names of checks to run alone, or to leave out; the keys of ``edgenet.testing.model.CHECKS.checks``.

    Raises:
        ContractError: which is an AssertionError; it names every failed check, what differs and what was asked.
        ConfigError: if there is no check of such a name.

    Example:
        >>> edgenet.testing.check_model(lambda width, out: edgenet.NodeClassifier(width, out))  # doctest: +SKIP
    """
    if isinstance(make, ModelCase):
        case = make
    else:
        check_maker("check_model", make)
        case = ModelCase(make, weights, features, graphs=graphs, name=getattr(make, "__name__", str(make)))
    CHECKS.hold_all(case, only, skip)
