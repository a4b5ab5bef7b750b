"""UnitaryRNN: against the arrays of independent code, against its definition step by step, and what it refuses."""

import copy
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from stored import oracle, tensors
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import edgenet
from edgenet.compress import compress_, slots
from edgenet.data import fresh
from edgenet.errors import ConfigError, ShapeError
from edgenet.nn import ModReLU, UnitaryCell, UnitaryRNN, unitary_walk
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.structured import Dense, Kronecker, LowRank, StructuredLinear, Unitary


def near(got, want, digits=1e-10):
    torch.testing.assert_close(got, want, rtol=digits, atol=digits)


def made(seed=0, **options):
    torch.manual_seed(seed)
    net = UnitaryRNN(3, 6, 4, **options)
    with torch.no_grad():
        net.cell.activation.bias.uniform_(-0.3, 0.3)  # some lengths are below -b
    return net


def of_arrays(arrays):
    n = len(arrays["h0"])
    net = UnitaryRNN(
        arrays["x"].shape[-1], n, len(arrays["bo"]),
        matrix=Unitary(arrays["theta"], torch.view_as_real(arrays["v"]), arrays["perm"]),
    )  # fmt: skip
    v, start = arrays["V"] + 0j, arrays["h0"]
    with torch.no_grad():
        net.cell.input_map.weight.weight.copy_(torch.cat([v.real, v.imag]))
        net.cell.start.copy_(torch.cat([start.real, start.imag]))
        net.cell.activation.bias.copy_(arrays["bias"])
        net.read_out.weight.weight.copy_(arrays["U"])
        net.read_out.bias.copy_(arrays["bo"])
    return net


def by_formula(net, x):
    """The states of the paper's formula, by dense products, step by step: (T, B, n)."""
    w = net.cell.state_map.weight.to_dense()
    v = torch.complex(*net.cell.input_map.weight.to_dense().chunk(2))
    state, found = torch.complex(*net.cell.start.chunk(2)).expand(x.shape[1], -1), []
    for one in x:
        z = state @ (w + 0j).mT + (one + 0j) @ v.mT
        state = torch.relu(z.abs() + net.cell.activation.bias) * z / z.abs()
        found.append(state)
    return torch.stack(found)


@pytest.fixture(params=["built", "factors", "steps"])
def way(request, monkeypatch):
    """Every way along a sequence; the gradient of W is summed over pieces of it."""
    monkeypatch.setattr(unitary_walk, "_PIECE", 40)
    if request.param == "steps":
        monkeypatch.setattr(unitary_walk, "_readable", lambda cell: None)
    else:
        monkeypatch.setattr(unitary_walk, "_builds", lambda matrix, x: request.param == "built")
    return request.param


# ---------------------------------------------------------------- numbers
@oracle("compression/urnn*.npz")
def test_states_and_outputs_are_those_of_independent_code(stored, way):
    arrays = tensors(stored)
    net = of_arrays(arrays)
    for mode in (True, False):
        near(net.train(mode).states(arrays["x"]), arrays["hs"])
        near(net(arrays["x"])[0], arrays["outs"])
    z = torch.complex(*arrays["z_in"].chunk(2, 1))
    turned = net.cell.turned(z)
    near(torch.cat([turned.real, turned.imag], 1), arrays["z_out"])


@pytest.mark.parametrize("real", [False, True], ids=["unitary", "a real matrix"])
def test_every_way_is_the_formula_forward_and_backward(way, real):
    net = made(matrix=LowRank.from_dense(torch.randn(6, 6) / 3, rank=3) if real else None)
    x = torch.randn(5, 3, 3)
    want, got = by_formula(net, x), net.states(x)
    near(got, want)
    for one, other in zip(gradients(net, got), gradients(net, want), strict=True):
        near(one, other)


def gradients(net, states):
    """Of something that reads every number of the states in its own way."""
    weight = torch.linspace(-1, 2, states.numel()).reshape(states.shape)
    loss = (states.real * weight).sum() + (states.imag * weight.flip(0)).square().sum()
    return torch.autograd.grad(loss, list(net.cell.parameters()))


