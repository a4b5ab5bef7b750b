"""What cannot be converted exactly is refused, with its place, the option and what to do."""

import pytest
import torch
import torch.nn.utils.prune
import torch_geometric.nn as pyg
from torch import nn

from edgenet import freeze_attention, to_edgenet
from edgenet.errors import ConversionError, ShapeError
from edgenet.testing import GRAPHS

GRAPH = GRAPHS["directed"]
EDGES = GRAPH.edge_index


class OtherMessage(pyg.GATConv):
    def message(self, x_j, alpha):
        return 2 * super().message(x_j, alpha)


class OtherForward(pyg.GCNConv):
    def forward(self, x, edge_index, edge_weight=None):
        return super().forward(2 * x, edge_index, edge_weight)


class OtherNorm(pyg.ChebConv):
    def __norm__(self, *args, **kwargs):
        return super().__norm__(*args, **kwargs)


class OtherPropagate(pyg.SAGEConv):
    def propagate(self, edge_index, **kwargs):
        return 2 * super().propagate(edge_index, **kwargs)


class MoreParameters(pyg.GCNConv):
    def __init__(self, *args):
        super().__init__(*args)
        self.temperature = nn.Parameter(torch.ones(1))


class Quantised(pyg.Linear):
    pass


def with_part(layer, name, part):
    setattr(layer, name, part)
    return layer


def half_frozen(layer):
    layer.lins[0].weight.requires_grad_(False)
    return layer


def hooked(layer, part=""):
    layer.get_submodule(part).register_forward_hook(lambda *_: None)
    return layer


def self_hooked(layer):
    layer.register_forward_pre_hook(layer.extra_repr)
    return layer


def message_hooked(layer):
    layer.register_message_forward_hook(lambda *_: None)
    return layer


def instance_forward(layer):
    layer.forward = lambda *args: None
    return layer


