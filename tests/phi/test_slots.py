"""Tables of edge weights, of matrices on edges and of taps are slots: any structured matrix may sit in them."""

import copy
import io

import pytest
import torch
from oracles import assert_near

from edgenet.compress.plan import resolve
from edgenet.errors import ShapeError, SupportError
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv, specializations
from edgenet.nn.taps import Jacobi, NodeVarying
from edgenet.phi import EdgeMatrix, EdgeVarying
from edgenet.structured import STRUCTURES, Coded, Dense, LowRank, Quantised, TensorTrain, Uniform, family, structure
from edgenet.testing import GRAPHS

GRAPH = GRAPHS["directed"]
#: Families by what makes one of an (edges, K H) table. Unitary ones are square, and no table is.
MAKE = {
    "dense": {},
    "low_rank": {"rank": 2},
    "kronecker": {"factor": (5, 2)},
    "row_split": {"rows": 9, "blocks": 2},
    "tensor_train": {"rank": 3, "dims": 2},
    "block_term": {"blocks": 2, "rank": 2, "dims": 2},
    "block_circulant": {"block": 2},
    "hashed": {"ratio": 2},
    "sparse": {"density": 0.5},
    "csr": {"density": 0.5},
    "doped": {"base": {"structure": "low_rank", "rank": 1}, "density": 0.2},
    "stacked": {"base": {"structure": "low_rank", "rank": 2}},
    "unified": {"block": (1, 2), "ratio": 0.6, "prune": 0.2},
    "uniform": {"bits": 4, "per": "row"},
    "fixed_point": {"base": {"structure": "low_rank", "rank": 2}},
    "power_of_two": {"form": "sign_shift"},
    "binary": {},
    "coded": {},
}
ALL = pytest.mark.parametrize("name", MAKE)


def put(holder, slot, name):
    """Compress what is in a slot; what it is now, as a dense tensor."""
    matrix = getattr(holder, slot)
    setattr(holder, slot, structure(name, **MAKE[name])(matrix.to_dense()))
    return getattr(holder, slot).to_dense().detach()


def bound(make=EdgeVarying, **options):
    phi = make(2, 3, **options)
    phi.bind(GRAPH)
    with torch.no_grad():
        for parameter in phi.parameters():
            parameter.normal_()
    return phi


def weights(phi, graph=GRAPH):
    return phi(None, torch.zeros(graph.num_nodes, phi.heads, 1), graph)


def test_every_family_that_is_not_square_is_tried():
    assert set(MAKE) | {"unitary"} == set(STRUCTURES)


@ALL
@pytest.mark.parametrize("initial", [True, False])
def test_weights_are_rows_of_whatever_is_in_the_slots(name, initial):
    phi = bound(initial=initial)
    dense = copy.deepcopy(phi)
    edges, nodes = put(phi, "edge_table", name), put(phi, "node_table", name)
    with torch.no_grad():
        dense.edge_table.weight.copy_(edges)
        dense.node_table.weight.copy_(nodes)
    nodes_of = torch.tensor([7, 0, 12, 3])
    local = torch.full((13,), -1)
    local[nodes_of] = torch.arange(4)
    ends = local[GRAPH.edge_index]
    piece = Graph(ends[:, (ends >= 0).all(0)], 4, node_id=nodes_of)
    for graph in (GRAPH, piece):
        assert_near(weights(phi, graph), weights(dense, graph))
        assert_near(phi.diagonal(graph), dense.diagonal(graph))
        if initial:
            assert_near(phi.initial(graph), dense.initial(graph))
    if name != "csr" and list(phi.edge_table.parameters()):
        weights(phi).square().sum().backward()
        assert any(p.grad is not None and p.grad.any() for p in phi.edge_table.parameters())


