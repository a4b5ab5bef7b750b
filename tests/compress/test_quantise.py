"""quantise_: everything in a model rounds, with the numbers that it had; unrounded: for a while nothing does."""

import copy

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn

from edgenet.compress import compress_, quantise_, slots, stored, unrounded
from edgenet.errors import PlanError, RankError
from edgenet.models import NodeClassifier
from edgenet.pretrained import from_pretrained, save_pretrained, tensors_of
from edgenet.structured import Binary, Dense, Kronecker, PowerOfTwo, Uniform

from train.small_data import nodes  # isort: skip

KRONECKER = {"structure": "kronecker", "factor": (4, 2), "terms": 2}


def network():
    torch.manual_seed(0)
    model = NodeClassifier(12, 5, layer="gat", hidden_channels=8, heads=2)
    for module in model.modules():
        if getattr(module, "bias", None) is not None:
            nn.init.normal_(module.bias)
    return model.eval()


def said(model):
    data = nodes(24, x=torch.randn(24, 12, generator=torch.Generator().manual_seed(1))).train[0]
    return model(data.x, data.edge_index)


def bytes_of(model):
    return sum(t.numel() * t.element_size() for t in stored(model).values())


def test_every_weight_and_vector_rounds_and_eight_bits_change_little():
    model = network()
    before, size = said(model), bytes_of(model)
    report = quantise_(model, 8)
    assert all(isinstance(slot.matrix, Uniform) for slot in slots(model).values())
    assert "convs.0.bias" in slots(model) and not [n for n, p in model.named_parameters() if p.dim() == 1]
    torch.testing.assert_close(said(model), before, rtol=0.1, atol=0.1)  # a step is 1/127 of the largest number
    assert 6 * report.total.bytes < size and report.total.bytes == bytes_of(model)


def test_a_structure_keeps_its_numbers_and_small_factors_their_bits():
    model = network()
    compress_(model, {r"convs\.0\.lift": KRONECKER})
    kept = [factor.detach().clone() for factor in slots(model)["convs.0.lift.linear.weight"].matrix.factors]
    quantise_(model, {r"convs\.0\.lift": {"bits": 3, "small_bits": 7, "per": "row"}, ".*": 5})
    matrix = slots(model)["convs.0.lift.linear.weight"].matrix
    assert isinstance(matrix.base, Kronecker) and matrix.widths == (3, 3)  # 8 and 24 numbers a term: none is small
    for mine, its in zip(matrix.base.factors, kept, strict=True):
        assert torch.equal(mine, its)
    lopsided = nn.Module()
    lopsided.weight = Kronecker.random((32, 16), factor=(2, 2))
    quantise_(lopsided, {"bits": 3, "small_bits": 7})
    assert lopsided.weight.widths == (7, 3)


def test_a_saved_model_holds_the_codes_and_says_the_same(tmp_path):
    model = network()
    compress_(model, {r"convs\.0\.lift": KRONECKER})
    quantise_(model, {"bits": 2, "half_step": True, "step": "normal"})
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path)
    torch.testing.assert_close(said(again), said(model), rtol=0, atol=0)
    assert sum(t.numel() * t.element_size() for t in tensors_of(again).values()) == bytes_of(model)


def test_other_quantisers_have_their_own_options_and_what_rounds_stays():
    model = network()
    rules = {r"convs\.0\.lift": {"quantiser": "binary"}, r"convs\.1\.lift": {"quantiser": "power_of_two", "bits": 4}}
    quantise_(model, rules)
    kinds = [type(slots(model)[f"convs.{k}.lift.linear.weight"].matrix) for k in (0, 1)]
    assert kinds == [Binary, PowerOfTwo] and isinstance(model.convs[0].phi.att_source, Dense)
    quantise_(model, 6)
    assert [type(slots(model)[f"convs.{k}.lift.linear.weight"].matrix) for k in (0, 1)] == kinds
    assert isinstance(model.convs[0].phi.att_source, Uniform)


