"""What is known of every data set before it is loaded. Without torch, for the command line lists them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Facts:
    """What is known of a data set before it is loaded; ``datasets/<name>/dataset.toml`` says the same.

    Args:
        title: one line.
        task, target, metric: as in ``Dataset``.
        shapes: sizes by name, at default options: nodes, edges (directed), features, outputs, ...
        split: one line.
        source: where it comes from; for a method, the paper.
        licence: what its holders allow.
        how_to_get: what to do where no copy is found; empty for sets that are made on demand.
        sha256: checksums by file name, for files of which only one version is known.

    Example:
        >>> edgenet.data.DATASETS["cora"].facts.metric
        'accuracy'
    """

    title: str
    task: str
    target: str
    metric: str
    shapes: dict[str, int]
    split: str
    source: str
    licence: str
    how_to_get: str = ""
    sha256: dict[str, str] = field(default_factory=dict)


#: names of files that facts and searches share
CHICKENPOX_FILES = ("chickenpox.json.gz", "chickenpox.json")
WEBKB_NODES, WEBKB_EDGES = "out1_node_feature_label.txt", "out1_graph_edges.txt"
METR_LA_FILE = "metr_la_week.npz"
FACEBOOK_FILE = "facebook_ego234.npz"
MNIST_FILES = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", "mnist_5k_train_subset.npz")
MNIST_HOW = (
    f"take {MNIST_FILES[0]} and {MNIST_FILES[1]} of LeCun et al. 1998 (https://ossci-datasets.s3.amazonaws.com/mnist), "
    f"save 5,000 of their training images as x (5000, 28, 28) and y (5000,), uint8, into {MNIST_FILES[2]}, and put "
    f"the three into <root>/mnist; pass root=<root> or --data-root <root>, or set $EDGENET_DATA to <root>."
)
PLANETOID = {"cora": "Cora", "citeseer": "CiteSeer", "pubmed": "PubMed"}
_CORA_SHA256 = {
    "ind.cora.x": "23cfa55d91c6f624233f5eb7b6e3f141f1bd2b2ae39608a63cf5d084bb27baab",
    "ind.cora.tx": "b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a",
    "ind.cora.allx": "9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543",
    "ind.cora.y": "94465c14eb53e04ca262198dcbb2521ee8af60fb3f3d546cd6ca24a511b0e7d1",
    "ind.cora.ty": "41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad",
    "ind.cora.ally": "2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71",
    "ind.cora.graph": "58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d",
    "ind.cora.test.index": "297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875",
}


def _planetoid(name: str, nodes: int, edges: int, features: int, outputs: int, sha256: dict[str, str]) -> Facts:
    spelling = PLANETOID[name]
    return Facts(
        title=f"{spelling}: papers, their words and their citations",
        task="node",
        target="class",
        metric="accuracy",
        shapes={"nodes": nodes, "edges": edges, "features": features, "outputs": outputs},
        split=f"public: {20 * outputs} train, 500 val, 1000 test nodes",
        source="https://github.com/kimiyoung/planetoid (Yang, Cohen, Salakhutdinov 2016; Sen et al. 2008)",
        licence="MIT (the Planetoid repository)",
        how_to_get=f"put the eight files ind.{name}.* of https://github.com/kimiyoung/planetoid into "
        f"<root>/planetoid/{spelling}/raw and pass root=<root>, or set $EDGENET_DATA to <root>.",
        sha256=sha256,
    )


#: by the names of ``DATASETS``, in their order
FACTS: dict[str, Facts] = {}
FACTS["digits"] = Facts(
    title="Digits: 1797 handwritten digits, each linked to its nearest neighbours",
    task="node",
    target="class",
    metric="accuracy",
    shapes={"nodes": 1797, "edges": 24678, "features": 64, "outputs": 10},
    split="by seed: 20 train and 30 val nodes per class, 1297 test nodes",
    source="sklearn.datasets.load_digits: test part of UCI Optical Recognition of Handwritten Digits (Alpaydin 1998)",
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
)
FACTS["karate"] = Facts(
    title="Karate club: 34 members, their friendships, 4 communities",
    task="node",
    target="class",
    metric="accuracy",
    shapes={"nodes": 34, "edges": 156, "features": 34, "outputs": 4},
    split="1 train node per class, 10 val and 20 test nodes by seed",
    source="Zachary 1977; communities by modularity (Kipf, Welling 2017), as PyG's KarateClub",
    licence="facts from a published paper",
)
FACTS["csbm"] = Facts(
    title="cSBM: two communities, seen through the graph and through the features",
    task="node",
    target="class",
    metric="accuracy",
    shapes={"nodes": 2000, "features": 400, "outputs": 2},
    split="by seed: 10 % train, 10 % val, 80 % test nodes",
    source="Deshpande, Sen, Montanari, Mossel 2018; the angle as in Chien, Peng, Li, Milenkovic 2021",
    licence="made here",
)
FACTS["source_localisation"] = Facts(
    title="Source localisation: in which community did this diffusion start?",
    task="signal",
    target="class",
    metric="accuracy",
    shapes={"nodes": 50, "features": 1, "outputs": 5, "train_signals": 2000, "val_signals": 500, "test_signals": 1000},
    split="by diffusion time: of every four, the first two train, the third val, the fourth test",
    source="Isufi, Gama, Ribeiro 2021 (EdgeNets), with noise and held-out times; the Facebook graph: SNAP ego-Facebook",
    licence="made here; the Facebook graph: SNAP asks to cite McAuley, Leskovec 2012",
    how_to_get=f"only graph='facebook' needs a file: put {FACEBOOK_FILE} (edge_index (2, 8016), num_nodes 234) into "
    f"<root>/graphs and pass root=<root>, or set $EDGENET_DATA to <root>; any other graph: graph='path/to/graph.npz'.",
    sha256={FACEBOOK_FILE: "9aac2b4878eea391a5ee5d1d869758b5b3c0cdbedaa28271c6c1546c7b81051e"},
)
FACTS["hidden_conductance"] = Facts(
    title="Hidden conductances: at which node did this diffusion start?",
    task="signal",
    target="class",
    metric="accuracy",
    shapes={
        "nodes": 100,
        "features": 1,
        "outputs": 100,
        "train_signals": 4000,
        "val_signals": 1000,
        "test_signals": 2000,
    },
    split="signals drawn apart, with noise of their own; nodes and diffusion times are those of all splits",
    source="made here, after source localisation in Isufi, Gama, Ribeiro 2021 (EdgeNets)",
    licence="made here",
)
FACTS["copying_memory"] = Facts(
    title="Copying memory: ten symbols, to be said again after a long wait",
    task="sequence",
    target="class",
    metric="accuracy",
    shapes={"steps": 220, "features": 10, "outputs": 9, "train_sequences": 1000},
    split="drawn apart, by seed",
    source="Hochreiter, Schmidhuber 1997; in this form Arjovsky, Shah, Bengio 2016",
    licence="made here",
)
FACTS["adding_problem"] = Facts(
    title="Adding problem: the sum of two marked numbers among many",
    task="sequence",
    target="value",
    metric="rmse",
    shapes={"steps": 200, "features": 2, "outputs": 1, "train_sequences": 1000},
    split="drawn apart, by seed",
    source="Hochreiter, Schmidhuber 1997; in this form Arjovsky, Shah, Bengio 2016",
    licence="made here",
)
FACTS["cora"] = _planetoid("cora", 2708, 10556, 1433, 7, _CORA_SHA256)
FACTS["citeseer"] = _planetoid("citeseer", 3327, 9104, 3703, 6, {})
FACTS["pubmed"] = _planetoid("pubmed", 19717, 88648, 500, 3, {})
FACTS["ppi"] = Facts(
    title="PPI: protein interactions in 24 human tissues",
    task="node",
    target="multilabel",
    metric="micro_f1",
    shapes={"graphs": 24, "nodes": 56944, "edges": 1587264, "features": 50, "outputs": 121},
    split="by graph: 20 train, 2 val, 2 test",
    source="https://arxiv.org/abs/1707.04638 (Zitnik, Leskovec 2017), in the layout of GraphSAGE and PyG",
    licence="not stated by its source; GraphSAGE's code is MIT",
    how_to_get="fetch https://data.dgl.ai/dataset/ppi.zip and put it, zipped, into <root>/ppi, or unzipped into "
    "<root>/ppi/raw; pass root=<root>, or set $EDGENET_DATA to <root>.",
    sha256={"ppi_pyg_raw_go2022.zip": "a0d4154aa94723bf8ed7224e715d3c9bd0cf9bca0a8ea495d6c297c8376b0e5e"},
)
FACTS["heterophilic"] = Facts(
    title="Heterophilic graphs: classes of nodes whose neighbours are mostly of other classes",
    task="node",
    target="class",
    metric="accuracy",
    shapes={},
    split="the files' own, one of ten; where there are none, 60 % train, 20 % val, 20 % test by seed",
    source="files in the layout of Pei et al. 2020 (Geom-GCN), as PyG's WebKB and WikipediaNetwork keep them",
    licence="the files': they are the user's, and never shipped here",
    how_to_get=f"put {WEBKB_NODES} and {WEBKB_EDGES} of a graph into <root>/<graph>/raw, and its splits "
    f"<graph>_split_*.npz beside them (https://github.com/graphdml-uiuc-jlu/geom-gcn, or what "
    f"torch_geometric.datasets.WebKB has downloaded); "
    f"pass root=<root>, or set $EDGENET_DATA to <root>.",
)
FACTS["movielens"] = Facts(
    title="MovieLens-100k: a user's rating of Star Wars from their other ratings",
    task="signal",
    target="value",
    metric="rmse",
    shapes={"nodes": 200, "features": 1, "outputs": 1, "train_signals": 473, "val_signals": 52, "test_signals": 58},
    split="by seed, users who rated the movie: 10 % test, 10 % of the rest val",
    source="https://grouplens.org/datasets/movielens/100k/ (Harper, Konstan 2015)",
    licence="GroupLens terms: no redistribution, no commercial use without permission; the file is never shipped here",
    how_to_get="fetch https://files.grouplens.org/datasets/movielens/ml-100k.zip, read the terms in it, and put its "
    "u.data into <root>/movielens; pass root=<root>, or set $EDGENET_DATA to <root>.",
)
FACTS["metr_la"] = Facts(
    title="METR-LA: a week of speeds at 207 sensors on highways, and the speeds 15 minutes later",
    task="sequence",
    target="value",
    metric="mae",
    shapes={"nodes": 207, "steps": 12, "features": 1, "outputs": 1, "edges": 2626},
    split="by time: the first 70 % of the week train, the next 10 % val, the last 20 % test",
    source="DCRNN (Li, Yu, Shahabi, Liu 2018), github.com/liyaguang/DCRNN; data of Jagadish et al. 2014",
    licence="not stated by its publishers; the file is never shipped here",
    how_to_get="METR-LA is published with DCRNN (https://github.com/liyaguang/DCRNN). Save a week of speeds (2016, 207)"
    f" and the adjacency (207, 207) as speed_mph and adj_dcrnn into {METR_LA_FILE}, and pass root=<its folder>, or set "
    "$EDGENET_DATA to it.",
    sha256={METR_LA_FILE: "caea54d74597792e02880dd53c5c5ef8e906e65627b7fbf545d0ee6ddbe5881f"},
)
FACTS["chickenpox"] = Facts(
    title="Chickenpox in Hungary: weekly cases of 20 counties, and those of the next week",
    task="sequence",
    target="value",
    metric="rmse",
    shapes={"nodes": 20, "steps": 8, "features": 1, "outputs": 1, "edges": 82},
    split="by time: the first 70 % of the weeks train, the next 10 % val, the last 20 % test",
    source="Rozemberczki, Scherer, Kiss, Sarkar, Ferenci 2021; github.com/benedekrozemberczki/spatiotemporal_datasets",
    licence="CC BY 4.0 (UCI Machine Learning Repository, Hungarian Chickenpox Cases)",
    how_to_get="fetch https://raw.githubusercontent.com/benedekrozemberczki/pytorch_geometric_temporal/master/dataset/"
    "chickenpox.json into <root>, as it is or packed by gzip; pass root=<root>, or set $EDGENET_DATA to <root>.",
    sha256={CHICKENPOX_FILES[0]: "9c42fe4d795a7c049c4f397dc420ec3fda31edcbb0e2bf47065a31055beda9c9"},
)
FACTS["graph_process"] = Facts(
    title="Graph process: the next step of a vector autoregression whose weights stand on the edges of a graph",
    task="sequence",
    target="value",
    metric="rmse",
    shapes={"nodes": 20, "steps": 4, "features": 1, "outputs": 1},
    split="by time: the first 70 % of the steps train, the next 10 % val, the last 20 % test",
    source="a first-order vector autoregression; the model is that of Mei, Moura 2017 with one step of memory",
    licence="made here",
)
FACTS["tinyshakespeare"] = Facts(
    title="Tiny Shakespeare: the next character of a play",
    task="sequence",
    target="class",
    metric="bits",
    shapes={"steps": 64, "features": 65, "outputs": 65, "train_sequences": 15685},
    split="first 90 % of the characters train, the next 5 % test, the last 5 % val",
    source="github.com/karpathy/char-rnn (Karpathy 2015), data/tinyshakespeare/input.txt",
    licence="the text is in the public domain",
    how_to_get="fetch https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt, and "
    "put it into <root>/tinyshakespeare; pass root=<root>, or set $EDGENET_DATA to <root>.",
)
FACTS["frame_labels"] = Facts(
    title="Frame labels: digits in a row, a label for every column of pixels",
    task="sequence",
    target="class",
    metric="accuracy",
    shapes={
        "steps": 80,
        "features": 28,
        "outputs": 10,
        "train_sequences": 1000,
        "val_sequences": 250,
        "test_sequences": 2500,
    },
    split="of MNIST's images, each in one sequence: 4,000 train, 1,000 val; its 10,000 test images",
    source="made of MNIST (LeCun, Bottou, Bengio, Haffner 1998), as frames of speech have phones for labels",
    licence="CC BY-SA 3.0 (MNIST)",
    how_to_get=MNIST_HOW,
)
FACTS["pixel_mnist"] = Facts(
    title="Pixel MNIST: digits read pixel by pixel, in an order that a seed draws",
    task="sequence",
    target="class",
    metric="accuracy",
    shapes={
        "steps": 196,
        "features": 1,
        "outputs": 10,
        "train_sequences": 4_000,
        "val_sequences": 1_000,
        "test_sequences": 10_000,
    },
    split="5,000 of MNIST's training images: 4,000 train, 1,000 val; its 10,000 test images",
    source="LeCun, Bottou, Bengio, Haffner 1998; as sequences Le, Jaitly, Hinton 2015, arXiv:1504.00941",
    licence="CC BY-SA 3.0 (MNIST)",
    how_to_get=MNIST_HOW,
)
