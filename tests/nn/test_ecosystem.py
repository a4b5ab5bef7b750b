"""Other people's tools on every layer: what is promised, and what is refused in words."""

import copy

import pytest
import torch
from holding import hold
from layers import LAYERS
from torch import nn

from edgenet.convert import freeze_attention
from edgenet.errors import SupportError
from edgenet.graph import Graph
from edgenet.models import GraphClassifier, NodeClassifier
from edgenet.nn import specializations as nets
from edgenet.testing.ecosystem import JOBS
from edgenet.testing.layer.case import EDGES, NODES, LayerCase
from edgenet.testing.model import ModelCase


def frozen(in_channels: int, out_channels: int) -> nn.Module:
    return freeze_attention(nets.gat(in_channels, out_channels, heads=2), torch.randn(NODES, in_channels), EDGES)


FROZEN = {"frozen gat": LayerCase(frozen, name="frozen gat")}
MODELS = {
    "NodeClassifier gat": ModelCase(lambda i, o: NodeClassifier(i, o, layer="gat", hidden_channels=4, heads=2)),
    "NodeClassifier gcnn": ModelCase(lambda i, o: NodeClassifier(i, o, layer="gcnn", hidden_channels=4)),
    "NodeClassifier edge_varying": ModelCase(
        lambda i, o: NodeClassifier(i, o, layer="edge_varying", hidden_channels=4)
    ),
    "GraphClassifier gat": ModelCase(
        lambda i, o: GraphClassifier(i, o, layer="gat", hidden_channels=4), graphs=True
    ),
}
CASES = LAYERS | FROZEN | MODELS
#: costs little, so that it is done with a layer of every kind at every turn; all others where there is time
QUICK = ("message hooks, message", "GNNExplainer", "vmap ensemble", "DDP", "autocast")
#: a layer of every specialization, and models
FIRST = [name for name in CASES if "," not in name]
SINGLE_ENTRIES = "no messages that an explainer can weigh"
WEIGHED = ("message hooks", "AttentionExplainer", "GNNExplainer", "GraphMaskExplainer", "CaptumExplainer")
#: what cannot be, by the name of the case and of the job
REFUSED = {
    "edge_varying, doped": dict.fromkeys(WEIGHED, SINGLE_ENTRIES),
    "edge_varying, doped, siso": dict.fromkeys(WEIGHED, SINGLE_ENTRIES),
    # GraphMask has one rule for all messages of a layer, and joins the shares of edges of all layers into one tensor
    "edge_varying, cp": {"GraphMaskExplainer": "must match the size"},
    "hybrid": {"GraphMaskExplainer": "Sizes of tensors must match"},
    "hybrid, heads": {"GraphMaskExplainer": "Sizes of tensors must match"},
    "arma": {"GraphMaskExplainer": "Sizes of tensors must match"},
    "NodeClassifier gat": {"GraphMaskExplainer": "Sizes of tensors must match"},
    "NodeClassifier edge_varying": {"GraphMaskExplainer": "Sizes of tensors must match"},
}


@pytest.mark.parametrize("job", QUICK)
@pytest.mark.parametrize("name", FIRST)
def test_tools_of_torch_and_pyg_do_their_job_with_a_layer(name, job):
    hold(JOBS, job, CASES[name], REFUSED.get(name, {}))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module")
@pytest.mark.parametrize("job", JOBS.checks)
@pytest.mark.parametrize("name", CASES)
def test_every_tool_does_its_job_with_every_layer(name, job):
    if name in FIRST and job in QUICK:
        pytest.skip("at every turn")
    hold(JOBS, job, CASES[name], REFUSED.get(name, {}))


def test_an_ensemble_of_tables_of_different_graphs_is_refused():
    others = torch.cat([EDGES[:, :-1], torch.tensor([[6], [6]])], 1)  # as many edges, of other pairs
    members = [nets.edge_varying(4, 3, order=1).bind(edges, NODES) for edges in (EDGES, others)]
    x, common = torch.randn(NODES, 4), EDGES[:, :-1]
    parameters, buffers = torch.func.stack_module_state(members)

    def output(parameters, buffers):
        return torch.func.functional_call(members[0], (parameters, buffers), (x, common))

    members[0](x, common)  # whose rows the graph of these edges remembers now
    with pytest.raises(SupportError, match="members of this ensemble have tables of different graphs"):
        torch.func.vmap(output)(parameters, buffers)


def test_rows_of_ensembles_are_not_kept_for_the_layer_alone():
    members = [nets.edge_varying(4, 3).bind(EDGES, NODES) for _ in range(2)]
    x, graph = torch.randn(NODES, 4), Graph(EDGES, NODES)
    parameters, buffers = torch.func.stack_module_state(members)
    skeleton = copy.deepcopy(members[0]).to("meta")
    found = torch.func.vmap(lambda p, b: torch.func.functional_call(skeleton, (p, b), (x, graph)))(parameters, buffers)
    for member, y in zip(members, found, strict=True):
        torch.testing.assert_close(member(x, graph), y, rtol=1e-10, atol=1e-10)


def test_graph_mask_gives_scalar_filters_gates_of_the_width_of_a_side():
    """Messages of F_out F_in filters are looked at as F_out of F_in channels, and otherwise as they are."""
    layer, shapes = nets.edge_varying(4, 6, order=1), []
    layer.register_message_forward_hook(lambda _layer, _given, message: shapes.append(tuple(message.shape)))
    x = torch.randn(NODES, 4)
    wanted = layer(x, EDGES)

    def explain_message(self, inputs, x_i, x_j):
        return inputs

    layer.explain_message, layer.explain = explain_message.__get__(layer), True
    torch.testing.assert_close(layer(x, EDGES), wanted, rtol=1e-12, atol=1e-12)
    assert shapes == [(13, 24, 1), (13, 6, 4)]
