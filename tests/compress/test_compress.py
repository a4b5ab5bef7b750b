"""compress_ follows its plan to the letter, or changes nothing; decompress_ goes back."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from edgenet.compress import Plan, compress_, decompress_, slots
from edgenet.errors import PlanError, RankError, ShapeError
from edgenet.models import NodeClassifier
from edgenet.structured import (
    STRUCTURES,
    Dense,
    Doped,
    Kronecker,
    LowRank,
    Sparse,
    StructuredLinear,
    project,
    structure,
)

EDGES = torch.tensor([[0, 1, 2, 3, 1], [1, 2, 3, 0, 3]])
RANK_TWO = {"structure": "low_rank", "rank": 2}


def model():
    return nn.ModuleDict({"fc": nn.Linear(8, 6), "fc2": nn.Linear(6, 4), "head": nn.Linear(4, 4), "rnn": nn.GRU(4, 4)})


def state(net):
    """Names, tensors, and the very modules and parameters: nothing of it may change."""
    return {k: v.clone() for k, v in net.state_dict().items()}, list(net.modules()), list(net.parameters())


def unchanged(before, net):
    tensors, modules, parameters = before
    now = net.state_dict()
    return (
        list(tensors) == list(now)
        and all(torch.equal(value, now[key]) for key, value in tensors.items())
        and all(a is b for a, b in zip(modules, net.modules(), strict=True))
        and all(a is b for a, b in zip(parameters, net.parameters(), strict=True))
    )


# ---------------------------------------------------------------- plans
def test_the_first_match_wins_and_names_match_from_their_start():
    net = model()
    report = compress_(net, [(r"fc\.", "keep"), ("fc", RANK_TWO), ("eight", "keep")][:2])
    assert isinstance(net["fc"], nn.Linear) and isinstance(net["fc2"].weight, LowRank) and report.model is net
    assert [row.structure for row in report.rows] == ["dense", "low_rank", "dense", "dense", "dense"]


@pytest.mark.parametrize(
    "spec",
    [
        RANK_TWO,
        structure("low_rank", rank=2),
        partial(LowRank.from_dense, rank=2),
        lambda weight: LowRank.from_dense(weight, 2),
    ],
)
def test_a_structure_may_be_written_in_any_way(spec):
    net = model()
    expected = project(net["fc"].weight, structure("low_rank", rank=2))
    report = compress_(net, {"fc.weight": spec})
    torch.testing.assert_close(net["fc"].weight.to_dense(), expected)
    row = report.rows[0]
    assert (row.structure, row.options, row.parameters) == ("low_rank", {"rank": 2}, 28)


@pytest.mark.parametrize(
    "plan, says",
    [
        ({"convs": RANK_TWO}, r"'convs' matches no slot\. The slots are fc\.weight, fc2\.weight"),
        ({"fc.wieght": RANK_TWO}, r"Did you mean fc\.weight"),
        ({"weight": RANK_TWO}, "counts from the start"),
        ({".*": RANK_TWO, "fc": "dense"}, "earlier rules have taken, fc.weight by '.*'"),
        ({"fc": {"structure": "low_rnk", "rank": 2}}, "Did you mean 'low_rank'"),
        ({"fc": {"structure": "low_rank", "ranks": 2}}, "low_rank has no option 'ranks'; .*options rank"),
        ({"fc": {"structure": "low_rank"}}, "needs the option 'rank'"),
        ({"fc": {"rank": 2}}, "names no structure"),
        ({"fc": 3}, "got 3"),
        ({"fc(": RANK_TWO}, "no regular expression"),
        ([("fc", RANK_TWO), ("fc", "keep")], "two rules"),
        ({}, "without rules"),
        ("fc", "fc: cannot be read"),
        (3, "a plan is"),
    ],
)
def test_a_plan_that_says_nothing_sensible_is_refused(plan, says):
    net = model()
    before = state(net)
    with pytest.raises(PlanError, match=says):
        compress_(net, plan)
    assert unchanged(before, net)


def test_a_dict_is_a_plan_by_itself_and_a_structure_is_called_by_a_text():
    rules = {"0": {"structure": "low_rank", "rank": 2}}
    assert Plan(rules) == Plan.of(rules)
    with pytest.raises(PlanError, match="no structure is called"):
        Plan.of({"0": {"structure": ["low_rank"]}})


def test_a_plan_from_toml_is_the_plan_in_python(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text(
        "[[rule]]\npattern = 'head'\nstructure = \"keep\"\n"
        "[[rule]]\npattern = '(fc|head)\\.weight'\nstructure = \"kronecker\"\nfactor = [2, 4]\n"
        '[[rule]]\npattern = "rnn.weight_hh"\nstructure = "doped"\nbase = {structure = "low_rank", rank = 1}\n'
    )
    plan = Plan.from_toml(file)
    a, b = model(), model()
    b.load_state_dict(a.state_dict())
    compress_(a, plan)
    base = {"structure": "low_rank", "rank": 1}
    kronecker = {"structure": "kronecker", "factor": (2, 4)}
    compress_(
        b, {"head": "keep", r"(fc|head)\.weight": kronecker, "rnn.weight_hh": {"structure": "doped", "base": base}}
    )
    assert type(a["fc"].weight) is Kronecker and type(a["head"]) is nn.Linear
    for key, value in a.state_dict().items():
        torch.testing.assert_close(value, b.state_dict()[key])
    file.write_text(plan.to_toml())
    assert Plan.from_toml(file) == plan


@pytest.mark.parametrize(
    "text, says",
    [
        ("[[rule]]\nstructure = 'keep'", "rule 1 lacks its pattern"),
        ("[[rule]]\npattern = 'fc'", "rule 1 lacks its structure"),
        ("[[rules]]\npattern = 'fc'", "has rules"),
        ("rule = 3", "no table"),
        ("[[rule]\n", "not TOML"),
        ("[[rule]]\npattern = 'fc'\nstructure = 'low_rank'\nrank = 2\nterms = 1", "no option 'terms'"),
        ("", "without rules"),
    ],
)
def test_a_toml_file_that_is_no_plan_is_refused_with_its_name(tmp_path, text, says):
    file = tmp_path / "plan.toml"
    file.write_text(text)
    with pytest.raises(PlanError, match=rf"plan\.toml.*{says}"):
        Plan.from_toml(file)
    with pytest.raises(PlanError, match=r"nowhere\.toml: cannot be read"):
        Plan.from_toml(tmp_path / "nowhere.toml")


# ---------------------------------------------------------------- all or nothing
class Own(Dense):
    """A family that nobody registered."""


def bad(weight):
    raise RankError("no rank will do")


@pytest.mark.parametrize(
    "spec, error, says",
    [
        (bad, RankError, r"rnn\.weight_hh_l0, 12 x 4: no rank will do"),
        ({"structure": "low_rank", "rank": 0}, RankError, "whole number from 1"),
        (lambda weight: weight, PlanError, "makes a Tensor"),
        (lambda weight: Dense(weight.mT), PlanError, r"\(12, 4\), and the matrix for it \(4, 12\)"),
        (lambda weight: Dense(weight.float()), PlanError, "float64, and the matrix for it of torch.float32"),
        (lambda weight: Own(weight), PlanError, r"rnn\.weight_hh_l0, 12 x 4: .*Own"),
        (lambda weight: Doped(Own(weight), Sparse.from_dense(weight, 0.1)), PlanError, "Own"),
        (lambda weight: 1 // 0, PlanError, "weight_hh_l0.*ZeroDivisionError: integer division"),
        (lambda weight: next(iter(())), PlanError, "weight_hh_l0.*StopIteration"),
        (lambda weight: [][0], PlanError, "weight_hh_l0.*IndexError"),
        (lambda weight: Dense(weight.mul_(0))[0], PlanError, "TypeError"),
    ],
)
def test_an_error_at_the_last_slot_leaves_the_first_as_it_was(spec, error, says):
    net = model()
    before = state(net)
    with pytest.raises(error, match=says):
        compress_(net, {"fc": RANK_TWO, "rnn.weight_hh": spec})
    assert unchanged(before, net)


def test_weights_that_are_not_finite_are_refused_and_nothing_is_half_replaced():
    net = model()
    with torch.no_grad():
        net["head"].weight[1, 2] = torch.nan
    tensors, modules, _ = state(net)
    with pytest.raises(ShapeError, match=r"head\.weight, 4 x 4: 1 of the 16"):
        compress_(net, {".*": RANK_TWO})
    assert list(tensors) == list(net.state_dict()) and all(a is b for a, b in zip(modules, net.modules(), strict=True))


def test_a_refusal_while_swapping_undoes_the_swaps_before():
    net = nn.ModuleDict({"fc": nn.Linear(8, 6), "rnn": nn.GRU(6, 4), "own": StructuredLinear.dense(4, 4)})
    prune.l1_unstructured(net["own"].weight, "weight", amount=2)
    before = state(net)
    with pytest.raises(PlanError, match="hooks or parametrizations"):
        compress_(net, {".*": RANK_TWO})
    assert unchanged(before, net)


def test_what_a_function_writes_into_its_argument_does_not_reach_the_model():
    net = model()
    before = state(net)
    with pytest.raises(PlanError, match="no StructuredMatrix"):
        compress_(net, {"fc": lambda weight: weight.zero_()})
    assert unchanged(before, net)


def test_going_back_is_all_or_nothing_too():
    net = nn.ModuleList([StructuredLinear(LowRank.random((4, 4), rank=1)) for _ in range(2)])
    net[1].weight.register_forward_hook(lambda *_: None)
    before = state(net)
    with pytest.raises(PlanError, match=r"1\.weight, a LowRank, has hooks"):
        decompress_(net)
    assert unchanged(before, net)


def test_a_lazy_model_is_refused_until_it_has_run():
    net = NodeClassifier(-1, 3, hidden_channels=8, layer="gcn")
    with pytest.raises(PlanError, match="run the model once first"):
        compress_(net, {".*linear": RANK_TWO})
    net(torch.randn(4, 6), EDGES)
    compress_(net, {".*linear": RANK_TWO})


# ---------------------------------------------------------------- what stays
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtype_training_mode_and_frozen_weights_stay(dtype):
    net = model().to(dtype).eval()
    net["head"].weight.requires_grad_(False)
    compress_(net, {".*": RANK_TWO})
    assert {p.dtype for p in net.parameters()} == {dtype} and not any(m.training for m in net.modules())
    assert not any(p.requires_grad for p in net["head"].weight.parameters())
    assert all(p.requires_grad for p in net["fc"].weight.parameters())
    assert net["fc"](torch.randn(3, 8, dtype=dtype)).dtype == dtype
    compress_(net, {"fc|rnn": {"structure": "low_rank", "rank": 1}})  # what holds a structured matrix already
    assert not any(m.training for m in net.modules())


@pytest.mark.parametrize("name", [name for name in STRUCTURES if name != "csr"])
def test_every_family_fills_linear_and_recurrent_slots(name):
    options = {"low_rank": {"rank": 3}, "row_split": {"rows": 2}, "block_term": {"blocks": 2, "rank": 2}}
    options |= {
        "hashed": {"ratio": 1.5},
        "block_circulant": {"block": 2},
        "sparse": {"density": 0.3},
        "doped": {"density": 0.1},
    }
    net, x = model(), torch.randn(5, 8)
    if name == "unitary":
        with pytest.raises((PlanError, ShapeError, RankError)):
            compress_(net, {"head": {"structure": name}})
        return
    compress_(net, {"fc|rnn": {"structure": name, **options.get(name, {})}})
    matrix = net["fc"].weight
    torch.testing.assert_close(net["fc"](x), x @ matrix.to_dense().mT + net["fc"].bias)
    net["rnn"](net["fc2"](net["fc"](x)))[0].sum().backward()
    assert all(p.grad is not None for p in matrix.parameters())
    other = model()
    compress_(other, {"fc|rnn": {"structure": name, **options.get(name, {})}})
    other.load_state_dict(net.state_dict())
    torch.testing.assert_close(other["fc"](x), net["fc"](x))


def test_a_compressed_slot_is_compressed_anew_from_its_dense_form():
    net = model()
    compress_(net, {"fc.weight": {"structure": "low_rank", "rank": 4}})
    dense = net["fc"].weight.to_dense().detach()
    report = compress_(net, {"fc.weight": {"structure": "low_rank", "rank": 1}})
    torch.testing.assert_close(net["fc"].weight.to_dense(), project(dense, structure("low_rank", rank=1)))
    assert report.rows[0].parameters_before == 48  # before is dense
    assert report.rows[0].error > 0


def test_decompressing_gives_the_same_outputs_from_dense_weights():
    net = NodeClassifier(6, 3, hidden_channels=8, layer="gat").eval()
    net.memory = nn.GRU(3, 3)
    compress_(net, {".*linear|memory": RANK_TWO})
    x = torch.randn(4, 6)
    y = net(x, EDGES)
    copy = deepcopy(net)
    names = decompress_(copy)
    assert names == [name for name, slot in slots(net).items() if not slot.is_dense]
    torch.testing.assert_close(copy(x, EDGES), y)
    torch.testing.assert_close(net(x, EDGES), y)
    assert all(slot.is_dense for slot in slots(copy).values()) and type(copy.memory) is nn.GRU
    assert decompress_(net, "memory") == ["memory.weight_ih_l0", "memory.weight_hh_l0"] and decompress_(copy) == []
    with pytest.raises(PlanError, match="matches no slot"):
        decompress_(net, "nothing")
    with pytest.raises(PlanError, match="no regular expression"):
        decompress_(net, "fc(")


def test_an_optimizer_trains_a_compressed_model():
    net, x, y = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 1)), torch.randn(40, 8), torch.randn(40, 1)
    compress_(net, {".*": {"structure": "kronecker"}})
    optimizer, losses = torch.optim.Adam(net.parameters(), 0.02), []
    for _ in range(50):
        optimizer.zero_grad()
        losses.append((net(x) - y).square().mean())
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]