REFUSED = {
    "forward": (lambda: OtherForward(5, 3), r"OtherForward\.forward.*changes what GCNConv computes"),
    "message": (lambda: OtherMessage(5, 3), r"OtherMessage\.message"),
    "norm": (lambda: OtherNorm(5, 3, 2), r"OtherNorm\.__norm__"),
    "propagate": (lambda: OtherPropagate(5, 3), r"OtherPropagate\.propagate"),
    "parameters": (lambda: MoreParameters(5, 3), r"temperature=\(1,\).*Nothing is known"),
    "replaced forward": (lambda: instance_forward(pyg.SGConv(5, 3)), "forward=.*put it back"),
    "hook of the layer itself": (lambda: self_hooked(pyg.GCNConv(5, 3)), "_forward_pre_hooks.*remove them"),
    "hook of a part": (lambda: hooked(pyg.GCNConv(5, 3), "lin"), "hooks of lin.*remove them"),
    "hook of messages": (lambda: message_hooked(pyg.TAGConv(5, 3)), "_message_forward_hooks"),
    "linear": (lambda: with_part(pyg.GCNConv(5, 3), "lin", Quantised(5, 3)), "lin='Quantised'.*plain Linear"),
    "linears": (lambda: with_part(pyg.TAGConv(5, 3, 1), "lins", nn.ModuleList([pyg.Linear(5, 3)] * 2)), "without bias"),
    "half trained": (lambda: half_frozen(pyg.ChebConv(5, 3, 2)), "requires_grad of lins.*set all alike"),
    "aggr": (lambda: pyg.GATConv(5, 3, aggr="max"), "aggr='max'.*'sum'"),
    "aggr of SAGE": (lambda: pyg.SAGEConv(5, 3, aggr="max"), "aggr='max'.*'mean' or 'sum'"),
    "aggrs of SAGE": (lambda: pyg.SAGEConv(5, 3, aggr=["mean", "max"]), r"aggr=\['mean', 'max'\]"),
    "lstm": (lambda: pyg.SAGEConv(5, 3, aggr="lstm"), "aggr='lstm'"),
    "aggr of GIN": (lambda: pyg.GINConv(nn.Linear(5, 3), aggr="max"), "aggr='max'"),
    "aggr of GCN": (lambda: pyg.GCNConv(5, 3, aggr="mean"), "aggr='mean'.*'sum'"),
    "node_dim": (lambda: pyg.GCNConv(5, 3, node_dim=0), "node_dim=0.*axis -2"),
    "cached": (lambda: pyg.GCNConv(5, 3, cached=True), "cached=True.*cached=False"),
    "dropout APPNP": (lambda: pyg.APPNP(3, 0.1, dropout=0.5), "dropout=0.5.*anew at every hop"),
    "cached SGC": (lambda: pyg.SGConv(5, 3, cached=True), "cached=True"),
    "K=0": (lambda: pyg.SGConv(5, 3, K=0), "K=0.*lin"),
    "fill mul": (lambda: pyg.GATConv(5, 3, edge_dim=2, fill_value="mul"), "fill_value='mul'"),
    "fill of many": (lambda: pyg.GATv2Conv(5, 3, edge_dim=2, fill_value=torch.ones(2)), r"fill_value=\(2,\)"),
    "fill against the flow": (lambda: pyg.GATConv(5, 3, edge_dim=2, flow="target_to_source"), "flow=.*fill_value"),
    "blocks": (lambda: pyg.RGCNConv(6, 4, 3, num_blocks=2), "num_blocks=2.*use num_bases"),
    "aggr of RGCN": (lambda: pyg.RGCNConv(5, 3, 2, aggr="max"), "aggr='max'"),
    "aggr of GINE": (lambda: pyg.GINEConv(nn.Linear(5, 3), aggr="max"), "aggr='max'"),
    "aggr of NNConv": (lambda: pyg.NNConv(5, 3, nn.Linear(2, 15), aggr="max"), "aggr='max'"),
    "network of edges": (lambda: pyg.NNConv(5, 3, nn.Sequential(nn.Linear(2, 15), nn.ReLU())), "ends in a linear map"),
    "network of PyG": (lambda: pyg.NNConv(5, 3, pyg.MLP([2, 4, 15])), "nn='MLP'.*ends in one"),
    "lazy NNConv": (lambda: pyg.NNConv((-1, -1), 3, nn.Linear(2, 15)), "its network must know the sizes|in_channels"),
    "cached GCN2": (lambda: pyg.GCN2Conv(5, 0.1, cached=True), "cached=True"),
    "share_weights": (lambda: with_part(pyg.GATv2Conv(5, 3), "share_weights", True), "share_weights=True"),
    "explained": (lambda: with_part(pyg.GCNConv(5, 3), "explain", True), "explain=True.*Clear"),
    "unknown": (lambda: pyg.GraphConv(5, 3), "GraphConv has no EdgeNet form.*GATConv.*one by one"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_alone_and_by_its_place_in_a_model(name):
    build, says = REFUSED[name]
    with pytest.raises(ConversionError, match=f"^the layer.*{says}"):
        to_edgenet(build())
    with pytest.raises(ConversionError, match=rf"^encoder\.1.*{says}"):
        to_edgenet(nn.ModuleDict({"encoder": nn.ModuleList([pyg.GATConv(5, 3), build()])}))


def test_a_refusal_leaves_the_model_as_it_was():
    model = nn.ModuleList([pyg.GCNConv(5, 3), pyg.GCNConv(3, 3, cached=True)])
    layers, state = list(model), {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ConversionError):
        to_edgenet(model, inplace=True)
    assert list(model) == layers and all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(layer.lin.weight.requires_grad for layer in layers)


def test_a_subclass_that_changes_nothing_is_converted():
    class Named(pyg.GATConv):
        scale = 3

        def __init__(self, width):
            super().__init__(width, 3, heads=2)

        def helper(self):
            return self.scale

        def reset_parameters(self):
            super().reset_parameters()

    theirs, x = Named(5), torch.randn(13, 5)
    theirs(x, EDGES)  # PyG writes methods of its own on the class
    torch.testing.assert_close(to_edgenet(theirs)(x, EDGES), theirs(x, EDGES))


def test_a_lazy_layer_that_has_run_is_converted():
    for theirs in (pyg.GATConv(-1, 3), pyg.SAGEConv((-1, -1), 3), pyg.ARMAConv(-1, 3), pyg.ChebConv(-1, 3, 2)):
        x = torch.randn(13, 5)
        wanted = theirs(x, EDGES)
        torch.testing.assert_close(to_edgenet(theirs)(x, EDGES), wanted)
    for kind in (pyg.GATv2Conv, pyg.TransformerConv, pyg.SAGEConv):  # whose two sides may come out differently
        theirs, pair, edges = kind(-1, 3), (torch.randn(4, 5), torch.randn(3, 2)), torch.tensor([[0, 3], [2, 2]])
        theirs.add_self_loops = False
        wanted = theirs(pair, edges)
        torch.testing.assert_close(to_edgenet(theirs)(pair, edges), wanted)


def test_a_model_without_layers_of_pyg_is_refused_and_one_of_edgenets_is_left_alone():
    with pytest.raises(ConversionError, match="no PyG layer in this Sequential"):
        to_edgenet(nn.Sequential(nn.Linear(5, 3)))
    ours = to_edgenet(nn.ModuleList([pyg.GATConv(5, 3)]))
    again = to_edgenet(ours)
    x = torch.randn(13, 5)
    assert torch.equal(again[0](x, EDGES), ours[0](x, EDGES)) and to_edgenet(ours[0]).origin == "GATConv"


def test_parameters_that_change_shape_may_not_be_tied():
    first, second = pyg.GATConv(5, 3), pyg.GATConv(5, 3)
    second.att_src = first.att_src
    with pytest.raises(ConversionError, match=r"^0 .*att_src='tied'.*untie"):
        to_edgenet(nn.ModuleList([first, second]))


def test_parameters_that_are_joined_may_not_be_tied_within_a_layer_or_outside():
    twice = pyg.TAGConv(5, 3, K=1)
    twice.lins[1] = twice.lins[0]
    inside = pyg.TAGConv(5, 3, K=1)
    around = nn.ModuleDict({"map": inside.lins[1], "conv": inside})
    alike = pyg.GATConv(5, 3)
    alike.att_src = alike.att_dst
    for model, says in ((twice, "lins='tied'"), (around, "conv .*lins='tied'"), (alike, "att_src='tied'")):
        with pytest.raises(ConversionError, match=says):
            to_edgenet(model)


def test_parameters_that_keep_their_shape_stay_tied():
    first, second = pyg.GATConv(5, 3), pyg.GATConv(5, 3)
    second.lin.weight = first.lin.weight
    head = nn.Linear(5, 3, bias=False)
    head.weight = first.lin.weight
    ours = to_edgenet(nn.ModuleList([first, second, head]))
    assert ours[0].lift.linear.weight.weight is ours[1].lift.linear.weight.weight is ours[2].weight
    assert ours[2].weight is not head.weight


def adjacency(values=None, edges=EDGES, layout=torch.sparse_csr):
    values = torch.ones(edges.shape[1]) if values is None else values
    with torch.sparse.check_sparse_tensor_invariants(True):
        return torch.sparse_coo_tensor(edges.flip(0), values, (13, 13)).coalesce().to_sparse(layout=layout)


BARE = GRAPH.without_self_loops()[0].edge_index.unique(dim=1)


@pytest.mark.parametrize("layout", [torch.sparse_csr, torch.sparse_coo])
@pytest.mark.parametrize(
    "build",
    [
        lambda: pyg.GCNConv(5, 3), lambda: pyg.GCNConv(5, 3, improved=True), lambda: pyg.TAGConv(5, 3),
        lambda: pyg.SGConv(5, 3, K=2), lambda: pyg.GATConv(5, 3, heads=2), lambda: pyg.GATv2Conv(5, 3),
        lambda: pyg.GCNConv(5, 3, normalize=False), lambda: pyg.TransformerConv(5, 3, heads=2),
    ],
)  # fmt: skip
def test_a_sparse_adjacency_means_what_it_means_to_pyg(build, layout):
    theirs, x = build(), torch.randn(13, 5)
    matrix = adjacency(torch.rand(BARE.shape[1]) + 0.5, BARE, layout)
    torch.testing.assert_close(to_edgenet(theirs)(x, matrix), theirs(x, matrix))


@pytest.mark.parametrize("build", [lambda: pyg.SAGEConv(5, 3), lambda: pyg.GINConv(nn.Linear(5, 3))])
def test_layers_without_weights_take_a_sparse_adjacency_of_ones(build):
    theirs, x = build(), torch.randn(13, 5)
    ours = to_edgenet(theirs)
    torch.testing.assert_close(ours(x, adjacency(edges=BARE)), theirs(x, adjacency(edges=BARE)))
    with pytest.raises(ShapeError, match="must hold ones"):
        ours(x, adjacency(torch.rand(BARE.shape[1]), BARE))


def test_what_a_sparse_adjacency_would_mean_otherwise_is_refused():
    x, loops = torch.randn(13, 5), adjacency()
    for layer, says in (
        (pyg.GCNConv(5, 3), "self-loops of a sparse adjacency"),
        (pyg.SGConv(5, 3), "self-loops of a sparse adjacency"),
        (pyg.ChebConv(5, 3, 2), "edge list"),
        (pyg.GATConv(5, 3, edge_dim=1), "edge list"),  # PyG reads features there of SparseTensor, not of torch.sparse
        (pyg.GATv2Conv(5, 3, edge_dim=1), "edge list"),
    ):
        with pytest.raises(ShapeError, match=says):
            to_edgenet(layer)(x, loops)
    with pytest.raises(ShapeError, match="one or the other"):
        to_edgenet(pyg.TAGConv(5, 3))(x, loops, torch.ones(47))


@pytest.mark.parametrize("turn", [to_edgenet, lambda model: freeze_attention(model, torch.randn(13, 5), EDGES)])
def test_a_model_that_cannot_be_copied_is_refused_by_name(turn):
    model = nn.Sequential(nn.Linear(5, 5), to_edgenet(pyg.GATConv(5, 3)))
    torch.nn.utils.prune.l1_unstructured(model[0], "weight", 0.5)
    with pytest.raises(ConversionError, match=r"\(0\.weight is computed of other tensors\).*prune\.remove"):
        turn(model)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit.script
def test_a_scripted_layer_in_a_model_is_refused():
    model = nn.ModuleList([pyg.GATConv(5, 3), torch.jit.script(pyg.GCNConv(3, 3))])
    with pytest.raises(ConversionError, match=r"^1 is a scripted GCNConv"):
        to_edgenet(model)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("place", ["lin", "lins.0"])
@pytest.mark.parametrize(
    "compute", [torch.nn.utils.weight_norm, lambda linear: torch.nn.utils.prune.l1_unstructured(linear, "weight", 0.5)]
)
def test_a_weight_that_is_computed_before_each_call_is_refused_in_place_too(compute, place):
    layer = pyg.GATConv(5, 3) if place == "lin" else pyg.TAGConv(5, 3)
    compute(layer.get_submodule(place))
    model, x = nn.ModuleList([layer]), torch.randn(13, 5)
    before = layer(x, EDGES)
    with pytest.raises(ConversionError, match=r"0 \((GAT|TAG)Conv\): lins?\.weight='computed'.*prune\.remove"):
        to_edgenet(model, inplace=True)
    assert model[0] is layer and torch.equal(layer(x, EDGES), before)
