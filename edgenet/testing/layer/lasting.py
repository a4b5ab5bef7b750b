"""What a layer promises over its life: gradients, dtypes, copies, files, and that nothing it keeps is ever stale."""

from __future__ import annotations

import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.errors import CheckpointError
from edgenet.graph import Graph
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.shortcuts import kept
from edgenet.testing.contract import Contract, all_same, leaves_no_trace, require, same
from edgenet.testing.derivative import check_gradients
from edgenet.testing.layer.case import LayerCase, each
from edgenet.testing.structure.storage import saved_and_loaded

LASTING: Contract[LayerCase] = Contract()


@LASTING.promise("gradients")
def gradients(case: LayerCase) -> None:
    """Its gradients are right, by the signal and by its parameters, all of which are reached."""
    layer, x, more = case.ready()
    # within the signals that it met: at their ends a basis that was made for them may have kinks
    x = each(x, lambda side: (0.9 * side).requires_grad_())
    check_gradients(lambda: layer(x, **more), dict(layer.named_parameters()))
    leaves = dict(enumerate(x)) if case.pair else {0: x}
    reached = {f"signal {side}": leaf for side, leaf in leaves.items()}
    check_gradients(lambda: layer(x, **more), reached, all_reached=False)


@LASTING.promise("kept")
def keeps_nothing(case: LayerCase) -> None:
    """In eval mode, what it keeps between calls follows its parameters, its signal and its edges when they change."""
    (layer, x, more), anew = case.ready(), case.ready()[0]
    x, more = each(x, torch.clone), {name: value.clone() for name, value in more.items()}

    def look(when: str) -> None:
        for _ in range(2):
            found = layer(x, **more)
        anew.load_state_dict(layer.state_dict())
        with kept(False):
            same(found, copy.deepcopy(anew)(x, **more), f"{when}, it gives something else than one that kept nothing")

    with torch.no_grad():
        look("called twice")
        for parameter in layer.parameters():
            parameter.mul_(1.1)
        look("after its parameters have changed")
        each(x, lambda side: side.mul_(-0.5))
        look("after its signal has changed in place")
        more["edge_index"][:, 0] = more["edge_index"][:, 3]  # to one of which tables have weights
        look("after its edges have changed in place")


@LASTING.promise("no trace")
def no_trace(case: LayerCase) -> None:
    """In eval mode a call draws no random numbers, and changes no setting, no argument and no stored tensor."""
    layer, x, more = case.ready()
    leaves_no_trace(lambda: layer(x, **more), layer, [*(x if case.pair else (x,)), *more.values()])


@LASTING.promise("deep copy")
def deep_copy(case: LayerCase) -> None:
    """A deep copy gives the same, and is apart."""
    layer, x, more = case.ready()
    twin, wanted = copy.deepcopy(layer), layer(x, **more)
    same(twin(x, **more), wanted, "a deep copy gives something else")
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(2).add_(1)
    same(layer(x, **more), wanted, "it changes with its deep copy")


@LASTING.promise("state dict")
def state_dict(case: LayerCase) -> None:
    """Its state_dict, read with weights_only, fills a new one of the same make."""
    layer, x, more = case.ready()
    twin = another(case).eval()
    twin.load_state_dict(saved_and_loaded(layer.state_dict()))
    same(twin(x, **more), layer(x, **more), "filled with its state_dict, a new one gives something else")


@LASTING.promise("files")
def files(case: LayerCase) -> None:
    """save_pretrained and from_pretrained give it back; a class that files may not name is loaded into a new one."""
    layer, x, more = case.ready()
    with TemporaryDirectory() as folder:
        save_pretrained(layer, Path(folder) / "model")
        same(again(case, folder)(x, **more), layer(x, **more), "read from its files, it gives something else")


def another(case: LayerCase) -> nn.Module:
    """The layer, made anew from other random numbers."""
    torch.manual_seed(1)
    return case.bare()


def again(case: LayerCase, folder: str) -> nn.Module:
    """What a folder holds; where a class in it is not on the list, read into a module that is made for it."""
    try:
        return from_pretrained(Path(folder) / "model")
    except CheckpointError:
        return from_pretrained(Path(folder) / "model", model=another(case)).eval()


@LASTING.promise("reset")
def reset(case: LayerCase) -> str | None:
    """reset_parameters draws the same from the same seed into the same parameters."""
    layer, x, more = case.ready()
    draw = getattr(layer, "reset_parameters", None)
    if not callable(draw):
        return "it has no reset_parameters"
    before, parameters, drawn = layer(x, **more).detach(), list(layer.parameters()), []
    for _ in range(2):
        torch.manual_seed(3)
        draw()
        drawn.append(layer(x, **more))
    same(drawn[0], drawn[1], "two draws from one seed differ")
    require(not torch.equal(drawn[0], before), "reset_parameters draws nothing")
    now = list(layer.parameters())
    alike = len(now) == len(parameters) and all(map(lambda a, b: a is b, now, parameters))
    require(alike, "reset_parameters makes other parameters, of which an optimizer does not know")
    return None


@LASTING.promise("dtype", dtype=[torch.float32, torch.bfloat16, torch.float16])
def dtypes(case: LayerCase, dtype: torch.dtype) -> None:
    """It follows a change of dtype, to what the dtype's mantissa leaves."""
    layer, x, more = case.ready()
    wanted = layer(x, **more).detach()
    other = {name: value.to(dtype) if value.is_floating_point() else value for name, value in more.items()}
    y = layer.to(dtype)(each(x, lambda side: side.to(dtype)), **other)
    require(y.dtype == dtype, f"after to({dtype}) it gives {y.dtype}")
    digits = {torch.float32: 1e-4, torch.float16: 5e-2, torch.bfloat16: 2e-1}[dtype]  # of the largest entry
    scale = wanted.abs().max().clamp_min(1e-12)
    same(y.double() / scale, wanted / scale, f"in {dtype} it gives something else", digits)


def takes_lists_alone(layer: nn.Module, x: Any, more: dict[str, Any]) -> bool:
    """Whether it refuses a Graph for edges, as PyG's layers do; that a layer takes one is asked by a check of doors."""
    sides = x if isinstance(x, tuple) else (x, x)
    try:
        layer(x, **more | {"edge_index": Graph(more["edge_index"], len(sides[1]), len(sides[0]))})
    except Exception:  # each refuses in its own way
        return True
    return False


@LASTING.promise("compile", warm={"warm": True, "cold": False})
def compiles(case: LayerCase, warm: bool) -> None:
    """torch.compile takes it whole, on a graph that it has met and on one that it has not; gradients too."""
    layer, x, more = case.fresh()
    sides = x if case.pair else (x, x)
    lists_alone = takes_lists_alone(layer, x, more)

    def graph() -> Any:
        edges = more["edge_index"].clone()
        return edges if lists_alone else Graph(edges, len(sides[1]), len(sides[0]))

    met = graph()
    torch.manual_seed(2)  # dropout is drawn alike
    wanted = layer(x, **more | {"edge_index": met})
    parameters: list[Tensor] = list(layer.parameters())
    right = torch.autograd.grad(wanted.square().sum(), parameters)  # now: norms change what they hold in every call
    met = met if warm else graph()
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=False)
    torch.manual_seed(2)
    y = compiled(x, **more | {"edge_index": met})
    same(y, wanted, "compiled, it gives something else")
    all_same(torch.autograd.grad(y.square().sum(), parameters), right, "compiled, it has other gradients")
