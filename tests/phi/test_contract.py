"""What every phi promises. A phi joins with an entry in PHI_CASES."""

import pytest
import torch
from cases import PHI_CASES

from edgenet import ops
from edgenet.phi import PHIS
from edgenet.testing.phi import CHECKS

cases = pytest.mark.parametrize("case", PHI_CASES, ids=str)


def near(got, want):
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", PHIS)
def test_every_phi_has_a_case_of_its_type(name):
    mine = [case for case in PHI_CASES if case.name.split()[0] == name]
    assert mine, f"{name} has no entry in PHI_CASES"
    assert all(type(case.build()) is PHIS[name] for case in mine)


@cases
@pytest.mark.parametrize("check", CHECKS.checks)
def test_a_phi_keeps_its_contract(check, case):
    beside_the_point = CHECKS.hold(check, case)
    if beside_the_point:
        pytest.skip(beside_the_point)


def test_the_usual_hop_is_spmm_and_the_diagonal():
    phi, (_, z, graph, *_) = PHI_CASES[[c.name for c in PHI_CASES].index("edge_varying")].ready()
    weight, diagonal = phi(None, z, graph)[0], phi.diagonal(graph)[0]
    near(phi.hop(graph, weight, diagonal, z), ops.spmm(graph, weight, z) + diagonal[..., None] * z)
