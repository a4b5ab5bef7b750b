"""Every reader of the library: a good file for each, how it is damaged, how it is read, and what a legal result is.

A case's ``read(folder)`` gives a text that stands for what was read; where a result can be written and read again, it
is, and must come back the same, which only a legal file does.
"""

# ruff: noqa: E501  a reader a line
import gzip
import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import networkx
import numpy as np
import safetensors.torch
import torch
from torch import nn
from torch_geometric.data import Data

import edgenet
from edgenet import checkpoint, reading
from edgenet.compress import Plan, Report, compress_, report
from edgenet.config import RunConfig
from edgenet.data import chickenpox, heterophilic, movielens, plain_pickle, read_graph
from edgenet.data.own.learned import Learned
from edgenet.errors import CheckpointError, DataError
from edgenet.models import NodeClassifier
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.pretrained.folder import checksum
from edgenet.selection import RemovalPlan
from edgenet.train import Callback, read_metrics, read_result, run

from reliability import fuzz_mutations as ways  # isort: skip
from data.test_ppi import raw_files, write_zip  # isort: skip
from train.small_data import config, nodes  # isort: skip


@dataclass(frozen=True)
class Case:
    """
    Attributes:
        file: the one that is damaged, in a folder that ``make`` fills.
        damage: ``damage(data, rng)``.
        mend: makes checksums fit again, ``mend(folder)``.
        share: of the files that others get, where reading takes long.
    """

    file: str
    make: Callable
    read: Callable
    damage: Callable
    mend: Callable = lambda folder: None
    share: float = 1.0


def said(value):
    """A text for any nested value, by what is in its tensors."""
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy() if value.dtype != torch.bfloat16 else value.float().detach().numpy()
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:12]}"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key!r}:{said(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}(" + ",".join(map(said, value)) + ")"
    return repr(value)


def same(one, other):
    assert said(one) == said(other), "it does not come back as it was read"
    return said(one)


# ---------------------------------------------------------------- trainings
class Stop(Callback):
    def __init__(self, at=0):
        self.at = at

    def penalty(self, training):
        if training.epoch == self.at:
            raise KeyboardInterrupt


def stopped(folder):
    settings = config("gat", out=str(folder / "run"), scheduler__name="cosine")
    try:
        run(settings, dataset=nodes(), progress=False, callbacks=[Stop(5)])
    except KeyboardInterrupt:
        return


def read_state(folder):
    state = checkpoint.load(folder / "run/seed-0/checkpoint.pt")
    checkpoint.save(folder / "again.pt", state)
    return same(state, checkpoint.load(folder / "again.pt"))


def gone_on(folder):
    settings = config("gat", out=str(folder / "run"), scheduler__name="cosine")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = run(settings, dataset=nodes(), progress=False, resume=True, callbacks=[Stop()])
    assert result.seeds[0].epochs == 6
    return said([result.seeds[0].val, result.seeds[0].test])


