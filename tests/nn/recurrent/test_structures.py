"""A structure in a slot and nothing else: recurrent networks of every family, whichever way they walk."""

import pytest
import torch
from stored import oracle, tensors

from edgenet.compress import compress_, slots
from edgenet.nn.recurrent import GRU, LSTM, RNN, fast, feature_walk
from edgenet.nn.recurrent.walk import walked
from edgenet.structured import STRUCTURES, BlockCirculant, BlockTerm, TensorTrain, structure

OPTIONS = {
    "dense": {},
    "low_rank": {"rank": 2},
    "kronecker": {"factor": (4, 2), "terms": 2},
    "row_split": {"rows": 3, "blocks": 2},
    "tensor_train": {"rank": 3},
    "block_term": {"blocks": 1, "rank": 2},
    "block_circulant": {"block": 3},
    "hashed": {"parameters": 40},
    "sparse": {"density": 0.3},
    "csr": {"density": 0.3},
    "doped": {"base": {"structure": "kronecker", "factor": (4, 2)}, "density": 0.1},
    "uniform": {"bits": 6},
    "fixed_point": {"bits": 16, "fraction_bits": 12},
    "power_of_two": {"bits": 4},
    "binary": {},
    "coded": {"bits": 4},
    "stacked": {"parts": 4, "base": {"structure": "low_rank", "rank": 1}},
    "unified": {"block": (1, 2)},
}
NO_MAPS = {"unitary"}  # square, and complex
KINDS = {"rnn": RNN, "gru": GRU, "lstm": LSTM}
STEPS, BATCH = 5, 3


def test_every_family_is_tried():
    ours = {name for name, kind in STRUCTURES.items() if kind.__module__.startswith("edgenet.")}
    assert set(OPTIONS) | NO_MAPS == ours


def trained(matrix):
    return [p for p in matrix.parameters() if p.requires_grad]


def defined(module, x, lengths=None):
    """Whatever is chosen: every module called at every step."""
    handles = [cell.state_map.register_forward_hook(lambda *_: None) for cell in module.cells]
    try:
        return module(x, lengths=lengths)
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OPTIONS)
def test_a_structure_in_every_slot_says_what_it_multiplies_by(name, kind, monkeypatch):
    for stacked in (False, True):
        module = KINDS[kind](4, 6, structure=structure(name, **OPTIONS[name]), stacked=stacked)
        assert len(slots(module)) == 1 if stacked else 2
        x = torch.randn(STEPS, BATCH, 4, requires_grad=True)
        want, last = defined(module, x)
        assert fast.walked_fast(module.cells[0], x, None, None, False) is not None
        got, state = module(x)
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)
        parameters = [x, *trained(module)]
        grads = torch.autograd.grad(want.square().sum(), parameters, allow_unused=True)
        found = torch.autograd.grad(got.square().sum(), parameters, allow_unused=True)
        torch.testing.assert_close(found, grads, rtol=1e-10, atol=1e-12)
        module.eval()
        with torch.no_grad():
            for multiplies in (True, False):  # both, whichever is the cheaper one here
                monkeypatch.setattr(fast, "product_is_cheaper", lambda *_, both=multiplies, **__: both)
                for piece in (1, 64):
                    monkeypatch.setattr(fast, "_PIECE", piece * BATCH)
                    monkeypatch.setattr(fast, "_LARGE_PIECE", piece * BATCH)
                    got, state = module(x)
                    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)
                    torch.testing.assert_close(state, last, rtol=1e-10, atol=1e-12)
            packed = [cell.state_map.weight.pack() for cell in module.cells]
            assert all(matrix.shape == (module.cells[0].gates * 6, 10 if stacked else 6) for matrix in packed)
        monkeypatch.undo()


FEATURES = [
    (RNN, {}), (RNN, {"bias": False}), (GRU, {}), (GRU, {"bias": False}), (LSTM, {}), (LSTM, {"bias": False}),
    (LSTM, {"peepholes": True}), (LSTM, {"proj_size": 6}),
]  # fmt: skip


@pytest.mark.parametrize("input_name", ["doped", "low_rank"])
@pytest.mark.parametrize("batch", [0, 1, 3, 33])
@pytest.mark.parametrize("kind, options", FEATURES)
@torch.no_grad()
def test_packed_doped_matrices_walk_by_features(kind, options, batch, input_name, monkeypatch):
    module = kind(8, 12, **options).eval()
    cell = module.cells[0]
    for part, name in ((cell.state_map, "doped"), (cell.input_map, input_name)):
        part.weight = structure(name, **OPTIONS[name])(part.weight.to_dense()).pack().eval()
    if options.get("peepholes"):
        cell.peepholes.normal_()
    monkeypatch.setattr(fast, "product_is_cheaper", lambda *_, **__: True)
    walks = []

    def spied(*arguments):
        walks.append(feature_walk.walk_by_features(*arguments))
        return walks[-1]

    monkeypatch.setattr(fast, "walk_by_features", spied)
    mask = torch.arange(STEPS)[:, None, None] < torch.arange(batch)[:, None] % (STEPS + 1)
    x, state = torch.randn(STEPS, batch, 8), tuple(torch.randn(batch, width) for width in module.state_widths)
    for ends, reverse, first in ((None, False, None), (mask, False, state), (mask, True, state), (None, True, state)):
        got = fast.walked_fast(cell, x, first, ends, reverse)
        torch.testing.assert_close(got, walked(cell, x, first, ends, reverse), rtol=1e-10, atol=1e-12)
        assert all(part.is_contiguous() for part in (got[0], *got[1]))
    taken = bool(batch) and "proj_size" not in options
    assert [found is not None for found in walks] == [taken] * 4


