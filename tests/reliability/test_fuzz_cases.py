"""Small files that would cost gigabytes, minutes or the process: each is refused under a limit of memory and time."""

import collections
import gzip
import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch_geometric.data import Data

import edgenet
from edgenet import checkpoint, reading
from edgenet.compress import Plan
from edgenet.config import RunConfig
from edgenet.convert.published import gat_cora
from edgenet.data import chickenpox, read_graph
from edgenet.errors import CheckpointError
from edgenet.models import AggregationNetwork, NodeClassifier
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.train import run

from data.test_ppi import npy, raw_files, write_zip  # isort: skip
from pretrained.test_refusals import rewrite  # isort: skip
from reliability.fuzz_child import bounded  # isort: skip
from train.small_data import nodes  # isort: skip


def refused(work, file, *says, seconds=10):
    outcome = bounded(work, file.stat().st_size, seconds)
    assert outcome.kind == "refused" and all(text in outcome.text for text in says), outcome


# ---------------------------------------------------------------- checkpoints and files of torch
def crafted(path, pickled, storages=((b"0" * 64),), packing=zipfile.ZIP_STORED):
    """A file of torch.save around a pickle of one's own."""
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("x/data.pkl", pickled)
        archive.writestr("x/byteorder", b"little")
        for number, content in enumerate(storages):
            archive.writestr(f"x/data/{number}", content)


def tensor(numbers=16, size=(16,), stride=(1,), offset=0, storage="FloatStorage"):
    """The opcodes of a tensor: a call of torch._utils._rebuild_tensor_v2."""
    ints = {name: b"(" + b"".join(b"I%d\n" % n for n in values) + b"t" for name, values in
            (("size", size), ("stride", stride))}  # fmt: skip
    stored = b"(X\x07\x00\x00\x00storagectorch\n" + storage.encode() + b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    stored += b"I%d\ntQ" % numbers
    ends = b"I%d\n" % offset + ints["size"] + ints["stride"] + b"\x89ccollections\nOrderedDict\n)RtR"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + stored + ends


def state(value):
    """The pickle of a checkpoint with one tensor."""
    told = json.dumps({"$tensor": "a"})
    head = pickle.dumps({"format": 1, "json": told}, 2)[:-1]  # without its end
    return head + b"X\x07\x00\x00\x00tensors}X\x01\x00\x00\x00a" + value + b"ss."


TORCH = {
    "a tensor": (tensor(), None),
    "a view of stride 0": (tensor(size=(3 * 10**8,), stride=(0,)), "more than a file of its size may show"),
    "a view of more numbers than there are": (tensor(size=(17,)), "beyond its 16 numbers"),
    "a view that begins beyond the end": (tensor(offset=10**15), "beyond its 16 numbers"),
    "a record shorter than is claimed": (tensor(numbers=10**9, size=(10**9,)), "that have 64 bytes"),
    "a negative size": (tensor(size=(-1,)), "a tensor of size"),
    "a size without end": (tensor(size=(2**62,), stride=(0,)), "a tensor of size"),
    "numbers of an unknown kind": (tensor(storage="Tensor"), "torch.Tensor"),
    "memory by a call": (b"c__builtin__\nbytearray\nI10000000000\n\x85R", "__builtin__.bytearray"),
    "a tensor by a call": (b"ctorch\nFloatTensor\nI10000000000\n\x85R", "torch.FloatTensor"),
    "code": (b"cos\nsystem\nX\x02\x00\x00\x00ls\x85R", "os.system"),
    "tuples without end": (b")" + b"\x85" * 100_000, "deep inside each other"),
    "a deep key": (b"})" + b"\x85" * 100_000 + b"Ns", "neither text nor a whole number"),
}


