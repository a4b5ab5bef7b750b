"""Models of classes of one's own: matched by structure, stood for without their classes, made by a factory."""

import subprocess
import sys
import textwrap

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn

from edgenet.cli import main
from edgenet.cli.models import read_model
from edgenet.compress import compress_, report, slots
from edgenet.convert import to_edgenet
from edgenet.errors import CheckpointError, ClassWarning
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.pretrained.stand_in import StandIn
from edgenet.testing import GRAPHS

GRAPH = GRAPHS["path"]
LOW = {"structure": "low_rank", "rank": 1}
EDGES = GRAPH.edge_index


def signal():
    return torch.randn(GRAPH.num_nodes, 5, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A class that edgenet knows nothing of."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("mean", torch.zeros(5))
        self.first, self.list = pyg.GATConv(5, 4), nn.ModuleList([pyg.GATConv(4, 3)])
        self.head = nn.Linear(3, 3)

    def forward(self, x, edge_index):
        return self.head(self.scale * self.list[0](self.first(x - self.mean, edge_index).relu(), edge_index))


class Served(Net):
    """The same, under another name."""


class Wider(Net):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    model = to_edgenet(Net()).eval()
    compress_(model, {"first.lift|head": LOW})
    save_pretrained(model, tmp_path / "model")
    torch.save(model(signal(), EDGES), tmp_path / "output.pt")
    return tmp_path / "model"


def output_of(folder):
    return torch.load(folder.parent / "output.pt", weights_only=True)


def test_another_name_of_a_class_is_a_warning(folder):
    with pytest.warns(ClassWarning, match=r"the model was a .*\.Net and is a .*\.Served\. The structure is the same"):
        again = from_pretrained(folder, model=Served())
    assert torch.equal(again(signal(), EDGES), output_of(folder)) and type(again) is Served


def test_another_structure_is_refused(folder):
    with pytest.raises(CheckpointError, match="scale"):
        from_pretrained(folder, model=Wider())
    model = Served()
    model.list = nn.Sequential(*model.list)
    from_pretrained(folder, model=Net())
    with pytest.raises(CheckpointError, match="extra is in the model that was handed over, and not in the file"):
        model = Net()
        model.extra = nn.Linear(2, 2)
        from_pretrained(folder, model=model)


def test_a_class_or_a_function_makes_the_model(folder):
    for factory in (Net, lambda: Net().double()):
        assert torch.equal(from_pretrained(folder, factory)(signal(), EDGES), output_of(folder))
    for none in (lambda: None, 3, "Net"):
        with pytest.raises(CheckpointError, match="model is a module, or what makes one without arguments"):
            from_pretrained(folder, none)


def test_where_the_class_is_not_here_its_parts_are_stood_for(folder, tmp_path):
    model = from_pretrained(folder, stand_ins=True)
    assert isinstance(model, StandIn) and "mean" in dict(model.named_buffers())
    mine, its = report(from_pretrained(folder, Net)), report(model)
    assert its.total.bytes == mine.total.bytes and its.total.parameters == mine.total.parameters
    with pytest.raises(CheckpointError, match=r"was read without its class.*what makes a Net"):
        model(signal(), EDGES)
    compress_(model, {"list.0.lift": LOW})
    save_pretrained(model, tmp_path / "small")
    again = from_pretrained(tmp_path / "small", Net)  # no warning: the class is the one that it was
    names = {name for name, slot in slots(again).items() if not slot.is_dense}
    assert names == {"first.lift.linear.weight", "list.0.lift.linear.weight", "head.weight"}
    assert again(signal(), EDGES).shape == output_of(folder).shape


def test_the_command_line_reports_and_compresses_any_folder(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(folder)]) == 0 and "head.weight" in capsys.readouterr().out
    (tmp_path / "plan.toml").write_text('[[rule]]\npattern = "list"\nstructure = "low_rank"\nrank = 1\n')
    assert main(["compress", str(folder), "--plan", "plan.toml", "--out", "small"]) == 0
    assert from_pretrained("small", Net)(signal(), EDGES).shape == output_of(folder).shape
    assert isinstance(read_model("small"), StandIn)
    capsys.readouterr()
    assert main(["compress", str(folder), "--times", "2", "--data", "karate", "--out", "other"]) == 2
    assert "was read without its class" in capsys.readouterr().err


class Reader(nn.TransformerEncoderLayer):
    """A layer of torch's that reads the weights of its parts."""


