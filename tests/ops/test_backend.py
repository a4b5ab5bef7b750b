"""Backends: the fastest that is there runs, one can be asked for by name, and none but the reference is needed."""

import os
import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from edgenet import ops
from edgenet.errors import BackendError
from edgenet.ops import backend
from edgenet.testing import GRAPHS

NAMES = backend.ops()


@pytest.fixture
def no_scatter(monkeypatch):
    """A machine without torch_scatter."""
    monkeypatch.setenv("EDGENET_NO_SCATTER", "1")
    backend.torch_scatter.cache_clear()
    yield
    monkeypatch.undo()
    backend.torch_scatter.cache_clear()


@pytest.fixture
def spies(monkeypatch):
    """Two backends of every op that note their name and run the definition."""
    ran = []
    for name in NAMES:
        definition = backend._IMPLEMENTATIONS[name]["reference"]

        def spy(kind, definition=definition):
            return lambda *args: (ran.append(kind), definition(*args))[1]

        monkeypatch.setitem(backend._IMPLEMENTATIONS, name, {kind: spy(kind) for kind in ("reference", "scatter")})
    monkeypatch.setattr(backend, "_usable", lambda name: name not in backend.KERNELS)
    monkeypatch.setenv("EDGENET_NO_NATIVE", "1")
    backend._kernels.cache_clear()
    yield ran
    backend._kernels.cache_clear()


def hop(requires_grad=False):
    graph = GRAPHS["path"]
    weight = torch.ones(graph.num_edges, 1, requires_grad=requires_grad)
    return ops.spmm(graph, weight, torch.ones(graph.num_nodes, 1, 2))


@pytest.mark.parametrize("op", NAMES)
def test_every_op_has_its_definition_first(op):
    assert ops.available(op)[0] == "reference"


def test_an_unknown_op_is_refused_with_the_known_ones():
    with pytest.raises(BackendError, match=r"'spmv'.*attention, attention_v2, codes_linear, dropout, sddmm"):
        ops.available("spmv")


def test_an_unknown_backend_is_refused_with_the_known_ones():
    with pytest.raises(BackendError, match=r"'cuda'.*native, triton, scatter, reference"), ops.use("cuda"):
        pass


def test_a_missing_backend_is_refused_with_the_way_to_get_it(no_scatter):
    assert all("scatter" not in ops.available(op) for op in NAMES)
    with pytest.raises(BackendError, match=r"'scatter' cannot run here.*pip install"), ops.use("scatter"):
        pass


def test_an_op_without_a_form_in_the_backend_runs_its_reference(monkeypatch, spies):
    monkeypatch.delitem(backend._IMPLEMENTATIONS["spmm"], "scatter")
    with ops.use("scatter"):
        hop()
    assert spies == ["reference"] and ops.available("spmm") == ["reference"]
    assert "no such form" in ops.explain()["spmm"]["scatter"]


def test_unasked_the_fastest_backend_runs(spies):
    hop()
    assert spies == ["scatter"]


def test_a_backend_holds_inside_its_block_and_the_one_before_comes_back(spies):
    with ops.use("reference"):
        hop()
        with ops.use("scatter"):
            hop()
        hop()
    hop()
    assert spies == ["reference", "scatter", "reference", "scatter"]


def test_the_backend_before_comes_back_after_an_error_too(spies):
    with pytest.raises(RuntimeError, match="inside"), ops.use("reference"):
        raise RuntimeError("inside")
    hop()
    assert spies == ["scatter"]


def test_a_backward_pass_inside_the_block_runs_on_the_backend_of_the_block(spies):
    with ops.use("reference"):
        hop(requires_grad=True).sum().backward()
    assert spies == ["reference", "reference"]


def test_a_torch_scatter_that_does_not_load_counts_as_absent(monkeypatch):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "torch_scatter":
                raise OSError("undefined symbol")

    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch_scatter"]:
        monkeypatch.delitem(sys.modules, name)
    backend.torch_scatter.cache_clear()
    try:
        assert backend.torch_scatter() is None
        assert "scatter" not in ops.available("spmm")
        hop()
    finally:
        backend.torch_scatter.cache_clear()


