"""Training by torch's and Lightning's tools: ensembles, half precision, scaled gradients, recomputed activations."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.utils.checkpoint import checkpoint

from edgenet.testing.contract import all_same, fair, require, same
from edgenet.testing.ecosystem.tools import job
from edgenet.testing.layer.case import LayerCase, each

_MEMBERS = 3
_HALF = 0.2  # of the largest entry, that bfloat16 may be off by after some hops: 8 bits of mantissa
_RATE = 0.1


def grown(layer: nn.Module, factor: float) -> nn.Module:
    """The layer with other numbers, in place."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(factor)
    return layer


def gradients(layer: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(layer.parameters()), materialize_grads=True))


# --- ensembles --------------------------------------------------------------------------------------------------------
@job("vmap ensemble", "torch")
def ensemble(case: LayerCase) -> None:
    """Several of one make run as one, by ``stack_module_state`` and ``vmap``, on the skeleton of one of them on the
    meta device; outputs and gradients are those of a loop."""
    _, x, more = case.ready()
    members = [grown(case.ready()[0], 1 + 0.1 * number) for number in range(_MEMBERS)]
    skeleton = copy.deepcopy(members[0]).to("meta")
    parameters, buffers = stack_module_state(members)

    def output(parameters: Any, buffers: Any) -> Tensor:
        return functional_call(skeleton, (parameters, buffers), (x,), more)

    wanted = [member(x, **more) for member in members]
    same(vmap(output)(parameters, buffers), torch.stack(wanted), "as one, members give something else than each alone")
    found = vmap(grad(lambda p, b: output(p, b).square().sum()))(
        {name: value.detach() for name, value in parameters.items()}, buffers
    )
    slopes = [gradients(member, y.square().sum()) for member, y in zip(members, wanted, strict=True)]
    stacked = [torch.stack(values) for values in zip(*slopes, strict=True)]
    names = [name for name, _ in members[0].named_parameters()]
    all_same([found[name] for name in names], stacked, "as one, members have other gradients than each alone", 1e-8)


# --- precision --------------------------------------------------------------------------------------------------------
@job("autocast", "torch")
def autocast(case: LayerCase) -> None:
    """Under autocast to bfloat16, a training step of float32 parameters gives what float32 gives, to half its digits,
    and finite float32 gradients."""
    with fair(torch.float32):
        layer, x, more = case.fresh()
        layer, x = layer.float(), each(x, Tensor.float)
        more = {name: value.float() if value.is_floating_point() else value for name, value in more.items()}
        torch.manual_seed(2)
        wanted = layer(x, **more).detach()
        torch.manual_seed(2)
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x, **more)
            loss = y.float().square().mean()
        scale = wanted.abs().max().clamp_min(1e-12)
        same(y.float() / scale, wanted / scale, "under autocast it gives something else", _HALF)
        loss.backward()
        for name, parameter in layer.named_parameters():
            slope = parameter.grad
            require(slope is None or slope.dtype == torch.float32, f"the gradient of {name} is no float32")
            require(slope is None or bool(slope.isfinite().all()), f"the gradient of {name} is not finite")


@job("GradScaler", "torch")
def grad_scaler(case: LayerCase) -> None:
    """A step by ``GradScaler`` is a plain step, and a loss that is not finite changes nothing."""
    (layer, x, more), other = case.ready(), case.ready()[0]
    step(other, x, more)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD(layer.parameters(), lr=_RATE)
    for factor in (1.0, torch.inf):
        optimizer.zero_grad()
        scaler.scale(factor * layer(x, **more).square().mean()).backward()
        scaler.step(optimizer)
        scaler.update()
        what = f"after a loss times {factor}, it has other numbers"
        all_same(list(layer.parameters()), list(other.parameters()), what)
    require(scaler.get_scale() == 512.0, "a loss that is not finite does not halve the scale")


def step(layer: nn.Module, x: Any, more: dict[str, Any]) -> Tensor:
    """A plain training step; what the layer gave before it."""
    optimizer = torch.optim.SGD(layer.parameters(), lr=_RATE)
    y = layer(x, **more)
    y.square().mean().backward()
    optimizer.step()
    return y.detach()


# --- recomputing ------------------------------------------------------------------------------------------------------
@job("checkpointing", "torch", reentrant={"recomputed": False, "reentrant": True})
def recomputed(case: LayerCase, reentrant: bool) -> None:
    """By ``torch.utils.checkpoint``, which forgets activations and computes them again, gradients are what they are;
    random numbers are drawn alike."""
    layer, x, more = case.fresh()
    x = each(x, lambda side: side.clone().requires_grad_())
    leaves = [*(x if isinstance(x, tuple) else (x,)), *layer.parameters()]
    state = {name: value.clone() for name, value in layer.state_dict().items()}

    def slopes(call: Any) -> list[Tensor]:
        layer.load_state_dict(state)  # norms change what they hold in every call
        for leaf in leaves:
            leaf.grad = None
        torch.manual_seed(2)
        call().square().sum().backward()
        return [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]

    def called(*signal: Tensor) -> Tensor:
        return layer(signal if case.pair else signal[0], **more)

    signals = x if case.pair else (x,)
    wanted = slopes(lambda: called(*signals))
    found = slopes(lambda: checkpoint(called, *signals, use_reentrant=reentrant))
    all_same(found, wanted, "computed again, it has other gradients")


# --- Lightning --------------------------------------------------------------------------------------------------------
@job("Lightning", "lightning")
def lightning(case: LayerCase) -> None:
    """In a ``LightningModule`` it is fitted, and comes back from the checkpoint by ``load_from_checkpoint``."""
    pytorch = import_module("lightning.pytorch")
    _, x, more = case.ready()

    class Fitted(pytorch.LightningModule):  # type: ignore[name-defined]  # a base that is known when it runs
        def __init__(self) -> None:
            super().__init__()
            self.net = case.bare()

        def training_step(self, batch: Any, _number: int) -> Tensor:
            signal, given = batch
            return self.net(tuple(signal) if case.pair else signal, **given).square().mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=_RATE)

    model = Fitted()
    model.net(x, **more)  # sizes and bases that a first input gives
    before = [p.detach().clone() for p in model.parameters()]
    with TemporaryDirectory() as folder, quiet("lightning.pytorch"):
        trainer = pytorch.Trainer(
            max_epochs=2, accelerator="cpu", devices=1, default_root_dir=folder, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        batches: Any = [(x, more)]
        trainer.fit(model, torch.utils.data.DataLoader(batches, batch_size=None))
        moved = [not torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True)]
        require(any(moved), "fitted by Lightning, it has learned nothing")
        trainer.save_checkpoint(Path(folder) / "fitted.ckpt")
        again = Fitted.load_from_checkpoint(Path(folder) / "fitted.ckpt", weights_only=True)
    wanted = model.net.eval()(x, **more)
    same(again.net.eval()(x, **more), wanted, "read from Lightning's checkpoint, it gives something else")


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Without what a package logs or warns of."""
    log = logging.getLogger(name)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
