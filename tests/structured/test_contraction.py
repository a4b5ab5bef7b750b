"""The contractions of matrices of modes: all routes give one product, and the cost model picks among them."""

import pytest
import torch

from edgenet.errors import RankError
from edgenet.structured import BlockTerm, Kronecker, TensorTrain, contraction, routes
from edgenet.structured.padding import matched_modes, suggest_modes

MATRICES = {
    "tensor_train": lambda shape=(28, 22): TensorTrain.random(shape, rank=3, out_modes=(3, 5, 2), in_modes=(2, 3, 4)),
    "block_term": lambda shape=(28, 22): BlockTerm.random(
        shape, blocks=2, rank=2, out_modes=(3, 5, 2), in_modes=(2, 3, 4)
    ),
    "kronecker": lambda shape=(28, 22): Kronecker.random(shape, factors=[(3, 2), (5, 3), (2, 4)], terms=2),
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("cuts", [(1,), (2,), (1, 2), ()])
@pytest.mark.parametrize("right_first", [True, False])
@pytest.mark.parametrize("rows", [0, 1, 5, 300])
@pytest.mark.parametrize("training", [True, False])
def test_every_route_gives_the_product_and_its_gradients(name, cuts, right_first, rows, training, monkeypatch):
    matrix = MATRICES[name]().train(training)
    monkeypatch.setattr(contraction, "CHUNK_BYTES", 1 << 12)  # so that 300 rows go in pieces
    monkeypatch.setattr(type(matrix), "route", lambda *_: routes.Route(cuts, right_first, 0.0, 0))
    x = torch.randn(rows, 22, requires_grad=True)
    dense = matrix.to_dense()
    torch.testing.assert_close(matrix(x), x @ dense.mT)
    with torch.inference_mode():
        torch.testing.assert_close(matrix(x), x @ dense.mT)
    direction = torch.randn(rows, 28)
    inputs = [x, *matrix.parameters()]
    got = torch.autograd.grad((matrix(x) * direction).sum(), inputs)
    want = torch.autograd.grad((x @ dense.mT * direction).sum(), inputs)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("cuts", [(1,), (2,), (1, 2), ()])
@pytest.mark.parametrize("right_first", [True, False])
@pytest.mark.parametrize("signals", [0, 1, 5])
@torch.no_grad()
def test_every_route_of_one_cut_adds_to_signals_side_by_side(name, cuts, right_first, signals, monkeypatch):
    for shape in ((28, 22), (30, 24)):  # with padding, and without
        matrix = MATRICES[name](shape).eval()
        monkeypatch.setattr(type(matrix), "route", lambda *_: routes.Route(cuts, right_first, 0.0, 0))
        add = matrix.adder(signals)
        if len(cuts) != 1:
            assert add is None
            continue
        y, x = torch.randn(shape[0], signals), torch.randn(shape[1], signals)
        want = y + matrix.to_dense() @ x
        add(y, x)
        torch.testing.assert_close(y, want)


@pytest.mark.parametrize("name", MATRICES)
def test_one_strided_signal_is_read(name):
    matrix, x = MATRICES[name]().eval(), torch.randn(1, 44)[:, ::2]
    with torch.no_grad():
        torch.testing.assert_close(matrix(x), x @ matrix.to_dense().mT)


@pytest.mark.parametrize("name", MATRICES)
def test_merged_factors_are_kept_until_a_parameter_changes(name):
    matrix, x = MATRICES[name]().eval(), torch.randn(40, 22)
    with torch.no_grad():
        first = matrix(x)
        torch.testing.assert_close(matrix(x), first)
        for parameter in matrix.parameters():
            parameter.mul_(1.5)
            torch.testing.assert_close(matrix(x), x @ matrix.to_dense().mT)
    matrix.load_state_dict(MATRICES[name]().state_dict())
    with torch.no_grad():
        torch.testing.assert_close(matrix(x), x @ matrix.to_dense().mT)
        matrix.train()
        next(matrix.parameters()).data.add_(1)  # which leaves no trace that could be seen
        matrix.eval()
        torch.testing.assert_close(matrix(x), x @ matrix.to_dense().mT)
        torch.testing.assert_close(matrix.float()(x.float()), x.float() @ matrix.to_dense().mT)


def test_inference_leaves_nothing_that_training_cannot_use():
    matrix, x = MATRICES["tensor_train"]().eval(), torch.randn(5, 22)
    with torch.inference_mode():
        matrix(x)
    x.requires_grad_()
    with torch.no_grad():
        matrix(x)
    matrix(x).sum().backward()
    assert x.grad is not None and all(p.grad is not None for p in matrix.parameters())


def test_the_cost_model_counts_multiply_adds():
    # spec of the paper's layer: two merged cores, 4 (112 * 64 * (224 + 64)) from the right
    with torch.device("meta"):
        matrix = TensorTrain.from_config(
            {"shape": [4096, 25088], "rank": 4, "out_modes": (4,) * 6, "in_modes": (2, 7, 8, 8, 7, 4)}
        )
    way = matrix.route(1)
    assert way.multiply_adds < 4096 * 25088 / 10 and matrix.multiply_adds(3) == 3 * matrix.route(3).multiply_adds


def test_a_matrix_without_structure_is_built_and_one_with_much_is_not():
    full = TensorTrain.random((64, 64), dims=2)
    assert full.route(1024).cuts == ()
    assert TensorTrain.random((4096, 4096), rank=2, dims=2).route(1024).cuts != ()


@pytest.mark.parametrize(
    "n, dims, modes",
    [(1433, 2, (35, 41)), (1433, 3, (10, 12, 12)), (3703, 2, (57, 65)), (3703, 3, (13, 15, 19)), (602, 2, (21, 29)),
     (602, 3, (5, 11, 11)), (121, 2, (11, 11)), (121, 3, (5, 5, 5)), (50, 2, (5, 10)), (7, 2, (2, 4)), (1, 2, (1, 1)),
     (25088, 3, (28, 28, 32)), (4096, 3, (16, 16, 16))],
)  # fmt: skip
def test_suggested_modes(n, dims, modes):
    assert suggest_modes(n, dims) == modes


def test_modes_of_rows_and_columns_are_matched_in_size():
    assert matched_modes((16, 1433), dims=3) == ((4, 2, 2), (10, 12, 12))
    with pytest.raises(RankError, match="at least 1"):
        suggest_modes(0, 2)
