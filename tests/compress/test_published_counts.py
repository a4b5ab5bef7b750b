"""What whole networks take in published papers' forms, counted by reports; large ones on no device."""

import pytest
import torch
from torch import nn

from edgenet.compress import compress_, pool_, report
from edgenet.structured import BlockTerm, StructuredConv2d, StructuredLinear, TensorTrain

VGG = {"VGG-16": (2, 2, 3, 3, 3), "VGG-19": (2, 2, 4, 4, 4)}
FC6 = {"shape": [4096, 25088], "out_modes": (4,) * 6, "in_modes": (2, 7, 8, 8, 7, 4)}
FC7 = {"shape": [4096, 4096], "out_modes": (4,) * 6, "in_modes": (4,) * 6}


def vgg(convolutions, fc6=None, fc7=None):
    """Simonyan and Zisserman 2015, its first two dense layers as tensor trains where options of some are given."""
    layers, width = [], 3
    for channels, count in zip((64, 128, 256, 512, 512), convolutions, strict=True):
        for _ in range(count):
            layers += [nn.Conv2d(width, channels, 3, padding=1), nn.ReLU()]
            width = channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(
        *layers, nn.Flatten(), _linear(25088, fc6), nn.ReLU(), _linear(4096, fc7), nn.ReLU(), nn.Linear(4096, 1000)
    )


def _linear(width, options):
    if options is None:
        return nn.Linear(width, 4096)
    return StructuredLinear(TensorTrain.from_config(options), torch.zeros(4096))


@pytest.mark.parametrize("rank, times", [(4, 50_972), (2, 194_622), (1, 713_614)])
def test_the_first_dense_layer_of_vgg_by_a_report(rank, times):
    # Novikov et al. 2015, table 2
    with torch.device("meta"):
        made = report(vgg(VGG["VGG-16"], {**FC6, "rank": rank}))
    (row,) = [row for row in made.rows if row.structure == "tensor_train"]
    assert round(row.ratio) == times


@pytest.mark.parametrize(
    "name, dense, one, two", [("VGG-16", 138_357_544, 3.887, 7.35), ("VGG-19", 143_667_240, 3.512, 5.95)]
)
def test_whole_vgg_networks_by_a_report(name, dense, one, two):
    # Novikov et al. 2015, table 2: 3.9 and 7.4, 3.5 and 6
    with torch.device("meta"):
        first = report(vgg(VGG[name], {**FC6, "rank": 4}))
        both = report(vgg(VGG[name], {**FC6, "rank": 4}, {**FC7, "rank": 4}))
    assert first.total.parameters_before == both.total.parameters_before == dense
    assert round(first.total.ratio, 3) == one
    assert round(both.total.ratio, 2) == two
    trains = [row for row in both.rows if row.structure == "tensor_train"]
    layers = sum(row.parameters_before for row in trains) / sum(row.parameters for row in trains)
    assert round(layers, -1) == pytest.approx(37_732, abs=5)


class Block(nn.Module):
    """He et al. 2016, of CIFAR: shortcuts without numbers."""

    def __init__(self, width, channels, stride):
        super().__init__()
        self.first = nn.Conv2d(width, channels, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)])
        self.stride = stride

    def forward(self, x):
        y = self.norms[1](self.second(self.norms[0](self.first(x)).relu()))
        x = x[:, :, :: self.stride, :: self.stride]
        return (y + nn.functional.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))).relu()


def resnet32():
    layers, width = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()], 16
    for channels in (16, 32, 64):
        layers += [Block(width if k == 0 else channels, channels, 2 if k == 0 < channels - 16 else 1) for k in range(5)]
        width = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


@pytest.mark.parametrize("ratio, kept", [(4, 115_468), (10, 46_187)])
def test_the_budget_of_a_resnet_in_one_pool(ratio, kept):
    """Eban et al. 2020 hash ResNet-32, 464 thousand numbers, to a quarter and to a tenth; norms and biases stay."""
    model = resnet32()
    assert report(model).total.parameters == 464_154
    pool_(model, ratio=ratio, fit=False)
    made = report(model)
    assert made.rest.parameters == 2_282
    pooled = sum(row.parameters for row in made.rows)
    assert kept - 1 <= pooled <= kept
    assert sum(p.numel() for p in model.parameters()) == pooled + 2_282
    assert all(row.structure == "hashed" for row in made.rows)
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(
    "blocks, rank, numbers, dense_times", [(1, 2, 282, 130.7), (2, 4, 1_224, 30.1), (4, 8, 6_432, 5.7)]
)
def test_convolutions_of_block_terms(blocks, rank, numbers, dense_times):
    """N (R^3 + (8 8 + 8 8 + 9) R) numbers of a 3 x 3 kernel of 64 channels: Ye et al. 2018."""
    matrix = BlockTerm.random((64, 576), blocks=blocks, rank=rank, places=9)
    model = nn.Sequential(StructuredConv2d(matrix, 3, padding=1))
    (row,) = report(model, inputs=torch.randn(1, 64, 14, 14)).rows
    assert row.parameters == numbers and round(row.ratio, 1) == dense_times
    assert sum(p.numel() for p in model.parameters()) == numbers


def test_networks_of_convolutions_by_one_rule():
    """Every 3 x 3 convolution of ResNet-32 but the first in tensor trains of rank 4, counted core by core."""
    model = resnet32()
    compress_(model, {r"\d+\.(first|second)": {"structure": "tensor_train", "rank": 4, "dims": 3}})
    rows = {row.shape: row.parameters for row in report(model).rows if row.structure == "tensor_train"}
    # modes (4, 4, 1) by (4, 4, 9), and so on: 4 m n + 16 m' n' + 4 9
    assert rows == {(16, 144): 356, (32, 144): 4 * 8 * 4 + 16 * 4 * 4 + 36, (32, 288): 4 * 8 * 4 + 16 * 4 * 8 + 36,
                    (64, 288): 4 * 8 * 4 + 16 * 8 * 8 + 36, (64, 576): 4 * 64 + 16 * 64 + 36}  # fmt: skip
    assert all(model[3 + k].first.weight.as_convs(9) for k in range(15))