@pytest.mark.parametrize("case", TORCH)
def test_a_checkpoint_that_asks_for_what_it_has_not(tmp_path, case):
    value, says = TORCH[case]
    crafted(tmp_path / "state.pt", state(value))
    if says is None:
        assert checkpoint.load(tmp_path / "state.pt").shape == (16,)
        return
    refused(lambda: str(checkpoint.load(tmp_path / "state.pt")), tmp_path / "state.pt", "state.pt", says)


def test_a_checkpoint_that_is_packed_or_has_a_member_twice(tmp_path):
    file = tmp_path / "state.pt"
    crafted(file, state(tensor()), [b"0" * (100 << 20)], zipfile.ZIP_DEFLATED)
    refused(lambda: str(checkpoint.load(file)), file, "state.pt", "is compressed")
    crafted(file, state(tensor()))
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(file, "a") as archive:
        archive.writestr("x/data.pkl", b"N.")
    refused(lambda: str(checkpoint.load(file)), file, "two members have one name")


def test_views_and_sparse_tensors_of_a_graph_are_bounded(tmp_path):
    file, edges = tmp_path / "one.pt", torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    y = torch.tensor([0, 1, 0, 1])

    def load():
        return str(edgenet.data.load(str(file), split="0.5,0.25,0.25").num_outputs)

    torch.save(Data(x=torch.ones(4, 1).expand(4, 3), edge_index=edges, y=y), file)
    assert load() == "2"
    sparse = torch.eye(4).to_sparse()
    torch.save(Data(x=sparse, edge_index=edges, y=y), file)
    assert load() == "2"
    for x in (torch.ones(1, 1).expand(4, 10**9),
              torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.int64), torch.ones(1), (4, 10**12))):  # fmt: skip
        torch.save(Data(x=x, edge_index=edges, y=y), file)
        refused(load, file, "one.pt", "more than a file of its size may show")


# ---------------------------------------------------------------- arrays and archives
def huge(shape):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [(999999999999,), (10**9, 0, 10**10), (2**62, 4)])
def test_arrays_that_claim_more_than_there_is(tmp_path, shape):
    file = tmp_path / "one.npz"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("edge_index.npy", huge(shape))
    for read in (lambda: edgenet.data.load(str(file)), lambda: read_graph(file), lambda: gat_cora(file)):
        refused(read, file, "one.npz")


def test_a_packed_file_that_unpacks_to_gigabytes(tmp_path):
    file = tmp_path / "one.npz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("edge_index.npy", npy(np.zeros((2, 3), np.int64)))
        archive.writestr("x.npy", huge((3, 10**7)) + bytes(240_000_000))
    refused(lambda: read_graph(file), file, "one.npz", "unpack to 240", "store them unpacked")


def test_a_padded_data_set(tmp_path):
    files = raw_files()
    write_zip(tmp_path / "ppi.zip", {**files, "train_graph.json": files["train_graph.json"] + b" " * (100 << 20)})
    load = lambda: str(edgenet.data.load("ppi", root=tmp_path / "ppi.zip", cache=False))  # noqa: E731
    refused(load, tmp_path / "ppi.zip", "ppi.zip", "unpack to")
    file = tmp_path / "chickenpox.json.gz"
    file.write_bytes(gzip.compress(b"{" + b" " * (100 << 20), 1))
    refused(lambda: str(chickenpox.read(file)), file, "chickenpox.json.gz", "unpack to more than")


@pytest.mark.parametrize("index", [{"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}},
                                   {"a": {"dtype": "F32", "shape": [10**30], "data_offsets": [0, 4]}},
                                   {"a": {"dtype": "F4", "shape": [1], "data_offsets": [0, 4]}},
                                   {"a": 3}, [], {"a": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}])  # fmt: skip  # noqa: E501
def test_an_index_of_tensors_that_claims_more_than_there_is(tmp_path, index):
    file, text = tmp_path / "model.safetensors", json.dumps(index).encode()
    for length in (len(text), 10**15, 2**64 - 1):
        file.write_bytes(length.to_bytes(8, "little") + text + b"0000")
        refused(lambda: str(reading.read_index(file, CheckpointError)), file, "model.safetensors")


def test_the_reader_of_tensors_agrees_with_safetensors(tmp_path):
    kinds = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.bool)
    held = {str(kind): (torch.arange(12).reshape(3, 4) % 2).to(kind) for kind in kinds}
    held |= {"none": torch.zeros(0, 3), "one": torch.tensor(2.0)}
    safetensors.torch.save_file(held, tmp_path / "x.safetensors")
    found = reading.parse_tensors((tmp_path / "x.safetensors").read_bytes(), tmp_path, CheckpointError)
    assert found.keys() == held.keys()
    assert all(torch.equal(found[name], held[name]) and found[name].dtype == held[name].dtype for name in held)


