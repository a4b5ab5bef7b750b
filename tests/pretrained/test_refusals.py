"""Files that are damaged, crafted or of another model: a CheckpointError says so, and nothing is loaded."""

import copy
import hashlib
import json
import os

import pytest
import safetensors.torch
import torch
from torch import nn

from edgenet.compress import compress_
from edgenet.errors import CheckpointError
from edgenet.models import NodeClassifier
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.pretrained.folder import checksum
from edgenet.pretrained.short_tree import lengthened
from edgenet.structured import StructuredLinear, Unitary
from edgenet.testing import GRAPHS

GRAPH = GRAPHS["path"]


@pytest.fixture
def folder(tmp_path):
    """A model with a Kronecker matrix, a table of edge weights and an LSTM with a matrix behind its tensor."""
    model = nn.ModuleDict(
        {
            "net": NodeClassifier(6, 4, layer="edge_varying", hidden_channels=4).bind(GRAPH),
            "cell": nn.LSTM(4, 4),
            "head": nn.Linear(4, 4),
        }
    )
    low = {"structure": "low_rank", "rank": 1}
    plan = {"head": {"structure": "kronecker", "factor": (2, 2)}, "cell.weight_hh": low}
    compress_(model, plan)
    save_pretrained(model, tmp_path / "model")
    return tmp_path / "model"


def rewrite(folder, change=lambda config: None, tensors=lambda tensors: None):
    """Change the files so that they fit each other, as whoever means harm would."""
    config = json.loads((folder / "config.json").read_text())
    numbers = safetensors.torch.load_file(folder / "model.safetensors")
    tensors(numbers)
    data = safetensors.torch.save({name: t.contiguous() for name, t in numbers.items()}, {"format": "pt"})
    (folder / "model.safetensors").write_bytes(data)
    config["sha256"] = hashlib.sha256(data).hexdigest()
    config["tree"] = lengthened(config["tree"])
    change(config)
    if isinstance(config.get("checksum"), str):
        config["checksum"] = checksum(config)
    (folder / "config.json").write_text(json.dumps(config))


def refused(folder, *says, **options):
    with pytest.raises(CheckpointError) as error:
        from_pretrained(folder, **options)
    for text in says:
        assert text in str(error.value), str(error.value)
    assert "\n" not in str(error.value) and str(error.value).count(str(folder)) == 1


def test_what_was_rewritten_without_a_change_is_loaded(folder):
    rewrite(folder)
    from_pretrained(folder)


# ---------------------------------------------------------------- files
def test_a_folder_without_a_model(tmp_path):
    refused(tmp_path, "is no saved model")
    refused(tmp_path / "nowhere", "is no saved model")


def test_tensors_that_are_missing_or_cut_short_anywhere(folder):
    data = (folder / "model.safetensors").read_bytes()
    for keep in (0, 3, 8, 50, len(data) // 2, len(data) - 1):
        (folder / "model.safetensors").write_bytes(data[:keep])
        refused(folder, "model.safetensors", "cut short")
    (folder / "model.safetensors").unlink()
    refused(folder, "no such file")


def test_every_single_flipped_byte_is_found(folder):
    data = (folder / "model.safetensors").read_bytes()
    for place in range(0, len(data), 97):
        broken = bytearray(data)
        broken[place] ^= 1
        (folder / "model.safetensors").write_bytes(broken)
        refused(folder, "model.safetensors")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "nul", '{"format": 1', "[" * 100_000, '{"a": 1}', "\udcff"])
def test_a_config_that_is_no_json_of_ours(folder, text):
    (folder / "config.json").write_text(text, errors="surrogateescape")
    refused(folder, "config.json")


@pytest.mark.parametrize("version", [0, 3, "1", 1.0, None, True])
def test_another_format_version(folder, version):
    rewrite(folder, lambda config: config.update(format=version))
    refused(folder, "format version", "reads versions 1 and 2")


