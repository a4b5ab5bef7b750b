"""edgenet data."""


def test_the_data_sets_are_listed_with_where_they_are(run):
    code, out, _ = run("data", "list")
    assert code == 0 and next(line for line in out.splitlines() if line.startswith("karate")).split()[1] == "node"


def test_a_data_set_is_described_and_prepared(run, tmp_path):
    code, out, _ = run("data", "info", "karate")
    assert code == 0 and "34" in out and "licence" in out
    code, out, _ = run("data", "prepare", "karate", "--out", "karate.npz")
    assert code == 0 and (tmp_path / "karate.npz").is_file() and "karate.npz" in out
