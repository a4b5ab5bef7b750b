"""Reading the entries of a matrix: whatever others did to the module counts as it does in a call."""

import copy
import io
import warnings

import pytest
import torch
from cases import STRUCTURE_CASES
from torch import nn
from torch.nn.modules import module as torch_module
from torch.nn.utils import parametrize, prune

from edgenet.errors import PlanError, ShapeError
from edgenet.shortcuts import plain, untouched
from edgenet.structured import Dense, Doped, LowRank, Sparse, SparseSignal, StructuredEmbedding, StructuredLinear
from edgenet.structured.bridge import attach_
from edgenet.structured.read import read, read_rows

cases = pytest.mark.parametrize("case", STRUCTURE_CASES, ids=str)


def near(got, want):
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


class Doubling(nn.Module):
    """As tuner layers wrap what they tune: all attributes are those of the base."""

    def __init__(self, base):
        super().__init__()
        self.base = base

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base"), name)

    def forward(self, x):
        return 2 * self.base(x)


class Twice(nn.Module):
    def forward(self, x):
        return 2 * x

    def right_inverse(self, x):
        return x / 2


def by_call(matrix, case):
    """W as a call tells it, asked in the slowest way."""
    one = torch.eye(case.n, dtype=case.dtype)
    return torch.stack([matrix(row) for row in one], 1)


def check(matrix, case):
    """``read`` and ``read_rows`` agree with the call, the second time too."""
    index = torch.tensor([case.m - 1, 0, 0])
    for _ in range(2):
        want = by_call(matrix, case)
        near(read(matrix), want)
        near(read_rows(matrix, index), want[index])


def tensors(matrix):
    """(owner, name) of every parameter that has numbers, those of lists and pools included."""
    both = [(m, name, p) for m in matrix.modules() for name, p in list(m._parameters.items())]
    return [(m, name) for m, name, p in both if p is not None and p.numel()]


# --- untouched --------------------------------------------------------------------------------------------------------
@cases
@pytest.mark.parametrize("train", [True, False])
def test_of_an_untouched_matrix_it_is_the_dense_form(case, train):
    matrix = case.build().train(train)
    assert untouched(matrix) and plain(matrix)
    near(read(matrix), matrix.to_dense())
    near(read_rows(matrix, torch.tensor([0, 0])), matrix.to_dense()[[0, 0]])


def test_a_matrix_without_a_size_says_so():
    with pytest.raises(ShapeError, match="no size yet"):
        read(Dense.lazy(3, -1))


def test_what_does_not_tell_its_shape_says_so():
    with pytest.raises(PlanError, match="property `shape`"):
        read(nn.Sequential(LowRank.random((5, 3), rank=1)))


# --- adapters ---------------------------------------------------------------------------------------------------------
@cases
def test_an_adapter_counts_and_gets_a_gradient(case):
    matrix = case.build()
    adapter = Doubling(matrix)
    assert not untouched(adapter)
    check(adapter, case)
    near(read(adapter), 2 * matrix.to_dense())
    read(adapter).abs().sum().backward()
    assert all(p.grad is not None for p in adapter.parameters())


def test_an_adapter_inside_counts():
    doped = Doped(LowRank.random((6, 4), rank=1), Sparse.random((6, 4), density=0.2))
    wanted = 2 * doped.base.to_dense() + doped.dopant.to_dense()
    doped.base = Doubling(doped.base)
    near(read(doped), wanted)
    near(doped.to_dense(), wanted)
    near(doped.rows(torch.tensor([2])), wanted[[2]])
    near(doped(torch.eye(4)).mT, wanted)


# --- hooks ------------------------------------------------------------------------------------------------------------
@cases
def test_hooks_on_a_matrix_or_anything_inside_it_count(case):
    for path, _ in case.build().named_modules():
        matrix = case.build()
        part = matrix.get_submodule(path)
        part.register_forward_hook(lambda m, x, y: tuple(3 * t for t in y) if isinstance(y, tuple) else 3 * y)
        assert not untouched(matrix)
        before = case.build().to_dense()
        check(matrix, case)
        assert read(matrix).shape == before.shape


