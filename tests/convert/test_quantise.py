"""Networks in weights of few bits, by one call."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import nn

from edgenet import NodeClassifier
from edgenet.compress import compress_, recalibrate_, report, slots
from edgenet.convert import FORMS, kept, quantise
from edgenet.errors import ConversionError, PlanError, RankError, ShapeError
from edgenet.nn.sign import Sign
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.structured import (
    STRUCTURES,
    Binary,
    Kronecker,
    LowRank,
    PowerOfTwo,
    Stacked,
    StructuredConv2d,
    StructuredLinear,
    Uniform,
)


def perceptron() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 24), nn.BatchNorm1d(24), nn.Tanh(),
        nn.Linear(24, 5),
    ).eval()  # fmt: skip


def convolutional() -> nn.Sequential:
    """Strides, groups, a depthwise kernel, pools, and an activation before its norm."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1, groups=2), nn.Hardtanh(), nn.BatchNorm2d(12),
        nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.BatchNorm2d(12), nn.ReLU6(),
        nn.Conv2d(12, 16, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
    ).eval()  # fmt: skip


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = (
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ELU(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.relu(self.norm(self.conv(x)))


class Tree(nn.Module):
    """As users write them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2)
        self.blocks = nn.ModuleList([Residual(8), nn.Sequential(Residual(8), nn.ReLU())])
        self.heads = nn.ModuleDict({"scores": nn.Linear(8, 5)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.heads["scores"](x.mean((2, 3)))


NETWORKS = {
    "perceptron": (perceptron, (6, 20)),
    "convolutional": (convolutional, (6, 3, 12, 12)),
    "tree": (lambda: Tree().eval(), (6, 3, 12, 12)),
}
HERE = [form for form, one in FORMS.items() if one.spec["structure"] in STRUCTURES]


@pytest.fixture(params=NETWORKS)
def network(request):
    make, shape = NETWORKS[request.param]
    return make(), torch.randn(shape)


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    now = model.state_dict()
    return now.keys() == before.keys() and all(torch.equal(now[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("form", HERE)
def test_every_form_makes_a_smaller_network_that_is_saved_and_read(network, form, tmp_path):
    model, x = network
    before = tensors(model)
    small = quantise(model, form, batches=[x, x + 1])
    assert same(model, before)
    y = small(x)
    assert y.shape == (6, 5) and y.isfinite().all()
    total, stays = report(small).total, kept(model, form)
    assert total.bytes < report(model).total.bytes
    changed = {name for name, slot in slots(small).items() if not slot.is_dense}
    assert changed | set(stays) == set(slots(model)) and not changed & set(stays)
    save_pretrained(small, tmp_path)
    file = (tmp_path / "model.safetensors").read_bytes()
    assert len(file) == 8 + int.from_bytes(file[:8], "little") + total.bytes  # the description, and the numbers
    again = from_pretrained(tmp_path, model=None if isinstance(model, nn.Sequential) else copy.deepcopy(small))
    torch.testing.assert_close(again(x), y)


@pytest.mark.parametrize(
    ("form", "family", "bits"),
    [("int8", Uniform, 8), ("int3", Uniform, 3), ("deepshift_q", PowerOfTwo, 5), ("deepshift_ps", PowerOfTwo, 5)],
)
def test_forms_are_the_families_that_they_name(form, family, bits):
    model = perceptron()
    small = quantise(model, form)
    for place in (0, 3, 6):
        matrix = small[place].weight
        assert type(matrix) is family and matrix.widths == (bits,) and matrix.per == "row"
        expected = family.from_dense(
            model[place].weight,
            bits=bits,
            per="row",
            **{key: value for key, value in FORMS[form].spec.items() if key == "form"},
        )
        torch.testing.assert_close(matrix.to_dense(), expected.to_dense())
        torch.testing.assert_close(small[place].bias, model[place].bias)


def test_bits_scales_and_options_reach_the_structure():
    model = perceptron()
    matrix = quantise(model, "uniform", bits=2, per="tensor", half_step=True)[0].weight
    assert (matrix.widths, matrix.per, matrix.half_step) == ((2,), "tensor", True)
    matrix = quantise(model, "deepshift_ps", bits=3, per="none", scaled_sign=True)[0].weight
    assert (matrix.form, matrix.widths, matrix.per, matrix.scaled_sign) == ("sign_shift", (3,), "none", True)
    assert quantise(model, "bnn", per="none")[3].weight.per == "none"


def test_what_a_plan_or_keep_names_goes_its_own_way():
    model = convolutional()
    small = quantise(
        model, "int4", keep=("first", r"10\."),
        plan={r"15\.": {"structure": "low_rank", "rank": 2}, r"7\.": {"structure": "uniform", "bits": 8}},
    )  # fmt: skip
    assert type(small[0]) is nn.Conv2d and type(small[10]) is nn.Conv2d
    assert type(small[15].weight) is LowRank and type(small[7].weight) is Uniform
    assert type(small[4].weight) is Stacked and all(part.widths == (4,) for part in small[4].weight.parts)
    assert type(quantise(model, "bnn", plan={r"0\.": {"structure": "binary"}})[0].weight) is Binary
    assert type(quantise(model, "int4", plan={r"0\.": "keep"})[0]) is nn.Conv2d


def test_what_stays_and_why():
    reasons = kept(convolutional(), "bnn", plan={r"10\.": "keep"})
    assert list(reasons) == ["10.weight", "0.weight", "15.weight", "7.weight"]
    assert "first layer" in reasons["0.weight"] and "last layer" in reasons["15.weight"]
    assert "depthwise" in reasons["7.weight"] and "plan" in reasons["10.weight"]
    assert "0.weight" not in kept(convolutional(), "bnn", plan={r"0\.": {"structure": "binary"}})
    assert kept(perceptron(), "int8") == {}
    table = nn.Sequential(nn.Embedding(10, 4), nn.LSTM(4, 4))
    assert all("no linear layer" in reason for reason in kept(table, "int8").values())
    assert len(kept(table, "int8")) == 3


def test_structures_stay_and_their_numbers_are_rounded():
    model = convolutional()
    compress_(model, {r"(4|10)\.": {"structure": "low_rank", "rank": 2}})
    small = quantise(model, "int8")
    matrix = small[10].weight
    assert type(matrix) is Uniform and type(matrix.base) is LowRank
    torch.testing.assert_close(matrix.to_dense(), Uniform(copy.deepcopy(model[10].weight), 8, "row").to_dense())
    parts = small[4].weight.parts
    assert type(small[4]) is StructuredConv2d and all(type(part.base) is LowRank for part in parts)
    shifts = quantise(model, "deepshift_ps")[10].weight
    error = (shifts.to_dense() - model[10].weight.to_dense()).norm() / model[10].weight.to_dense().norm()
    assert error < 0.6  # powers of two are up to 2^0.5 apart from a number; latents that nobody set give 1
    with pytest.raises(ConversionError, match="is quantised already"):
        quantise(small, "int8")


def test_a_network_of_signs_computes_with_signs():
    """By hand: every signal that comes to a binary layer is a sign, padded with -1."""
    model = convolutional()
    small = quantise(model, "bnn")
    seen = {}
    for place in (4, 10):
        small[place].register_forward_pre_hook(lambda module, given, place=place: seen.update({place: given[0]}))
    x = torch.randn(3, 3, 12, 12)
    small(x)
    assert all(signal.abs().eq(1).all() for signal in seen.values())
    assert [type(part) for part in small][:8] == [
        nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, Sign, StructuredConv2d, nn.BatchNorm2d, Sign, nn.Conv2d,
    ]  # fmt: skip
    assert small[4].padding_value == small[10].padding_value == -1.0
    assert not any(isinstance(part, nn.ReLU | nn.Hardtanh | nn.ReLU6) for part in small.modules())
    model[4].padding_mode = "reflect"  # which pads with signs already
    assert not getattr(quantise(model, "bnn")[4], "padding_value", 0)


def test_convolutions_of_signs_pad_with_minus_one():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(288, 2)
    ).eval()
    small, x = quantise(model, "bnn"), torch.randn(2, 3, 8, 8)
    signs, kernel = small[:2](x), small[2].weight.to_dense().view(8, 8, 3, 3)
    torch.testing.assert_close(small[2](signs), F.conv2d(F.pad(signs, (1, 1, 1, 1), value=-1.0), kernel))


def test_signs_of_a_maximum_are_the_maximum_of_signs():
    """What moves a sign behind a pool changes no output."""
    parts = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(72, 2)]
    small = quantise(nn.Sequential(*parts).eval(), "bnn")
    assert type(small[1]) is nn.MaxPool2d and type(small[2]) is Sign
    x = torch.randn(2, 3, 12, 12)
    want = F.max_pool2d(Sign()(small[0](x)), 2)
    assert torch.equal(small[:3](x), want)


def test_a_bias_before_a_batch_norm_goes_into_its_mean():
    model = perceptron()
    model[4].running_mean.normal_()
    small = quantise(model, "bnn")
    assert small[3].bias is None and model[3].bias is not None
    x = torch.randn(7, 32)
    matrix = Binary.from_dense(model[3].weight).to_dense()
    torch.testing.assert_close(small[4](small[3](x)), model[4](x @ matrix.T + model[3].bias))
    assert quantise(Tree().eval(), "bnn").blocks[0].conv.bias is not None  # whose forward may do anything between


def test_activations_of_an_output_stay():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2), nn.Tanh())
    small = quantise(model, "bnn")
    assert [type(part) for part in small][1::2] == [Sign, Sign, nn.Tanh]


def test_a_module_that_stands_twice_is_one_sign():
    act = nn.ReLU()
    small = quantise(nn.Sequential(nn.Linear(4, 8), act, nn.Linear(8, 8), act, nn.Linear(8, 2)).eval(), "bnn")
    assert small[1] is small[3] and type(small[1]) is Sign and not small[1].training


def test_signs_train():
    torch.manual_seed(1)
    small = quantise(perceptron(), "bnn").train()
    small(torch.randn(8, 20)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in small.parameters())
    assert small[3].weight.base.weight.grad.abs().sum() > 0 and small[0].weight.grad.abs().sum() > 0


def test_layers_of_pyg_and_of_edgenet():
    x, edges = torch.randn(6, 8), torch.tensor([[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0]])
    theirs = pyg.GCN(8, 16, 3, 4).eval()
    small = quantise(theirs, "int8")
    assert sum(isinstance(part, StructuredLinear) for part in small.modules()) == 3
    assert small(x, edges).isfinite().all()
    signs = quantise(theirs, "bnn")
    assert isinstance(signs.act, Sign) and signs(x, edges).isfinite().all()
    ours = NodeClassifier(8, 4, layer="gat", hidden_channels=4, heads=2).eval()
    small = quantise(ours, "bnn", keep=())
    assert isinstance(small.activation, Sign) and isinstance(small.convs[0].lift.linear.weight, Binary)
    assert small(x, edges).isfinite().all()
    assert any("phi" in name for name in kept(ours, "int8"))  # attention is no linear layer


@pytest.mark.parametrize("inplace", [False, True])
def test_batches_move_the_statistics_from_what_they_were(inplace):
    model, x = convolutional(), torch.randn(16, 3, 12, 12)
    before, given = copy.deepcopy(model), [(x, torch.zeros(16))]
    small = quantise(model, "int3", batches=given, call=lambda one, batch: one(batch[0]), inplace=inplace)
    assert (small is model) == inplace and (inplace or same(model, before.state_dict()))
    want = quantise(before, "int3")
    recalibrate_(want, [x], reference=before)
    torch.testing.assert_close(small(x), want(x))
    assert not torch.equal(small[1].running_mean, before[1].running_mean)
    signs = quantise(before, "bnn")
    recalibrate_(signs, [x])  # signs are of another kind than what was there before
    torch.testing.assert_close(quantise(before, "bnn", batches=[x])(x), signs(x))


def test_in_place_it_is_all_or_nothing():
    model = convolutional()
    before, parts = tensors(model), list(model)
    assert quantise(copy.deepcopy(model), "bnn", inplace=True)[10].weight.shape == (16, 12)
    with pytest.raises(ShapeError, match="not finite"):
        quantise(model, "bnn", batches=[torch.full((4, 3, 12, 12), math.nan)], inplace=True)
    assert list(model) == parts and same(model, before) and model[4].bias is not None
    with pytest.raises(PlanError, match="no batch"):
        quantise(model, "int8", batches=[], inplace=True)
    assert list(model) == parts and same(model, before)


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.relu = nn.Linear(4, 8), nn.Linear(8, 2), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(F.relu(self.first(self.relu(x))))


def hooked_activation() -> nn.Module:
    model = perceptron()
    model[2].register_forward_hook(lambda *call: None)
    return model


def lazy_layers():
    return nn.Linear(3, 3), nn.ReLU(), nn.LazyLinear(3)


@pytest.mark.parametrize(
    ("error", "text", "make", "form", "options"),
    [
        (ConversionError, "Did you mean 'int8'", perceptron, "int9", {}),
        (ConversionError, "no form is called", perceptron, None, {}),
        (ConversionError, "has 8 bits, and bits=4", perceptron, "int8", {"bits": 4}),
        (ConversionError, "has 1 bits, and bits=4", perceptron, "bnn", {"bits": 4}),
        (ConversionError, "no linear layer and no convolution", lambda: nn.Sequential(nn.ReLU()), "int8", {}),
        (ConversionError, "0.weight stays, since it is the last", lambda: nn.Sequential(nn.Linear(3, 3)), "bnn", {}),
        (ConversionError, "calls F.relu itself", Functional, "bnn", {"keep": ()}),
        (ConversionError, "no activation there", lambda: nn.Sequential(*[nn.Linear(3, 3)] * 3), "bnn", {"keep": ()}),
        (ConversionError, "2, a ReLU, has hooks", hooked_activation, "bnn", {}),
        (PlanError, "no option 'ratio'", perceptron, "int8", {"ratio": 0.5}),
        (PlanError, "matches no slot", perceptron, "int8", {"keep": "nowhere"}),
        (PlanError, "matches no slot", perceptron, "int8", {"plan": {"nowhere": "keep"}}),
        (PlanError, "run the model once", lambda: nn.Sequential(nn.LazyLinear(3)), "int8", {}),
        (PlanError, "run the model once", lambda: nn.Sequential(*lazy_layers(), *lazy_layers()), "bnn", {}),
        (ConversionError, "keep is a pattern of slots, or several of them, got 3", perceptron, "int8", {"keep": 3}),
        (PlanError, "scale per", perceptron, "int8", {"per": "none"}),
        (RankError, "2 to 6 bits", perceptron, "deepshift_q", {"bits": 7}),
    ],
)
def test_errors_say_what_to_do(error, text, make, form, options):
    model = make()
    parts = list(model.modules())
    with pytest.raises(error, match=text):
        quantise(model, form, inplace=True, **options)
    assert list(model.modules()) == parts


def test_a_model_whose_norms_have_no_size_cannot_be_copied():
    with pytest.raises(ConversionError, match=r"0\.running_mean, 0\.running_var have no size yet; run it once"):
        quantise(nn.Sequential(nn.LazyBatchNorm1d(), nn.Linear(3, 3)), "int8")


def test_a_weight_that_is_not_finite_is_refused():
    model = perceptron()
    with torch.no_grad():
        model[3].weight[0, 0] = math.nan
    with pytest.raises(ShapeError, match=r"3\.weight"):
        quantise(model, "int8")
    with pytest.raises(ConversionError, match="cannot be copied"):
        nn.utils.prune.l1_unstructured(model[0], "weight", 0.5)
        quantise(model, "int8")


def test_a_kronecker_matrix_of_a_linear_layer_is_rounded_factor_by_factor():
    model = perceptron()
    compress_(model, {r"3\.": {"structure": "kronecker", "factor": (4, 4)}})
    small = quantise(model, "deepshift_q", bits=4)
    assert type(small[3].weight.base) is Kronecker and set(small[3].weight.widths) == {4}


def test_scales_are_of_bits():
    with pytest.raises(ConversionError, match="give bits too"):
        quantise(perceptron(), "unified", per="tensor")
    assert type(quantise(perceptron(), "unified", bits=8, per="tensor")[0].weight) is Uniform
