"""The fastest form of each peer stands first, and where a peer is ahead it is said."""

from edgenet.bench.speed import fastest

KIND = "step"


def row(name, milliseconds, error=1e-7, failed=None):
    times = {} if milliseconds is None else {KIND: {"minimum": milliseconds / 1e3}}
    return {"name": name, "times": times, "error": error, "failed": failed}


ROWS = [
    row("edgenet, sparse features", 10),
    row("PyG `GATConv`, edge_index, sparse features", 40),
    row("PyG `GATConv`, EdgeIndex, sparse features", 20),
    row("PyG `GATConv`, torch.compile, sparse features", None, failed="no memory"),
    row("PyG `GATConv`, torch.sparse CSR, sparse features", 1, error=1e-3),
    row("DGL `GATConv`, sparse features", 30),
]


def test_the_fastest_peer_is_the_fastest_of_those_whose_check_passed():
    ours, named, ratio, pyg, dgl = fastest.beside(ROWS, KIND)
    assert (ours, named, ratio) == ("10.0", "PyG `GATConv`, EdgeIndex", "2.00")
    assert (pyg, dgl) == ("2.00 (EdgeIndex)", "3.00")
    assert len(fastest.columns("step, ms")) == 5 and len(fastest.columns("step, ms", ())) == 3


def test_a_peer_that_is_faster_is_named_in_bold_and_in_a_sentence():
    ahead = [row("edgenet", 10), row("DGL `GATConv`", 8), row("PyG `GATConv`, edge_index", 9)]
    cells = fastest.beside(ahead, KIND)
    assert cells[2] == "**0.800**" and cells[3] == "**0.900** (edge_index)"
    table = [("cora", *cells), ("ppi", *fastest.beside(ROWS, KIND))]
    said = fastest.losses(table, where=1)
    assert said.startswith("**A peer is faster than edgenet in 1 of 2 rows**: cora: DGL `GATConv` takes 0.800 of")
    assert fastest.losses(table[1:], where=1) == "No peer is faster than edgenet in this table."


def test_without_a_peer_nothing_is_claimed():
    assert fastest.beside(ROWS[:1], KIND) == ("10.0", "-", "-", "-", "-")
    assert fastest.losses([("cora", *fastest.beside(ROWS[:1], KIND))], where=1) == "No peer was measured."
    wrong = [row("edgenet", 10, error=1.0), ROWS[1]]
    assert fastest.beside(wrong, KIND)[2] == "-"
