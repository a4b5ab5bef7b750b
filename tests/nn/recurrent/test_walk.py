"""The short way along sequences and the definition are one: derivatives of any order, and whatever is put on a map."""

import copy
import itertools

import pytest
import torch
from torch.nn.utils import parametrizations, prune

import edgenet
from edgenet.nn.recurrent import GRU, LSTM, RNN, fast
from edgenet.nn.recurrent.fast import walked_fast
from edgenet.nn.recurrent.walk import walked
from edgenet.structured import structure

CASES = [
    *itertools.product((RNN, GRU), ({},), (False, True)),
    (RNN, {"nonlinearity": "relu"}, False),
    *((LSTM, {"proj_size": size, "peepholes": peepholes}, stacked)
      for size, peepholes, stacked in ((0, False, False), (0, True, True), (3, False, True), (3, True, False))),
]  # fmt: skip
STEPS, BATCH = 6, 4
KINDS = {"rnn": RNN, "gru": GRU, "lstm": LSTM}


def near(got, want, tolerance=1e-10):
    torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


def cell_of(kind, options, stacked, **more):
    module = kind(3, 5, stacked=stacked, **options, **more)
    cell = module.cells[0]
    if options.get("peepholes"):
        with torch.no_grad():
            cell.peepholes.normal_()
    return cell, [torch.randn(BATCH, width, requires_grad=True) for width in module.state_widths]


def masked(lengths):
    return (torch.arange(STEPS)[:, None] < torch.tensor(lengths)).unsqueeze(-1)


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("kind, options, stacked", CASES)
def test_both_ways_have_equal_derivatives_of_first_and_second_order(kind, options, stacked, native):
    if native:  # kernels are of float32, and have as many digits
        torch.set_default_dtype(torch.float32)
    tolerance = 2e-4 if native else 1e-10  # float32 through six steps and two derivatives
    for mask, reverse in ((None, False), (None, True), (masked([6, 3, 0, 1]), False), (masked([2, 6, 5, 1]), True)):
        cell, state = cell_of(kind, options, stacked)
        x = torch.randn(STEPS, BATCH, 3, requires_grad=True)
        tensors = [x, *state, *cell.parameters()]
        results = []
        for way in (walked, walked_fast, walked_fast):
            torch.manual_seed(1)
            outputs, last = way(cell, x, tuple(state), mask, reverse)
            total = sum((torch.randn_like(part) * part).sum() for part in (outputs, *last))
            first = torch.autograd.grad(total, tensors, create_graph=len(results) != 1)
            second = []
            if len(results) != 1:
                square = sum(grad.square().sum() for grad in first)
                second = torch.autograd.grad(square, tensors, allow_unused=True, materialize_grads=True)
            results.append([outputs, *last, *first, *second])
        near(results[2], results[0], tolerance)
        near(results[1], results[0][: len(results[1])], tolerance)
        with torch.no_grad():
            outputs, last = walked_fast(cell, x, tuple(state), mask, reverse)
        near([outputs, *last], results[0][: 1 + len(last)], tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_pass_numerical_checks(kind):
    module = KINDS[kind](2, 3, bidirectional=True)
    x = torch.randn(3, 2, 2, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: module(x, lengths=[3, 2])[0], (x,))
    assert torch.autograd.gradgradcheck(lambda x: module(x)[0], (x,))


@pytest.mark.parametrize("kind", KINDS)
def test_batched_gradients_and_function_transforms(kind):
    module = KINDS[kind](2, 3)
    x = torch.randn(3, 2, 2)
    call = lambda x: module(x)[0].sum(0)  # noqa: E731
    want = torch.autograd.functional.jacobian(call, x)
    near(torch.autograd.functional.jacobian(call, x, vectorize=True), want)
    near(torch.func.jacrev(call)(x), want)
    near(torch.func.jacfwd(call)(x), want)
    many = torch.randn(4, 3, 2, 2)
    near(torch.func.vmap(call)(many), torch.stack([call(one) for one in many]))


def test_a_second_backward_pass_through_one_graph_gives_the_same():
    module = LSTM(2, 3)
    y = module(torch.randn(3, 2, 2))[0].sum()
    first = torch.autograd.grad(y, module.parameters(), retain_graph=True)
    near(torch.autograd.grad(y, module.parameters()), first)


def test_changing_an_output_in_place_is_noticed():
    y = LSTM(2, 3)(torch.randn(3, 2, 2))[0]
    with torch.no_grad():
        y.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def doubled(module, inputs, output):
    return 2 * output


def _forward_hook(part):
    part.register_forward_hook(doubled)


def _pre_hook(part):
    part.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2,))