def test_derivatives_of_derivatives_are_right(way):
    net, x = made(), torch.randn(2, 1, 3, requires_grad=True)
    bias = net.cell.activation.bias

    def states(x, bias):
        net.cell.activation.bias.data.copy_(bias)
        return torch.view_as_real(net.states(x))

    assert torch.autograd.gradcheck(lambda x: states(x, bias), (x,))
    assert torch.autograd.gradgradcheck(lambda x: states(x, bias), (x,))
    # of W's own numbers: the same as those of the definition
    (first,) = torch.autograd.grad(net.states(x).real.square().sum(), net.cell.start, create_graph=True)
    (again,) = torch.autograd.grad(by_formula(net, x).real.square().sum(), net.cell.start, create_graph=True)
    phases = net.cell.state_map.weight.phases
    near(*(torch.autograd.grad(g.square().sum(), phases)[0] for g in (first, again)))


def test_a_state_of_zeros_has_a_finite_gradient(way):
    net = made()
    with torch.no_grad():
        net.cell.start.zero_()
        net.cell.activation.bias.fill_(0.5)
    x = torch.zeros(2, 1, 3)
    states = net.states(x)
    assert (states == 0).all()
    found = torch.autograd.grad(states.real.sum() + states.imag.sum(), list(net.cell.parameters()))
    assert all(g.isfinite().all() for g in found)


def test_modrelu_by_hand():
    act = ModReLU(4)
    with torch.no_grad():
        act.bias.copy_(torch.tensor([1.0, -1.0, -6.0, 0.0]))
    near(act(torch.tensor([3 + 4j, 3 + 4j, 3 + 4j, 0j])), torch.tensor([3.6 + 4.8j, 2.4 + 3.2j, 0j, 0j]))
    near(act(torch.tensor([-2.0, -2.0, -2.0, -2.0])), torch.tensor([-3.0, -1.0, 0.0, -2.0]))
    for bad in (0, -1.0, math.inf):
        with pytest.raises(ConfigError, match="eps is a positive number"):
            ModReLU(3, eps=bad)
    assert ModReLU(3, eps=0.5)(torch.tensor([0.1, 0.0, 0.0])).abs().max() < 0.12


@pytest.mark.parametrize(
    ("sizes", "count"), [((10, 128, 9), 6_153), ((2, 512, 1), 8_193), ((1, 512, 10), 16_394)], ids=str
)
def test_it_has_as_many_parameters_as_published(sizes, count):
    assert sum(p.numel() for p in UnitaryRNN(*sizes).parameters()) == count


def test_it_starts_as_the_authors_code_does():
    torch.manual_seed(0)
    net = UnitaryRNN(10, 400, 9, seed=3)
    cell, w = net.cell, net.cell.state_map.weight
    for values, bound in (
        (cell.input_map.weight.weight, math.sqrt(6 / 810)), (net.read_out.weight.weight, math.sqrt(6 / 809)),
        (cell.start, math.sqrt(3 / 800)), (cell.activation.bias, 0.01), (w.phases, math.pi),
        (w.reflections, math.sqrt(6 / 802)),
    ):  # fmt: skip
        assert 0.98 * bound < values.abs().max() <= bound
        assert abs(values.mean()) < 0.1 * bound and values.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
    assert (net.read_out.bias == 0).all()
    assert torch.equal(w.permutation, Unitary(torch.zeros(3, 400), torch.zeros(2, 400, 2), seed=3).permutation)


@pytest.mark.float32
@pytest.mark.parametrize("steps", [150, pytest.param(1000, marks=pytest.mark.slow)])
def test_it_is_unitary_after_many_steps_of_training(steps):
    torch.manual_seed(0)
    net = UnitaryRNN(2, 12, 1, batch_first=True)
    start = net.cell.state_map.weight.to_dense().detach().clone()
    task = edgenet.train.Task(
        fresh("adding_problem", 3, steps, length=2), call=lambda net, batch: net(*batch.whole)[0][:, -1, 0]
    )
    edgenet.fit(net, task, optimizer=partial(torch.optim.RMSprop, lr=3e-3, alpha=0.9), epochs=1, seed=0, progress=False)
    w = net.cell.state_map.weight
    assert (w.to_dense() - start).abs().max() > 0.1, "it has been trained"
    z = torch.complex(*torch.randn(2, 200, 12))
    ratio = w(z).norm(dim=1) / z.norm(dim=1)
    assert (ratio - 1).abs().max() < 1e-6
    double = copy.deepcopy(net).double().cell.state_map.weight.to_dense()
    near(double @ double.mH, torch.eye(12, dtype=torch.complex128), 1e-12)