@cases
def test_a_pre_hook_that_changes_the_signal_counts(case):
    matrix = case.build()
    want, ran = 2 * matrix.to_dense().detach(), []
    matrix.register_forward_pre_hook(lambda m, args: (ran.append(m), (2 * args[0],))[1])
    near(read(matrix), want)
    assert len(ran) == 1  # once a read
    near(read_rows(matrix, torch.tensor([0])), want[:1])


def test_pre_hooks_run_in_their_order_and_with_options():
    matrix = LowRank.random((5, 3), rank=1)
    want, ran = 2 * matrix.to_dense().detach(), []
    matrix.register_forward_pre_hook(lambda m, args: ran.append(1))

    def second(m, args, options):
        ran.append(2)
        return (2 * args[0],), options

    matrix.register_forward_pre_hook(second, with_kwargs=True)
    matrix.register_forward_pre_hook(lambda m, args: ran.append(0), prepend=True)
    near(read(matrix), want)
    assert ran == [0, 1, 2]


@cases
@pytest.mark.parametrize("kind", ["register_full_backward_hook", "register_full_backward_pre_hook"])
def test_backward_hooks_run(case, kind):
    matrix, ran = case.build(), []
    getattr(matrix, kind)(lambda *args: ran.append(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of hooks that see no gradient of an input
        read(matrix).abs().sum().backward()
        read_rows(matrix, torch.tensor([0])).abs().sum().backward()
    assert len(ran) == 2


@pytest.mark.parametrize(
    "register",
    [
        torch_module.register_module_forward_hook,
        torch_module.register_module_forward_pre_hook,
        torch_module.register_module_full_backward_hook,
        torch_module.register_module_full_backward_pre_hook,
    ],
)
def test_hooks_on_all_modules_run(register):
    matrix, ran = LowRank.random((5, 3), rank=1), []
    handle = register(lambda module, *args: ran.append(module))
    try:
        assert not untouched(matrix)
        read(matrix).sum().backward()
    finally:
        handle.remove()
    assert matrix in ran
    assert untouched(matrix)


def test_a_forward_of_its_own_counts():
    matrix = LowRank.random((5, 3), rank=1)
    want = 2 * matrix.to_dense()
    matrix.forward = lambda x: 2 * matrix.matmul(x)
    near(read(matrix), want)


# --- pruning, norms, parametrisations ---------------------------------------------------------------------------------
@cases
def test_pruning_counts_and_follows_the_numbers_behind_it(case):
    for place in range(len(tensors(case.build()))):
        matrix = case.build()
        owner, name = tensors(matrix)[place]
        prune.random_unstructured(owner, name, amount=0.5)
        check(matrix, case)
        for mode in (True, False):
            matrix.train(mode)
            before = read(matrix).detach().clone()
            with torch.no_grad():
                getattr(owner, f"{name}_orig").add_(1)
                near(read(matrix), by_call(matrix, case))
                near(read_rows(matrix, torch.tensor([0])), by_call(matrix, case)[:1])
                if getattr(owner, f"{name}_mask").any():
                    assert not torch.equal(read(matrix), before)
        for _ in range(2):  # the second time through a graph of its own
            read(matrix).abs().sum().backward()
            matrix(case.signals(2)).abs().sum().backward()
        prune.remove(owner, name)
        check(matrix, case)


@cases
def test_a_pruned_checkpoint_gives_a_pruned_model_its_numbers(case):
    def pruned():
        matrix = case.build()
        for owner, name in tensors(matrix):
            prune.l1_unstructured(owner, name, amount=0.3)
        return matrix

    stored, model = pruned(), pruned().eval()
    with torch.no_grad():
        read(model)
        file = io.BytesIO()
        torch.save(stored.state_dict(), file)
        file.seek(0)
        model.load_state_dict(torch.load(file, weights_only=True))
        near(read(model), read(stored))
        near(model(case.signals(1)[:0]), stored(case.signals(1)[:0]))


def test_a_pruned_matrix_is_copied_as_torch_copies_a_pruned_layer():
    def outcome(module):
        prune.l1_unstructured(module, "weight", amount=0.5)
        try:
            copy.deepcopy(module)
        except RuntimeError as error:
            return str(error)[:40]
        return None

    assert outcome(Dense(torch.randn(4, 3))) == outcome(nn.Linear(3, 4))


@cases
def test_weight_norm_counts(case):
    for place in range(len(tensors(case.build()))):
        matrix = case.build()
        owner, name = tensors(matrix)[place]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            nn.utils.weight_norm(owner, name)
        check(matrix, case)
        with torch.no_grad():
            getattr(owner, f"{name}_g").mul_(2)
        check(matrix, case)
        read(matrix).abs().sum().backward()
        assert getattr(owner, f"{name}_g").grad is not None


@cases
@pytest.mark.parametrize("train", [True, False])
def test_parametrisations_count(case, train):
    for place in range(len(tensors(case.build()))):
        matrix = case.build().train(train)
        owner, name = tensors(matrix)[place]
        if name in dir(nn.ModuleDict):  # torch cannot parametrise what is called "values"
            continue
        with torch.no_grad():
            before = read(matrix).clone()
            parametrize.register_parametrization(owner, name, Twice())
            near(read(matrix), before)  # of the numbers before, halved
            assert not untouched(matrix)
            owner.parametrizations[name].original[0].add_(1)  # not mul_: reflections have no length
            check(matrix, case)
            if str(case) != "unitary-1x1":  # whose reflections are all one
                assert not torch.allclose(read(matrix), before)


# --- who reads --------------------------------------------------------------------------------------------------------
CHANGES = {
    "adapter": Doubling,
    "hook": lambda m: (m.register_forward_hook(lambda *args: 2 * args[2]), m)[1],
    "pre-hook": lambda m: (m.register_forward_pre_hook(lambda m, x: (2 * x[0],)), m)[1],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_linear_layer_of_sparse_signals_reads_so(change):
    layer, x = StructuredLinear(LowRank.random((5, 7), rank=2)), torch.randn(4, 7)
    signal = SparseSignal.of(x.to_sparse_csr())
    want = 2 * layer(x)
    layer.weight = CHANGES[change](layer.weight)
    near(layer(x), want)
    near(layer(signal), want)


def test_a_pruned_linear_layer_of_sparse_signals_follows_its_numbers():
    layer, x = StructuredLinear.dense(7, 5), torch.randn(4, 7)
    signal = SparseSignal.of(x.to_sparse_csr())
    prune.l1_unstructured(layer.weight, "weight", amount=0.5)
    for _ in range(2):
        near(layer(signal), layer(x))
        layer(signal).sum().backward()
        with torch.no_grad():
            layer.weight.weight_orig.mul_(2)


@pytest.mark.parametrize("change", CHANGES)
def test_an_embedding_reads_so(change):
    table, index = StructuredEmbedding(LowRank.random((5, 3), rank=2)), torch.tensor([[0, 4], [2, 2]])
    want = 2 * table(index)
    table.weight = CHANGES[change](table.weight)
    near(table(index), want)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("train", [True, False])
def test_a_bridge_reads_so(change, train):
    layer = nn.Linear(7, 5, bias=False)
    matrix = attach_(layer, "weight", lambda w: LowRank.from_dense(w, 2))
    layer.train(train)
    with torch.no_grad():
        want = 2 * layer.weight
        layer.parametrizations.weight[0].matrix = CHANGES[change](matrix)
        near(layer.weight, want)
        near(layer.weight, want)


def test_a_pruned_part_of_a_bridge_follows_its_numbers():
    layer = nn.Linear(7, 5, bias=False).eval()
    matrix = attach_(layer, "weight", lambda w: LowRank.from_dense(w, 2))
    prune.l1_unstructured(matrix, "left", amount=0.5)
    with torch.no_grad():
        first = layer.weight.clone()
        matrix.left_orig.mul_(2)
        near(layer.weight, 2 * first)
