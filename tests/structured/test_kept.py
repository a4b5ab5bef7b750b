"""What inference keeps: when it is used, when it is made anew. That the numbers agree is in the contract tests."""

import pytest
import torch
from cases import STRUCTURE_CASES

from edgenet.structured import LowRank, Sparse, TensorTrain
from edgenet.structured.bridge import attach_

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
