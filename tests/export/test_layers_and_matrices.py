"""All layers and all families of matrices in ONNX files."""

from pathlib import Path

import pytest
import torch
from cases import STRUCTURE_CASES
from layers import LAYERS

from edgenet import NodeClassifier, freeze_attention
from edgenet.errors import ConversionError
from edgenet.export import export
from edgenet.nn import SPECIALIZATIONS
from edgenet.nn import specializations as nets

onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX files are run by onnxruntime")
pytest.importorskip("onnxscript", reason="ONNX files are made by onnxscript")
pytestmark = [pytest.mark.float32, pytest.mark.slow]

KINDS = ["onnx", "pt2"]
FAMILIES = {str(case): case for case in STRUCTURE_CASES}


def called(path: Path, given: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the file gives."""
    if path.suffix == ".pt2":
        x, edges = list(given.values())[:2]
        return torch.export.load(path).module()(x, edges, **dict(list(given.items())[2:]))
    session = onnxruntime.InferenceSession(str(path))
    return torch.from_numpy(session.run(None, {name: value.numpy() for name, value in given.items()})[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SPECIALIZATIONS)
def test_every_specialization_becomes_a_file(name, kind, tmp_path):
    layer, x, more = LAYERS[name].ready()
    told = export(layer, tmp_path / f"layer.{kind}", {"x": x, **more})
    for edges in (0, 1, 5) if told.inputs["edge_index"][1] == "edges" else ():
        given = {"x": x, "edge_index": more["edge_index"][:, :edges].contiguous()}
        wanted = layer(**given).detach()
        size = wanted.abs().max().clamp_min(1)
        near = 2e-5 if name == "additive" else 1e-5  # its splines are 1e-5 from those of float64 in torch, too
        torch.testing.assert_close(called(told.path, given) / size, wanted / size, rtol=0, atol=near)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_of_matrices_becomes_a_file(name, kind, tmp_path):
    case = FAMILIES[name]
    of_complex = case.dtype is not None and case.dtype.is_complex
    dtype = torch.complex64 if of_complex else torch.float32
    matrix, x = case.build().to(dtype).eval(), torch.randn(4, case.n, dtype=dtype)
    if kind == "onnx" and of_complex:
        with pytest.raises(ConversionError, match="complex"):
            export(matrix, tmp_path / "matrix.onnx", (x,))
        return
    export(matrix, tmp_path / f"matrix.{kind}", (x,))  # which compares


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_edge_weighs_nothing_that_anybody_could_believe(kind, tmp_path):
    x, edges = torch.randn(6, 4), torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]])
    model = NodeClassifier(4, 3, layer="gat", hidden_channels=4, num_layers=1, add_self_loops=False).eval()
    frozen = freeze_attention(model, x, edges)
    path = export(frozen, tmp_path / f"frozen.{kind}").path
    torch.testing.assert_close(
        called(path, {"x": x, "edge_index": edges[:, 1:].contiguous()}), frozen(x, edges[:, 1:]), atol=1e-5, rtol=1e-5
    )
    strange = torch.tensor([[5, 0], [0, 1]])
    try:
        found = called(path, {"x": x, "edge_index": strange})
    except RuntimeError as error:
        assert "support" in str(error)
    else:
        assert found[0].isnan().all() and found[1].isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_edges_that_a_table_does_not_know_weigh_its_mean_where_that_was_asked_for(kind, tmp_path):
    x, edges = torch.randn(6, 4), torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]])
    layer = nets.edge_varying(4, 3, bank="heads", heads=2, unseen="shared").bind(edges, 6).eval()
    with torch.no_grad():
        layer.phi.edge_table.weight.normal_()
    path = export(layer, tmp_path / f"layer.{kind}", (x, edges)).path
    for nodes, count in ((6, 9), (8, 4), (3, 1), (6, 0)):
        given = {"x": torch.randn(nodes, 4), "edge_index": torch.randint(nodes, (2, count))}
        torch.testing.assert_close(called(path, given), layer(**given), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("make", [nets.spectral, lambda i, o: nets.edge_varying(i, o, share="edge_id")])
def test_filters_of_one_graph_give_nothing_on_another(make, tmp_path):
    x, edges = torch.randn(4, 3), torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
    layer = make(3, 2).bind(edges, 4).eval()
    layer(x, edges)
    told = export(layer, tmp_path / "layer.onnx", (x, edges))
    assert told.inputs["edge_index"] == (2, 6)
    torch.testing.assert_close(
        called(told.path, {"x": x, "edge_index": edges}), layer(x, edges), atol=1e-5, rtol=1e-5
    )
    other = edges.flip(1)[:, [1, 0, 2, 3, 5, 5]]
    assert called(told.path, {"x": x, "edge_index": other})[other[1]].isnan().all()