FIELDS = ["tree", "tied", "frozen", "pools", "graphs", "complex", "file", "sha256", "checksum"]


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_is_missing_or_of_another_kind(folder, field):
    before = (folder / "config.json").read_text()
    rewrite(folder, lambda config: config.update({field: 3}))
    refused(folder, field)
    if field in ("tree", "file", "sha256", "checksum"):  # the others are left out where they are empty
        (folder / "config.json").write_text(before)
        rewrite(folder, lambda config: config.pop(field))
        refused(folder, field)


def test_a_config_that_was_changed_by_hand(folder):
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"hidden_channels":4', '"hidden_channels":5'))
    refused(folder, "config.json", "its checksum differs")
    rewrite(folder)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "model.bin", "model-0123.safetensors", ""])
def test_a_file_of_tensors_that_is_none_of_the_folder(folder, name):
    rewrite(folder, lambda config: config.update(file=name))
    refused(folder, "no name of a file of tensors")


def test_a_node_like_a_first_one_that_is_not_there(folder):
    rewrite(folder, lambda config: node(config, "cell").update(like_first=True))
    refused(folder, "none stands before it")


def test_tensors_of_another_save(folder):
    before = (folder / "model.safetensors").read_bytes()
    again = from_pretrained(folder)
    again["head"].bias.data.add_(1)
    save_pretrained(again, folder)
    (folder / json.loads((folder / "config.json").read_text())["file"]).write_bytes(before)
    refused(folder, "checksum differs")


# ---------------------------------------------------------------- tensors that do not fit
@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.pop("head.bias"),
        lambda t: t.update(extra=torch.zeros(2)),
        lambda t: t.update({"head.bias": torch.zeros(5)}),
        lambda t: t.update({"head.bias": torch.zeros(4, dtype=torch.long)}),
        lambda t: t.update({"cell.parametrizations.weight_hh_l0.0.matrix.left": torch.zeros(16, 2)}),
        lambda t: t.update({"net.convs.0.phi.where.source": torch.zeros(8)}),
        lambda t: t.update({"net.convs.0.phi.where.num_nodes": torch.tensor(4)}),
        lambda t: t.update({"net.convs.0.phi.edge_table.weight": torch.zeros(8, 3)}),
    ],
)
def test_tensors_that_do_not_fit(folder, change):
    rewrite(folder, tensors=change)
    refused(folder)


# ---------------------------------------------------------------- trees
def node(config, *path):
    tree = config["tree"]
    for name in path:
        tree = tree["children"][name]
    return tree


