"""Deltas: a frozen model learns something new by structured matrices that are added to its weights.

    W' = W + D(theta) - D(theta_0)

W stays as it is, and theta, the few numbers of a structured matrix, trains. It starts at theta_0, the family's fit to
W, and the model as it was. With ``low_rank`` these are the low-rank adapters of Hu et al. 2022
(LoRA), from the start of Meng et al. 2024 (PiSSA); any other family will do. torch's ``parametrize`` puts them on, so
they reach every weight of every module, edge tables too, and the product is the dense one: adapting saves memory of
optimizers and files, not time.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from edgenet.compress.plan import Plan, PlanLike, resolve
from edgenet.errors import PlanError
from edgenet.reading.patterns import matches
from edgenet.structured import Structure, StructuredMatrix
from edgenet.structured.bridge import own_class_, writes_itself
from edgenet.structured.read import read


class Delta(nn.Module):
    """What torch's ``parametrize`` calls: the weight, and what has been learned beside it.

    Args:
        matrix: D(theta), (m, n): the tensor's first axis by all others.

    Example:
        >>> weight = torch.randn(6, 4)
        >>> delta = edgenet.compress.Delta(edgenet.structured.LowRank.from_dense(weight, rank=1))
        >>> torch.equal(delta(weight), weight)  # nothing is learned yet
        True
    """

    def __init__(self, matrix: StructuredMatrix) -> None:
        super().__init__()
        self.matrix = matrix
        self.start = copy.deepcopy(matrix).requires_grad_(False)

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (read(self.matrix) - read(self.start)).reshape(weight.shape)


def adapt_(model: nn.Module, plan: PlanLike) -> list[str]:
    """Freeze a model, and let structured deltas on some of its weights learn; in place, all or nothing.

    ``adapt_(model, {r"convs\\.": {"structure": "low_rank", "rank": 4}})``. The first rule whose pattern matches the
    name of a parameter (``re.match``) says what its delta is; weights that none matches, or "keep", and those of less
    than two axes are frozen alone. Make the optimizer of ``filter(lambda p: p.requires_grad, model.parameters())``.

    Args:
        plan: as of ``compress_``, with patterns of parameters, as ``named_parameters`` has them.

    Returns:
        The names of the parameters that have a delta now.

    Raises:
        PlanError: if a pattern matches no weight; if a weight has no size yet, stands in two places, or is written into
            ``state_dict`` by its module itself (PyG's ``Linear``: call ``to_edgenet`` first).
        ShapeError, RankError: if an option does not fit a weight.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        >>> edgenet.compress.adapt_(model, {"0": {"structure": "low_rank", "rank": 1}})
        ['0.weight']
        >>> sum(p.numel() for p in model.parameters() if p.requires_grad)
        24
    """
    rules, used = Plan.of(plan).rules, set()
    chosen: dict[str, tuple[nn.Module, str, Delta]] = {}
    for name, module, key in _weights(model):
        rule = next(((pattern, spec) for pattern, spec in rules if matches(pattern, name)), None)
        if rule is None:
            continue
        used.add(rule[0])
        if rule[1] != "keep":
            chosen[name] = module, key, _delta(name, module, key, resolve(rule[1], f"the rule {rule[0]!r}"))
    places = Counter(id(module._parameters[key]) for _, module, key in _weights(model))
    for name, (module, key, _) in chosen.items():
        if places[id(module._parameters[key])] > 1:
            raise PlanError(f"{name} stands in several places of the model, and a delta would be in one: keep it.")
    unused = [pattern for pattern, _ in rules if pattern not in used]
    if unused:
        known = ", ".join(name for name, *_ in _weights(model)) or "none"
        raise PlanError(f"the pattern {unused[0]!r} matches no weight to add to; there are {known}.")
    model.requires_grad_(False)
    for module, key, delta in chosen.values():
        own_class_(module)
        parametrize.register_parametrization(module, key, delta, unsafe=True)  # shapes are known to fit
        module.parametrizations.train(module.training)
    return list(chosen)


def merge_deltas_(model: nn.Module) -> list[str]:
    """Add what was learned to the weights, and take the deltas away. The weights stay frozen.

    Returns:
        The names of the parameters that had one.

    Raises:
        PlanError: if there is none, or something else is on the same weight.

    Example:
        >>> layer = torch.nn.Linear(16, 8)
        >>> _ = edgenet.compress.adapt_(layer, {"weight": "kronecker"})  # and train it
        >>> edgenet.compress.merge_deltas_(layer)
        ['weight']
    """
    found = list(_deltas(model))
    for name, module, key, _ in found:
        if len(module.parametrizations[key]) > 1:
            raise PlanError(f"{name} has other parametrizations beside its delta: take these away first.")
    if not found:
        raise PlanError(f"this {type(model).__name__} has no deltas to merge: adapt_ puts them on.")
    for _, module, key, _ in found:
        own_class_(module)
        parametrize.remove_parametrizations(module, key, leave_parametrized=True)
        module._parameters[key].requires_grad_(False)
    return [name for name, *_ in found]


def delta_state(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of all deltas and of nothing else, for a small file; ``load_state_dict(..., strict=False)`` takes
    them into a model that was adapted by the same plan.

    Raises:
        PlanError: if there are no deltas.

    Example:
        >>> layer = torch.nn.Linear(16, 8)
        >>> _ = edgenet.compress.adapt_(layer, {"weight": {"structure": "low_rank", "rank": 1}})
        >>> sum(tensor.numel() for tensor in edgenet.compress.delta_state(layer).values())
        48
    """
    inside = {id(t) for *_, delta in _deltas(model) for t in (*delta.parameters(), *delta.buffers())}
    if not inside:
        raise PlanError(f"this {type(model).__name__} has no deltas to save: adapt_ puts them on.")
    state = model.state_dict(keep_vars=True)
    return {name: value.detach() for name, value in state.items() if id(value) in inside}


def _weights(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """(name, module, key) of every parameter of two axes or more, but for those of parametrizations."""
    for path, module in model.named_modules():
        if "parametrizations" in path.split("."):
            continue
        for key, value in module._parameters.items():
            if value is not None and (is_lazy(value) or (value.dim() > 1 and value.is_floating_point())):
                yield f"{path}.{key}".lstrip("."), module, key


def _delta(name: str, module: nn.Module, key: str, structure: Structure) -> Delta:
    weight: Any = module._parameters[key]
    if is_lazy(weight):
        raise PlanError(f"{name} has no size yet: run the model once, or bind it to its graph, before adapting.")
    reason = None if isinstance(module, StructuredMatrix) else writes_itself(module, key)
    if reason is not None:
        raise PlanError(f"{name}: {reason}")
    flat = weight.detach().flatten(1)
    matrix = structure(flat.clone())
    with torch.no_grad():
        if not flat.any():  # a fit to nothing may stand where all gradients are 0
            matrix.draw_(max(flat.shape) ** -0.5)
    return Delta(matrix.to(flat.device))


def _deltas(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, Delta]]:
    for path, module in model.named_modules():
        if parametrize.is_parametrized(module):
            for key, parts in module.parametrizations.items():
                for part in parts:
                    if isinstance(part, Delta):
                        yield f"{path}.{key}".lstrip("."), module, key, part