def test_the_library_trains_without_torch_scatter():
    code = """
import sys
sys.modules["torch_scatter"] = None         # importing it raises
import torch, edgenet
conv = edgenet.EdgeNetConv(3, 2, heads=2, phi="attention")
conv(torch.randn(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])).sum().backward()
assert "scatter" not in edgenet.ops.available("spmm")
assert conv.phi.att_source.weight.grad.isfinite().all()
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})


def test_without_compiled_kernels_it_is_said_once_and_how_to_get_them(monkeypatch):
    monkeypatch.setattr(backend, "_usable", lambda name: name == "reference")
    monkeypatch.delenv("EDGENET_NO_NATIVE", raising=False)
    for remembered in (backend._kernels, backend._tell_of_missing_native):
        remembered.cache_clear()
    try:
        with pytest.warns(UserWarning, match="no compiled kernels.*compiler"):
            hop()
        hop()  # a second warning would raise: the suite turns ours into errors
        assert "compiler" in ops.explain()["spmm"]["native"]
    finally:
        for remembered in (backend._kernels, backend._tell_of_missing_native):
            remembered.cache_clear()


def test_kernels_run_only_where_their_device_and_dtype_are_right():
    graph = GRAPHS["path"]
    assert backend.kernels("spmm", torch.ones(1, dtype=torch.complex64)) is None
    assert backend.kernels("spmm", torch.ones(1, device="meta")) is None
    with ops.use("reference"):
        assert backend.kernels("spmm", torch.ones(1)) is None
    half = ops.spmm(graph, None, torch.ones(graph.num_nodes, 1, 1, dtype=torch.float16))
    assert half.dtype == torch.float16


# ---------------------------------------------------------------- one more backend
@pytest.fixture
def registry(monkeypatch):
    """What is added in a test is gone after it."""
    monkeypatch.setattr(
        backend, "_IMPLEMENTATIONS", {op: dict(known) for op, known in backend._IMPLEMENTATIONS.items()}
    )


def toy(ran):
    """The definition of an op, by its name, that says it ran."""
    return lambda op: lambda *arguments: (ran.append(op), backend._IMPLEMENTATIONS[op]["reference"](*arguments))[1]


LEVELS = torch.tensor([-1.0, -0.25, 0.5, 1.0])


def calls(graph):
    codes, flat = torch.arange(9, dtype=torch.uint8), torch.randn(5, 6)
    weight, x, score = (
        torch.randn(graph.num_edges, 2),
        torch.randn(graph.num_nodes, 2, 3),
        torch.randn(graph.num_nodes, 2),
    )
    return {
        "spmm": lambda w=weight, x=x: ops.spmm(graph, w, x),
        "sddmm": lambda a=x, b=x + 1: ops.sddmm(graph, a, b),
        "segment_softmax": lambda s=weight: ops.segment_softmax(s, graph),
        "attention": lambda s=score, t=score, x=x: ops.attention(graph, s, t, x),
        "attention_v2": lambda x=x, u=x - 1, a=x[0]: ops.attention_v2(graph, x, u, a),
        "dropout": lambda x=x: ops.dropout(x, 0.5, seed=1),
        "codes_linear": lambda y=flat, s=flat[0]: ops.codes_linear(y, codes, 2, LEVELS, s, 6),
        "unified_linear": lambda y=flat, s=flat[0, :2]: ops.unified_linear(y, s, codes[:3], (2, 6), (4, 6)),
    }


@pytest.mark.parametrize("op", NAMES)
def test_adding_a_backend_is_one_call_and_gradients_are_the_ops_own(registry, op):
    ran = []
    backend.add(op, "toy", toy(ran)(op))
    assert ops.available(op)[:2] == ["reference", "toy"] and ops.explain()[op]["toy"] == "active"
    call = calls(GRAPHS["directed"])[op]
    tensors = [t.clone().requires_grad_() for t in call.__defaults__]
    wanted = call(*tensors)
    assert not ran  # nowhere by itself
    with ops.use("toy"):
        got = call(*tensors)
        assert ran == [op]
        grads = torch.autograd.grad(got.sin().sum(), tensors)
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(grads, torch.autograd.grad(wanted.sin().sum(), tensors))


def test_ops_without_a_form_in_an_added_backend_run_their_reference_there(registry):
    ran = []
    backend.add("spmm", "toy", toy(ran)("spmm"))
    assert "toy" not in ops.available("sddmm") and "no such form" in ops.explain()["sddmm"]["toy"]
    with ops.use("toy"):
        found = {op: call() for op, call in calls(GRAPHS["directed"]).items()}
    assert set(ran) == {"spmm"} and len(found) == len(NAMES)
    backend.add("sddmm", "toy", toy(ran)("sddmm"))
    assert "toy" in ops.available("sddmm")


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("spmv", "toy", print), "no op is called 'spmv'"),
        (("spmm", "native", print), "has a backend 'native' already"),
        (("spmm", "toy", print), "has a backend 'toy' already"),
        (("sddmm", "toy", 3), "got int"),
    ],
)
def test_a_backend_that_cannot_be_added_is_refused(registry, arguments, said):
    backend.add("spmm", "toy", lambda *arguments: None)
    with pytest.raises(BackendError, match=said):
        backend.add(*arguments)


# ---------------------------------------------------------------- when the short path is taken
def test_the_short_path_is_for_calls_that_nothing_transforms_or_watches():
    seen = []

    def look(x):
        seen.append(backend.eager())
        return x.sum()

    x = torch.ones(2)
    look(x)
    torch.func.grad(look)(x)
    torch.func.vmap(look)(x[None])
    with torch.autograd.forward_ad.dual_level():
        look(x)
    with FlopCounterMode(display=False):
        look(x)
    assert seen == [True, False, False, False, False]
    compiled = torch.compile(lambda x: x + 1 if backend.eager() else x, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x), x)