# ---------------------------------------------------------------- sequences
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_sequence_goes_on_where_it_was(way, batch_first):
    net, x = made(batch_first=batch_first), torch.randn(7, 2, 3)
    x = x.transpose(0, 1) if batch_first else x
    dim = 1 if batch_first else 0
    outputs, last = net(x)
    one, state = net(x.narrow(dim, 0, 4))
    two, end = net(x.narrow(dim, 4, 3), state)
    near(torch.cat([one, two], dim), outputs)
    near(end, last)
    near(last, net.states(x).select(dim, 6))
    near(net(x.narrow(dim, 0, 1))[1], by_formula(net, x.transpose(0, 1) if batch_first else x)[0])


@pytest.mark.parametrize("batch_first", [False, True])
def test_what_comes_after_a_sequence_is_not_read(way, batch_first):
    net, x, lengths = made(batch_first=batch_first), torch.randn(5, 4, 3), [2, 5, 0, 1]
    for row, length in enumerate(lengths):
        x[length:, row] = math.nan
    given = x.transpose(0, 1) if batch_first else x
    outputs, last = net(given, lengths=lengths)
    outputs = outputs.transpose(0, 1) if batch_first else outputs
    for row, length in enumerate(lengths):
        assert (outputs[length:, row] == 0).all()
        if length:
            alone = x[:length, row : row + 1]
            want, end = net(alone.transpose(0, 1) if batch_first else alone)
            near(outputs[:length, row], want[0] if batch_first else want[:, 0])
            near(last[row], end[0])
    near(last[2], net.begun(1)[0])
    found = torch.autograd.grad(outputs.square().sum() + last.abs().sum(), list(net.parameters()))
    assert all(g.isfinite().all() for g in found)
    state = torch.complex(*torch.randn(2, 4, 6))
    near(net(given, state, torch.tensor(lengths))[1][2], state[2])


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", [[5, 3, 1], [2, 5, 4]], ids=["sorted", "unsorted"])
def test_packed_sequences_come_out_packed(batch_first, lengths):
    net, x = made(batch_first=batch_first), torch.randn(3, 5, 3)
    x = x if batch_first else x.transpose(0, 1)
    packed = pack_padded_sequence(x, lengths, batch_first, enforce_sorted=lengths[0] == 5)
    outputs, last = net(packed)
    assert isinstance(outputs, PackedSequence)
    want, end = net(x, lengths=lengths)
    near(pad_packed_sequence(outputs, batch_first)[0], want)
    near(last, end)
    with pytest.raises(ShapeError, match="has lengths of its own"):
        net(packed, lengths=lengths)


def test_symbols_stand_for_their_one_hot_vectors():
    net, symbols = made(), torch.randint(3, (5, 2))
    near(net(symbols)[0], net(F.one_hot(symbols, 3).to(torch.float64))[0])
    with pytest.raises(ShapeError, match="symbols are 0 to 2 for input_size 3, got 0 to 3"):
        net(torch.tensor([[0], [3]]))


# ---------------------------------------------------------------- slots
def test_maps_stand_in_slots_and_can_be_compressed():
    net, x = made(), torch.randn(4, 2, 3)
    assert list(slots(net)) == ["cell.input_map.weight", "cell.state_map.weight", "read_out.weight"]
    low = partial(LowRank.from_dense, rank=2)
    compress_(net, {r"cell\.input_map.*": low, r"read_out.*": low})
    assert type(net.cell.input_map.weight) is LowRank and type(net.read_out.weight) is LowRank
    near(net.states(x), by_formula(net, x))


@pytest.mark.parametrize("matrix", [
    lambda: Dense(torch.randn(6, 6)), lambda: Dense(torch.complex(*torch.randn(2, 6, 6))),
    lambda: Kronecker.from_dense(torch.randn(6, 6), factor=(2, 3)),
], ids=["dense", "complex", "kronecker"])  # fmt: skip
def test_the_state_map_may_be_any_structured_matrix(matrix, way):
    net, x = made(matrix=matrix()), torch.randn(4, 2, 3)
    near(net.states(x), by_formula(net, x))


