"""The two kinds of files: ONNX for onnxruntime, and pt2, torch's own, for torch without edgenet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from edgenet.errors import BackendError, ConversionError
from edgenet.export.decomposed import decompositions
from edgenet.export.example import sides
from edgenet.export.onnx_ops import OPSET, translations
from edgenet.export.program import Traced, quietly
from edgenet.writing import replaced

#: of the largest number of an output
_NEAR = dict.fromkeys((torch.float32, torch.complex64), 1e-5) | dict.fromkeys((torch.float64, torch.complex128), 1e-9)


def write_pt2(traced: Traced, path: Path) -> None:
    """The program in plain aten, which ``torch.export.load`` reads wherever torch is."""
    program = traced.program.run_decompositions(decompositions(onnx=False))
    left = sorted({str(n.target) for n in program.graph.nodes if str(n.target).startswith("edgenet.")})
    if left:
        raise ConversionError(f"{', '.join(left)} has no form in plain torch, and the file would need edgenet.")
    _check(traced, traced.call(program.module()))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as temporary, quietly():
        torch.export.save(program, temporary)


def write_onnx(traced: Traced, path: Path) -> None:
    """The program in ONNX, each op of edgenet as ``translations`` has it, compared with the model in onnxruntime."""
    _need("onnx", "onnxscript", "onnxruntime")
    import onnxruntime

    program = traced.program.run_decompositions(decompositions(onnx=True))
    given = dict(side for name, value in traced.given.items() for side in sides(name, value))
    try:
        with quietly():
            written = torch.onnx.export(
                program, dynamo=True, input_names=list(given), output_names=["y"], opset_version=OPSET,
                custom_translation_table=translations(), verbose=False,
            )  # fmt: skip
    except ConversionError:
        raise
    except Exception as error:  # whatever the exporter raises for an operation that it has no form for
        raise ConversionError(f"ONNX has no form of this model: {_last_line(error)}") from error
    assert written is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as temporary:
        written.save(temporary)
        try:
            session = onnxruntime.InferenceSession(temporary)
            found = session.run(None, {name: tensor.numpy() for name, tensor in given.items()})
        except Exception as error:  # of its C++
            raise ConversionError(f"onnxruntime cannot run what was written: {_last_line(error)}") from error
        _check(traced, [torch.from_numpy(y) for y in found])


WRITERS = {"onnx": write_onnx, "pt2": write_pt2}


def _check(traced: Traced, found: Any) -> None:
    """
    Raises:
        ConversionError: if what was made gives something else than the model does.
    """
    with torch.no_grad():
        wanted = traced.call(traced.program.module())
    for one, other in zip(tree_leaves(wanted), tree_leaves(found), strict=True):
        told = _otherwise(one, other)
        if told:
            raise ConversionError(f"the file gives something else than the model: {told}. Nothing was written.")


def _otherwise(wanted: Tensor, found: Tensor) -> str:
    """In what two outputs differ; nothing if they are alike, whole numbers to the last."""
    if wanted.shape != found.shape:
        return f"{tuple(found.shape)} numbers instead of {tuple(wanted.shape)}"
    if not (wanted.is_floating_point() or wanted.is_complex()):
        strange = int((wanted != found).sum())
        return f"{strange} whole numbers are others" if strange else ""
    if not wanted.numel():
        return ""
    wide = torch.complex128 if wanted.is_complex() else torch.float64
    gap = (wanted.to(wide) - found.to(wide)).abs().max().item()
    size = max(1.0, wanted.to(wide).abs().max().item())
    near = _NEAR.get(wanted.dtype, 1e-2)
    return "" if gap <= near * size else f"off by {gap:.1e} where the largest number is {size:.1e}"


def _need(*packages: str) -> None:
    """
    Raises:
        BackendError: if one of the packages does not import.
    """
    for package in packages:
        try:
            __import__(package)
        except ImportError as error:
            raise BackendError(f"ONNX files need {package}: pip install 'edgenet[onnx]' ({error}).") from error


def _last_line(error: Exception) -> str:
    """What an error says of its cause."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:300]
