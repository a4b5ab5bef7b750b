"""The Triton kernels compiled for sm_90, which needs no GPU: none spills, and rows are read 128 bits at a time.

The kernels are compiled as they are launched: this file, run as a program, calls every function of the backend with a
``launch`` that compiles instead, and prints what it found in the machine code. The tests run it once and judge.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from edgenet.graph import Graph
from edgenet.ops import triton_attention, triton_launch, triton_row_dots, triton_rows
from edgenet.ops.kernels.attention import triton as attention
from edgenet.ops.kernels.attention_v2 import triton as attention_v2
from edgenet.ops.kernels.codes_linear import triton as codes_linear
from edgenet.ops.kernels.dropout import triton as dropout
from edgenet.ops.kernels.sddmm import triton as sddmm
from edgenet.ops.kernels.segment_softmax import triton as segment_softmax
from edgenet.ops.kernels.spmm import triton as spmm
from edgenet.ops.kernels.unified_linear import triton as unified_linear
from edgenet.ops.kernels.xnor import triton as xnor

MODULES = (
    triton_rows, triton_row_dots, triton_attention, spmm, sddmm, segment_softmax, attention_v2, codes_linear,
    unified_linear, xnor, dropout,
)  # fmt: skip
SHAPES = ((8, 8), (4, 64))  # heads, channels
ROWS_READ = {  # kernel -> whether it reads rows of signals
    "spmm._forward": True,
    "spmm._backward": True,
    "sddmm._forward": True,
    "segment_softmax._forward": False,
    "segment_softmax._merge": False,
    "segment_softmax._normalise": False,
    "segment_softmax._backward": False,
    "segment_softmax._center": False,
    "attention._forward": True,
    "attention._backward": True,
    "attention_of_edges._forward": True,
    "attention_of_edges._backward": True,
    "attention_v2._forward": True,
    "attention_v2._backward": True,
    "attention_v2._backward_by_target": True,
    "triton_rows._merge_sums": True,
    "triton_rows._merge_softmax": True,
    "triton_row_dots._row_dots": True,
    "xnor._forward": False,  # words are not signals
    "codes_linear._forward": False,
    "unified_linear._forward": False,
    "dropout._drop": False,
}


# ---------------------------------------------------------------- the program
def call_everything(heads: int, channels: int, dtype: torch.dtype) -> None:
    """Every function of the backend once, on a graph with a row that is split, with weights, scores and dropout."""
    graph = Graph(torch.tensor([[1, 2, 3, 4, 0, 0, 0], [0, 0, 0, 0, 1, 2, 3]]), 5)
    x, weight, score = torch.ones(5, heads, channels), torch.ones(7, heads), torch.ones(5, heads)
    x, weight, score = x.to(dtype), weight.to(dtype), score.to(dtype)
    spmm.forward(graph, weight, x)
    spmm.backward(graph, weight, x, x, True, True)
    sddmm.forward(graph, x, x)
    segment_softmax.forward(graph, weight)
    segment_softmax.backward(graph, weight, weight)
    kept = x, *[score.to(triton_launch.wide(dtype))] * 2
    attention.forward(graph, score, score, x, 0.2, 0.5, 3)
    attention.backward(graph, score, score, x, *kept, x, 0.2, 0.5, 3)
    attention.forward(graph, score, score, x, 0.2, 0.5, 3, (weight, weight))
    attention.backward(graph, score, score, x, *kept, x, 0.2, 0.5, 3, (weight, weight))
    attention_v2.forward(graph, x, x, x[0], 0.2, 0.5, 3)
    attention_v2.backward(graph, x, x, x[0], *kept, x, 0.2, 0.5, 3)
    dropout.forward(x, 0.5, 3)
    words = torch.ones(heads, channels, dtype=torch.int64)
    xnor.xnor(words, words, 64 * channels)
    flat, codes = x.flatten(1), torch.zeros(channels * heads * 8 * 5 // 8, dtype=torch.uint8)
    codes_linear.forward(flat, codes, 5, torch.ones(32), x.new_ones(8), 8)
    unified_linear.forward(flat, x.new_ones(8), codes[: len(codes) // 5], (1, channels * heads), (8, channels * heads))


def compiled(kernel: Any, arguments: tuple[Any, ...], constants: dict[str, Any]) -> Any:
    """The kernel as a launch with these arguments compiles it for sm_90."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile
    from triton.runtime.jit import mangle_type

    options = {"num_warps": constants.pop("num_warps"), **triton_launch.OPTIONS}
    signature, aligned = {}, {}
    for at, (parameter, argument) in enumerate(zip(kernel.params, arguments, strict=False)):
        signature[parameter.name] = parameter.annotation_type or mangle_type(argument)
        if isinstance(argument, torch.Tensor) and argument.data_ptr() % 16 == 0:
            aligned[at,] = [["tt.divisibility", 16]]
    signature |= dict.fromkeys(constants, "constexpr")
    source = ASTSource(kernel, signature, constexprs=constants, attrs=aligned)
    return compile(source, target=GPUTarget("cuda", 90, 32), options=options)