@ALL
def test_a_checkpoint_of_a_compressed_table_fills_an_unbound_layer_of_the_same_make(name):
    phi = bound()
    put(phi, "edge_table", name)
    put(phi, "node_table", name)
    twin = EdgeVarying(2, 3)
    for slot in ("edge_table", "node_table"):
        matrix = getattr(phi, slot)
        setattr(twin, slot, family(name).from_config(matrix.config()))
    file = io.BytesIO()
    torch.save(phi.state_dict(), file)
    file.seek(0)
    twin.load_state_dict(torch.load(file, weights_only=True))
    assert_near(weights(twin), weights(phi), tolerance=1e-13)
    before = weights(twin).clone()
    twin.bind(GRAPH)  # the same graph: nothing is drawn anew
    assert torch.equal(weights(twin), before)
    part = Graph(torch.tensor([[0], [1]]), 2, node_id=GRAPH.edge_index[:, 0])
    assert_near(weights(twin, part)[:, 0], weights(phi)[:, 0], tolerance=1e-13)


@ALL
def test_binding_keeps_what_was_put_into_a_slot_before(name):
    rows = bound().edge_table.shape[0]
    phi = EdgeVarying(2, 3)
    phi.edge_table = structure(name, **MAKE[name])(torch.randn(rows, 6))
    before = phi.edge_table.to_dense().clone()
    phi.bind(GRAPH)
    assert torch.equal(phi.edge_table.to_dense(), before)
    assert phi.diagonal(GRAPH).shape == (2, 13, 3)


def test_a_table_of_another_number_of_rows_is_refused():
    phi = EdgeVarying(2, 3)
    phi.edge_table = LowRank.from_dense(torch.randn(7, 6), rank=2)
    with pytest.raises(SupportError, match=r"7 rows.*needs"):
        phi.bind(GRAPH)


@ALL
def test_resetting_starts_again_from_what_the_family_makes_of_the_adjacency(name):
    phi = bound()
    put(phi, "edge_table", name)
    put(phi, "node_table", name)
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        phi.reset_parameters()
        results.append(torch.cat([weights(phi).flatten(), phi.diagonal(GRAPH).flatten()]))
    assert torch.equal(*results) and results[0].isfinite().all()
    torch.manual_seed(3)
    fresh = EdgeVarying(2, 3)
    fresh.bind(GRAPH)
    torch.manual_seed(3)
    fresh.reset_parameters()
    wanted = structure(name, **MAKE[name])(fresh.edge_table.to_dense()).to_dense()
    if name != "csr":
        assert_near(phi.edge_table.to_dense(), wanted, tolerance=1e-6)  # iterative fits stop somewhere


@ALL
def test_matrices_on_edges_are_rows_of_whatever_is_in_the_slot(name):
    phi = bound(EdgeMatrix)
    dense = copy.deepcopy(phi)
    with torch.no_grad():
        dense.entries.edge_table.weight.copy_(put(phi.entries, "edge_table", name))
    z = torch.randn(13, 3, 1)
    assert_near(phi.hop(GRAPH, weights(phi)[1], None, z), dense.hop(GRAPH, weights(dense)[1], None, z))
    if name != "csr":
        phi.reset_parameters()
        assert weights(phi).isfinite().all() and weights(phi).any()


@ALL
def test_taps_of_nodes_are_rows_of_whatever_is_in_the_slot(name):
    taps = NodeVarying(2, 3)
    taps.bind(GRAPH, 4)
    taps.reset_parameters()
    with torch.no_grad():
        taps.table.weight.normal_()
    dense = copy.deepcopy(taps)
    with torch.no_grad():
        dense.table.weight.copy_(put(taps, "table", name))
    signals = [torch.randn(13, 1, 4) for _ in range(3)]
    assert_near(taps(signals, GRAPH), dense(signals, GRAPH))
    twin = NodeVarying(2, 3)
    twin.table = family(name).from_config(taps.table.config())
    twin.load_state_dict(taps.state_dict())
    assert_near(twin(signals, GRAPH), dense(signals, GRAPH))
    if name != "csr":
        taps.reset_parameters()
        assert taps(signals, GRAPH).isfinite().all()


@pytest.mark.parametrize("name", ["dense", "low_rank", "tensor_train", "block_term", "block_circulant", "hashed"])
def test_poles_are_what_is_in_the_slot(name):
    conv = specializations.arma(6, 5, poles=2)
    x = torch.randn(13, 6)
    conv(x, GRAPH)
    taps = next(m for m in conv.modules() if isinstance(m, Jacobi))
    dense = copy.deepcopy(conv)
    other = next(m for m in dense.modules() if isinstance(m, Jacobi))
    with torch.no_grad():
        other.pole.weight.copy_(put(taps, "pole", name))
        other.residue.weight.copy_(put(taps, "residue", name))
    assert_near(conv(x, GRAPH), dense(x, GRAPH))
    taps.reset_parameters()
    assert conv(x, GRAPH).isfinite().all()