@torch.no_grad()
def test_a_walk_by_features_follows_its_numbers(monkeypatch):
    monkeypatch.setattr(fast, "product_is_cheaper", lambda *_, **__: True)
    module = LSTM(4, 6, structure=structure("csr", density=0.3)).eval()
    x = torch.randn(STEPS, BATCH, 4)
    module(x)
    module.cells[0].state_map.weight.values.data.mul_(2)
    torch.testing.assert_close(module(x)[0], defined(module, x)[0], rtol=1e-10, atol=1e-12)


def test_a_plan_finds_the_slots_by_their_paths():
    model = torch.nn.ModuleDict({"lstm": LSTM(8, 12, num_layers=2, bidirectional=True), "head": torch.nn.Linear(24, 3)})
    before = model["lstm"](torch.randn(STEPS, BATCH, 8))[0]
    plan = {
        r"lstm\.cells\.\d\.state_map\.weight": structure("kronecker", factor=(8, 3)),
        r"lstm\.cells\.\d\.input_map": structure("low_rank", rank=2),
        "head": "keep",
    }
    compress_(model, plan)
    for cell in model["lstm"].cells:
        assert (type(cell.state_map.weight).__name__, type(cell.input_map.weight).__name__) == ("Kronecker", "LowRank")
    after = model["lstm"](torch.randn(STEPS, BATCH, 8))[0]
    assert after.shape == before.shape


def test_a_stacked_matrix_is_one_slot_with_two_names():
    module = LSTM(4, 6, stacked=True)
    (slot,) = slots(module).values()
    assert slot.names == ("cells.0.input_map.weight", "cells.0.state_map.weight") and slot.shape == (24, 10)
    assert sum(p.numel() for p in module.parameters()) == 24 * 10 + 2 * 24
    compress_(module, {r"cells\.0\.input_map": structure("low_rank", rank=3)})
    cell = module.cells[0]
    assert cell.input_map.weight is cell.state_map.weight and cell.state_map.weight.rank == 3
    x = torch.randn(STEPS, BATCH, 4)
    torch.testing.assert_close(module(x)[0], defined(module, x)[0], rtol=1e-10, atol=1e-12)


def test_a_stacked_matrix_is_read_once_a_sequence_in_training(monkeypatch):
    module = LSTM(4, 6, stacked=True, structure=structure("low_rank", rank=3))
    matrix, reads = module.cells[0].state_map.weight, []
    dense = type(matrix).to_dense
    monkeypatch.setattr(type(matrix), "to_dense", lambda self: reads.append(1) or dense(self))
    monkeypatch.setattr(type(matrix), "matmul", lambda self, x: pytest.fail("it was multiplied by"))
    x = torch.randn(STEPS, BATCH, 4)
    module(x)[0].sum().backward()
    with torch.no_grad():
        module(x)
    assert reads == [1, 1]


@pytest.mark.parametrize("rank, want", [(1, 722), (2, 1472), (4, 3392)])
def test_block_terms_of_a_video_lstm_take_as_many_numbers_as_published(rank, want):
    """Ye et al. 2018: inputs 8 x 20 x 20 x 18, four gates of 4^4 folded into the first mode; N = 2 blocks."""
    options = {"out_modes": (16, 4, 4, 4), "in_modes": (8, 20, 20, 18)}
    with torch.device("meta"):
        made = BlockTerm.from_config({"shape": [1024, 57600], "blocks": 2, "rank": rank, **options})
        train = TensorTrain.from_config({"shape": [1024, 57600], "rank": 4, **options})
    assert made.num_parameters() == want
    assert train.num_parameters() == 3360
    assert made.shape == (4 * 256, 57600)


@oracle("compression/clstm*.npz")
def test_a_c_lstm_with_projection_and_peepholes_equals_the_arrays(stored):
    """Wang et al. 2018: circulant blocks of 2 in eight gate maps and the projection."""
    arrays = tensors(stored)
    for peepholes, key in ((False, "y"), (True, "y_peep")):
        lstm = LSTM(6, 8, proj_size=4, peepholes=peepholes, batch_first=True)
        cell = lstm.cells[0]
        maps = (cell.input_map, "w_ih"), (cell.state_map, "w_hh"), (cell.projection, "w_hr")
        for part, name in maps:
            part.weight = BlockCirculant(arrays[name])
        with torch.no_grad():
            cell.input_map.bias.copy_(arrays["bias"])
            cell.state_map.bias.zero_()
            if peepholes:
                cell.peepholes.copy_(arrays["peep"])
        for mode in (True, False):
            lstm.train(mode)
            with torch.set_grad_enabled(mode):
                y, (h, c) = lstm(arrays["x"])
            torch.testing.assert_close(y, arrays[key], rtol=1e-10, atol=1e-12)
            if not peepholes:
                torch.testing.assert_close(h[0], arrays["hn"].squeeze(), rtol=1e-10, atol=1e-12)
                torch.testing.assert_close(c[0], arrays["cn"].squeeze(), rtol=1e-10, atol=1e-12)
