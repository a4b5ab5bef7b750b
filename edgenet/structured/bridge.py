"""The bridge: a structured matrix behind a tensor attribute, for modules that insist on a tensor.

``nn.LSTM``, ``nn.MultiheadAttention`` and others hand ``self.weight`` to a kernel that wants every entry. ``attach_``
puts a structured matrix there through torch's own ``parametrize``: whoever reads the attribute gets the dense tensor,
built from the few numbers that are stored and trained. That saves parameters and bytes, and no time: the product is the
dense one, and the tensor is built at every read. In ``eval`` mode without gradients it is built once and kept.

``state_dict`` holds the numbers of the structured matrix alone, under ``parametrizations.<name>.0.matrix.``; loading,
``deepcopy``, optimizers and ``torch.save`` of the module work as always: torch refuses to pickle what is parametrised,
for its class is made on the way, and what is behind bridges alone is therefore pickled as its own class and they.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgenet.errors import PlanError, ShapeError
from edgenet.shortcuts import untouched
from edgenet.structured.base import StructuredMatrix
from edgenet.structured.families import Structure
from edgenet.structured.parameters import parameter
from edgenet.structured.read import read


class Bridge(nn.Module):
    """What torch's ``parametrize`` calls: the dense tensor of a structured matrix, and its projection on assignment.

    Attributes:
        matrix: (m, n), the tensor's first axis by all others.
        shape: of the tensor.
    """

    def __init__(self, matrix: StructuredMatrix, shape: torch.Size) -> None:
        super().__init__()
        self.matrix, self.shape = matrix, shape
        self._started = False

    def forward(self) -> Tensor:
        matrix = self.matrix
        if not untouched(matrix):
            return read(matrix).reshape(self.shape)
        tensors = (*matrix.parameters(), *matrix.buffers())  # a mask is a buffer
        return matrix.cache.get(matrix, "bridge", tensors, matrix.to_dense).reshape(self.shape)

    def right_inverse(self, value: Tensor) -> tuple[()]:
        """Assigning a tensor projects it. No tensor is left over for torch to store beside the matrix's own."""
        if self._started:
            self.matrix.reset_parameters(value.reshape(self.matrix.shape))
        self._started = True  # the first call comes with the tensor that the matrix was made of
        return ()


def attach_(module: nn.Module, name: str, structure: Structure | StructuredMatrix) -> StructuredMatrix:
    """Put a structured matrix behind ``module.<name>``; a tensor of more than two axes is its first by all others, a
    vector is one row.

    Args:
        module: whose forward reads the tensor, of any kind.
        name: of the parameter, ``"weight_hh_l0"``.
        structure: makes the matrix of the (m, n) weight, or is the matrix.

    Returns:
        The matrix. Its parameters are new: an optimizer made before does not know them.

    Raises:
        PlanError: if the module has no such parameter, it is parametrised already, or the module writes its ``weight``
            into ``state_dict`` by itself (PyG's ``Linear``), which would store it twice.
        ShapeError: if the tensor is a single number, or the matrix has another shape or dtype.
    """
    weight = module._parameters.get(name)
    if weight is None:
        known = ", ".join(key for key, value in module._parameters.items() if value is not None) or "none"
        raise PlanError(f"{type(module).__name__} has no parameter {name!r} to put a matrix behind; it has {known}.")
    reason = writes_itself(module, name)
    if reason is not None:
        raise PlanError(reason)
    if weight.dim() == 0:
        raise ShapeError(f"a matrix has rows and columns, and {name!r} is a single number.")
    dense = weight.detach().unsqueeze(0) if weight.dim() == 1 else weight.detach().flatten(1)
    matrix = structure if isinstance(structure, StructuredMatrix) else structure(dense)
    if matrix.shape != tuple(dense.shape):
        raise ShapeError(f"{name!r} is {tuple(dense.shape)} as a matrix, its matrix {tuple(matrix.shape)}.")
    own_class_(module)
    parametrize.register_parametrization(module, name, Bridge(matrix, weight.shape), unsafe=True)
    kind: Any = type(module)
    kind.__reduce_ex__, kind.__copy__ = _reduced, _shallow
    module.parametrizations.train(module.training)
    if isinstance(module, nn.RNNBase) and _forget_weights not in module._forward_hooks.values():
        module.register_forward_hook(_forget_weights)
        module._flat_weights = [None] * len(module._flat_weights)
    return matrix


