"""Spectral filters over several shift operators, which are the columns of the edge weights."""

import copy
import math

import numpy as np
import pytest
import torch

from edgenet import from_pretrained, save_pretrained
from edgenet.errors import ConfigError, ShapeError, SupportError
from edgenet.models import NodeClassifier
from edgenet.nn import SpectralConv, specializations
from edgenet.nn.spectral import spline_basis

N, EDGES = 7, torch.tensor([[0, 1, 2, 3, 4, 5, 0, 2], [1, 2, 3, 4, 5, 0, 3, 5]])
BOTH = torch.cat([EDGES, EDGES.flip(0)], 1)  # node 6 has no edges


def entries(count, seed=0):
    """(E, R) symmetric weights."""
    half = torch.rand(8, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.2
    return torch.cat([half, half])


def by_dense(conv, weight, x):
    """sum over r of V_r diag(B_r w_r) V_r^T x, with NumPy's eigenvectors."""
    y = torch.zeros(*x.shape[:-1], conv.out_channels)
    coefficients = conv.coefficients or N
    w = conv.weight.to_dense().view(conv.out_channels, conv.shifts, conv.in_channels, coefficients)
    for r in range(conv.shifts):
        dense = np.zeros((N, N))
        np.add.at(dense, (BOTH[1].numpy(), BOTH[0].numpy()), weight[:, r].numpy())
        values, vectors = np.linalg.eigh(dense)
        basis = np.eye(N) if coefficients == N else spline_basis(values, coefficients)
        v, b = torch.tensor(vectors), torch.tensor(basis)
        for f in range(conv.out_channels):
            for g in range(conv.in_channels):
                y[..., f] += x[..., g] @ (v @ torch.diag(b @ w[f, r, g]) @ v.T).T
    return y if conv.bias is None else y + conv.bias


@pytest.mark.parametrize("coefficients", [None, 4])
@pytest.mark.parametrize("shifts", [1, 2, 3])
def test_it_is_the_sum_over_operators_of_dense_filters(shifts, coefficients):
    conv = SpectralConv(3, 2, coefficients, None, shifts=shifts)
    with torch.no_grad():
        conv.bias.copy_(torch.tensor([0.5, -1.0]))
    weight, x = entries(shifts), torch.randn(2, 4, N, 3, requires_grad=True)
    y = conv(x, BOTH, weight)
    wanted = by_dense(conv, weight, x)
    torch.testing.assert_close(y, wanted, rtol=1e-10, atol=1e-10)
    r, inputs = torch.randn_like(y), [x, *conv.parameters()]
    for got, want in zip(torch.autograd.grad(y, inputs, r), torch.autograd.grad(wanted, inputs, r), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def test_it_is_the_sum_of_layers_of_one_operator_each():
    conv, weight, x = SpectralConv(3, 2, 5, None, bias=False, shifts=2), entries(2), torch.randn(N, 3)
    total = 0
    for r in range(2):
        alone = SpectralConv(3, 2, 5, None, bias=False)
        with torch.no_grad():
            alone.weight.weight.copy_(conv.weight.weight.view(2, 2, 15)[:, r])
        total = total + alone(x, BOTH, weight[:, r])
    torch.testing.assert_close(conv(x, BOTH, weight), total, rtol=1e-10, atol=1e-10)


def test_it_lasts(tmp_path):
    conv, weight, x = SpectralConv(3, 2, 5, "none", shifts=2), entries(2), torch.randn(N, 3)
    y = conv(x, BOTH, weight)
    save_pretrained(conv, tmp_path)
    again = SpectralConv(3, 2, 5, None, shifts=2)
    again.load_state_dict(conv.state_dict())
    for other in (copy.deepcopy(conv), from_pretrained(tmp_path), again):
        torch.testing.assert_close(other(x, BOTH, weight), y, rtol=0, atol=0)
    single = copy.deepcopy(conv).float()
    torch.testing.assert_close(single(x.float(), BOTH, weight), y.float(), rtol=1e-4, atol=1e-4)  # seven digits


def test_a_model_binds_it_at_its_first_pass():
    model = NodeClassifier(3, 2, layer="spectral", hidden_channels=4, normalize=None, shifts=2, coefficients=4).eval()
    model.bind(BOTH, N)
    x, weight = torch.randn(N, 3), entries(2)
    y = model(x, BOTH, weight)
    assert all(conv.is_bound for conv in model.convs) and y.isfinite().all()
    model.bind(BOTH, N)
    torch.testing.assert_close(model(x, BOTH, edge_weight=weight), y, rtol=0, atol=0)


def test_a_bound_layer_may_be_told_its_operators_beforehand():
    conv = specializations.spectral(3, 2, 4, normalize=None, shifts=2).bind(BOTH, N, entries(2))
    assert conv.is_bound and conv.basis.shape == (2, N, 4) and "shifts=2" in repr(conv)
    assert conv(torch.randn(N, 3), BOTH, entries(2)).shape == (N, 2)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match="shifts are 1 or more, got 0"):
        SpectralConv(3, 2, shifts=0)
    with pytest.raises(ShapeError, match="normalise the 2 columns beforehand"):
        SpectralConv(3, 2, shifts=2)
    conv, x = SpectralConv(3, 2, None, None, shifts=2), torch.randn(N, 3)
    for weight in (None, entries(3), entries(2)[:, 0], entries(2)[:5]):
        with pytest.raises(ShapeError, match=r"2 shift operators need \(16, 2\) edge weights"):
            conv(x, BOTH, weight)
    lopsided = entries(2)
    lopsided[3, 1] += 1
    with pytest.raises(ShapeError, match="needs a symmetric shift operator"):
        conv(x, BOTH, lopsided)
    small = 1e-9 * lopsided  # whose entries differ as much
    with pytest.raises(ShapeError, match="needs a symmetric shift operator"):
        conv(x, BOTH, small)
    for number in (math.nan, math.inf):
        with pytest.raises(ShapeError, match="finite"):
            conv(x, BOTH, entries(2) * number)
    for count in (1, 2):
        with pytest.raises(ShapeError, match="real"):
            SpectralConv(3, 2, None, None, shifts=count)(x, BOTH, entries(count) * 1j)
    for wrong in (2.0, True):
        with pytest.raises(ConfigError, match="shifts of SpectralConv is a whole number"):
            SpectralConv(3, 2, None, None, shifts=wrong)
    other = SpectralConv(3, 2, None, None, shifts=2).bind(BOTH, N, 1e-9 * entries(2))
    with pytest.raises(SupportError, match="other edge weights"):
        other(x, BOTH, 1e-9 * entries(2, seed=1))
    conv(x, BOTH, entries(2))
    with pytest.raises(SupportError, match="other edge weights"):
        conv(x, BOTH, entries(2, seed=1))
    with pytest.raises(ShapeError, match="2 shift operators need"):
        conv(x, BOTH)
    with pytest.raises(SupportError, match="a graph of 7 nodes, and got a signal on 8"):
        conv(torch.randn(8, 3), BOTH, entries(2))
