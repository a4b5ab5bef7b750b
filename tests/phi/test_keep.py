"""Hops, heads and edges taken out of a phi: what is left weighs edges as it did."""

import copy

import pytest
import torch
from cases import PHI_CASES

from edgenet.errors import PlanError, SupportError
from edgenet.phi import (
    Attention,
    EdgeAdded,
    EdgeFactored,
    EdgeMatrix,
    EdgeNetwork,
    EdgeTyped,
    EdgeVarying,
    ShiftOperator,
)
from edgenet.structured import Kronecker
from edgenet.testing import GRAPHS

DIRECTED = GRAPHS["directed"]
cases = pytest.mark.parametrize("case", PHI_CASES, ids=str)


def ready(case):
    phi = case.build()
    inputs = case.inputs(phi, DIRECTED)
    phi(*inputs)
    with torch.no_grad():
        for parameter in phi.parameters():
            parameter.normal_()
    return phi, inputs


def without_columns(case, inputs, heads, had):
    """The inputs of fewer heads: their lifted signals, and where every head has an edge weight of its own, those."""
    x, z, graph, weight, attr = inputs
    if weight is not None and weight.dim() == 2 and weight.shape[1] == had:
        weight = weight[:, heads]
    return x, z[:, heads], graph, weight, attr


@cases
def test_what_is_kept_weighs_edges_as_before(case):
    phi, inputs = ready(case)
    if isinstance(phi, EdgeFactored | EdgeMatrix):
        pytest.skip("its heads are channels; see below")
    if isinstance(phi, EdgeNetwork | EdgeTyped | EdgeAdded):
        if (phi.order, phi.heads) != (1, 1):
            with pytest.raises(PlanError, match="no hops or heads can be removed"):
                phi.keep_(1, [0])
        return
    had, heads = phi.heads, list(range(phi.heads))[1:] or [0]
    order = max(1, phi.order - 1)
    before = phi(*inputs), phi.diagonal(DIRECTED), phi.initial(DIRECTED)
    rng = torch.get_rng_state()
    phi.keep_(order, heads)
    assert torch.equal(torch.get_rng_state(), rng) and (phi.order, phi.heads) == (order, len(heads))
    inputs = without_columns(case, inputs, heads, had)
    for want, got in zip(before, (phi(*inputs), phi.diagonal(DIRECTED), phi.initial(DIRECTED)), strict=True):
        if want is None:
            assert got is None
        else:
            want = want[:order] if want.dim() == 3 else want
            torch.testing.assert_close(got, want[..., heads], rtol=1e-12, atol=1e-12)


@cases
def test_keeping_everything_changes_nothing(case):
    phi, _ = ready(case)
    before = dict(phi.named_parameters())
    phi.keep_(phi.order, range(phi.heads))
    assert all(parameter is before[name] for name, parameter in phi.named_parameters())


def test_matrices_on_edges_lose_hops_and_no_heads():
    phi = EdgeMatrix(3, 2)
    phi.bind(DIRECTED)
    z = torch.randn(DIRECTED.num_nodes, 2, 1)
    before = phi(z, z, DIRECTED)
    with pytest.raises(PlanError, match="channels"):
        phi.keep_(3, [0])
    phi.keep_(2, [0, 1])
    torch.testing.assert_close(phi(z, z, DIRECTED), before[:2])
    assert phi.entries.edge_table.shape[1] == 2 * 4
    with pytest.raises(PlanError, match="EdgeFactored"):
        EdgeFactored(2, 4, 4).keep_(1, [0])


@pytest.mark.parametrize(("order", "heads"), [(4, [0]), (-1, [0]), (1, []), (1, [3]), (1, [1, 0]), (1, [0, 0])])
def test_hops_and_heads_that_are_not_there_are_refused(order, heads):
    with pytest.raises(PlanError, match="0 to 3"):
        ShiftOperator(3, 3).keep_(order, heads)


def test_attention_keeps_a_hop_and_a_compressed_slot_is_refused():
    phi = Attention(2, 4, 3)
    with pytest.raises(PlanError, match="one hop"):
        phi.keep_(0, [0])
    phi.att_source = Kronecker.from_dense(phi.att_source.to_dense().detach())
    with pytest.raises(PlanError, match=r"Kronecker.*decompress_"):
        phi.keep_(1, [0])


