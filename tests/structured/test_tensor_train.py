"""TensorTrain: the layer of Novikov et al. 2015, its counts, TT-SVD."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stored import numbered, oracle, tensors

from edgenet.errors import RankError, RankWarning, ShapeError
from edgenet.structured import TensorTrain

FC6 = {"out_modes": (4,) * 6, "in_modes": (2, 7, 8, 8, 7, 4)}  # the 25088 -> 4096 layer of VGG


def test_two_cores_by_hand():
    first = torch.tensor([[[[1.0], [2.0]]]])  # (1, 1, 2, 1)
    second = torch.tensor([[[[3.0]], [[5.0]]]])  # (1, 2, 1, 1)
    matrix = TensorTrain([first, second])
    assert matrix.to_dense().tolist() == [[3.0, 6.0], [5.0, 10.0]]
    assert matrix.rows(torch.tensor([1])).tolist() == [[5.0, 10.0]]


@oracle("compression/tt_forward*.npz")
def test_forward_and_gradients_of_an_independent_implementation(stored):
    arrays = tensors(stored)
    matrix = TensorTrain([arrays[f"G{k}"] for k in range(3)])
    x = arrays["x"].requires_grad_()
    y = matrix(x)
    torch.testing.assert_close(y, arrays["y"], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(matrix.to_dense(), arrays["W"], rtol=1e-10, atol=1e-12)
    (y * arrays["gy"]).sum().backward()
    torch.testing.assert_close(x.grad, arrays["gx"], rtol=1e-10, atol=1e-12)
    for k, core in enumerate(matrix.cores):
        torch.testing.assert_close(core.grad, arrays[f"gG{k}"], rtol=1e-10, atol=1e-12)


@oracle("compression/tt_svd*.npz")
def test_the_projection_of_an_independent_implementation(stored):
    arrays = tensors(stored)
    weight = arrays["W"]
    for ranks in numbered(arrays, r"W_r(\d+)_(\d+)"):
        name = "r{}_{}".format(*ranks)
        matrix = TensorTrain.from_dense(weight, ranks, tuple(arrays["m"].tolist()), tuple(arrays["n"].tolist()))
        torch.testing.assert_close(matrix.to_dense(), arrays[f"W_{name}"], rtol=1e-7, atol=1e-7)
        error = float((matrix.to_dense() - weight).detach().norm() / weight.norm())
        assert error == pytest.approx(float(arrays[f"relerr_{name}"]), abs=1e-8)


@oracle("compression/tap_tensor*.npz")
def test_taps_of_a_graph_filter_in_tensor_train_form(stored):
    # T (K + 1, F_out, F_in) as a matrix with the taps as rows' first mode: (4 x 2 x 3) x (1 x 2 x 4)
    arrays = tensors(stored)
    taps = arrays["T"].flatten(0, 1)
    for ranks in numbered(arrays, r"T_r(\d+)_(\d+)"):
        matrix = TensorTrain.from_dense(taps, ranks, out_modes=(4, 2, 3), in_modes=(1, 2, 4))
        wanted = arrays["T_r{}_{}".format(*ranks)]
        torch.testing.assert_close(matrix.to_dense().view(4, 6, 8), wanted, rtol=1e-7, atol=1e-7)
    exact = TensorTrain.from_dense(taps, (4, 12), out_modes=(4, 2, 3), in_modes=(1, 2, 4))
    x, y = arrays["X"], 0
    for tap in exact.to_dense().view(4, 6, 8):
        y, x = y + x @ tap.mT, arrays["S"] @ x
    torch.testing.assert_close(y, arrays["Y"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rank, parameters, factor", [(4, 2016, 50_972), (2, 528, 194_622), (1, 144, 713_614)])
def test_the_parameters_of_the_papers_layer(rank, parameters, factor):
    # Novikov et al. 2015, table 2
    with torch.device("meta"):
        matrix = TensorTrain.from_config({"shape": [4096, 25088], "rank": rank, **FC6})
    assert matrix.num_parameters() == parameters
    assert round(4096 * 25088 / parameters) == factor


def test_the_papers_layer_multiplies_as_its_dense_form():
    matrix = TensorTrain.random((256, 392), rank=3, out_modes=(4, 4, 4, 4), in_modes=(2, 7, 7, 4))
    for rows in (1, 3, 40):
        x = torch.randn(rows, 392)
        torch.testing.assert_close(matrix(x), x @ matrix.to_dense().mT)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 4))
def test_any_size_is_padded_and_met_exactly_at_full_rank(m, n, dims):
    weight = torch.randn(m, n)
    matrix = TensorTrain.from_dense(weight, dims=dims)
    torch.testing.assert_close(matrix.to_dense(), weight, rtol=1e-9, atol=1e-9)


@given(st.integers(2, 30), st.integers(2, 30), st.integers(1, 5), st.floats(0.05, 0.9))
def test_the_error_is_within_a_tolerance(m, n, rank, tolerance):
    weight = torch.randn(m, n)
    matrix = TensorTrain.from_dense(weight, tolerance=tolerance, dims=3)
    assert float((matrix.to_dense() - weight).detach().norm() / weight.norm()) <= tolerance + 1e-9


def test_a_long_unfolding_goes_through_its_gram_matrix():
    modes = {"rank": 3, "out_modes": (4, 4, 4), "in_modes": (4, 64, 256)}  # the first unfolding is 16 x 262,144
    planted = TensorTrain.random((64, 65536), std=1.0, **modes).to_dense().detach()
    weight = (planted + 1e-3 * torch.randn(64, 65536)).float()
    matrix = TensorTrain.from_dense(weight, **modes)
    assert float((matrix.to_dense() - planted).detach().norm() / planted.norm()) < 1e-4  # less than the noise, 1e-3


def test_ranks_may_carry_their_ends():
    a = TensorTrain.random((30, 24), rank=(1, 3, 4, 1), out_modes=(3, 5, 2), in_modes=(2, 3, 4))
    assert a.ranks == (3, 4) and a.num_parameters() == 18 + 180 + 32


def test_a_random_one_has_the_variance_asked_for_and_even_cores():
    matrix = TensorTrain.random((1024, 1024), std=0.02, rank=4, out_modes=(4,) * 5, in_modes=(4,) * 5)
    dense = matrix.to_dense().detach()
    assert float(dense.square().mean().sqrt()) == pytest.approx(0.02, rel=1e-6)
    sizes = [float(core.detach().square().mean().sqrt()) for core in matrix.cores]
    assert max(sizes) / min(sizes) < 1 + 1e-9
    x = torch.randn(200, 1024)
    assert float(matrix(x).detach().var()) == pytest.approx(
        1024 * 0.02**2, rel=0.15
    )  # as of a dense layer; heavy tails


def test_ranks_too_large_are_clipped_with_a_word():
    with pytest.warns(RankWarning, match="99 is more"):
        matrix = TensorTrain.from_dense(torch.randn(6, 8), rank=99, dims=2)
    assert max(matrix.config()["rank"]) < 99


@pytest.mark.parametrize(
    "options, text",
    [
        ({"out_modes": (3, 5), "in_modes": (2, 4)}, "(3, 5) multiply to 15, less than the size 30"),
        ({"out_modes": (3, 10), "in_modes": (2, 3, 4)}, "wants 2 numbers"),
        ({"dims": 1}, "2 modes or more"),
        ({"rank": 0}, "got 0"),
        ({"rank": [2], "dims": 3}, "2 TT ranks"),
        ({"tolerance": 1.0}, "[0, 1)"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, text):
    with pytest.raises(RankError) as error:
        TensorTrain.from_dense(torch.randn(30, 24), **options)
    assert text in str(error.value)


def test_cores_that_form_no_chain_are_refused():
    with pytest.raises(RankError, match="TT cores"):
        TensorTrain([torch.randn(1, 2, 2, 3), torch.randn(2, 2, 2, 1)])
    with pytest.raises(ShapeError, match="NaN"):
        TensorTrain.from_dense(torch.full((4, 4), math.nan))