# ---------------------------------------------------------------- models
MODELS = {
    "channels": (lambda: (NodeClassifier(6, 4, layer="gat", num_layers=3), AggregationNetwork(1, 2, nodes=(0, 1), length=16)),  # noqa: E501
                 "hidden_channels", 20_000, "numbers on the way"),
    "layers": (lambda: (NodeClassifier(6, 4, layer="gat"),), "num_layers", 10**8, "modules"),
    "layers of an LSTM": (lambda: (nn.LSTM(4, 4),), "num_layers", 10**7, "tensors"),
    "inputs": (lambda: (nn.Linear(4, 2),), "in_features", 10**12, "do not fit the model"),
}  # fmt: skip


@pytest.mark.parametrize("case", MODELS)
def test_a_described_model_that_would_not_end(tmp_path, case):
    make, key, value, says = MODELS[case]
    save_pretrained(nn.ModuleList(make()), tmp_path / "model")
    rewrite(tmp_path / "model", lambda config: config["tree"]["children"]["0"]["arguments"].update({key: value}))
    refused(lambda: str(from_pretrained(tmp_path / "model")), tmp_path / "model/config.json", str(tmp_path), says)


@pytest.mark.parametrize("table", [{"layer": "gat", "num_layers": 10**8}, {"layer": "gat", "hidden_channels": 10**11}])
def test_a_configured_model_that_would_not_end(tmp_path, table):
    tables = {"dataset": {"name": "karate"}, "model": table, "training": {"epochs": 1}}
    (tmp_path / "x").write_text(json.dumps(tables))
    refused(lambda: run(RunConfig.from_dict(tables), dataset=nodes(), progress=False), tmp_path / "x")


def test_a_plan_whose_pattern_would_not_end(tmp_path):
    (tmp_path / "plan.toml").write_text('[[rule]]\npattern = "((.*)*)*!"\nstructure = "low_rank"\nrank = 1\n')
    model = NodeClassifier(6, 4, layer="gat")
    work = lambda: str(edgenet.compress.compress_(model, Plan.from_toml(tmp_path / "plan.toml")))  # noqa: E731
    refused(work, tmp_path / "plan.toml", "matches no slot")


def test_definitions_in_graphml_are_not_followed(tmp_path):
    entities = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(9))
    file = tmp_path / "one.graphml"
    file.write_text(f'<!DOCTYPE x [<!ENTITY a0 "ha">{entities}]><graphml><graph id="&a9;"/></graphml>')
    refused(lambda: str(edgenet.data.load(str(file))), file, "one.graphml", "defines entities")
    file.write_text("<a>" * 100_000)
    refused(lambda: str(edgenet.data.load(str(file))), file, "one.graphml", "deep in each other")


def test_whatever_is_counted_here_is_counted_in_a_child():
    """The limits bite: a work that takes more, never ends or dies is told apart."""
    found = collections.Counter(
        bounded(work, 0, seconds=2).kind
        for work in (lambda: len(bytearray(1 << 30)), lambda: [None for _ in iter(int, 1)], os.abort, lambda: 1 / 0)
    )
    assert found["crash"] == 1 and found["raw"] == 1 and found["memory"] >= 1 and found["memory"] + found["hang"] == 2
