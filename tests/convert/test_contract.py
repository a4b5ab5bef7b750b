"""What every conversion promises: the PyG layer's own outputs and gradients. A layer joins with its CONVERTER_CASES."""

import copy
import io

import pytest
import torch
from cases import CONVERTER_CASES

from edgenet import to_edgenet
from edgenet.convert import CONVERTERS, Converted
from edgenet.graph import Graph
from edgenet.testing import GRAPHS

cases = pytest.mark.parametrize("case", CONVERTER_CASES, ids=str)
DIRECTED = GRAPHS["directed"]
BIPARTITE = Graph(torch.tensor([[0, 3, 3, 1, 0, 3], [1, 0, 1, 1, 1, 0]]), 3, 4)  # a repeated edge, a lonely target
TOLERANCE = {"rtol": 1e-12, "atol": 1e-12}


def graphs_of(case):
    """PyG's own BatchNorm and maxima do not take graphs without nodes."""
    graphs = [graph for name, graph in GRAPHS.items() if name != "zero_nodes"]
    if case.name.startswith("GIN"):
        graphs = [graph for graph in graphs if graph.num_nodes > 1]
    return graphs + [BIPARTITE] * (case.pair is not None)


def flat(inputs):
    args, named = inputs
    values = [*(args[0] if isinstance(args[0], tuple) else args[:1]), *named.values()]
    return [value for value in values if isinstance(value, torch.Tensor) and value.requires_grad]


def grads(y, inputs):
    direction = torch.linspace(-1, 2, y.numel()).view_as(y)
    if not inputs:
        return ()
    return torch.autograd.grad((y * direction).sum(), inputs, allow_unused=True)


@pytest.mark.parametrize("kind", CONVERTERS, ids=lambda kind: kind.__name__)
def test_every_layer_of_pyg_has_a_case_of_its_type(kind):
    mine = [case for case in CONVERTER_CASES if case.name.split()[0] == kind.__name__]
    assert mine and all(type(case.build()) is kind for case in mine)


@cases
def test_it_computes_what_pyg_computes_on_every_graph(case):
    theirs = case.layer()
    ours = to_edgenet(theirs)
    assert isinstance(ours, Converted)
    for graph in graphs_of(case):
        args, named = case.inputs(graph)
        wanted = theirs(*args, **named)
        assert wanted.isfinite().all() or "ChebConv None" in case.name
        torch.testing.assert_close(ours(*args, **named), wanted, **TOLERANCE, equal_nan=True)


@cases
def test_gradients_of_its_inputs_are_pygs(case):
    theirs = case.layer()
    ours = to_edgenet(theirs)
    for graph in [DIRECTED, *[BIPARTITE] * (case.pair is not None)]:
        args, named = case.inputs(graph)
        inputs = flat((args, named))
        got, wanted = (grads(layer(*args, **named), inputs) for layer in (ours, theirs))
        for mine, value, one in zip(got, wanted, inputs, strict=True):
            mine, value = (torch.zeros_like(one) if grad is None else grad for grad in (mine, value))
            torch.testing.assert_close(mine, value, rtol=1e-10, atol=1e-10)  # through square roots and softmaxes


@cases
def test_gradients_of_its_parameters_are_pygs(case):
    """Conversion is linear in the parameters: a direction among theirs becomes one among ours."""
    theirs = case.layer()
    ours = to_edgenet(theirs)
    args, named = case.inputs(DIRECTED)
    mine, values = list(ours.parameters()), list(theirs.parameters())
    got, wanted = grads(ours(*args, **named), mine), grads(theirs(*args, **named), values)
    for chosen in range(len(values)):
        direction = copy.deepcopy(theirs)
        with torch.no_grad():
            for i, parameter in enumerate(direction.parameters()):
                parameter.normal_() if i == chosen else parameter.zero_()
        along = 0.0 if wanted[chosen] is None else (wanted[chosen] * list(direction.parameters())[chosen]).sum().item()
        turned = list(to_edgenet(direction).parameters())
        total = sum((g * d).sum().item() for g, d in zip(got, turned, strict=True) if g is not None)
        assert total == pytest.approx(along, rel=1e-9, abs=1e-9)


@cases
def test_it_follows_pyg_through_training_steps(case):
    theirs = case.layer()
    ours = to_edgenet(theirs)
    args, named = case.inputs(DIRECTED)
    for layer in (theirs, ours):
        optimizer = torch.optim.SGD(layer.parameters(), 1e-3) if list(layer.parameters()) else None
        for _ in range(3 if optimizer else 0):
            optimizer.zero_grad()
            layer(*args, **named).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(ours(*args, **named), theirs(*args, **named), rtol=1e-9, atol=1e-9)


@cases
def test_float32_is_pygs_to_rounding(case):
    theirs = case.layer().float()
    ours = to_edgenet(theirs)
    assert {p.dtype for p in ours.parameters()} <= {torch.float32}
    args, named = case.inputs(DIRECTED)

    def single(value):
        if isinstance(value, tuple):
            return tuple(map(single, value))
        return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    args, named = tuple(map(single, args)), {name: single(value) for name, value in named.items()}
    wanted = theirs(*args, **named).float()  # PyG's RGCN begins its sum with zeros of the default dtype
    # random parameters make large outputs; 2e-6 of the largest is a few units in the last place
    torch.testing.assert_close(ours(*args, **named), wanted, rtol=2e-6, atol=2e-6 * wanted.abs().max().item())


@cases
def test_copies_and_checkpoints_compute_the_same(case):
    ours = to_edgenet(case.layer())
    args, named = case.inputs(DIRECTED)
    wanted = ours.eval()(*args, **named)
    assert torch.equal(copy.deepcopy(ours)(*args, **named), wanted)
    file = io.BytesIO()
    torch.save(ours.state_dict(), file)
    file.seek(0)
    other = to_edgenet(case.layer()).eval()
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(*args, **named), wanted)


@cases
def test_the_layer_that_was_converted_stays_as_it_was(case):
    theirs = case.layer()
    before = {name: value.clone() for name, value in theirs.state_dict().items()}
    ours = to_edgenet(theirs)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(1)
    assert all(torch.equal(value, before[name]) for name, value in theirs.state_dict().items())


@cases
def test_what_is_not_trained_stays_so(case):
    theirs = case.layer().requires_grad_(False).eval()
    ours = to_edgenet(theirs)
    assert not any(p.requires_grad for p in ours.parameters()) and not any(m.training for m in ours.modules())


@cases
def test_it_draws_no_random_numbers(case):
    theirs, state = case.layer(), torch.get_rng_state()
    to_edgenet(theirs)
    assert torch.equal(torch.get_rng_state(), state)
