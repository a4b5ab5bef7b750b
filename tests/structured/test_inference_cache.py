"""What inference keeps between calls: when it is used, when it is made anew, and that old numbers never come out."""

import copy

import pytest
import torch
from cases import STRUCTURE_CASES

from edgenet.errors import ShapeError
from edgenet.shortcuts import kept
from edgenet.structured import BlockCirculant, Csr, Hashed, LowRank, Sparse, TensorTrain, csr
from edgenet.structured.bridge import attach_
from edgenet.structured.packed_index import unpacked
from edgenet.structured.read import read

cases = pytest.mark.parametrize("case", STRUCTURE_CASES, ids=str)


def near(got, want):
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def use(matrix, x):
    """Fills whatever the matrix keeps."""
    with torch.no_grad():
        matrix(x), matrix(x[:1]), matrix.rows(torch.tensor([0]))


@cases
@pytest.mark.parametrize("fused", [True, False])
def test_a_step_of_an_optimizer_in_eval_mode_is_seen(case, fused):
    matrix, x = case.build().eval(), case.signals(5)
    optimizer = torch.optim.SGD(matrix.parameters(), lr=0.1, fused=fused)
    for _ in range(2):
        use(matrix, x)
        matrix(x).abs().square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            dense = matrix.to_dense()
            near(matrix(x), x @ dense.mT)
            near(matrix(x[:1]), x[:1] @ dense.mT)
            near(matrix.rows(torch.tensor([0])), dense[:1])


@cases
def test_parameters_of_one_vector_are_seen(case):
    matrix, x = case.build().eval(), case.signals(5)
    for _ in range(3):
        use(matrix, x)
        vector = torch.nn.utils.parameters_to_vector(matrix.parameters())
        shifted = torch.cat([vector.new_zeros(1), 1.5 * vector])[1:]  # beginning at an odd address
        torch.nn.utils.vector_to_parameters(shifted, matrix.parameters())
        with torch.no_grad():
            near(matrix(x), x @ matrix.to_dense().mT)


def test_the_memory_of_numbers_that_were_replaced_is_not_taken_for_them():
    matrix, x = LowRank.random((300, 400), rank=5).eval(), torch.randn(1, 400)
    for _ in range(20):
        use(matrix, x)
        for _ in range(3):
            matrix.left.data = matrix.left.data * 1.1
        with torch.no_grad():
            near(matrix(x), x @ matrix.to_dense().mT)


@cases
def test_what_was_kept_under_autocast_serves_without_it(case):
    matrix = case.build().eval()
    if case.dtype is not None and case.dtype.is_complex:
        pytest.skip("autocast leaves complex numbers alone")
    matrix, x = matrix.float(), case.signals(5).float()
    dense = matrix.to_dense().detach()
    with torch.no_grad():
        for batch in (1, 5):
            wanted = x[:batch] @ dense.mT
            with torch.autocast("cpu", torch.bfloat16):
                torch.testing.assert_close(matrix(x[:batch]).float(), wanted, rtol=0.1, atol=0.1)
            torch.testing.assert_close(matrix(x[:batch]), wanted, rtol=1e-4, atol=1e-4)


