"""Convolutions as slots: swapped, grouped, depthwise, counted, searched and saved."""

import copy

import pytest
import torch
from torch import nn

from edgenet.compress import ADMM, Budget, Plan, Training, compress_, decompress_, report, search, slots
from edgenet.compress.searching import curves
from edgenet.compress.searching import seconds as timing
from edgenet.errors import PlanError
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.structured import Dense, LowRank, Stacked, StructuredConv1d, StructuredConv2d
from edgenet.structured.bridge import bridged

LOW = {"structure": "low_rank", "rank": 2}


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding="same", padding_mode="reflect"), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 12, 3, stride=2, groups=2, bias=False), nn.ReLU(),
        nn.Conv2d(12, 12, 3, groups=12), nn.Conv2d(12, 16, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
    )  # fmt: skip


def near(got, want):
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def test_a_convolution_is_swapped_and_named_as_before():
    model = network()
    names, bias = list(slots(model)), model[0].bias
    x = torch.randn(2, 3, 9, 9)
    want = model(x)
    compress_(model, {r"0\.": {"structure": "low_rank", "rank": 8}})  # full
    assert type(model[0]) is StructuredConv2d and type(model[0].weight) is LowRank
    assert model[0].bias is bias and list(slots(model)) == names
    near(model(x), want)
    compress_(model, {r"0\.": LOW})
    want = model(x)
    assert decompress_(model) == ["0.weight"]
    assert type(model[0].weight) is Dense
    near(model(x), want)


def test_one_axis_too():
    model = nn.Sequential(nn.Conv1d(4, 6, 5, dilation=2), nn.ReLU())
    compress_(model, {".*": LOW})
    assert type(model[0]) is StructuredConv1d and model(torch.randn(2, 4, 12)).shape == (2, 6, 4)


def test_where_something_would_be_lost_the_bridge_stays():
    hooked = nn.Sequential(nn.Conv2d(3, 8, 3))
    hooked[0].register_forward_hook(lambda module, inputs, output: output + 1)

    class Own(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + 1

    for model in (hooked, nn.Sequential(Own(3, 8, 3)), nn.Conv2d(3, 8, 3), nn.Sequential(nn.Conv3d(3, 8, 2))):
        place = model[0] if isinstance(model, nn.Sequential) else model
        compress_(model, {".*": LOW})
        assert "weight" in bridged(place)


def test_a_grouped_kernel_has_a_matrix_for_every_group():
    model = network()
    compress_(model, {r"3\.": LOW})
    matrix = model[3].weight
    assert isinstance(matrix, Stacked) and [part.shape for part in matrix.parts] == [(6, 36)] * 2
    near(matrix.parts[1].to_dense(), LowRank.from_dense(network_weight()[6:], 2).to_dense())
    compress_(model, {r"3\.": {"structure": "kronecker", "factor": [2, 4]}})  # of the swapped layer too
    assert [type(part).__name__ for part in model[3].weight.parts] == ["Kronecker"] * 2


def network_weight() -> torch.Tensor:
    torch.manual_seed(0)
    return network()[3].weight.detach().flatten(1)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_a_grouped_kernel_behind_a_bridge_likewise():
    model = network()
    model[3].register_forward_hook(lambda module, inputs, output: None)
    compress_(model, {r"3\.": LOW})
    assert isinstance(bridged(model[3])["weight"], Stacked)


def test_depthwise_kernels_stay_unless_they_are_named():
    model = network()
    assert [name for name, slot in slots(model).items() if slot.is_depthwise] == ["5.weight"]
    compress_(model, {".*": LOW})
    assert type(model[5]) is nn.Conv2d and type(model[6]) is StructuredConv2d
    compress_(model, {r"5\.": LOW})
    assert type(model[5].weight) is LowRank  # one matrix for all channels
    assert Plan({r"5\.": LOW, ".*": "keep"}).assign(slots(network())).keys() == {"5.weight"}


def test_a_later_rule_may_name_what_an_earlier_one_left():
    assigned = Plan({r"[0-5]\.": "dense", r"5\.": LOW}).assign(slots(network()))
    assert type(assigned["5.weight"](torch.randn(12, 9))) is LowRank


def test_reports_count_a_position_of_the_output():
    model = network()
    compress_(model, {r"[36]\.": LOW})
    rows = {row.name: row for row in report(model).rows}
    assert rows["0.weight"].multiply_adds == 8 * 27
    assert rows["3.weight"].multiply_adds_before == 12 * 36  # each output sees the channels of its group
    assert rows["3.weight"].multiply_adds in (12 * 36, 2 * 2 * (6 + 36))
    assert rows["3.weight"].parameters == 2 * 2 * (6 + 36)
    assert rows["5.weight"].multiply_adds == 12 * 9
    assert rows["9.weight"].multiply_adds == 16 * 5


def test_a_search_tries_what_a_group_can_be_and_leaves_depthwise_kernels():
    model = network()
    result = search(model, budget=Budget(ratio=1.5, of="parameters"), families=["low_rank"])
    assert result.report.total.parameters <= sum(p.numel() for p in model.parameters()) / 1.5
    again = network()
    compress_(again, result.plan)
    assert type(again[5]) is nn.Conv2d
    choices = curves.Curves(slots(model), ["low_rank"], "parameters", 1, 0, False)
    assert {choice.rung["rank"] for choice in choices.choices["3.weight"][1:]} == {1, 2, 3, 4}  # of 6 x 36
    assert isinstance(choices.fitted("3.weight", LOW), Stacked)


def test_a_search_for_time_runs_the_convolution(monkeypatch):
    monkeypatch.setattr(timing, "_best_time", lambda call, weight: float(call().shape[2:].numel()))
    for layer, positions in ((nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), 49), (nn.Conv1d(4, 6, 5), 40)):
        (slot,) = slots(nn.Sequential(layer)).values()
        assert timing.seconds(slot, Dense.from_dense(slot.weight()), 40) == positions