def test_parts_whose_owner_reads_their_weights_stay_tensors(tmp_path):
    model = nn.ModuleDict({"block": Reader(8, 2, 8)}).eval()
    save_pretrained(model, tmp_path)
    alone = from_pretrained(tmp_path, stand_ins=True)
    compress_(alone, {"block.linear1": LOW})
    save_pretrained(alone, tmp_path)
    again = from_pretrained(tmp_path, lambda: nn.ModuleDict({"block": Reader(8, 2, 8)}))
    x = torch.randn(3, 2, 8)
    again.requires_grad_(False)
    assert torch.linalg.matrix_rank(again["block"].linear1.weight) == 1 and again["block"](x).isfinite().all()


def test_norms_that_their_owner_puts_on_are_stood_for_too(tmp_path):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
            self.b = nn.Linear(4, 4)

    save_pretrained(Own(), tmp_path / "one")
    alone = from_pretrained(tmp_path / "one", stand_ins=True)
    compress_(alone, {"b": LOW})
    save_pretrained(alone, tmp_path / "two")
    again, first = from_pretrained(tmp_path / "two", Own), from_pretrained(tmp_path / "one", Own)
    assert torch.equal(again.a.weight, first.a.weight)


def test_models_of_every_outer_kind_come_back(tmp_path):
    x = torch.randn(3, 2, 8)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
    compress_(encoder, {r"layers\.\d\.linear1": LOW})
    save_pretrained(encoder, tmp_path / "encoder")
    make = lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)  # noqa: E731
    torch.testing.assert_close(from_pretrained(tmp_path / "encoder", make)(x), encoder(x))
    torch.testing.assert_close(from_pretrained(tmp_path / "encoder")(x), encoder(x))
    fresh = make().eval()
    fresh.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(fresh(x), encoder(x))


class Walk(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = pyg.SAGEConv((-1, -1), 4), nn.Linear(4, 2)

    def forward(self, x, edge_index):
        return self.head(self.conv(x, edge_index).relu())


def test_a_graph_module_of_to_hetero_comes_back(tmp_path):
    kinds = (["a", "b"], [("a", "to", "b"), ("b", "to", "a")])
    x = {"a": torch.randn(3, 5), "b": torch.randn(4, 6)}
    edges = {kinds[1][0]: torch.tensor([[0, 1, 2], [1, 3, 0]]), kinds[1][1]: torch.tensor([[0, 3], [2, 2]])}

    def make():
        model = pyg.to_hetero(Walk(), kinds).eval()
        model(x, edges)
        return model

    model = make()
    compress_(model, {"head": LOW})
    y = model(x, edges)
    save_pretrained(model, tmp_path)
    again, fresh = from_pretrained(tmp_path, make), make()
    fresh.load_state_dict(model.state_dict())
    for other in (again, fresh):
        assert all(torch.equal(value, y[kind]) for kind, value in other(x, edges).items())
    assert any(slot.matrix is not None for slot in slots(from_pretrained(tmp_path, stand_ins=True)).values())


TRAIN = """
    import torch
    from torch import nn
    from edgenet.compress import compress_
    from edgenet.pretrained import save_pretrained

    class GAT(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 2)
        def forward(self, x):
            return self.b(self.a(x).relu())

    torch.manual_seed(0)
    model, x = GAT(), torch.linspace(-1, 1, 12).view(2, 6)
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(3):
        optimizer.zero_grad(); model(x).square().sum().backward(); optimizer.step()
    compress_(model, {"a": {"structure": "low_rank", "rank": 2}})
    model.eval()
    save_pretrained(model, "model")
    torch.save(model.state_dict(), "state.pt")
    torch.save(model(x).detach(), "output.pt")
"""
SERVE = """
    import warnings
    import torch
    from network import GAT
    from edgenet import from_pretrained
    from edgenet.errors import ClassWarning

    x, y = torch.linspace(-1, 1, 12).view(2, 6), torch.load("output.pt", weights_only=True)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", ClassWarning)
        model = from_pretrained("model", GAT)
    assert "__main__.GAT" in str(found[0].message) and "network.GAT" in str(found[0].message)
    assert torch.equal(model(x), y)
    model = GAT()
    model.load_state_dict(torch.load("state.pt", weights_only=True))
    assert torch.equal(model(x), y)
"""


@pytest.mark.slow  # three processes import torch
def test_a_script_saves_and_another_serves_from_a_class_of_another_module(tmp_path):
    scripts = {"train.py": TRAIN, "network.py": TRAIN.partition("    torch.manual_seed")[0], "serve.py": SERVE}
    for name, text in scripts.items():
        (tmp_path / name).write_text(textwrap.dedent(text))
    for name in ("train.py", "serve.py"):
        done = subprocess.run([sys.executable, name], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [sys.executable, "-m", "edgenet", "report", "model"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0 and "low_rank(rank=2)" in done.stdout, done.stderr
