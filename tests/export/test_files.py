"""Files of models: run by onnxruntime and by torch alone, on graphs of other sizes than the traced one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgenet import NodeClassifier, ops
from edgenet.errors import ConfigError, ConversionError, ShapeError
from edgenet.export import export
from edgenet.graph import Graph
from edgenet.models import GraphClassifier, Sequence
from edgenet.nn import specializations as nets
from edgenet.structured import StructuredLinear, Uniform

onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX files are run by onnxruntime")
pytest.importorskip("onnxscript", reason="ONNX files are made by onnxscript")
pytestmark = pytest.mark.float32

#: nodes and edges: more and fewer than in the trace, nodes alone, a loop alone, one edge, none
SIZES = [(30, 90), (3, 2), (4, 0), (2, 1), (1, 1), (1, 0)]


def graphs(channels: int):
    """Random features and edges of all sizes, with loops and repeated edges."""
    draw = torch.Generator().manual_seed(1)
    for nodes, edges in SIZES:
        yield (
            torch.randn(nodes, channels, generator=draw),
            torch.randint(nodes, (2, edges), generator=draw),
        )


def in_onnxruntime(path):
    """The file as a function of tensors, by their order."""
    session = onnxruntime.InferenceSession(str(path))
    names = [given.name for given in session.get_inputs()]

    def run(*values: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, dict(zip(names, (v.numpy() for v in values), strict=True)))[0])

    return run


def near(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)  # float32, in other orders of sums


@torch.no_grad()
def agrees(model: nn.Module, path, channels: int) -> None:
    """The file gives what the model gives, on graphs of all sizes."""
    run = in_onnxruntime(path) if path.suffix == ".onnx" else torch.export.load(path).module()
    for x, edges in graphs(channels):
        near(run(x, edges), model.eval()(x, edges))


def test_a_network_runs_in_onnxruntime_on_graphs_of_all_sizes(tmp_path):
    model = NodeClassifier(6, 3, layer="gat", hidden_channels=4, heads=2)
    told = export(model, tmp_path / "gat.onnx")
    assert told.inputs == {"x": ("nodes", 6), "edge_index": (2, "edges")}
    assert model.training, "the model that was handed over is as it was"
    agrees(model, told.path, 6)


@pytest.mark.slow
def test_a_network_runs_in_torch_on_graphs_of_all_sizes(tmp_path):
    model = NodeClassifier(6, 3, layer="gat", hidden_channels=4, heads=2)
    agrees(model, export(model, tmp_path / "gat.pt2").path, 6)


class AllOps(nn.Module):
    """Every op of edgenet that a file may hold."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        graph, z = Graph(edge_index, x.shape[0]), x.unflatten(1, (2, 3))
        score = ops.sddmm(graph, z, z)
        return torch.cat([
            ops.attention(graph, z[..., 0].contiguous(), z[..., 1].contiguous(), z, 0.1).flatten(1),
            ops.attention(graph, z[..., 0].contiguous(), None, z).flatten(1),
            ops.attention_v2(graph, z, 2 * z, z.new_ones(2, 3)).flatten(1),
            ops.spmm(graph, ops.segment_softmax(score, graph), z).flatten(1),
            ops.spmm(graph, None, z).flatten(1),
            ops.xnor(ops.pack_signs(x), ops.pack_signs(x[:1].expand(4, -1)), 6).to(x),
        ], 1)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_every_op_has_its_form(kind, tmp_path):
    model = AllOps()
    example = torch.randn(5, 6), torch.randint(5, (2, 9))
    agrees(model, export(model, tmp_path / f"ops.{kind}", example).path, 6)


@pytest.mark.slow
def test_scores_of_minus_infinity_weigh_nothing(tmp_path):
    class Softmax(nn.Module):
        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            return ops.segment_softmax(x, edge_index[1], x.shape[0])

    x, edges = torch.tensor([[0.0], [-torch.inf], [-torch.inf]]), torch.tensor([[0, 0, 0], [0, 0, 2]])
    run = in_onnxruntime(export(Softmax(), tmp_path / "s.onnx", (torch.randn(3, 1), edges)).path)
    assert run(x, edges).tolist() == [[1.0], [0.0], [0.0]]


@pytest.mark.slow
def test_whole_numbers_are_right_to_the_last_digit_or_nothing_is_written(tmp_path):
    """onnxruntime adds them as floats, unless it is told otherwise; sums over an axis it is not."""

    class Total(nn.Module):
        def __init__(self, *axis: int) -> None:
            super().__init__()
            self.axis = axis

        def forward(self, x: Tensor) -> Tensor:
            return x.sum(*self.axis)

    x = torch.randint(2**62, (9, 4))
    path = export(Total(), tmp_path / "total.onnx", (x,)).path
    for rows in (x, x[:1], x[:0]):
        assert torch.equal(in_onnxruntime(path)(rows), rows.sum())
    with pytest.raises(ConversionError, match="whole numbers are others"):
        export(Total(0), tmp_path / "axis.onnx", (x,))


@pytest.mark.slow
def test_graphs_of_a_batch_come_apart(tmp_path):
    model = GraphClassifier(4, 2, layer="gcn", hidden_channels=5).eval()
    run = in_onnxruntime(export(model, tmp_path / "graphs.onnx").path)
    x, edges, batch = torch.randn(9, 4), torch.randint(9, (2, 20)), torch.tensor([0, 0, 1, 2, 2, 2, 3, 3, 3])
    near(run(x, edges, batch), model(x, edges, batch))


