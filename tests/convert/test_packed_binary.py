"""Packed binary networks decide as the networks that they were made of."""

import copy

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from edgenet import ops
from edgenet.convert import pack_binary
from edgenet.errors import ConversionError, ShapeError
from edgenet.nn import PackedConv, PackedLinear, PackedMaxPool, Sign, Thresholds
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.structured import (
    Binary,
    Dense,
    StructuredConv1d,
    StructuredConv2d,
    StructuredLinear,
    Uniform,
)


def linear(columns, rows, per="none", bias=True):
    return StructuredLinear(Binary(Dense(torch.randn(rows, columns)), per=per), torch.randn(rows) if bias else None)


def conv(channels, rows, kernel=(3, 3), per="none", bias=False, kind=StructuredConv2d, **options):
    places = torch.Size(kernel).numel()
    weight = Binary(Dense(torch.randn(rows, channels * places)), per=per)
    return kind(weight, kernel, bias=torch.randn(rows) if bias else None, **options)


def norm(rows, kind=nn.BatchNorm1d, size=5.0, per="none"):
    """A batch norm as training leaves it, with weights of both signs and one that is 0; where products are whole
    numbers, some of them lie on the threshold."""
    layer = kind(rows)
    with torch.no_grad():
        layer.weight.normal_()
        layer.weight[0] = 0
        layer.bias.normal_()
        layer.running_mean.normal_().mul_(size)
        if per == "none":
            layer.running_mean[rows // 2 :].round_()
            layer.bias[rows // 2 :] = 0
        layer.running_var.uniform_(0.5, 2).mul_(size**2)
    return layer


def mlp(per="none", bias=True):
    return nn.Sequential(
        nn.Linear(20, 130), norm(130, size=1), nn.Hardtanh(), Sign(), nn.Dropout(0.5),
        linear(130, 70, per, bias), norm(70, per=per), Sign(),
        nn.Sequential(linear(70, 66, per, bias), norm(66, per=per), nn.Hardtanh(), nn.Dropout(0.2), Sign()),
        linear(66, 10, per, bias), norm(10),
    )  # fmt: skip


def image_network(per="none", padding_value=0.0, pool_first=True, channels=70):
    def padded(layer):
        layer.padding_value = padding_value  # as a StructuredConv2d of binary signals has it
        return layer

    def block(inside, outside):
        layers = [nn.MaxPool2d(2), norm(outside, nn.BatchNorm2d, per=per)]
        return layers if pool_first else layers[::-1]

    return nn.Sequential(
        nn.Conv2d(3, channels, 3), norm(channels, nn.BatchNorm2d, 1), Sign(),
        padded(conv(channels, 33, per=per, padding=1)), *block(channels, 33), Sign(),
        padded(conv(33, 20, (2, 3), per, True, stride=(1, 2), padding=(1, 2), dilation=(2, 1))),
        norm(20, nn.BatchNorm2d, per=per), Sign(), nn.MaxPool2d(3, 2, 1), nn.Flatten(),
        linear(20 * 3 * 2, 40, per), norm(40, per=per), Sign(), linear(40, 10, per), norm(10),
    )  # fmt: skip


def unpadded(model, x):
    """The network's own result, of which the borders are padded by hand with what its convolutions pad."""
    for layer in model:
        value = getattr(layer, "padding_value", 0.0)
        if value:
            layer = copy.copy(layer)
            ends = [size for size in reversed(layer.padding) for _ in range(2)]
            x, layer.padding = nn.functional.pad(x, ends, value=value), (0,) * len(layer.padding)
        x = layer(x)
    return x


def signs_inside(model, x):
    """What every Sign, and every step that takes its place, gives: -1 and +1, channels first."""
    seen = []

    def watch(layer, _, y):
        if isinstance(layer, Thresholds):
            y = ops.unpack_signs(y, layer.rows).movedim(-1, 1)
        seen.append(y)

    hooks = [m.register_forward_hook(watch) for m in model.modules() if isinstance(m, Sign | Thresholds)]
    y = model(x)
    for hook in hooks:
        hook.remove()
    return seen, y


@pytest.mark.float32
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("per", ["none", "row", "tensor"])
def test_every_sign_inside_a_packed_mlp_is_that_of_the_network(per, bias):
    model, x = mlp(per, bias).eval(), torch.randn(500, 20)
    packed = pack_binary(model)
    assert [type(m).__name__ for m in packed][3:] == [
        "PackSigns", "PackedLinear", "Thresholds", "PackedLinear", "Thresholds", "PackedLinear", "Rescaled",
        "BatchNorm1d",
    ]  # fmt: skip
    with torch.no_grad():
        wanted, y = signs_inside(model, x)
        got, z = signs_inside(packed, x)
    assert len(wanted) == 3 and len(got) == 2
    for ours, theirs in zip(got, wanted[1:], strict=True):
        assert torch.equal(ours, theirs)
    torch.testing.assert_close(z, y, rtol=1e-5, atol=1e-5)  # sums of rounded scales


@pytest.mark.float32
@pytest.mark.parametrize("per", ["none", "row"])
@pytest.mark.parametrize("padding_value", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("pool_first", [True, False])
def test_a_packed_network_of_convolutions_computes_the_same(per, padding_value, pool_first):
    model, x = image_network(per, padding_value, pool_first).eval(), torch.randn(12, 3, 14, 12)
    packed = pack_binary(model)
    kinds = [type(m) for m in packed.modules()]
    assert kinds.count(PackedConv) == 2 and kinds.count(PackedLinear) == 2 and kinds.count(PackedMaxPool) == 2
    with torch.no_grad():
        torch.testing.assert_close(packed(x), unpadded(model, x), rtol=1e-5, atol=1e-5)  # of float32


@pytest.mark.float32
def test_a_packed_convolution_along_one_axis_computes_the_same():
    model = nn.Sequential(
        Sign(), conv(5, 70, (4,), kind=StructuredConv1d, padding="same"), norm(70), Sign(), nn.MaxPool1d(2),
        conv(70, 6, (3,), kind=StructuredConv1d, bias=True), norm(6),
    ).eval()  # fmt: skip
    x = torch.randn(4, 5, 17)
    with torch.no_grad():
        torch.testing.assert_close(pack_binary(model)(x), model(x), rtol=1e-5, atol=1e-5)  # of float32


def test_a_chain_of_one_map_and_the_packed_form_of_its_weights_are_served():
    model = nn.Sequential(Sign(), linear(70, 9, "row"))
    x = torch.randn(3, 70)
    model.eval()
    packed = pack_binary(model)
    torch.testing.assert_close(packed(x), model(x))
    model[1].weight = model[1].weight.pack()
    assert torch.equal(pack_binary(model.eval())(x), packed(x))


@pytest.mark.float32
def test_decisions_on_the_threshold_are_those_of_the_batch_norm():
    # every whole number that a row of 64 signs can give comes by, and statistics put many exactly on the threshold
    steps = torch.ones(65, 64)
    steps[torch.arange(64).unsqueeze(0) < torch.arange(65).unsqueeze(1)] = -1
    model = nn.Sequential(Sign(), StructuredLinear(Binary(Dense(torch.ones(400, 64)), per="none")), norm(400), Sign(),
                          linear(400, 3)).eval()  # fmt: skip
    with torch.no_grad():
        model[2].running_mean.copy_(torch.randint(-70, 71, (400,)))
        model[2].bias[200:] = 0
        wanted = signs_inside(model, steps)[0][1]
        got = signs_inside(pack_binary(model), steps)[0][0]
    assert torch.equal(got, wanted) and 0 < (wanted == 1).float().mean() < 1


def test_sequences_inside_a_module_are_packed_in_their_places():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = mlp(), nn.Linear(10, 2)

        def forward(self, x):
            return self.head(self.body(x))

    model, x = Two().eval(), torch.randn(40, 20)
    packed = pack_binary(model)
    torch.testing.assert_close(packed(x), model(x))
    assert type(packed.body[4]) is PackedLinear and type(model.body[5]) is StructuredLinear


def test_layers_that_are_kept_stay_and_the_others_are_packed():
    model, x = mlp().eval(), torch.randn(40, 20)
    packed = pack_binary(model, keep=["8.0"])
    kinds = [type(m) for m in packed]
    assert kinds.count(PackedLinear) == 2 and kinds.count(StructuredLinear) == 1
    torch.testing.assert_close(packed(x), model(x))
    kinds = [type(m) for m in pack_binary(model, keep=["7"])]  # a Sign, behind which nothing is packed
    assert kinds.count(Sign) == 1 and kinds.count(StructuredLinear) == 1 and kinds.count(PackedLinear) == 2
    with pytest.raises(ConversionError, match=r"'8\.9'"):
        pack_binary(model, keep=["8.9"])


@pytest.mark.float32
def test_a_packed_network_is_saved_at_a_bit_a_weight_and_loads(tmp_path):
    model = nn.Sequential(
        Sign(), linear(1024, 1024), norm(1024), Sign(), linear(1024, 1024, "row"), norm(1024), Sign(), linear(1024, 10)
    ).eval()
    packed, x = pack_binary(model), torch.randn(5, 1024)
    save_pretrained(packed, tmp_path)
    size = (tmp_path / "model.safetensors").stat().st_size
    assert size < 1.1 * 2 * 1024 * 1024 / 8
    assert torch.equal(from_pretrained(tmp_path)(x), packed(x))
    fresh = pack_binary(nn.Sequential(*(copy.deepcopy(layer) for layer in model)))
    for part in fresh.buffers():
        part.zero_()
    fresh.load_state_dict(torch.load(_stored(packed, tmp_path), weights_only=True))
    assert torch.equal(fresh(x), packed(x))


def _stored(model, folder):
    torch.save(model.state_dict(), folder / "state.pt")
    return folder / "state.pt"


@pytest.mark.parametrize(
    "layers, said",
    [
        (lambda: [nn.Linear(3, 3), nn.ReLU()], "nothing to pack"),
        (lambda: [linear(6, 6), norm(6)], "nothing to pack"),
        (lambda: [Sign(), StructuredLinear(Uniform(Dense(torch.randn(6, 6))))], "nothing to pack"),
        (lambda: [Sign(), conv(4, 8, groups=2, per="row")], "2 groups.*keep"),
        (lambda: [Sign(), conv(4, 8, padding=1, padding_mode="circular")], "circular.*keep"),
        (
            lambda: [Sign(), linear(6, 6), nn.BatchNorm1d(6, track_running_stats=False), Sign(), linear(6, 2)],
            "no running statistics.*recalibrate_",
        ),
    ],
)
def test_what_cannot_be_packed_is_refused_with_the_reason(layers, said):
    with pytest.raises(ConversionError, match=said):
        pack_binary(nn.Sequential(*layers()))


def test_a_batch_norm_that_gives_nan_is_refused():
    broken = norm(6)
    broken.running_var[3] = torch.nan
    with pytest.raises(ConversionError, match="channel 3 is NaN"):
        pack_binary(nn.Sequential(Sign(), linear(6, 6), broken, Sign(), linear(6, 2)))


def test_signals_of_other_axes_are_refused():
    packed = pack_binary(mlp().eval())
    with pytest.raises(ShapeError, match="takes"):
        packed[4](torch.zeros(2, 3, 3, dtype=torch.int64))
    with pytest.raises(ShapeError, match="takes"):
        pack_binary(image_network().eval())[3](torch.zeros(3, 3, dtype=torch.int64))


def test_layers_that_are_watched_are_called():
    model, x, seen = mlp().eval(), torch.randn(4, 20), []
    model[5].register_forward_hook(lambda *_: seen.append(1))  # of the linear map
    packed = pack_binary(model)
    torch.testing.assert_close(packed(x), model(x))
    assert len(seen) == 2 and type(packed[5]) is StructuredLinear
    model, seen = mlp().eval(), []
    model[6].register_forward_hook(lambda *_: seen.append(1))  # of the batch norm: numbers come by
    packed = pack_binary(model)
    torch.testing.assert_close(packed(x), model(x))
    assert len(seen) == 2 and type(packed[6]) is nn.BatchNorm1d


def test_a_packed_network_is_compiled():
    model, x = image_network(channels=8).eval(), torch.randn(2, 3, 14, 12)
    packed = pack_binary(model)
    with torch.no_grad():
        compiled = torch.compile(packed, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), packed(x))


class Turned(nn.Identity):
    def forward(self, x):
        return -x


class Noisy(nn.Dropout):
    def forward(self, x):
        return x + 30 * torch.arange(x.shape[1]).cos()


@pytest.mark.parametrize("own", [Turned, Noisy])
@pytest.mark.parametrize("place", [1, 3])
def test_layers_of_ones_own_classes_are_called(own, place):
    layers = [Sign(), linear(20, 70), norm(70), Sign(), linear(70, 5)]
    model = nn.Sequential(*layers[:place], own(), *layers[place:]).eval()
    x = torch.randn(50, 20)
    torch.testing.assert_close(pack_binary(model)(x), model(x))


def test_whole_blocks_are_kept():
    block = nn.Sequential(linear(20, 20), norm(20), Sign(), linear(20, 20), Sign())
    model = nn.Sequential(Sign(), linear(20, 20), Sign(), block, linear(20, 5)).eval()
    x = torch.randn(9, 20)
    packed = pack_binary(model, keep=["3"])
    assert sum(type(m) is StructuredLinear for m in packed.modules()) == 3
    torch.testing.assert_close(packed(x), model(x))
    with pytest.raises(ConversionError, match="nothing to pack"):
        pack_binary(nn.ModuleDict({"a": model}), keep=["a"])


def padded_pair():
    """Two convolutions that pad zeros, an image and what they give."""
    models = [nn.Sequential(Sign(), conv(5, 7, padding=1)).eval() for _ in range(2)]
    x = torch.randn(2, 5, 6, 4)
    return [(pack_binary(model), model(x)) for model in models], x


@pytest.mark.parametrize("through", ["data", "numpy"])
def test_what_padding_adds_is_of_the_words_as_they_are_now(through):
    ((packed, wanted), (other, new)), x = padded_pair()
    torch.testing.assert_close(packed(x), wanted)
    for own, given in zip(packed.buffers(), other.buffers(), strict=True):
        if through == "data":
            own.data.copy_(given)
        else:
            own.numpy()[...] = given.numpy()
    torch.testing.assert_close(packed(x), new)
    assert packed(x[..., :3]).shape == (2, 7, 6, 3)
    torch.testing.assert_close(packed(x), new)


def test_inference_mode_fake_tensors_and_devices_without_memory_leave_nothing_behind():
    (first, second), x = padded_pair()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert first[0](mode.from_tensor(x)).shape == first[1].shape
    torch.testing.assert_close(first[0](x), first[1])
    assert copy.deepcopy(first[0]).to("meta")(x.to("meta")).shape == first[1].shape
    with torch.inference_mode():
        model = nn.Sequential(Sign(), conv(5, 7, padding=1)).eval()
        torch.testing.assert_close(pack_binary(model)(x), model(x))
    exported = torch.export.export(second[0], (x,)).module()
    torch.testing.assert_close(exported(x), second[1])


def test_layers_that_come_twice_are_called_twice():
    sign, square, block = Sign(), linear(20, 20), nn.Sequential(linear(20, 20), norm(20))
    model = nn.Sequential(sign, square, sign, block, sign, square, sign, block, sign, linear(20, 5)).eval()
    x = torch.randn(9, 20)
    packed = pack_binary(model)
    assert sum(type(m) is PackedLinear for m in packed) == 5
    torch.testing.assert_close(packed(x), model(x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.int32])
def test_bits_of_another_dtype_are_not_loaded(dtype):
    packed = pack_binary(mlp().eval())
    state = packed.state_dict()
    for name in [name for name in state if name.endswith(("words", "least", "flip"))]:
        if state[name].dtype != dtype:
            with pytest.raises(RuntimeError, match=rf"{name}: these are bits"):
                packed.load_state_dict({**state, name: state[name].to(dtype)})