# --- structured from the start ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [name for name in MAKE if name not in ("csr", "kronecker", "coded")])
@pytest.mark.parametrize("share", [{}, {"share": "node"}, {"share": "hash", "buckets": 12}], ids=str)
def test_tables_may_be_structured_from_the_start(name, share):
    make = {"structure": {"structure": name, **MAKE[name]}} | share
    if name == "row_split":
        make["structure"]["rows"] = 3
    phi = EdgeVarying(2, 4, **make)
    phi.bind(GRAPH)
    assert type(phi.edge_table) is type(phi.node_table) is STRUCTURES[name]
    twin = EdgeVarying(2, 4, **make)
    twin.load_state_dict(phi.state_dict())
    assert_near(weights(twin), weights(phi), tolerance=1e-13)
    assert_near(twin.diagonal(GRAPH), phi.diagonal(GRAPH), tolerance=1e-13)


def test_tables_that_meet_no_edge_stay_dense():
    make = {"structure": {"structure": "tensor_train", "rank": 1}}
    for graph in (GRAPHS["no_edges"], GRAPHS["zero_nodes"]):
        phi = EdgeVarying(1, 2, **make)
        phi.bind(graph)
        assert isinstance(phi.edge_table, Dense) and weights(phi, graph).shape == (1, 0, 2)
        twin = EdgeVarying(1, 2, **make)
        twin.load_state_dict(phi.state_dict())
        assert_near(twin.diagonal(graph), phi.diagonal(graph))
    with pytest.raises(ShapeError, match="heads=-1"):
        EdgeVarying(1, -1, **make)


def test_rows_by_community_are_the_same_function_in_another_order():
    plain, sorted_ = EdgeVarying(2, 3, initial=True), EdgeVarying(2, 3, initial=True, by_community=True)
    plain.bind(GRAPH)
    sorted_.bind(GRAPH)
    with torch.no_grad():
        for table in plain.parameters():
            table.normal_()
        rows = plain.where.edge_rows
        edge, node = sorted_.where.row.long(), sorted_.where.node_row.long()
        sorted_.edge_table.weight[edge[edge >= 0]] = plain.edge_table.weight[:rows]
        sorted_.node_table.weight[node] = plain.node_table.weight
    assert not torch.equal(edge, plain.where.row.long()) and sorted(edge[edge >= 0].tolist()) == list(range(rows))
    assert torch.equal(weights(sorted_), weights(plain)) and torch.equal(sorted_.initial(GRAPH), plain.initial(GRAPH))
    twin = EdgeVarying(2, 3, initial=True, by_community=True)
    twin.load_state_dict(sorted_.state_dict())
    assert torch.equal(weights(twin), weights(plain))


def test_a_layer_with_a_tensor_train_of_edges_trains():
    make = {"structure": "tensor_train", "rank": 3, "in_modes": [1, 4]}
    conv = EdgeNetConv(5, 3, 2, 2, "edge_varying", structure=make, by_community=True).bind(GRAPH)
    assert isinstance(conv.phi.edge_table, TensorTrain)
    x, wanted = torch.randn(13, 5), torch.randn(13, 6)
    optimizer, losses = torch.optim.Adam(conv.parameters(), lr=0.01), []
    for _ in range(20):
        optimizer.zero_grad()
        losses.append((conv(x, GRAPH) - wanted).square().mean())
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    "short",
    [
        {"structure": "dense", "bits": 4, "per": "row"},
        {"structure": "low_rank", "rank": 1, "quantiser": "binary"},
        {"structure": "doped", "base": {"structure": "low_rank", "rank": 1, "bits": 8}, "density": 0.2},
    ],
    ids=str,
)
def test_a_table_takes_bits_as_plans_do(short):
    conv = EdgeNetConv(5, 3, 2, 2, "edge_varying", structure=short).bind(GRAPH)
    quantised = [part for part in conv.phi.edge_table.modules() if isinstance(part, Quantised)]
    assert len(quantised) == 1 and quantised[0].to_dense().unique().numel() <= 256
    x = torch.randn(13, 5)
    conv(x, GRAPH).square().sum().backward()
    assert all(p.grad is not None for p in conv.phi.edge_table.parameters())