@cases
def test_it_is_called_with_other_parameters_and_differentiated_along_them(case):
    matrix, x = case.build().eval(), case.signals(5)
    use(matrix, x)
    other = {name: p.detach() * 1.5 for name, p in matrix.named_parameters()}
    direction = {name: torch.randn_like(p) for name, p in other.items()}

    def called(parameters):
        return torch.func.functional_call(matrix, parameters, (x,))

    def multiplied(parameters):  # by the dense matrix
        class Dense(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.matrix = matrix

            def forward(self):
                return x @ self.matrix.to_dense().mT

        return torch.func.functional_call(Dense(), {f"matrix.{k}": v for k, v in parameters.items()})

    for got, want in zip(
        torch.func.jvp(called, (other,), (direction,)), torch.func.jvp(multiplied, (other,), (direction,)), strict=True
    ):
        near(got, want)
    stacked = {name: torch.stack([p, 2 * p]) for name, p in other.items()}
    near(torch.func.vmap(called)(stacked), torch.func.vmap(multiplied)(stacked))
    with torch.no_grad():
        near(matrix(x), x @ matrix.to_dense().mT)


def test_a_mask_behind_a_tensor_is_seen():
    layer = torch.nn.Linear(6, 5).eval()
    matrix = attach_(layer, "weight", lambda w: Sparse.from_dense(w, 0.5))
    with torch.no_grad():
        assert int(layer.weight.count_nonzero()) == 15
        matrix.set_density_(0.2)
        assert int(layer.weight.count_nonzero()) == 6


def test_what_is_kept_is_used_again_until_something_changes(monkeypatch):
    matrix, x = TensorTrain.random((64, 64), rank=2).eval(), torch.randn(1, 64)
    made = []
    prepared = matrix._prepared
    monkeypatch.setattr(matrix, "_prepared", lambda way: made.append(way) or prepared(way))
    with torch.no_grad():
        for _ in range(3):
            matrix(x)
        assert len(made) == 1
        matrix.cores[0].mul_(2)
        matrix(x)
        assert len(made) == 2


# --- writes that leave no trace ---------------------------------------------------------------------------------------
def answers(matrix, x):
    """All that may come from what is kept."""
    with torch.no_grad():
        return matrix(x), matrix(x[:1]), matrix.rows(torch.tensor([0, 0])), read(matrix)


def check_new(matrix, case, x):
    for _ in range(2):  # the second time from what was kept
        with torch.no_grad():
            dense = type(matrix).to_dense(copy.deepcopy(matrix))
        for got, want in zip(answers(matrix, x), (x @ dense.mT, x[:1] @ dense.mT, dense[[0, 0]], dense), strict=True):
            near(got, want)


@cases
def test_an_average_put_in_through_data_for_an_evaluation_is_seen(case):
    matrix, x = case.build().eval(), case.signals(5)
    average = [p.detach() * 1.3 for p in matrix.parameters()]
    answers(matrix, x)
    own = [p.data.clone() for p in matrix.parameters()]
    before = answers(matrix, x)[0].clone()
    for value, parameter in zip(average, matrix.parameters(), strict=True):
        parameter.data.copy_(value)
    check_new(matrix, case, x)
    for value, parameter in zip(own, matrix.parameters(), strict=True):
        parameter.data.copy_(value)
    check_new(matrix, case, x)
    assert torch.equal(answers(matrix, x)[0], before)


@cases
def test_tensors_exchanged_through_data_are_seen_and_so_is_what_becomes_of_the_old_ones(case):
    matrix, x = case.build().eval(), case.signals(5)
    for _ in range(2):
        answers(matrix, x)
        old = [p.data for p in matrix.parameters()]
        for parameter in matrix.parameters():
            parameter.data = parameter.data.clone()  # the same numbers elsewhere
        check_new(matrix, case, x)
        for tensor in old:
            tensor.zero_()
        check_new(matrix, case, x)


@cases
def test_parameters_that_share_memory_with_numpy_are_seen(case):
    matrix, x = case.build().eval(), case.signals(5)
    arrays = [p.detach().numpy().copy() for p in matrix.parameters()]
    for array, parameter in zip(arrays, matrix.parameters(), strict=True):
        parameter.data = torch.from_numpy(array)
    answers(matrix, x)
    for array in arrays:
        array *= 1.5
    check_new(matrix, case, x)
    for parameter in matrix.parameters():
        parameter.detach().numpy()[...] *= 0.5
    check_new(matrix, case, x)


@cases
def test_matrices_made_in_inference_mode_are_seen(case):
    with torch.inference_mode():
        matrix, x = case.build().eval(), case.signals(5)
        for _ in range(2):
            dense = type(matrix).to_dense(copy.deepcopy(matrix))
            for _ in range(2):
                near(matrix(x), x @ dense.mT)
                near(matrix(x[:1]), x[:1] @ dense.mT)
            for parameter in matrix.parameters():
                parameter.mul_(1.5)


def test_buffers_written_through_data_are_seen():
    matrix, x = Sparse.random((300, 300), density=0.05).eval(), torch.randn(3, 300)
    for batch in (1, 3):
        with torch.no_grad():
            matrix(x[:batch])
            matrix.mask.data.copy_(matrix.mask.flip(0))
            near(matrix(x[:batch]), x[:batch] @ matrix.to_dense().mT)
    packed = Csr.random((300, 300), density=0.05).eval()
    for batch in (1, 20):
        x = torch.randn(batch, 300)
        with torch.no_grad():
            packed(x)
            packed.index.data.copy_(Csr.random((300, 300), density=0.05).index)
            packed.values.data.copy_(packed.values.flip(0))
            near(packed(x), x @ packed.to_dense().mT)


@pytest.mark.parametrize("train", [True, False])
def test_places_are_read_once_and_again_when_they_change(train, monkeypatch):
    matrix, read = Csr.random((30, 30), density=0.2).train(train), []
    monkeypatch.setattr(csr, "unpacked", lambda *given: read.append(1) or unpacked(*given))
    for _ in range(3):
        for batch in (1, 20):
            x = torch.randn(batch, 30)
            near(matrix(x), x @ matrix.to_dense().mT)
            near(matrix.rows(torch.tensor([3, 1])), matrix.to_dense()[[3, 1]])
    assert len(read) == 1
    matrix.draw_(1.0)
    near(matrix(x), x @ matrix.to_dense().mT)
    assert len(read) == 2


def test_places_that_are_none_are_refused_before_a_kernel_follows_them():
    matrix = Csr.random((300, 300), density=0.05).eval()
    with torch.no_grad():
        matrix(torch.randn(1, 300))
        matrix.index.data[0] ^= 1
        with pytest.raises(ShapeError, match="bytes are not those written"):
            matrix(torch.randn(1, 300))


def test_one_bit_is_seen_and_so_are_zeros_of_either_sign_and_nan():
    matrix = BlockCirculant.random((64, 64), block=8).eval()
    x = torch.randn(20, 64)
    for value in (0.0, -0.0, float("nan"), 1.0, 1.0 + 2**-52):
        with torch.no_grad():
            matrix.generators.data[0, 0, 0] = value
            torch.testing.assert_close(matrix(x), x @ matrix.to_dense().mT, equal_nan=True, rtol=1e-10, atol=1e-10)


def test_a_bridge_gives_no_old_tensor():
    layer = torch.nn.Linear(6, 5).eval()
    matrix = attach_(layer, "weight", lambda w: LowRank.from_dense(w, 2))
    with torch.no_grad():
        first = layer.weight.clone()
        assert layer.weight is not first and torch.equal(layer.weight, first)
        matrix.left.data.mul_(2)
        near(layer.weight, 2 * first)


# --- when nothing is kept ---------------------------------------------------------------------------------------------
def test_nothing_is_kept_where_that_was_turned_off(monkeypatch):
    matrix, x = TensorTrain.random((64, 64), rank=2).eval(), torch.randn(1, 64)
    made = []
    prepared = matrix._prepared
    monkeypatch.setattr(matrix, "_prepared", lambda way: made.append(way) or prepared(way))
    with torch.no_grad():
        with kept(False):
            matrix(x), matrix(x)
        assert len(made) == 2
        matrix(x), matrix(x)
        assert len(made) == 3
        with kept(False):
            matrix(x)
        assert len(made) == 4


def test_small_views_of_a_large_pool_are_built_rather_than_compared():
    views = Hashed.together([torch.randn(8, 8) for _ in range(200)], ratio=4)
    with torch.no_grad():
        views[0].eval()(torch.randn(1, 8))
    assert not views[0].cache._values
    alone = Hashed.random((64, 64), ratio=4).eval()
    with torch.no_grad():
        alone.rows(torch.tensor([0]))
    assert alone.cache._values