CHANGES = {
    "unknown class": (lambda c: node(c, "head").update({"class": "os.system"}), "os.system"),
    "a class of torch that is not listed": (lambda c: node(c, "cell").update({"class": "torch.nn.Module"}), "no class"),
    "unknown structure": (lambda c: node(c, "head", "weight").update(structure="magic"), "magic"),
    "no structure": (lambda c: node(c, "head", "weight").update(structure=None), "head.weight"),
    "unknown option": (lambda c: node(c, "head", "weight")["config"].update(colour=1), "head.weight"),
    "unknown argument": (lambda c: node(c, "cell")["arguments"].update(colour=1), "colour"),
    "argument of another kind": (lambda c: node(c, "cell")["arguments"].update(input_size="4"), "cell"),
    "unknown function": (lambda c: node(c, "cell")["arguments"].update(bias={"$function": "os.system"}), "os.system"),
    "unknown mark": (lambda c: node(c, "cell")["arguments"].update(bias={"$eval": "1"}), "$eval"),
    "unknown key": (lambda c: node(c, "cell").update(code="1"), "says nothing"),
    "attribute that is none": (lambda c: node(c, "cell").update(attributes={"forward": 1}), "forward"),
    "attribute of every module": (lambda c: node(c, "cell").update(attributes={"_modules": {}}), "_modules"),
    "attribute with underscores": (lambda c: node(c, "cell").update(attributes={"__class__": 1}), "__class__"),
    "tensor that is a method": (lambda c: node(c, "cell").update(tensors={"forward": "buffer"}), "forward"),
    "tensor of no kind": (lambda c: node(c, "cell").update(tensors={"weight_ih_l0": "secret"}), "secret"),
    "path upwards": (lambda c: c["tree"]["children"].update({"../../x": None}), "no name of a module"),
    "dotted name": (lambda c: c["tree"]["children"].update({"a.b": None}), "no name of a module"),
    "child that is a number": (lambda c: c["tree"]["children"].update(head=3), "head"),
    "children that are a list": (lambda c: c["tree"].update(children=[1]), ""),
    "same as nothing": (lambda c: c["tree"]["children"].update(head={"same": "nowhere"}), "nowhere"),
    "same as something else": (lambda c: c["tree"]["children"].update(head={"same": "cell"}), ""),
    "child missing": (lambda c: c["tree"]["children"].pop("head"), "head"),
    "matrix behind no tensor": (lambda c: node(c, "head").update(behind=node(c, "cell")["behind"]), "weight_hh_l0"),
    "module behind a tensor": (
        lambda c: node(c, "cell")["behind"].update(weight_hh_l0={"class": "torch.nn.ReLU"}), "no structured matrix",
    ),
    "tied to nothing": (lambda c: c["tied"].update({"head.bias": "nowhere"}), ""),
    "complex numbers that are none": (lambda c: c.update(complex=["head.bias"]), ""),
    "pool that is none": (lambda c: c.update(pools={"head.weight.pool": "cell"}), "hash pool"),
    "graph of another table": (lambda c: c.update(graphs={}), "another graph"),
    "huge matrix": (lambda c: node(c, "head", "weight")["config"].update(shape=[10**6, 10**6]), "head.weight"),
    "matrix beyond all sizes": (
        lambda c: node(c, "head", "weight")["config"].update(shape=[10**12] * 2), "head.weight",
    ),
    "huge dense matrix": (
        lambda c: node(c, "head").update(children={"weight": {"structure": "dense", "config": {"shape": [10**6] * 2}}}),
        "a bias of 4 does not fit a matrix of 1000000 rows",
    ),
    "huge unitary matrix": (
        lambda c: node(c, "head").update(
            children={"weight": {"structure": "unitary", "config": {"shape": [10**9] * 2}}}
        ),
        "head.weight",
    ),
    "huge matrix that would fit its bias": (
        lambda c: node(c, "head").update(children={"weight": {"structure": "dense", "config": {"shape": [4, 10**12]}}}),
        "head.weight",
    ),
    "huge layer": (lambda c: node(c, "cell")["arguments"].update(input_size=10**9, hidden_size=10**6), "cell"),
    "layers without end": (lambda c: node(c, "net")["arguments"].update(num_layers=10**9), "modules"),
    "negative shape": (lambda c: node(c, "head", "weight")["config"].update(shape=[-1, 4]), "head.weight"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_tree_that_was_tampered_with(name, folder):
    change, says = CHANGES[name]
    rewrite(folder, change)
    before = peak()
    refused(folder, says)
    assert peak() - before < 300e6, "nothing is allocated for sizes that the file has not"


def peak():
    """Bytes of memory of this process at its highest."""
    resource = pytest.importorskip("resource")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_tree_without_end(folder):
    config, depth = json.loads((folder / "config.json").read_text()), 900
    tree = json.dumps(config["tree"])
    deep = '{"class": "torch.nn.Sequential", "children": {"0": ' * depth + tree + "}}" * depth
    (folder / "config.json").write_text(json.dumps(config).replace(tree, deep, 1))
    refused(folder)


def test_nothing_in_a_file_is_run(folder, monkeypatch):
    monkeypatch.setattr(os, "system", lambda command: pytest.fail("a file ran a command"))
    for where in ("class", "arguments", "attributes"):
        rewrite(folder, lambda c, where=where: node(c, "head").update({where: {"$function": "os.system"}}))
        refused(folder)


def test_a_model_that_is_handed_over_must_have_the_same_tables(folder):
    model = from_pretrained(folder)
    other = copy.deepcopy(model)
    assert from_pretrained(folder, model=other) is other
    refused(folder, "in the model that was handed over", model=nn.Linear(2, 2))


def test_a_unitary_matrix_of_honest_size_is_made(tmp_path):
    model = nn.Sequential(StructuredLinear(Unitary.random((3, 3))))
    save_pretrained(model, tmp_path)
    assert torch.equal(from_pretrained(tmp_path)[0].weight.to_dense(), model[0].weight.to_dense())