def in_state(data, rng):
    """The state in a checkpoint is another, and written as edgenet writes it."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "state.pt"
        file.write_bytes(data)
        state = ways.changed(checkpoint.load(file), rng)
        try:
            checkpoint.save(file, state)
        except (CheckpointError, ValueError):
            return ways.damaged(data, rng)
        return file.read_bytes()


def either(*choices):
    return lambda data, rng: rng.choice(choices)(data, rng)


# ---------------------------------------------------------------- models
def made_model(folder):
    model = nn.Sequential(NodeClassifier(6, 4, layer="gat", hidden_channels=4), nn.LSTM(4, 4), nn.Linear(4, 4))
    compress_(model, {"2": {"structure": "kronecker", "factor": (2, 2)}, r"1\.weight_hh": {"structure": "low_rank", "rank": 1}})
    save_pretrained(model, folder / "model")


def read_model(folder):
    model = from_pretrained(folder / "model")
    save_pretrained(model, folder / "again")
    return same(dict(model.state_dict()), dict(from_pretrained(folder / "again").state_dict()))


def mend_model(folder):
    """The checksums of tensors and configuration fit, if there is a configuration at all."""
    file, tensors = folder / "model/config.json", folder / "model/model.safetensors"
    try:
        told = json.loads(file.read_bytes())
        told["sha256"] = hashlib.sha256(tensors.read_bytes()).hexdigest()
        told["checksum"] = checksum(told)
        file.write_text(json.dumps(told))
    except (ValueError, TypeError, RecursionError, AttributeError):
        pass


def made_state(folder):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 8), nn.LSTM(8, 8))
    compress_(model, {"0": {"structure": "low_rank", "rank": 2}, "1": {"structure": "tensor_train", "rank": 2}, "2": {"structure": "block_circulant", "block": 4}})
    checkpoint.save(folder / "state.pt", dict(model.state_dict()))
    (folder / "plan.json").write_bytes(bytes(model.state_dict()["1.weight._extra_state"].tolist()))


def read_plan_in_state(folder):
    state = checkpoint.load(folder / "state.pt")
    text = (folder / "plan.json").read_bytes()
    state["1.weight._extra_state"] = torch.tensor(list(text), dtype=torch.uint8)
    model = nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 8), nn.LSTM(8, 8))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:  # torch's own, of a state that does not fit
        if "Error(s) in loading state_dict" not in str(error):
            raise
        raise CheckpointError("torch: the state does not fit") from error
    return said(dict(model.state_dict()))


# ---------------------------------------------------------------- data of one's own
def made_own(folder):
    index = torch.arange(12)
    data = Data(x=torch.randn(12, 2), edge_index=torch.stack([index, (index + 1) % 12]), y=index % 2)
    torch.save(data, folder / "one.pt")
    arrays = {"x": data.x.numpy(), "edge_index": data.edge_index.numpy(), "y": data.y.numpy()}
    np.savez(folder / "one.npz", **arrays)
    np.savez_compressed(folder / "graph.npz", **arrays)
    (folder / "table").mkdir()
    rows = "\n".join(f"n{a},n{b},{0.5 * a}" for a, b in data.edge_index.T.tolist())
    (folder / "table/edges.csv").write_text(f"source,target,worth\n{rows}\n")
    (folder / "table/nodes.csv").write_text("id,age,label\n" + "\n".join(f"n{a},{a}.5,{'ab'[a % 2]}" for a in range(12)))
    graph = networkx.path_graph(12)
    networkx.set_node_attributes(graph, {n: {"label": n % 2, "f": 0.5 * n} for n in graph})
    networkx.write_graphml(graph, folder / "one.graphml")
    learned = edgenet.data.load(str(folder / "table")).info["learned"]
    (folder / "data.json").write_text(json.dumps(learned))


def own(name):
    def read(folder):
        dataset = edgenet.data.load(str(folder / name))
        for data in [*dataset.train, *dataset.val, *dataset.test]:
            assert torch.isfinite(data.x).all() and len(data.x) == data.num_nodes
            assert not data.edge_index.numel() or 0 <= data.edge_index.min() <= data.edge_index.max() < data.num_nodes
        return said([dict(dataset.train[0].to_dict()), dataset.num_outputs])

    return read


def read_learned(folder):
    learned = Learned.read(folder / "data.json")
    return same(learned, Learned.from_dict(json.loads(json.dumps(learned.to_dict())), "again"))


# ---------------------------------------------------------------- settings and reports
PLAN = '[[rule]]\npattern = "convs.0.lift"\nstructure = "kronecker"\nfactor = [2, 2]\n\n[[rule]]\npattern = ".*"\nstructure = "keep"\n'
REMOVAL = '[[layer]]\nname = "convs.0"\ntaps = [[0, 1], [1, 1]]\n'
RUN = '[dataset]\nname = "karate"\n[model]\nlayer = "gat"\nhidden_channels = 8\n[optimizer]\nlr = 0.01\ndecay_on = {"convs.0" = 0.1}\n[training]\nepochs = 2\nseeds = [0, 1]\n'


def written(name, text):
    return lambda folder: (folder / name).write_text(text() if callable(text) else text)


def read_plan(folder):
    plan = Plan.from_toml(folder / "plan.toml")
    (folder / "again.toml").write_text(plan.to_toml())
    model = NodeClassifier(6, 4, layer="gat", hidden_channels=4)
    compress_(model, plan)
    return same(plan.rules, Plan.from_toml(folder / "again.toml").rules)


def read_config(folder):
    made = RunConfig.from_toml(folder / "run.toml")
    (folder / "again.toml").write_text(made.to_toml())
    return same(made.to_dict(), RunConfig.from_toml(folder / "again.toml").to_dict())


def read_report(folder):
    made = Report.from_json(reading.content(folder / "report.json", reading.TEXT, CheckpointError))
    str(made), made.to_markdown()
    return same(made.rows, Report.from_json(made.to_json()).rows)


def finished(folder):
    settings = config("gat", out=str(folder / "run"))
    run(settings, dataset=nodes(), progress=False)


# ---------------------------------------------------------------- data sets
def pickled(folder):
    import pickle

    (folder / "x.pkl").write_bytes(pickle.dumps({0: [1, 2], 1: [0, 3], 2: [5]}, 2))
    (folder / "a.pkl").write_bytes(pickle.dumps(np.arange(12.0).reshape(3, 4), 2))


def counties(folder):
    content = {"FX": np.arange(521 * 20).reshape(521, 20).tolist(), "edges": [[0, 1], [1, 0], [2, 2]]}
    (folder / "chickenpox.json.gz").write_bytes(gzip.compress(json.dumps(content).encode(), 1))


def texas(folder):
    (folder / "n.txt").write_text("id\tfeatures\tlabel\n" + "\n".join(f"{k}\t0,1,{k}\t{k % 3}" for k in range(9)))
    (folder / "e.txt").write_text("a\tb\n" + "\n".join(f"{k}\t{(k + 1) % 9}" for k in range(9)))


def read_texas(folder):
    features, classes = heterophilic.read_nodes(folder / "n.txt")
    return said([features, classes, heterophilic.read_edges(folder / "e.txt", len(classes))])


def tensors(folder):
    safetensors.torch.save_file({"a": torch.arange(6.0), "b": torch.ones(2, 3, dtype=torch.int8)}, folder / "x.safetensors")


def read_tensors(folder):
    data = (folder / "x.safetensors").read_bytes()
    found = reading.parse_tensors(data, folder / "x.safetensors", DataError)
    assert set(found) == set(reading.read_index(folder / "x.safetensors", DataError))
    return same(found, reading.parse_tensors(safetensors.torch.save(found), folder, DataError))


STATE, RESULT, METRICS = "run/seed-0/checkpoint.pt", "run/seed-0/result.json", "run/seed-0/metrics.jsonl"
CASES = {
    "checkpoint": Case(STATE, stopped, read_state, either(ways.in_zip, in_state, ways.damaged)),
    "resumed training": Case(STATE, stopped, gone_on, either(in_state, in_state, in_state, ways.in_zip), share=0.3),
    "metrics of a resumed training": Case(METRICS, stopped, gone_on, ways.in_text, share=0.3),
    "config of a model": Case("model/config.json", made_model, read_model, either(ways.in_json, ways.in_json, ways.damaged), mend_model),
    "tensors of a model": Case("model/model.safetensors", made_model, read_model, ways.in_safetensors, mend_model),
    "model, checksums as they are": Case("model/model.safetensors", made_model, read_model, ways.damaged),
    "safetensors": Case("x.safetensors", tensors, read_tensors, ways.in_safetensors),
    "plan in a state": Case("plan.json", made_state, read_plan_in_state, either(ways.in_json, ways.in_json, ways.damaged)),
    "npz": Case("one.npz", made_own, own("one.npz"), ways.in_zip),
    "pt": Case("one.pt", made_own, own("one.pt"), ways.in_zip),
    "csv": Case("table/edges.csv", made_own, own("table"), ways.in_text),
    "csv of nodes": Case("table/nodes.csv", made_own, own("table"), ways.in_text),
    "graphml": Case("one.graphml", made_own, own("one.graphml"), ways.in_text),
    "data.json": Case("data.json", made_own, read_learned, either(ways.in_json, ways.damaged)),
    "graph.npz": Case("graph.npz", made_own, lambda folder: said(dict(read_graph(folder / "graph.npz").to_dict())), ways.in_zip),
    "plan": Case("plan.toml", written("plan.toml", PLAN), read_plan, ways.in_text),
    "removal plan": Case("plan.toml", written("plan.toml", REMOVAL), lambda folder: said(str(RemovalPlan.from_toml(folder / "plan.toml"))), ways.in_text),
    "config of a run": Case("run.toml", written("run.toml", RUN), read_config, ways.in_text),
    "result.json": Case(RESULT, finished, lambda folder: said(vars(read_result(folder / "run/seed-0"))), either(ways.in_json, ways.damaged)),
    "metrics.jsonl": Case(METRICS, finished, lambda folder: said(read_metrics(folder / METRICS)), ways.in_text),
    "report.json": Case("report.json", written("report.json", lambda: report(nn.Linear(3, 8)).to_json()), read_report, either(ways.in_json, ways.damaged)),
    "pickle of lists": Case("x.pkl", pickled, lambda folder: said(plain_pickle.read_pickle(folder / "x.pkl")), ways.damaged),
    "pickle of an array": Case("a.pkl", pickled, lambda folder: said(plain_pickle.read_pickle(folder / "a.pkl")), ways.damaged),
    "ppi": Case("ppi.zip", lambda folder: write_zip(folder / "ppi.zip", raw_files()), lambda folder: said([dict(d.to_dict()) for d in edgenet.data.load("ppi", root=folder / "ppi.zip", cache=False).train]), ways.in_zip),
    "chickenpox": Case("chickenpox.json.gz", counties, lambda folder: said(chickenpox.read(folder / "chickenpox.json.gz")), ways.in_gzip),
    "movielens": Case("u.data", written("u.data", "\n".join(f"{u}\t{m}\t{1 + (u + m) % 5}\t88" for u in range(1, 9) for m in range(1, 6))), lambda folder: said(movielens.read_ratings(folder / "u.data")), ways.in_text),
    "nodes of heterophilic": Case("n.txt", texas, read_texas, ways.in_text),
    "edges of heterophilic": Case("e.txt", texas, read_texas, ways.in_text),
}  # fmt: skip
