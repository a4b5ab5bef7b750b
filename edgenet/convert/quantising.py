"""quantise: a network of linear layers and convolutions in weights of few bits, by one call."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from edgenet.compress.compress import fill, fit
from edgenet.compress.finding import matching, slots
from edgenet.compress.places import Undo
from edgenet.compress.plan import Plan, PlanLike, resolve
from edgenet.compress.positions import convolves
from edgenet.compress.recalibrate import recalibrate_
from edgenet.compress.slot import Slot
from edgenet.convert.model import copied
from edgenet.convert.signs import check_activations, to_signs_
from edgenet.errors import ConversionError
from edgenet.structured import Stacked, Structure, StructuredLinear, StructuredMatrix, family
from edgenet.text import did_you_mean


@dataclass(frozen=True)
class Form:
    """What a form puts into a slot.

    Attributes:
        spec: {"structure": name, **options}, as in a plan.
        bits: of a weight where the caller says none; None where the form has none to choose.
        fixed: whether the bits are part of the form's name.
        keep: what stays as it is where the caller does not say.
        signs: whether activations become signs.
    """

    spec: Mapping[str, Any]
    bits: int | None = None
    fixed: bool = False
    keep: tuple[str, ...] = ()
    signs: bool = False


#: By the name that ``quantise`` and the command line take.
FORMS: dict[str, Form] = {
    "bnn": Form({"structure": "binary"}, 1, fixed=True, keep=("first", "last"), signs=True),
    "deepshift_q": Form({"structure": "power_of_two", "form": "latent"}, 5),
    "deepshift_ps": Form({"structure": "power_of_two", "form": "sign_shift"}, 5),
    "unified": Form({"structure": "unified", "block": "auto"}),
    "uniform": Form({"structure": "uniform"}, 8),
    **{f"int{bits}": Form({"structure": "uniform"}, bits, fixed=True) for bits in range(2, 9)},
}

Keep = str | Sequence[str] | None


@dataclass
class Choice:
    """What becomes of every slot.

    Attributes:
        structures: what makes the matrix for a slot, by its name.
        kept: why a slot stays as it is, by its name.
        inner: the slots that are not the first layer: signs come to them, in a network of signs.
    """

    structures: dict[str, Structure] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    inner: set[str] = field(default_factory=set)


def quantise(
    model: nn.Module,
    form: str,
    *,
    bits: int | None = None,
    per: str = "row",
    plan: PlanLike | None = None,
    keep: Keep = None,
    batches: Iterable[Any] | None = None,
    call: Callable[[nn.Module, Any], Any] | None = None,
    inplace: bool = False,
    **options: Any,
) -> nn.Module:
    """Put the weights of a model's linear layers and convolutions into few bits. All of it happens, or nothing.

    =================  ==========================================================================================
    form               what it makes
    =================  ==========================================================================================
    "bnn"              signs: ``Binary`` weights, and ``Sign`` in the place of activations (Courbariaux et al. 2016);
                       see ``edgenet.convert.signs`` for what else changes. Wants training afterwards
    "deepshift_q"      ``PowerOfTwo`` of latent weights, 2 to 6 bits, 5 by default (Elhoushi et al. 2021)
    "deepshift_ps"     the same of signs and shifts
    "unified"          ``Unified``: blocks that share a magnitude, each weight its sign (Lin et al. 2021)
    "int2" ... "int8"  ``Uniform``: evenly spaced levels
    "uniform"          the same at ``bits``
    =================  ==========================================================================================

    Biases, norms and everything else stay floats. Where a structured matrix stands already (Kronecker factors, say)
    its numbers are rounded, and the structure stays. Weights that are no linear layer's or convolution's (tables of
    embeddings, recurrent and attention weights) stay unless ``plan`` names them, and so do depthwise kernels: they are
    few, and rounding them costs most. ``kept`` says what stays, and why.

    ``edgenet.compress.report(model)`` tells what the result takes. Parameters are new: make the optimizer afterwards.

    Args:
        model: any module.
        form: see above.
        bits: of a weight; only where the form's name does not say. With "unified", of magnitudes and of the rest.
        per: "row" for a scale an output, "tensor" for one a layer; "none" for the papers' BNN and DeepShift, which have
            no scale.
        plan: what other slots get, or these get instead, as ``compress_`` takes it; "keep" leaves one.
        keep: names of slots to leave, as patterns from the start of the name on; "first" and "last" are the first and
            the last layer in the order of the model. Default: those two for "bnn", none for others.
        batches: inputs for ``recalibrate_`` afterwards. A network of batch norms wants it; none may be scored later.
            The model as it came is the reference, but for "bnn", where signals are of another kind.
        call: runs the model on a batch, as of ``recalibrate_``.
        inplace: change ``model`` rather than a copy. An error leaves it as it was.
        **options: more options of the structure: ``ratio=0.8`` of "unified", ``half_step=True`` of "int2".

    Returns:
        The converted model, in the mode it was in.

    Raises:
        ConversionError: if there is no such form, its bits are given twice, nothing is there to convert, a matrix is
            quantised already, or activations of a "bnn" cannot be found or have hooks.
        PlanError: if a pattern matches nothing, an option is unknown, a layer is lazy, or a swap would lose something.
        ShapeError, RankError: if a weight is not finite, or an option does not fit; with the slot's name.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4)).eval()
        >>> small = edgenet.convert.quantise(model, "int4")
        >>> small(torch.randn(5, 64)).shape
        torch.Size([5, 4])
    """
    spec, signs = _spec(form, bits, per, options), FORMS[form].signs
    reference = None
    if not inplace:
        reference, model = model, copied(model)
    elif batches is not None and not signs:
        reference = copied(model)
    found = slots(model)
    choice = _choose(found, form, spec, keep, plan)
    if not choice.structures:
        raise ConversionError(f"there is nothing to convert in this {type(model).__name__}: {_why(choice.kept)}.")
    if signs:
        check_activations(model)
    matrices = {name: fit(found[name], make)[0] for name, make in choice.structures.items()}
    undos: list[Undo] = [fill(found, matrices)]
    try:
        if signs:
            undos.append(to_signs_(model, set(matrices), choice.inner))
        if batches is not None:
            recalibrate_(model, batches, call, None if signs else reference)
    except BaseException:
        for undo in reversed(undos):
            undo()
        raise
    return model


def kept(model: nn.Module, form: str, *, keep: Keep = None, plan: PlanLike | None = None) -> dict[str, str]:
    """Which slots ``quantise`` leaves as they are, by name, and why. Arguments as there.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 2))
        >>> edgenet.convert.kept(model, "bnn")
        {'0.weight': 'it is the first layer', '2.weight': 'it is the last layer'}
    """
    return _choose(slots(model), form, _spec(form, None, "row", {}), keep, plan).kept


def _spec(form: str, bits: int | None, per: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a form puts into a slot, as a plan says it."""
    if not isinstance(form, str) or form not in FORMS:
        raise ConversionError(f"no form is called {form!r}; there are {', '.join(FORMS)}.{did_you_mean(form, FORMS)}")
    chosen = FORMS[form]
    if chosen.fixed and bits not in (None, chosen.bits):
        instead = 'take "uniform"' if chosen.spec["structure"] == "uniform" else 'take "uniform" or "deepshift_q"'
        raise ConversionError(f"{form!r} has {chosen.bits} bits, and bits={bits!r} came too; {instead} for others.")
    bits = chosen.bits if bits is None else bits
    spec = {**chosen.spec, **options}
    if bits is not None and chosen.spec["structure"] != "binary":
        spec["bits"] = bits
    if bits is not None:
        spec["per"] = per
    elif per != "row":
        raise ConversionError(f"{form!r} has scales where it has bits, and per={per!r} came without; give bits too.")
    resolve(spec, f"the form {form!r}")
    return spec