def test_admm_pulls_a_grouped_kernel_group_by_group():
    model = network()
    training = Training(model, optimizer=torch.optim.SGD(model.parameters(), 0.01))
    rule = ADMM({r"3\.": LOW}, rho=1.0)
    rule.on_start(training)
    want = [LowRank.from_dense(part, 2).to_dense() for part in model[3].weight.detach().flatten(1).chunk(2)]
    near(rule.auxiliary["3.weight"], torch.cat(want).detach())


def test_a_compressed_network_is_saved_and_loaded(tmp_path):
    model = network().eval()
    compress_(model, {r"5\.": LOW, r"[03]\.": LOW, r"6\.": {"structure": "tensor_train", "rank": 2}})
    x = torch.randn(2, 3, 9, 9)
    want = model(x)
    save_pretrained(model, tmp_path)
    loaded = from_pretrained(tmp_path)
    near(loaded(x), want)
    assert type(loaded[0]) is StructuredConv2d and loaded[0].padding_mode == "reflect" and loaded[3].bias is None
    near(copy.deepcopy(loaded)(x), want)


def test_a_shared_kernel_stays_shared():
    first, second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=2, dilation=2)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    compress_(model, {".*": LOW})
    assert model[0].weight is model[1].weight


def test_a_matrix_of_another_shape_is_refused():
    model = network()
    with pytest.raises(PlanError, match=r"0\.weight"):
        compress_(model, {r"0\.": lambda weight: Dense(weight[:4])})
    assert type(model[0]) is nn.Conv2d


def test_reports_of_inputs_count_every_position_of_an_image():
    model = network().train()
    model[2].eval()
    modes = [module.training for module in model.modules()]
    model[5].register_forward_hook(lambda module, inputs, output: None)
    compress_(model, {r"[05]\.": LOW})
    rows = {row.name: row for row in report(model, inputs=torch.randn(7, 3, 9, 11)).rows}
    assert rows["0.weight"].multiply_adds_before == 9 * 11 * 8 * 27
    assert rows["0.weight"].multiply_adds in (9 * 11 * 8 * 27, 9 * 11 * 2 * (8 + 27))
    assert rows["3.weight"].multiply_adds == 4 * 5 * 12 * 36  # stride 2
    assert rows["5.weight"].multiply_adds == 2 * 3 * 12 * 9  # behind a bridge
    assert rows["6.weight"].multiply_adds == 2 * 3 * 12 * 16
    assert rows["9.weight"].multiply_adds == 16 * 5
    assert [module.training for module in model.modules() if "Bridge" not in type(module).__name__][:3] == modes[:3]
    assert not model[0]._forward_hooks


def test_convolutions_that_give_more_than_their_signal_are_counted():
    class Masked(nn.Conv2d):
        def forward(self, x):
            return super().forward(x), x > 0

    class First(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = Masked(3, 8, 3)

        def forward(self, x):
            return self.conv(x)[0]

    (row,) = report(First(), inputs=torch.randn(2, 3, 9, 8)).rows
    assert row.multiply_adds == 7 * 6 * 8 * 27
