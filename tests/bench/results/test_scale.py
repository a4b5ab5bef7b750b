"""edgenet bench scale, at small size: every part measures and makes its page of what it found."""

from edgenet.bench.harness import graphs
from edgenet.bench.results import SECTIONS, scale, scale_cora, scale_sampling


def test_every_part_is_listed():
    assert SECTIONS["scale"] == ", ".join(scale.PARTS)


def test_rates_are_of_every_case(monkeypatch, tmp_path):
    monkeypatch.setitem(graphs.GRAPHS, "arxiv", graphs.Size(300, 2000, 50))
    monkeypatch.setitem(graphs.GRAPHS, "products8", graphs.Size(300, 2000, 50))
    monkeypatch.setattr(scale_sampling, "SEEDS", 20)
    monkeypatch.setattr(scale_sampling, "BATCHES", 1)
    found = scale_sampling.results(1, tmp_path, 1, None)
    assert {row["case"] for row in found["rates"]} == set(scale_sampling.CASES)
    assert all(row["edges"] > 20 for row in found["rates"])
    same = [row["edges"] for row in found["rates"] if (row["graph"], row["case"]) == ("arxiv", "10, 10")]
    assert len(same) == 2 and same[0] == same[1]  # the reference draws what compiled code draws
    for row in (*found["rates"], *found["steps"]):
        for name in ("seconds", "drawing", "slicing", "model"):
            if name in row:
                row[name] = 0.5  # a clock may tick too slowly for so small a graph
    assert "33 to 33 % of a training step" in scale_sampling.claim(found)
    page = "\n".join(scale_sampling.parts(found))
    assert page.count("| arxiv |") == 8 and "| gcn | 500.0 | 500.0 | 500.0 | 33 % |" in page


def test_the_page_on_cora_compares_with_the_graph():
    def trained(*tests):
        return [{"test": test, "epochs": 10, "seconds": 1.0} for test in tests]

    whole, drawn = scale_cora.BATCHES
    found = {
        "gcn": {whole: trained(0.80, 0.82), drawn: trained(0.81, 0.83)},
        "gat": {whole: trained(0.80, 0.801), drawn: trained(0.70, 0.701)},
    }
    assert scale_cora.gap(*found["gcn"].values())[0] == scale_cora.gap(*reversed(found["gcn"].values()))[0] * -1
    assert "1 of 2 networks on Cora are within two" in scale_cora.claim(found)
    assert "-10.0 to +1.0 points" in scale_cora.claim(found)
    table = scale_cora.parts(found)[-1]
    assert "+1.0 ± 1.4" in table and "-10.0 ± 0.1" in table and "| 100 |" in table