def machine_code(cubin: bytes) -> dict[str, int]:
    """Registers a thread, loads and stores of spilled registers, and loads of 128 bits."""
    from triton import knobs

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(cubin)
        commands = ([knobs.nvidia.cuobjdump.path, "--dump-resource-usage"], [knobs.nvidia.nvdisasm.path, "-c"])
        usage, sass = (
            subprocess.run([*command, str(file)], capture_output=True, text=True, check=True).stdout
            for command in commands
        )
    return {
        "registers": int(re.search(r"REG:(\d+)", usage)[1]),
        "spills": len(re.findall(r"\b(?:LDL|STL)\b", sass)),
        "loads of 128 bits": len(re.findall(r"\bLDG\.E[.\w]*\.128\b", sass)),
        "loads": len(re.findall(r"\bLDG\b", sass)),
    }


def compile_all(heads: int, channels: int, dtype: torch.dtype) -> dict[str, dict[str, int]]:
    """What is in the machine code of every kernel."""
    found: dict[str, dict[str, int]] = {}

    def launch(kernel: Any, grid: Any, *arguments: Any, **constants: Any) -> None:
        module = kernel.fn.__module__.removesuffix(".triton").rpartition(".")[2]
        if module == "triton_attention":  # one kernel for two ops
            module = "attention_v2" if constants["DYNAMIC"] else "attention"
            module += "_of_edges" * constants["FACTOR"]
        name = f"{module}.{kernel.fn.__name__}"
        if name == "spmm._forward" and name in found:  # a sum of rows inside another op
            return
        assert name not in found or not ROWS_READ.get(name) or name.startswith("triton_row"), name
        if name not in found:
            found[name] = machine_code(compiled(kernel, arguments, dict(constants)).asm["cubin"])

    for module in MODULES:
        module.launch = launch
    triton_rows.check_device = lambda device: None  # nothing is run
    triton_rows.EDGES_PER_PIECE = 2
    call_everything(heads, channels, dtype)
    return found


if __name__ == "__main__":
    heads, channels, dtype = sys.argv[1:]
    print(json.dumps(compile_all(int(heads), int(channels), getattr(torch, dtype))))
    sys.exit()


# ---------------------------------------------------------------- the tests
@pytest.fixture(scope="module", params=SHAPES, ids=lambda shape: "{}x{}".format(*shape))
def found(request) -> dict[str, dict[str, int]]:
    if triton_launch.triton is None:
        pytest.skip("triton does not import")
    cache = Path(tempfile.gettempdir()) / f"edgenet-tests-{os.getuid()}" / "triton"
    environment = {"TRITON_CACHE_DIR": str(cache), **os.environ}
    environment.pop("TRITON_INTERPRET", None)  # interpreted kernels are not compiled
    command = [sys.executable, __file__, *map(str, request.param), "float32"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_kernel_is_compiled(found):
    assert found.keys() == ROWS_READ.keys()


@pytest.mark.parametrize("kernel", ROWS_READ)
def test_a_kernel_keeps_its_numbers_in_at_most_128_registers(found, kernel):
    assert found[kernel]["spills"] == 0 and found[kernel]["registers"] <= 128, found[kernel]


@pytest.mark.parametrize("kernel", [kernel for kernel, rows in ROWS_READ.items() if rows])
def test_rows_of_signals_are_read_128_bits_at_a_time(found, kernel):
    assert found[kernel]["loads of 128 bits"] > 0, found[kernel]