def _choose(found: Mapping[str, Slot], form: str, spec: Mapping[str, Any], keep: Keep, plan: PlanLike | None) -> Choice:
    choice = Choice()
    rules = Plan.of(plan) if plan is not None else None
    planned = rules.assign(found) if rules is not None else {}
    for pattern, rule in rules.rules if rules is not None else ():
        if rule == "keep":
            named = [slot.name for slot in matching(found, pattern) if slot.name not in planned]
            choice.kept |= dict.fromkeys(named, f"the plan keeps {pattern!r}")
    layers = [name for name, slot in found.items() if _is_layer(slot)]
    for name, reason in _named(found, layers, FORMS[form].keep if keep is None else keep).items():
        if name not in planned:
            choice.kept.setdefault(name, reason)
    for name, slot in found.items():
        if name in planned:
            choice.structures[name] = planned[name]
        elif name not in choice.kept:
            reason = _passed_over(slot)
            if reason is None:
                choice.structures[name] = _structure(slot, spec, form)
            else:
                choice.kept[name] = reason
    choice.inner = set(layers[1:])
    return choice


def _named(found: Mapping[str, Slot], layers: Sequence[str], keep: str | Sequence[str]) -> dict[str, str]:
    """What ``keep`` names, and why it stays."""
    reasons: dict[str, str] = {}
    if not isinstance(keep, Sequence) or not all(isinstance(pattern, str) for pattern in keep):
        raise ConversionError(f"keep is a pattern of slots, or several of them, got {keep!r}.")
    for pattern in [keep] if isinstance(keep, str) else keep:
        if pattern in ("first", "last"):
            named = layers[:1] if pattern == "first" else layers[-1:]
            reasons |= dict.fromkeys(named, f"it is the {pattern} layer")
        else:
            reasons |= {slot.name: f"{pattern!r} is to be kept" for slot in matching(found, pattern)}
    return reasons