QUANTISED = pytest.mark.parametrize(
    "short",
    [
        {"structure": "dense", "bits": 4, "per": "row"},
        {"structure": "dense", "bits": 2, "half_step": True},
        {"structure": "low_rank", "rank": 2, "bits": 8},
        {"structure": "tensor_train", "rank": 2, "quantiser": "power_of_two"},
        {"structure": "dense", "quantiser": "power_of_two", "form": "sign_shift", "per": "row"},
        {"structure": "block_circulant", "block": 2, "quantiser": "fixed_point"},
        {"structure": "sparse", "density": 0.4, "bits": 4},
        {"structure": "doped", "base": {"structure": "low_rank", "rank": 1}, "density": 0.2, "bits": 6},
        {"structure": "dense", "quantiser": "binary"},
    ],
    ids=str,
)


@QUANTISED
@pytest.mark.parametrize("make", [EdgeVarying, EdgeMatrix])
def test_a_quantised_table_gives_the_rows_of_its_levels_packed_or_not(make, short):
    phi = bound(make)
    holder = phi.entries if make is EdgeMatrix else phi
    dense = copy.deepcopy(phi)
    table = resolve(short, "the table")(holder.edge_table.to_dense())
    with torch.no_grad():
        (dense.entries if make is EdgeMatrix else dense).edge_table.weight.copy_(table.to_dense())
    for matrix in (table, table.pack(), Coded.from_config(table.pack().config())):
        if matrix is not table:
            matrix.load_state_dict(table.pack().state_dict())
        holder.edge_table = matrix
        for mode in (True, False):
            assert_near(weights(phi.train(mode)), weights(dense.train(mode)))
    assert table.bits() == 8 * sum(t.numel() * t.element_size() for t in matrix.state_dict().values())
    if short["structure"] == "dense":
        assert table.bits() < holder.edge_table.to_dense().numel() * 64 / 3


@pytest.mark.parametrize("make", [EdgeVarying, EdgeMatrix])
def test_latents_of_a_table_get_the_gradients_of_its_values(make):
    phi = bound(make)
    holder = phi.entries if make is EdgeMatrix else phi
    dense = copy.deepcopy(phi)
    holder.edge_table = Uniform(holder.edge_table, 4)
    plain = (dense.entries if make is EdgeMatrix else dense).edge_table
    with torch.no_grad():
        plain.weight.copy_(holder.edge_table.to_dense())
    direction = torch.randn_like(weights(phi))
    for layer in (phi, dense):
        (weights(layer) * direction).sum().backward()
    assert_near(holder.edge_table.base.weight.grad, plain.weight.grad)


@QUANTISED
def test_a_layer_with_quantised_tables_trains_and_packs(short):
    conv = EdgeNetConv(5, 3, 2, 2, "edge_varying", structure=short).bind(GRAPH)
    x, wanted = torch.randn(13, 5), torch.randn(13, 6)
    optimizer, losses = torch.optim.Adam(conv.parameters(), lr=0.02), []
    for _ in range(40):
        optimizer.zero_grad()
        losses.append((conv(x, GRAPH) - wanted).square().mean())
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]
    packed = copy.deepcopy(conv.eval())
    packed.phi.edge_table, packed.phi.node_table = conv.phi.edge_table.pack(), conv.phi.node_table.pack()
    assert_near(packed(x, GRAPH), conv(x, GRAPH))


def test_matrices_put_into_a_slot_before_binding_stay():
    rows = bound().edge_table.shape[0]
    phi = EdgeMatrix(2, 3)
    phi.entries.edge_table = LowRank.from_dense(torch.randn(rows, 18), rank=2)
    before = phi.entries.edge_table.to_dense().clone()
    phi.bind(GRAPH)
    assert torch.equal(phi.entries.edge_table.to_dense(), before)