class Double(nn.Module):
    """An adapter."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.shape = inner, inner.shape

    def forward(self, z):
        return 2 * self.inner(z)


def _twice(module, inputs, output):
    return 2 * output


def test_whatever_is_put_on_a_part_counts():
    x = torch.randn(4, 2, 3)

    def changed(change):
        net = made()
        change(net)
        return net.states(x).detach(), net

    plain, _ = changed(lambda net: None)

    def doubled(net):
        net.cell.state_map.weight = Double(net.cell.state_map.weight)

    got, net = changed(doubled)
    w = net.cell.state_map.weight.inner.to_dense()
    state, v = net.begun(2), torch.complex(*net.cell.input_map.weight.to_dense().chunk(2))
    near(got[0], net.cell.activation(2 * state @ w.mT + (x[0] + 0j) @ v.mT))
    for part in ("cell.state_map", "cell.state_map.weight", "cell.activation", "cell.input_map"):
        got, _ = changed(lambda net, part=part: net.get_submodule(part).register_forward_hook(_twice))
        assert not torch.allclose(got, plain), part
    called = []
    got, _ = changed(lambda net: net.cell.register_forward_hook(lambda *_: called.append(1)))
    near(got, plain)
    assert len(called) == len(x)
    got, _ = changed(lambda net: net.cell.register_forward_hook(lambda module, inputs, state: (2 * state[0],)))
    assert not torch.allclose(got, plain)
    got, _ = changed(lambda net: setattr(net.cell.state_map, "bias", nn.Parameter(torch.ones(6) + 0j)))
    assert not torch.allclose(got, plain)
    got, _ = changed(lambda net: setattr(net.cell, "activation", nn.Identity()))
    assert not torch.allclose(got, plain)


# ---------------------------------------------------------------- forms
def test_it_is_saved_and_loaded_and_copied(tmp_path):
    net, x = made(batch_first=True, seed=1), torch.randn(2, 5, 3)
    want = net(x)
    save_pretrained(net, tmp_path / "net")
    again = UnitaryRNN(3, 6, 4, batch_first=True, seed=9)
    again.load_state_dict(torch.load(_state(net, tmp_path), weights_only=True))
    for other in (from_pretrained(tmp_path / "net"), copy.deepcopy(net), again):
        near(other(x), want)


def _state(net, folder):
    torch.save(net.state_dict(), folder / "state.pt")
    return folder / "state.pt"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_runs_in_single_and_in_double_precision(way, dtype):
    net = made().to(dtype)
    outputs, last = net(torch.randn(3, 2, 3, dtype=dtype))
    assert outputs.dtype == dtype and last.dtype == dtype.to_complex()
    outputs.sum().backward()
    assert all(p.grad.dtype == dtype for p in net.parameters())


def test_it_compiles():
    net, x, lengths = made(), torch.randn(2, 2, 3), torch.tensor([1, 2])
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    near(compiled(x, None, lengths), net(x, None, lengths))


def test_inference_keeps_the_matrix_until_a_parameter_changes():
    net, x = made().eval(), torch.randn(4, 2, 3)
    with torch.no_grad():
        net(x)
        assert net.cell.state_map.weight.built() is net.cell.state_map.weight.built()
        net.cell.state_map.weight.phases.add_(0.5)
        near(net.states(x), by_formula(net, x))


@pytest.mark.parametrize(
    ("size", "steps", "mode", "taken"),
    [
        (64, 1, True, "_Built"),
        (100, 20, True, "_Factored"),  # too short to pay for the matrix
        (100, 150, True, "_Built"),
        (100, 1, False, "_Built"),
        (300, 150, True, "_Factored"),
        (300, 1, False, "_Factored"),
    ],
)
def test_w_is_built_where_that_is_cheaper(monkeypatch, size, steps, mode, taken):
    ways, along = [], unitary_walk.along
    monkeypatch.setattr(unitary_walk, "along", lambda way, *rest: ways.append(type(way).__name__) or along(way, *rest))
    UnitaryRNN(1, size, 1).train(mode).states(torch.zeros(steps, 2, 1))
    assert ways == [taken]
    wide = UnitaryRNN(1, 1100, 1, matrix=Kronecker.random((1100, 1100), factor=(11, 11)))
    wide.states(torch.zeros(1, 2, 1))
    assert ways == [taken], "a wide structure is called, and not built"


# ---------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda net: net(torch.zeros(0, 2, 3)), r"at least one step, got an input \(0, 2, 3\)"),
        (lambda net: net(torch.zeros(4, 2, 5)), r"wanted is a \(T, B, 3\) input .* got \(4, 2, 5\)"),
        (lambda net: net(torch.zeros(4, 3)), r"got \(4, 3\) of torch.float64"),
        (lambda net: net([1.0]), "got list"),
        (lambda net: net(torch.zeros(4, 2, 3, dtype=torch.int64)), "got .* of torch.int64"),
        (
            lambda net: net(torch.zeros(4, 2, 3), torch.zeros(2, 6)),
            r"state is \(2, 6\) complex, got \(2, 6\) of torch.fl",
        ),
        (lambda net: net(torch.zeros(4, 2, 3), torch.zeros(3, 6) + 0j), r"state is \(2, 6\) complex, got \(3, 6\)"),
        (lambda net: net(torch.zeros(4, 2, 3), lengths=[1, 5]), r"from 0 to 4 steps, got \[1, 5\]"),
        (lambda net: net(torch.zeros(4, 2, 3), lengths=[-1, 4]), r"from 0 to 4 steps, got \[-1, 4\]"),
        (lambda net: net(torch.zeros(4, 2, 3), lengths=[4]), r"\(2,\) whole numbers, one a sequence, got \(1,\)"),
        (lambda net: net(torch.zeros(4, 2, 3), lengths=[1.0, 4.0]), "whole numbers"),
    ],
)
def test_what_does_not_fit_is_named(call, says):
    with pytest.raises(ShapeError, match=says):
        call(made())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_state_that_is_not_finite_is_named_with_its_step(way, value):
    net, x = made(), torch.randn(6, 3, 3)
    x[2, 1, 0] = value
    with pytest.raises(ShapeError, match="NaN or infinite from step 2 on, in sequence 1"):
        net(x)
    state = torch.zeros(3, 6) + 0j
    state[2, 4] = value
    with pytest.raises(ShapeError, match="from step 0 on, in sequence 2"):
        net(torch.randn(6, 3, 3), state)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: UnitaryRNN(0, 4, 1), ConfigError, "input_size is a whole number from 1, got 0"),
        (lambda: UnitaryRNN(1, True, 1), ConfigError, "hidden_size is a whole number"),
        (lambda: UnitaryRNN(1, 4, 2.0), ConfigError, "output_size is a whole number"),
        (lambda: UnitaryRNN(1, 4, 1, matrix=torch.eye(4)), ShapeError, "got a Tensor; of a tensor make one with"),
        (lambda: UnitaryRNN(1, 4, 1, matrix=nn.Linear(4, 4)), ShapeError, "got a Linear"),
        (lambda: UnitaryRNN(1, 4, 1, matrix=Dense(torch.eye(5))), ShapeError, r"\(4, 4\) for .* got \(5, 5\)"),
        (lambda: UnitaryRNN(1, 4, 1, matrix=Dense.lazy(4, -1)), ShapeError, r"is \(4, 4\) for a state"),
        (lambda: UnitaryCell(StructuredLinear(Dense(torch.eye(2))), nn.Identity(), 0), ShapeError, "hidden_size"),
    ],
)
def test_sizes_and_matrices_that_do_not_fit_are_refused(make, error, says):
    with pytest.raises(error, match=says):
        make()


@pytest.mark.parametrize("way", ["built", "factored"])
def test_batched_gradients_and_function_transforms(way, monkeypatch):
    if way == "factored":
        monkeypatch.setattr(unitary_walk, "_BUILD", 0)
    net, x = made(), torch.randn(3, 1, 3)
    jacobian = torch.autograd.functional.jacobian
    near(jacobian(lambda x: net(x)[0], x, vectorize=True), jacobian(lambda x: net(x)[0], x))
    named = dict(net.named_parameters())

    def loss(parameters, x):
        return torch.func.functional_call(net, parameters, (x[:, None],))[0].square().sum()

    several = torch.randn(2, 3, 3)
    got = torch.func.vmap(torch.func.grad(loss), (None, 0))(named, several)
    for number, one in enumerate(several):
        net.zero_grad()
        loss(named, one).backward()
        near(got["cell.start"][number], net.cell.start.grad)


def test_under_autocast_states_stay_in_single_precision():
    net, x = made().float(), torch.randn(4, 2, 3, dtype=torch.float32)
    want = net(x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        got, last = net(x)
        again = net(x.bfloat16())[1]
    got.float().sum().backward()
    assert last.dtype == again.dtype == torch.complex64 and net.cell.start.grad.isfinite().all()
    torch.testing.assert_close(got.float(), want, rtol=0.05, atol=0.05)  # the read-out has 8 bits


@pytest.mark.parametrize("matrix", [None, Kronecker.from_dense(torch.eye(6), factor=(2, 2))])
def test_parameters_drawn_anew_start_as_the_first_ones(matrix):
    net = made(matrix=matrix)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    net.reset_parameters()
    for name, parameter in net.named_parameters():
        assert name == "read_out.bias" or not torch.equal(parameter, before[name]), name
    if matrix is None:
        assert net.cell.state_map.weight.reflections.abs().max() <= math.sqrt(3 / 7)
    assert net.cell.start.abs().max() <= math.sqrt(3 / 12) and net.cell.activation.bias.abs().max() <= 0.01
    assert (net.read_out.bias == 0).all()