def _is_layer(slot: Slot) -> bool:
    """Whether it is the weight of linear layers or convolutions alone."""
    return all(_is_linear(place.reader) or convolves(place.reader) for place in slot.places)


def _is_linear(reader: nn.Module) -> bool:
    """torch's and PyG's, known by its name, subclasses too."""
    pyg = ("torch_geometric.nn.dense.linear", "Linear")
    kinds = [(kind.__module__, kind.__name__) for kind in type(reader).__mro__]
    return isinstance(reader, nn.Linear | StructuredLinear) or pyg in kinds


def _passed_over(slot: Slot) -> str | None:
    """Why a slot that nobody has named stays as it is; None where it does not."""
    if not _is_layer(slot):
        readers = ", ".join(dict.fromkeys(type(place.reader).__name__ for place in slot.places))
        return f"{readers} is no linear layer and no convolution; a plan can name it"
    if slot.is_depthwise:
        return "a depthwise kernel has few weights, and rounding costs it most; a plan can name it"
    return None


def _structure(slot: Slot, spec: Mapping[str, Any], form: str) -> Structure:
    """What makes the matrix for a slot: of the weight, or around the structure that is there already."""
    name, options = spec["structure"], {key: value for key, value in spec.items() if key != "structure"}
    if slot.is_dense:
        return slot.fitting(resolve(spec, slot.name))
    kind, matrix = family(name), slot.matrix
    if any(hasattr(part, "encoded") or hasattr(part, "decoded") for part in matrix.modules()):
        raise ConversionError(
            f"{slot.name} is quantised already; call decompress_(model, {slot.name!r}) first, or keep it."
        )
    if not hasattr(kind, "encoded"):
        raise ConversionError(
            f"{slot.name} is a {type(matrix).__name__}, and {form!r} is a structure itself, which rounds no other: "
            f"keep this slot, or call decompress_(model, {slot.name!r}) first."
        )
    return lambda weight: _rounded(matrix, kind, options)


def _rounded(matrix: StructuredMatrix, kind: Any, options: Mapping[str, Any]) -> StructuredMatrix:
    """A quantiser around a matrix; of stacked ones around each, which convolutions in groups take apart."""
    if isinstance(matrix, Stacked):
        return Stacked([_rounded(part, kind, options) for part in matrix.parts])
    made = kind(copy.deepcopy(matrix), **options)
    made.settle_()
    return made


def _why(reasons: Mapping[str, str]) -> str:
    if not reasons:
        return "it has no linear layer and no convolution"
    shown = [f"{name} stays, since {reason}" for name, reason in list(reasons.items())[:3]]
    return "; ".join([*shown, *(["..."] if len(reasons) > 3 else [])])