def test_what_is_kept_stays_frozen_or_trainable():
    phi = ShiftOperator(2, 2)
    phi.keep_(1, [1])
    attention = Attention(1, 3, 2)
    attention.att_source.requires_grad_(False)
    attention.keep_(1, [0, 2])
    assert not attention.att_source.weight.requires_grad and attention.att_target.weight.requires_grad


# --- edges ------------------------------------------------------------------------------------------------------------
def table(**options):
    phi = EdgeVarying(2, 2, **options)
    phi.bind(DIRECTED)
    with torch.no_grad():
        for parameter in phi.parameters():
            parameter.normal_()
    return phi


@pytest.mark.parametrize("options", [{}, {"self_loops": False}, {"by_community": True}, {"initial": True}], ids=str)
def test_removed_edges_weigh_nothing_and_the_others_what_they_did(options):
    phi, z = table(**options), torch.randn(DIRECTED.num_nodes, 2, 1)
    before, diagonal = phi(z, z, DIRECTED), phi.diagonal(DIRECTED)
    gone = torch.zeros(DIRECTED.num_edges, dtype=torch.bool)
    gone[::3] = True
    pairs = DIRECTED.edge_index[:, gone]
    also = (DIRECTED.edge_index[:, :, None] == pairs[:, None]).all(0).any(1)  # repeated edges share a weight
    rows = phi.edge_table.shape[0]
    lost = phi.remove_edges_(*pairs)
    assert 0 < lost == rows - phi.edge_table.shape[0]
    after = phi(z, z, DIRECTED)
    loops = DIRECTED.source == DIRECTED.target
    assert (after[:, also & ~loops] == 0).all()
    torch.testing.assert_close(after[:, ~also], before[:, ~also])
    if diagonal is not None:  # which lives on the nodes
        torch.testing.assert_close(phi.diagonal(DIRECTED), diagonal)
    assert phi.remove_edges_(*pairs) == 0  # they are gone already


def test_a_table_without_edges_is_saved_and_loaded():
    phi = table()
    phi.remove_edges_(DIRECTED.source[:2], DIRECTED.target[:2])
    again = EdgeVarying(2, 2)
    again.load_state_dict(phi.state_dict())
    z = torch.randn(DIRECTED.num_nodes, 2, 1)
    torch.testing.assert_close(again(z, z, DIRECTED), phi(z, z, DIRECTED))
    whole = copy.deepcopy(phi)
    whole.remove_edges_(DIRECTED.source, DIRECTED.target)
    assert whole.edge_table.shape[0] == 0 and (whole(z, z, DIRECTED) == 0).all()
    whole.reset_parameters()


@pytest.mark.parametrize("nodes", [None, 3])
def test_a_table_that_cannot_take_anothers_rows_stays_as_it_is(nodes):
    whole, z = table(nodes=nodes), torch.randn(DIRECTED.num_nodes, 2, 1)
    before, smaller = whole(z, z, DIRECTED), copy.deepcopy(whole)
    assert smaller.remove_edges_(DIRECTED.source, DIRECTED.target) > 0
    with pytest.raises(RuntimeError, match="new, unbound layer"):
        whole.load_state_dict(smaller.state_dict())
    torch.testing.assert_close(whole(z, z, DIRECTED), before)


def test_edges_are_removed_only_where_each_has_a_weight_of_its_own():
    with pytest.raises(PlanError, match="share='edge'"):
        EdgeVarying(1, 1, share="hash", buckets=4).remove_edges_(*DIRECTED.edge_index)
    with pytest.raises(PlanError, match="share='edge'"):
        EdgeVarying(1, 1).remove_edges_(*DIRECTED.edge_index)
    absent = next(
        i for i in range(1, DIRECTED.num_nodes) if not ((DIRECTED.source == 0) & (DIRECTED.target == i)).any()
    )
    with pytest.raises(SupportError, match="outside the support"):
        table().remove_edges_(torch.tensor([0]), torch.tensor([absent]))