def test_a_vector_that_codes_would_not_make_smaller_stays():
    model = nn.Sequential(nn.Linear(40, 1), nn.Linear(1, 40))
    quantise_(model, 8)
    assert isinstance(model[0].bias, nn.Parameter) and "bias" in model[1].parametrizations


def test_what_cannot_be_rounded_is_told_before_anything_changes():
    model = network()
    names = list(model.state_dict())
    for rules, error, says in [
        ({"heads": 4}, PlanError, "matches nothing that is not rounded yet; there are convs.0"),
        ({".*": {"bits": 4, "rank": 2}}, PlanError, "uniform has no option 'rank'; it has bits, per, half_step, step"),
        ({".*": {"quantiser": "kronecker"}}, PlanError, "'kronecker' is no quantiser; there are uniform"),
        ({"(": 4}, PlanError, "no regular expression"),
        (99, RankError, "codes of 2 to 8 bits"),
    ]:
        with pytest.raises(error, match=says):
            quantise_(model, rules)
    assert list(model.state_dict()) == names
    hooked = pyg.GAT(4, 8, 2, 2, heads=2)
    hooked.convs[1].lin.register_forward_hook(lambda module, inputs, output: output)
    names = list(hooked.state_dict())
    with pytest.raises(PlanError, match="remove its hooks"):
        quantise_(hooked, 8)
    assert list(hooked.state_dict()) == names


def test_unrounded_a_model_says_what_its_latents_say_and_rounds_again_afterwards():
    model = network()
    compress_(model, {r"convs\.0\.lift": KRONECKER})
    floats = said(model)
    quantise_(model, {"bits": 2, "half_step": True})
    rounded = said(model)
    with unrounded(model) as number:
        assert number == len(slots(model))
        torch.testing.assert_close(said(model), floats)
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(2.0)
        twice = said(model)
    assert not torch.equal(said(model), twice) and not torch.equal(said(model), rounded)
    doubled = copy.deepcopy(model)
    with unrounded(doubled):
        torch.testing.assert_close(said(doubled), twice)


def test_signs_and_shifts_have_no_numbers_to_train_unrounded():
    model = nn.Sequential(nn.Linear(6, 4))
    quantise_(model, {"0.weight": {"quantiser": "power_of_two", "form": "sign_shift"}})
    with unrounded(model) as number:
        assert number == 0 and isinstance(model[0].weight, PowerOfTwo)


@pytest.mark.parametrize("kind", [nn.Linear, lambda i, o: nn.Conv2d(i, o, 1)])
def test_biases_that_round_come_back_from_a_folder(kind, tmp_path):
    model = nn.Sequential(kind(8, 40), nn.ReLU(), kind(40, 30))
    quantise_(model, 4)
    x = torch.randn(5, 8) if kind is nn.Linear else torch.randn(5, 8, 2, 2)
    assert "bias" in model[0].parametrizations
    save_pretrained(model, tmp_path)
    assert torch.equal(from_pretrained(tmp_path)(x), model(x))


def test_where_a_vector_cannot_round_the_model_is_as_it_was():
    class Stubborn(pyg.dense.Linear):
        """Writes a vector of its own into its state_dict, behind which no matrix can stand."""

        def __init__(self):
            super().__init__(4, 3)
            self.weight = nn.Parameter(torch.randn(64))

        def forward(self, x):
            return x * self.weight.sum()

    model = nn.ModuleDict({"first": nn.Linear(64, 64), "last": Stubborn()})
    before = copy.deepcopy(model.state_dict())
    first = model["first"]
    with pytest.raises(PlanError, match="writes its weight into state_dict by itself"):
        quantise_(model, {r"first|last\.weight": 2})
    assert model["first"] is first and type(first) is nn.Linear and type(first.bias) is nn.Parameter
    after = model.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)
