"""NodeClassifier with maps before and after its layers: DAGNN, APPNP, GPR-GNN, GCNII, GRAND by their definitions."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.nn import to_hetero

from edgenet import EdgeNetConv, from_pretrained
from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph
from edgenet.models import GraphClassifier, NodeClassifier
from edgenet.structured import SparseSignal, sparse_features

N, IN, OUT, HIDDEN = 9, 6, 3, 5


def ring():
    node = torch.arange(N)
    onward = torch.stack([node, (node + 1) % N])
    return Graph(torch.cat([onward, onward.flip(0), torch.tensor([[0], [4]])], 1), N)


def shift(graph):
    """D^(-1/2) (A + I) D^(-1/2), dense."""
    dense = torch.eye(N)
    dense[graph.target, graph.source] += 1
    scale = dense.sum(1).rsqrt()
    return scale[:, None] * dense * scale


def built(layer, **options):
    model = NodeClassifier(IN, OUT, layer=layer, hidden_channels=HIDDEN, **options).double()
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -1, 1)
    return model.eval()


def map_of(part):
    """y = x W^T + b, as the numbers say."""
    return lambda x: x @ part.weight.weight.T + part.bias


def check(model, expected):
    """Scores, and the gradients of all parameters."""
    x = torch.randn(N, IN, dtype=torch.float64)
    mine, slow = model(x, ring()), expected(x, shift(ring()).double())
    parameters = list(model.parameters())
    torch.testing.assert_close(mine, slow, rtol=1e-10, atol=1e-10)
    gradients = [torch.autograd.grad((y**2).sum(), parameters) for y in (mine, slow)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


def test_a_map_and_a_walk_is_dagnn():
    model = built("dagnn", num_layers=1, before=1, order=4)
    conv = model.convs[0]
    score = map_of(conv.taps.score)

    def dagnn(x, s):
        z, total = map_of(conv.lift.linear)(map_of(model.before[0])(x).relu()), 0
        for _ in range(5):
            total, z = total + torch.sigmoid(score(z)) * z, s @ z
        return total

    check(model, dagnn)


def test_a_map_and_a_walk_that_returns_is_appnp():
    model = built("appnp", num_layers=1, before=1, order=3, alpha=0.2)

    def appnp(x, s):
        first = z = map_of(model.convs[0].lift.linear)(map_of(model.before[0])(x).relu())
        for _ in range(3):
            z = 0.8 * s @ z + 0.2 * first
        return z

    check(model, appnp)


def test_layers_between_maps_are_gcnii_and_read_what_the_first_map_gave():
    model = built("gcnii", num_layers=4, before=1, after=1, alpha=0.3, theta=0.7)

    def gcnii(x, s):
        first = h = map_of(model.before[0])(x).relu()
        for depth, conv in enumerate(model.convs, 1):
            beta, u = math.log(0.7 / depth + 1), 0.7 * s @ h + 0.3 * first
            h = ((1 - beta) * u + beta * u @ conv.taps.mix.weight.T).relu()
        return map_of(model.after[0])(h)

    check(model, gcnii)


@pytest.mark.parametrize("lift", [True, False])
def test_a_walk_and_maps_is_grand(lift):
    model = built("grand", num_layers=1, order=3, lift=lift, after=1 if lift else 2, node_dropout=0.25)

    def grand(x, s):
        z = total = 0.75 * x
        for _ in range(3):
            z = s @ z
            total = total + z
        h = total / 4
        if lift:
            first = model.convs[0]
            return map_of(model.after[0])((h @ first.lift.linear.weight.weight.T + first.bias).relu())
        return map_of(model.after[1])(map_of(model.after[0])(h).relu())

    check(model, grand)


# ---------------------------------------------------------------- what is dropped
class Seen(nn.Module):
    """What comes to a part of a model."""

    def __init__(self, part):
        super().__init__()
        part.register_forward_pre_hook(lambda module, args: self.all.append(args[0]))
        self.all = []


@pytest.mark.parametrize("sparse", [False, True])
def test_nodes_are_dropped_whole_with_their_share_in_training_alone(sparse):
    model = NodeClassifier(400, OUT, layer="gcn", hidden_channels=4, num_layers=1, dropout=0.0, node_dropout=0.3)
    seen, x = Seen(model.convs[0]), 1.0 * (torch.rand(N, 400) < 0.05)
    x[:, 0] = 1.0
    given = sparse_features(x) if sparse else x
    rows = []
    for _ in range(200):
        model.train()(given, ring())
        got = seen.all.pop()
        got = got.to_dense() if isinstance(got, SparseSignal) else got
        kept = got[:, 0] != 0
        torch.testing.assert_close(got, torch.where(kept[:, None], x, 0.0))
        rows.append(kept.float().mean())
    assert torch.stack(rows).mean().item() == pytest.approx(0.7, abs=0.05)
    model.eval()(given, ring())
    got = seen.all.pop()
    torch.testing.assert_close(got.to_dense() if isinstance(got, SparseSignal) else got, 0.7 * x)


def test_what_comes_first_to_a_map_has_a_dropout_of_its_own():
    x = torch.ones(N, 2000)
    model = NodeClassifier(
        2000, OUT, layer="grand", hidden_channels=2000, num_layers=1, after=2, dropout=0.2, input_dropout=0.7,
        lift=False, activation="none",
    ).train()  # fmt: skip
    with torch.no_grad():
        model.after[0].weight.weight.copy_(torch.eye(2000))
    seen = [Seen(part) for part in (model.convs[0], *model.after)]
    model(x, ring())
    walked, first, second = (one.all[0] for one in seen)
    assert torch.equal(walked, x), "a bare walk reads what comes"
    assert (first == 0).float().mean().item() == pytest.approx(0.7, abs=0.02)
    assert (second[first != 0] == 0).float().mean().item() == pytest.approx(0.2, abs=0.02)


def test_every_map_and_layer_reads_dropped_features():
    model = NodeClassifier(IN, OUT, layer="gcnii", hidden_channels=1000, num_layers=2, before=2, after=2, dropout=0.5)
    seen = [Seen(part) for part in (*model.before[1:], *model.convs, *model.after)]
    model.train()(torch.rand(N, IN), ring())
    for one in seen:
        assert (one.all[0] == 0).float().mean().item() > 0.45


# ---------------------------------------------------------------- what every model keeps
DEEP = {
    "dagnn": {"layer": "dagnn", "before": 1, "num_layers": 1},
    "gcnii": {"layer": "gcnii", "before": 1, "after": 1, "num_layers": 3},
    "grand": {"layer": "grand", "after": 2, "lift": False, "num_layers": 1, "node_dropout": 0.5, "input_dropout": 0.1},
    "attention": {"layer": "gcat", "after": 1, "num_layers": 1, "node_dropout": 0.5, "heads": 2},
    "edge-varying": {"layer": "edge_varying", "bank": "heads", "before": 1, "after": 2, "num_layers": 2},
}
every_case = pytest.mark.parametrize("case", DEEP)


@every_case
def test_it_comes_back_from_its_configuration_and_from_a_folder(case, tmp_path):
    model = NodeClassifier(IN, OUT, hidden_channels=HIDDEN, **DEEP[case]).bind(ring()).eval()
    x = torch.randn(N, IN)
    again = NodeClassifier(**json.loads(json.dumps(model.config()))).bind(ring()).eval()
    again.load_state_dict(model.state_dict())
    model.save_pretrained(tmp_path)
    for other in (again, from_pretrained(tmp_path)):
        assert torch.equal(other(x, ring()), model(x, ring()))


@every_case
def test_a_batch_of_signals_and_sparse_features_are_scored_alike(case):
    model = NodeClassifier(IN, OUT, hidden_channels=HIDDEN, **DEEP[case]).bind(ring()).eval()
    x = F.dropout(torch.randn(2, N, IN), 0.95)
    torch.testing.assert_close(model(x, ring()), torch.stack([model(one, ring()) for one in x]))
    torch.testing.assert_close(model(sparse_features(x[0], 1.0), ring()), model(x[0], ring()))


@every_case
def test_sizes_are_read_off_the_first_input_and_parameters_drawn_anew(case):
    model = NodeClassifier(-1, OUT, hidden_channels=HIDDEN, **DEEP[case]).bind(ring())
    assert model(torch.randn(N, IN), ring()).shape == (N, OUT)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model.reset_parameters()
    assert any(
        not torch.equal(before[name], p) for name, p in model.named_parameters() if "before" in name or "after" in name
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"before": -1}, "before and after count maps"),
        ({"after": 2**63}, "before and after count maps, 0 to 1000"),  # a list of so many widths
        ({"after": 1, "out_heads": 2, "layer": "gat"}, "out_heads are of a last layer that no map follows"),
        ({"after": 1, "activation": "max_local"}, "looks at neighbours, and maps"),
        ({"node_dropout": 1.0}, "node_dropout is a probability"),
        ({"input_dropout": -0.1}, "input_dropout is a probability"),
        ({"layer": "grand", "lift": False, "num_layers": 1}, "without a lift the 6 channels stay"),
        ({"layer": "gcnii", "before": 1, "hidden_channels": 8}, "let a map give the scores, after=1"),
    ],
)
def test_what_does_not_go_together_is_refused(options, says):
    with pytest.raises((ConfigError, ShapeError), match=says):
        NodeClassifier(IN, OUT, **{"layer": "gcn", **options})


def test_maps_before_layers_read_nodes_of_one_size():
    with pytest.raises(ConfigError, match="a map before the layers reads nodes of one size"):
        NodeClassifier((IN, IN), OUT, layer="gat", before=1)


def test_nodes_of_several_kinds_are_dropped_in_training_alone():
    edges = {("a", "to", "b"): torch.tensor([[0, 1], [1, 0]]), ("b", "to", "a"): torch.tensor([[0, 1], [1, 0]])}
    model = NodeClassifier(
        (-1, -1), OUT, layer="gat", num_layers=1, dropout=0.0, node_dropout=0.5, add_self_loops=False
    )
    kinds = to_hetero(model, (["a", "b"], list(edges)))
    x = {"a": torch.ones(300, IN), "b": torch.ones(300, IN)}
    kinds(x, edges)
    seen = Seen(next(part for part in kinds.modules() if isinstance(part, EdgeNetConv)))
    kinds.train()(x, edges)
    kinds.eval()(x, edges)
    (dropped, *_), *_ = seen.all
    (kept, *_) = seen.all[-1]
    assert set(dropped.unique().tolist()) == {0.0, 1.0} and set(kept.unique().tolist()) == {0.5}


def test_other_models_have_no_maps():
    with pytest.raises(ConfigError, match="before"):
        GraphClassifier(IN, OUT, layer="gcn", before=1)