@pytest.mark.slow
def test_sequences_of_any_number_have_the_steps_of_the_file(tmp_path):
    model = Sequence(3, 2, hidden_channels=4).eval()
    with pytest.raises(ConfigError, match="--steps"):
        export(model, tmp_path / "s.onnx")
    told = export(model, tmp_path / "s.onnx", steps=4)
    assert told.inputs == {"x": ("batch", 4, 3)}
    x = torch.randn(5, 4, 3)
    near(in_onnxruntime(told.path)(x), model(x))


def test_int8_weights_stay_int8(tmp_path):
    onnx = pytest.importorskip("onnx", reason="reads the file")
    matrix = Uniform.from_dense(torch.randn(64, 48), bits=8, per="row")
    model = StructuredLinear(matrix.pack(), torch.randn(64)).eval()
    path = export(model, tmp_path / "int8.onnx", (torch.randn(3, 48),)).path
    file = onnx.load(path)
    stored = {t.name: (onnx.TensorProto.DataType.Name(t.data_type), list(t.dims)) for t in file.graph.initializer}
    assert ("INT8", [64, 48]) in stored.values(), stored
    assert [n.op_type for n in file.graph.node].count("DequantizeLinear") == 1
    assert path.stat().st_size < 64 * 48 * 4, "less than the floats alone"
    x = torch.randn(7, 48)
    near(in_onnxruntime(path)(x), model(x))


@pytest.mark.slow
def test_unpacked_quantised_matrices_are_packed(tmp_path):
    model = StructuredLinear(Uniform.from_dense(torch.randn(64, 48), bits=4, per="row"), None).eval()
    path = export(model, tmp_path / "int4.onnx", (torch.randn(3, 48),)).path
    assert path.stat().st_size < 64 * 48 * 4, "less than the floats alone"


BLOCKED = """
import sys
sys.modules.update(dict.fromkeys(("torch", "edgenet", "torch_geometric")))   # importing them raises
"""


def runner() -> str:
    """The one that the documentation has."""
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return next(block for block in blocks if "InferenceSession" in block)


def test_onnx_files_run_where_torch_cannot_be_imported(tmp_path):
    model = NodeClassifier(6, 3, layer="gcn", hidden_channels=4).eval()
    x, edges = torch.randn(8, 6), torch.randint(8, (2, 11))
    path = export(model, tmp_path / "gcn.onnx").path
    np.savez(tmp_path / "given.npz", x=x.numpy(), edge_index=edges.numpy())
    files = [path, tmp_path / "given.npz", tmp_path / "found.npy"]
    command = [sys.executable, "-c", BLOCKED + runner(), *map(str, files)]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=100)
    near(torch.from_numpy(np.load(tmp_path / "found.npy")), model(x, edges))


PT2_RUNNER = """
import sys
sys.modules.update(dict.fromkeys(("edgenet", "torch_geometric", "onnxruntime")))
import torch
given = torch.load(sys.argv[2])
torch.save(torch.export.load(sys.argv[1]).module()(*given), sys.argv[3])
"""


@pytest.mark.slow
def test_pt2_files_run_where_edgenet_cannot_be_imported(tmp_path):
    model = nets.gatv2(6, 3, heads=2).eval()
    x, edges = torch.randn(8, 6), torch.randint(8, (2, 11))
    path = export(model, tmp_path / "gat.pt2").path
    torch.save((x, edges), tmp_path / "given.pt")
    command = [sys.executable, "-c", PT2_RUNNER, str(path), str(tmp_path / "given.pt"), str(tmp_path / "found.pt")]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=100, env={**os.environ, "PYTHONPATH": ""})
    near(torch.load(tmp_path / "found.pt"), model(x, edges))


# --- refusals ---------------------------------------------------------------------------------------------------------
def test_what_cannot_be_exported_says_why(tmp_path):
    layer = nets.gcn(4, 2)
    with pytest.raises(ConfigError, match="TorchScript is not supported"):
        export(layer, tmp_path / "m.pt")
    with pytest.raises(ConfigError, match="TorchScript is not supported"):
        export(layer, tmp_path / "m.onnx", to="torchscript")
    with pytest.raises(ConfigError, match="onnx or pt2, got 'bin'"):
        export(layer, tmp_path / "m.bin")
    with pytest.raises(ConversionError, match="no size yet"):
        export(nets.gcn(-1, 2), tmp_path / "m.pt2", (torch.randn(3, 4), torch.tensor([[0, 1], [1, 2]])))
    with pytest.raises(ConfigError, match="cannot be made up"):
        export(nets.gat(4, 2, edge_dim=3), tmp_path / "m.pt2")
    with pytest.raises(ShapeError, match="two nodes"):
        export(layer, tmp_path / "m.pt2", (torch.randn(3, 4), torch.tensor([[0], [1]])))
    with pytest.raises(ConfigError, match="none is called 'edges'"):
        export(layer, tmp_path / "m.pt2", {"edges": torch.tensor([[0], [1]])})
    with pytest.raises(ShapeError, match="dense tensors"):
        export(layer, tmp_path / "m.pt2", (torch.eye(4).to_sparse(), torch.tensor([[0, 1], [1, 2]])))
    with pytest.raises(ConversionError, match="as one graph"):
        export(Looks(), tmp_path / "m.pt2", (torch.randn(3, 4), torch.tensor([[0, 1], [1, 2]])))
    assert not list(tmp_path.iterdir()), "nothing is left of what failed"


class Looks(nn.Module):
    """Looks at a number."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return x if bool(x.sum() > 0) else -x