def detach_(module: nn.Module, name: str, weight: nn.Parameter | None = None) -> None:
    """Take the bridge away: ``module.<name>`` is a parameter again, ``weight`` or the dense tensor as it is now.

    Raises:
        PlanError: if there is no bridge.
    """
    matrix = bridged(module).get(name)
    if matrix is None:
        raise PlanError(f"{type(module).__name__} has no structured matrix behind {name!r}.")
    if weight is None:
        trains = any(p.requires_grad for p in matrix.parameters())
        weight = parameter(getattr(module, name), requires_grad=trains)
    own_class_(module)
    parametrize.remove_parametrizations(module, name)
    module._buffers.pop(name, None)  # where torch leaves a tensor that wants no gradient
    module._parameters[name] = weight
    if isinstance(module, nn.RNNBase):
        if not bridged(module):
            hooks = module._forward_hooks
            for key in [key for key, hook in hooks.items() if hook is _forget_weights]:
                del hooks[key]
        module._init_flat_weights()


def bridged(module: nn.Module) -> dict[str, StructuredMatrix]:
    """The matrices behind a module's tensors, by name."""
    lists = module._modules.get("parametrizations")
    if lists is None or not parametrize.is_parametrized(module):
        return {}
    return {name: group[0].matrix for name, group in lists.items() if isinstance(group[0], Bridge)}


def writes_itself(module: nn.Module, name: str) -> str | None:
    """Why no matrix can stand behind this tensor, though it is a parameter of the module; or None."""
    if name != "weight" or type(module)._save_to_state_dict is nn.Module._save_to_state_dict:
        return None
    return (
        f"{type(module).__name__} writes its weight into state_dict by itself, which would store the dense one besides "
        f"the structured one. It must be swapped for a StructuredLinear: remove its hooks, if they are in the way, and "
        f"put it into a module, if it stands alone."
    )


def own_class_(module: nn.Module) -> None:
    """torch keeps the properties of parametrised tensors on a class of the module's own, which ``deepcopy`` shares.

    To change them on one copy would break the other; so a copy of the class comes first.
    """
    if parametrize.is_parametrized(module):
        kind = type(module)
        members = {key: value for key, value in vars(kind).items() if key not in ("__dict__", "__weakref__")}
        module.__class__ = type(kind.__name__, kind.__bases__, members)


def _reduced(module: nn.Module, protocol: Any) -> Any:
    """How a module behind bridges is pickled; one with parametrizations of others is refused, as by torch."""
    matrices = bridged(module)
    if set(matrices) != set(cast(Any, module).parametrizations):
        return object.__reduce_ex__(module, protocol)
    state = {name: dict(value) if isinstance(value, dict) else value for name, value in vars(module).items()}
    del state["_modules"]["parametrizations"]
    if isinstance(module, nn.RNNBase):
        state.pop("_flat_weight_refs", None)
        state["_flat_weights"] = [None] * len(module._flat_weights)
    shapes = [(name, matrix, cast(Any, module).parametrizations[name][0].shape) for name, matrix in matrices.items()]
    kind = type(module).__mro__[1]
    return _new, (kind,), (state, shapes), None, None, _restore


def _shallow(module: nn.Module) -> nn.Module:
    """``copy.copy``, which knows no setters of states."""
    made, given, state, *_, restore = cast(tuple[Any, ...], module.__reduce_ex__(2))
    copied = made(*given)
    restore(copied, state)
    return copied


def _new(kind: type[nn.Module]) -> nn.Module:
    return kind.__new__(kind)


def _restore(module: nn.Module, pickled: tuple[dict[str, Any], list[tuple[str, StructuredMatrix, torch.Size]]]) -> None:
    state, shapes = pickled
    module.__setstate__(state)
    for name, matrix, shape in shapes:
        module._parameters[name] = nn.Parameter(torch.empty(shape, device="meta"), requires_grad=False)
        attach_(module, name, matrix)
    if isinstance(module, nn.RNNBase):
        module._init_flat_weights()  # it notices a change only of what it has seen
        _forget_weights(module, None, None)


def _forget_weights(module: nn.RNNBase, inputs: Any, outputs: Any) -> None:
    """Recurrent modules remember the tensors of their last call: these hold its graph, and cannot be deep-copied."""
    module._flat_weights = [module._parameters.get(name) for name in module._flat_weights_names]