def _own_forward(part):
    part.forward = lambda x, forward=part.forward: 3 * forward(x)


def _prune(part):
    name = next(name for name, p in part.named_parameters(recurse=False) if p.dim() == 2)
    prune.l1_unstructured(part, name, amount=0.5)


def _weight_norm(part):
    name = next(name for name, p in part.named_parameters(recurse=False) if p.dim() == 2)
    parametrizations.weight_norm(part, name)
    with torch.no_grad():
        getattr(part.parametrizations, name).original0.mul_(2)


@pytest.mark.parametrize("touch", [_forward_hook, _pre_hook, _own_forward, _prune, _weight_norm])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_put_on_a_map_or_its_matrix_counts(kind, touch):
    x = torch.randn(STEPS, BATCH, 3)
    for training, path in itertools.product((True, False), ("input_map", "state_map")):
        module = KINDS[kind](3, 5, structure=structure("low_rank", rank=2)).train(training)
        part = getattr(module.cells[0], path)
        part = part.weight if touch in (_prune, _weight_norm) else part
        before = module(x)[0]
        touch(part)
        with torch.set_grad_enabled(training):
            after = module(x)[0]
        assert not torch.allclose(after, before)
        near(after, walked(module.cells[0], x, None, None, False)[0])


def test_a_hook_on_a_matrix_counts():
    module = LSTM(3, 5)
    x = torch.randn(STEPS, BATCH, 3)
    module.cells[0].state_map.weight.register_forward_hook(doubled)
    got = module(x)[0]
    near(got, walked(module.cells[0], x, None, None, False)[0])
    twin = LSTM(3, 5)
    twin.load_state_dict(module.state_dict())
    with torch.no_grad():
        twin.cells[0].state_map.weight.weight.mul_(2)
    near(got, twin(x)[0])


