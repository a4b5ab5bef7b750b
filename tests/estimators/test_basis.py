"""The splines that additive models are sums of."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from edgenet.errors import ConfigError, ShapeError
from edgenet.estimators.basis import SplineBasis, bsplines


@given(st.integers(1, 5), st.integers(0, 6), st.integers(0, 1000))
def test_the_recursion_gives_the_splines_of_scipy(degree, k, seed):
    rng = np.random.default_rng(seed)
    inner = np.sort(rng.uniform(0.02, 0.98, k))
    u = np.r_[0.0, rng.uniform(size=20), inner, 1.0]
    knots = np.r_[[0.0] * (degree + 1), inner, [1.0] * (degree + 1)]
    want = BSpline.design_matrix(u, knots, degree).toarray()
    np.testing.assert_allclose(np.stack(bsplines(u, inner, degree), -1), want, atol=1e-12)


def test_tensors_get_the_same_values_and_the_gradients_of_finite_differences():
    rng = np.random.default_rng(0)
    u, inner = rng.uniform(0.01, 0.99, (7, 3)), np.sort(rng.uniform(0.1, 0.9, (3, 2)), 1)
    tensor = torch.tensor(u, requires_grad=True)

    def values(t):
        return torch.stack(bsplines(t, torch.tensor(inner), 3), -1)

    np.testing.assert_array_equal(values(tensor).detach().numpy(), np.stack(bsplines(u, inner, 3), -1))
    assert torch.autograd.gradcheck(values, tensor)


@pytest.mark.parametrize(
    "kind, df, degree", [("bspline", 6, 3), ("bspline", 3, 3), ("bspline", 4, 1), ("natural", 5, 3)]
)
def test_the_functions_are_centred_and_orthonormal_on_the_data(kind, df, degree):
    x = np.random.default_rng(1).normal(size=(50, 4)) * [1, 1e6, 1e-6, 3] + [0, 5, 5, -1e3]
    basis = SplineBasis.fit(x, df, degree, kind)
    u = basis(x)
    assert u.shape == (50, 4, df) and (basis.rank == df).all() and basis.size == df
    np.testing.assert_allclose(u.mean(0), 0, atol=1e-10)
    gram = np.einsum("npa,npb->pab", u, u) / 50
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(df), gram.shape), atol=1e-9)


def test_they_span_the_splines():
    x = np.sort(np.random.default_rng(2).uniform(size=60))
    basis = SplineBasis.fit(x[:, None], 6)
    cubic_with_a_kink = x**3 - 2 * x + np.maximum(x - x[0] - basis.inner[0, 1] * np.ptp(x), 0) ** 3
    centred, u = cubic_with_a_kink - cubic_with_a_kink.mean(), basis(x[:, None])[:, 0]
    np.testing.assert_allclose(u @ (u.T @ centred) / 60, centred, atol=1e-10)


def test_natural_splines_have_no_curvature_at_the_ends_and_hold_straight_lines():
    x = np.random.default_rng(3).uniform(-1, 2, 80)
    basis = SplineBasis.fit(x[:, None], 5, kind="natural")
    u, line = basis(x[:, None])[:, 0], x - x.mean()
    np.testing.assert_allclose(u @ (u.T @ line) / 80, line, atol=1e-10)
    at = np.linspace(x.min(), x.max(), 20001)
    bend = np.abs(np.diff(basis(at[:, None])[:, 0], 2, axis=0))
    assert (bend[[0, -1]] < 2e-3 * bend.max(0)).all()
    plain = SplineBasis.fit(x[:, None], 5)
    bend = np.abs(np.diff(plain(at[:, None])[:, 0], 2, axis=0))
    assert (bend[0] > 2e-3 * bend.max(0)).any()


def test_few_distinct_values_give_fewer_functions_and_a_constant_gives_none():
    rng = np.random.default_rng(4)
    x = np.stack([rng.integers(0, 2, 40), rng.integers(0, 3, 40), np.full(40, 7.0), (rng.random(40) < 0.1) * 5], 1)
    basis = SplineBasis.fit(x.astype(float), 6)
    assert basis.rank.tolist() == [1, 2, 0, 1]
    u = basis(x)
    assert np.isfinite(u).all() and (u[:, 2] == 0).all()
    np.testing.assert_allclose(np.einsum("npa,npa->p", u, u) / 40, basis.rank, atol=1e-9)


def test_beyond_the_data_functions_stay_what_they_are_at_the_ends():
    x = np.random.default_rng(5).normal(size=(30, 2))
    basis = SplineBasis.fit(x)
    np.testing.assert_array_equal(basis(x.max(0)[None] + 10), basis(x.max(0)[None]))
    np.testing.assert_array_equal(basis(x.min(0)[None] - 10), basis(x.min(0)[None]))


def test_more_functions_than_points_leave_what_the_points_allow():
    basis = SplineBasis.fit(np.random.default_rng(6).normal(size=(4, 2)), 6)
    assert basis.rank.tolist() == [3, 3]


def test_one_column_is_the_basis_of_that_column():
    x = np.random.default_rng(7).normal(size=(30, 3))
    basis = SplineBasis.fit(x)
    np.testing.assert_allclose(basis.column(1)(x[:, 1:2])[:, 0], basis(x)[:, 1], atol=1e-13)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"df": 2}, "df 2"),
        ({"degree": 0}, "degree 0"),
        ({"kind": "fourier"}, "'fourier'"),
        ({"kind": "natural", "degree": 2}, "cubic"),
    ],
)
def test_what_is_no_basis_is_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        SplineBasis.fit(np.zeros((5, 1)), **options)


def test_a_vector_is_refused():
    with pytest.raises(ShapeError, match=r"\(5,\)"):
        SplineBasis.fit(np.zeros(5))
