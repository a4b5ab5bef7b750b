"""Kronecker: sums of Kronecker products, and the nearest one to a dense weight."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stored import numbered, oracle, tensors

from edgenet.errors import RankError, RankWarning, ShapeError
from edgenet.structured import Kronecker


def relative(matrix, weight):
    return float((matrix.to_dense() - weight).detach().norm() / weight.norm())


def test_a_product_of_two_by_hand():
    matrix = Kronecker(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [5.0]]))
    assert matrix.to_dense().tolist() == [[3.0, 6.0], [5.0, 10.0]]
    assert matrix(torch.tensor([1.0, 10.0])).tolist() == [63.0, 105.0]
    assert matrix.num_parameters() == 4 and matrix.multiply_adds() == 4


@oracle("compression/kron_forward*.npz")
def test_it_multiplies_like_an_independent_implementation(stored):
    arrays = tensors(stored)
    matrix = Kronecker(arrays["A"], arrays["B"])
    torch.testing.assert_close(matrix(arrays["x"]), arrays["y"], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(matrix.to_dense(), arrays["W"], rtol=1e-10, atol=1e-12)


@oracle("compression/kron_nearest*.npz")
def test_the_nearest_sum_is_van_loans(stored):
    arrays = tensors(stored)
    weight = arrays["W"]
    for (terms,) in numbered(arrays, r"W_rank(\d+)"):
        matrix = Kronecker.from_dense(weight, factor=(3, 4), terms=terms)
        torch.testing.assert_close(matrix.to_dense(), arrays[f"W_rank{terms}"], rtol=1e-7, atol=1e-7)
        assert relative(matrix, weight) == pytest.approx(float(arrays[f"relerr_rank{terms}"]), abs=1e-8)


@pytest.mark.parametrize("cuts", [1, 2])
def test_a_chain_is_the_product_of_all_its_factors(cuts):
    factors = [torch.randn(2, 2, 3), torch.randn(2, 3, 2), torch.randn(2, 2, 2)]
    matrix = Kronecker(*factors)
    want = sum(torch.kron(torch.kron(a, b), c) for a, b, c in zip(*factors, strict=True))
    torch.testing.assert_close(matrix.to_dense(), want)
    assert matrix.shape == (12, 12)


def test_a_chain_of_one_term_is_found_from_its_dense_form():
    factors = [torch.randn(2, 3), torch.randn(3, 2), torch.randn(2, 2)]
    planted = Kronecker(*factors).to_dense().detach()
    matrix = Kronecker.from_dense(planted, factors=[(2, 3), (3, 2), (2, 2)])
    assert relative(matrix, planted) < 1e-10


def test_more_terms_never_fit_worse():
    weight = torch.randn(24, 36)
    for options in ({"factor": (4, 6)}, {"factors": [(2, 3), (3, 4), (4, 3)]}):
        errors = [relative(Kronecker.from_dense(weight, terms=terms, **options), weight) for terms in (1, 2, 4, 6)]
        assert all(a > b for a, b in pairwise(errors)), errors


@given(st.integers(1, 13), st.integers(1, 13), st.data())
def test_any_size_is_padded_and_met_exactly_with_all_terms(m, n, data):
    p, q = data.draw(st.integers(1, m)), data.draw(st.integers(1, n))
    weight = torch.randn(m, n)
    most = min(p * q, -(-m // p) * -(-n // q))
    matrix = Kronecker.from_dense(weight, factor=(p, q), terms=most)
    torch.testing.assert_close(matrix.to_dense(), weight, rtol=1e-9, atol=1e-9)
    x = torch.randn(3, n)
    torch.testing.assert_close(matrix(x), x @ weight.mT, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.complex64, torch.complex128])
def test_weights_of_any_dtype_are_projected_in_theirs(dtype):
    weight = torch.randn(6, 10, dtype=torch.complex128 if dtype.is_complex else torch.float64).to(dtype)
    matrix = Kronecker.from_dense(weight, factor=(2, 5), terms=6)
    assert matrix.to_dense().dtype == dtype
    digits = {torch.float16: 1e-2, torch.bfloat16: 1e-1}.get(dtype, 1e-5)  # what the mantissa leaves
    torch.testing.assert_close(matrix.to_dense(), weight, rtol=digits, atol=digits)


@pytest.mark.parametrize("options", [{"factor": (16, 12), "terms": 4}, {"factors": [(8, 6), (8, 6), (4, 4)]}])
def test_a_random_one_has_the_variance_asked_for(options):
    matrix = Kronecker.random((250, 140), std=0.3, **options)
    assert float(matrix.to_dense().detach().std()) == pytest.approx(
        0.3, rel=0.05
    )  # the padding has its share of the norm
    sizes = [float(f.detach().square().mean().sqrt()) for f in matrix.factors]
    assert max(sizes) / min(sizes) < 1 + 1e-9


def test_sizes_are_suggested_where_none_are_given():
    matrix = Kronecker.from_dense(torch.randn(16, 1433))
    assert matrix.shape == (16, 1433) and matrix.num_parameters() == 304  # 4 x 35 and 4 x 41


def test_too_many_terms_are_clipped_with_a_word():
    with pytest.warns(RankWarning, match=r"9 is more .* now 6"):
        matrix = Kronecker.from_dense(torch.randn(6, 8), factor=(2, 3), terms=9)
    assert matrix.config()["terms"] == 6


@pytest.mark.parametrize(
    "options, error, text",
    [
        ({"factor": (7, 2)}, RankError, "p from 1 to 6"),
        ({"factor": (2,)}, RankError, "(p, q)"),
        ({"factors": [(2, 2), (2, 2)]}, RankError, "(4, 4) matrix"),
        ({"factors": [(6, 8)]}, RankError, "two factors"),
        ({"factor": (2, 2), "terms": 0}, RankError, "from 1 to 4, got 0"),
        ({"factor": (2, 2), "terms": 1.5}, RankError, "1.5"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, error, text):
    with pytest.raises(error) as caught:
        Kronecker.from_dense(torch.randn(6, 8), **options)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "weight, text",
    [
        (torch.full((4, 4), torch.nan), "NaN"),
        (torch.randn(4), "two axes"),
        (torch.ones(4, 4, dtype=torch.long), "int64"),
    ],
)
def test_weights_that_are_none_are_refused(weight, text):
    with pytest.raises(ShapeError, match=text):
        Kronecker.from_dense(weight, factor=(2, 2))


def test_factors_that_do_not_fit_are_refused():
    with pytest.raises(RankError, match="two factors"):
        Kronecker(torch.randn(2, 2))
    with pytest.raises(RankError, match="number of terms"):
        Kronecker(torch.randn(2, 2, 2), torch.randn(3, 2, 2))