@pytest.mark.parametrize("put", ["hook", "pre-hook", "forward"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_put_on_a_cell_counts_at_every_step(kind, put):
    module = KINDS[kind](3, 5, bidirectional=True)
    x, lengths = torch.randn(STEPS, BATCH, 3), [STEPS, 1, *[STEPS - 1] * (BATCH - 2)]
    for backwards in (0, 1):
        cell, called = module.cells[backwards], []
        before = module(x, lengths=lengths)

        def seen(*_, called=called):
            called.append(1)

        if put == "hook":
            handle = cell.register_forward_hook(seen)
        elif put == "pre-hook":
            handle = cell.register_forward_pre_hook(seen)
        else:
            cell.forward = lambda *given, forward=cell.forward, seen=seen: (seen(), forward(*given))[1]
        near(module(x, lengths=lengths), before)
        assert len(called) == STEPS
        if put == "hook":
            handle.remove()
            cell.register_forward_hook(lambda module, inputs, output: (2 * output[0], *output[1:]))
            assert not torch.allclose(module(x, lengths=lengths)[0], before[0])


class Scaled(torch.nn.Module):
    """An adapter of a user's in the place of a matrix."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix, self.shape = matrix, matrix.shape

    def forward(self, x):
        return 2 * self.matrix(x)


def test_an_adapter_in_a_slot_counts():
    for name in ("input_map", "state_map"):
        module = GRU(3, 5)
        part = getattr(module.cells[0], name)
        twin = copy.deepcopy(module)
        with torch.no_grad():
            getattr(twin.cells[0], name).weight.weight.mul_(2)
        part.weight = Scaled(part.weight)
        x = torch.randn(STEPS, BATCH, 3)
        near(module(x)[0], twin(x)[0])


def test_maps_of_other_kinds_are_called():
    class Wave(torch.nn.Module):
        def forward(self, x):
            return torch.cat([x.sin(), x.cos(), x.tan()], -1)

    cell = edgenet.nn.GRUCell(Wave(), Wave(), 5)
    assert walked_fast(cell, torch.randn(STEPS, BATCH, 5), None, None, False) is None
    module = GRU(5, 5)
    module.cells[0] = cell
    y, last = module(torch.randn(STEPS, BATCH, 5))
    near(y[-1], last[0])


def test_frozen_weights_get_no_gradient():
    module = LSTM(3, 5).requires_grad_(False)
    x = torch.randn(STEPS, BATCH, 3, requires_grad=True)
    module(x)[0].sum().backward()
    assert x.grad is not None and all(p.grad is None for p in module.parameters())


def test_kept_matrices_follow_their_numbers(monkeypatch):
    monkeypatch.setattr(fast, "product_is_cheaper", lambda *_, **__: False)
    module = LSTM(3, 5, structure=structure("low_rank", rank=2)).eval()
    x = torch.randn(STEPS, BATCH, 3)
    with torch.no_grad():
        before = module(x)[0]
        module.cells[0].state_map.weight.left.data.mul_(2)
        after = module(x)[0]
    assert not torch.allclose(after, before)
    near(after, walked(module.cells[0], x, None, None, False)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_as_one_graph(kind):
    module = KINDS[kind](3, 5)
    x = torch.randn(2, BATCH, 3, requires_grad=True)
    lengths = torch.tensor([2, 1, 0, 2]) if kind == "lstm" else None
    got = torch.compile(module, fullgraph=True, backend="aot_eager")(x, lengths=lengths)
    want = module(x, lengths=lengths)
    near(got, want)
    near(torch.autograd.grad(got[0].sum(), x), torch.autograd.grad(want[0].sum(), x))


@pytest.mark.float32
def test_autocast_multiplies_in_half_precision():
    module = LSTM(3, 5)
    x = torch.randn(STEPS, BATCH, 3)
    with torch.autocast("cpu", torch.bfloat16):
        y, (h, _) = module(x)
    near(y[-1], h[0], 0)
    assert not torch.equal(y.float(), module(x)[0])
    near(y.float(), module(x)[0], tolerance=0.05)  # eight bits of mantissa


def test_copies_and_files_give_the_same_numbers(tmp_path):
    module = LSTM(
        3, 5, 2, bidirectional=True, proj_size=2, peepholes=True, batch_first=True, bias=False,
        structure=structure("low_rank", rank=2),
    )  # fmt: skip
    x = torch.randn(BATCH, STEPS, 3)
    want = module(x)[0]
    near(copy.deepcopy(module)(x)[0], want)
    for number, one in enumerate(
        (module, RNN(3, 5, nonlinearity="relu", dropout=0.5, num_layers=2), GRU(3, 5, stacked=True))
    ):
        one.eval()
        torch.save(one.state_dict(), tmp_path / "state.pt")
        one.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        edgenet.save_pretrained(one, tmp_path / str(number))
        loaded = edgenet.from_pretrained(tmp_path / str(number))
        inputs = x if one.batch_first else x.transpose(0, 1)
        near(loaded(inputs), one(inputs))
        assert type(loaded) is type(one) and repr(loaded) == repr(one)
        assert sum(p.numel() for p in loaded.parameters()) == sum(p.numel() for p in one.parameters())


def test_parameters_drawn_anew_keep_their_range():
    module = LSTM(8, 64, structure=structure("low_rank", rank=4), peepholes=True)
    before = copy.deepcopy(module.state_dict())
    module.reset_parameters()
    assert not torch.equal(module.cells[0].state_map.weight.left, before["cells.0.state_map.weight.left"])
    deviation = module.cells[0].state_map.weight.to_dense().std()
    assert abs(deviation - 1 / 8 / 3**0.5) < 0.02 and module.cells[0].input_map.bias.abs().max() <= 1 / 8


@pytest.mark.parametrize("options", [{"block": 8}, {"block": 16}])
def test_a_structure_starts_as_large_as_a_dense_matrix(options):
    lstm = LSTM(64, 64, structure=structure("block_circulant", **options), proj_size=32)
    for part in (lstm.cells[0].input_map, lstm.cells[0].state_map, lstm.cells[0].projection):
        deviation = part.weight.to_dense().std()
        assert abs(deviation * 8 * 3**0.5 - 1) < 0.25
