"""edge_varying: its tables are slots, and may be of any family from the start."""

import pytest
import torch

from edgenet.errors import PlanError, ShapeError, SupportError
from edgenet.nn import specializations
from edgenet.structured import STRUCTURES
from edgenet.testing import random_graph

GRAPH = random_graph(24, 120)
BANKS = {"siso": {}, "mimo": {}, "heads": {"heads": 4}}
FEW = {
    "low_rank": {"rank": 2},
    "hashed": {"ratio": 2.0},
    "tensor_train": {"rank": 3},
    "doped": {"base": {"structure": "low_rank", "rank": 2}, "density": 0.05},
    "row_split": {"rows": 4},
    "block_circulant": {"block": 4},
    "sparse": {"density": 0.2},
    "csr": {"density": 0.2},
}


def tables(conv):
    phi = getattr(conv.phi, "entries", conv.phi)
    return [table for table in (phi.edge_table, phi.node_table) if table is not None]


@pytest.mark.parametrize("bank", BANKS)
@pytest.mark.parametrize("name", sorted(STRUCTURES.keys() - {"unitary", "stacked", "coded"}))  # square, parts, packed
def test_the_tables_are_of_the_family_that_is_named(name, bank):
    structure = {"structure": name, **FEW.get(name, {})}
    conv = specializations.edge_varying(3, 4, order=2, bank=bank, structure=structure, **BANKS[bank])
    conv.bind(GRAPH)
    assert all(isinstance(table, STRUCTURES[name]) for table in tables(conv))
    y = conv(torch.randn(2, 24, 3), GRAPH)
    assert y.isfinite().all() and y.std() > 0
    y.square().sum().backward()
    assert all(p.grad is not None for table in tables(conv) for p in table.parameters() if p.requires_grad)


@pytest.mark.parametrize("bank", BANKS)
def test_a_structured_layer_is_the_dense_one_of_the_same_tables(bank):
    few, full = (
        specializations.edge_varying(3, 4, order=2, bank=bank, structure=structure, **BANKS[bank]).bind(GRAPH)
        for structure in ({"structure": "low_rank", "rank": 2}, None)
    )
    assert sum(table.num_parameters() for table in tables(few)) < sum(t.num_parameters() for t in tables(full))
    with torch.no_grad():
        for table in tables(few):
            for p in table.parameters():
                p.normal_()
        wanted = few.state_dict()
        full.load_state_dict({name: value for name, value in wanted.items() if "table" not in name}, strict=False)
        for mine, theirs in zip(tables(full), tables(few), strict=True):
            mine.weight.copy_(theirs.to_dense())
    x = torch.randn(24, 3)
    torch.testing.assert_close(few(x, GRAPH), full(x, GRAPH), rtol=1e-10, atol=1e-10)


def test_a_name_alone_is_a_structure_at_its_defaults():
    conv = specializations.edge_varying(2, 3, structure="power_of_two").bind(GRAPH)
    assert all(isinstance(table, STRUCTURES["power_of_two"]) for table in tables(conv))


def test_structured_tables_want_to_be_bound_before_the_optimizer_is_made():
    with pytest.raises(SupportError, match=r"bind\(edge_index, num_nodes\) before the first pass"):
        specializations.edge_varying(2, 3, structure="binary")(torch.randn(24, 2), GRAPH)


def test_structures_that_are_none_or_stand_beside_a_form_are_refused():
    with pytest.raises(PlanError, match=r"no structure is called 'low_rnk'.*low_rank"):
        specializations.edge_varying(2, 3, structure="low_rnk")
    with pytest.raises(PlanError, match=r"a csr table needs density: \{'structure': 'csr', 'density'"):
        specializations.edge_varying(2, 3, structure="csr")
    with pytest.raises(PlanError, match=r"got \{'rank': 2\}"):
        specializations.edge_varying(2, 3, structure={"rank": 2})
    with pytest.raises(ShapeError, match=r"form='cp' says what its tables are made of.*compress_"):
        specializations.edge_varying(2, 3, form="cp", structure="binary")


@pytest.mark.parametrize("bank", BANKS)
def test_edges_found_by_number_may_weigh_what_those_found_by_their_ends_do(bank):
    edges = torch.unique(GRAPH.edge_index, dim=1).flip(0)  # in the order of the rows: by target, then by source
    edges = edges[:, edges[0] != edges[1]]
    by_number, by_ends = (
        specializations.edge_varying(3, 4, order=2, bank=bank, share=share, **BANKS[bank]).bind(edges, 24)
        for share in ("edge_id", "edge")
    )
    by_number.load_state_dict({k: v for k, v in by_ends.state_dict().items() if ".where." not in k}, strict=False)
    x = torch.randn(24, 3)
    torch.testing.assert_close(by_number(x, edges), by_ends(x, edges), rtol=1e-10, atol=1e-10)
