"""generate: C++ that computes a fixed-point LSTM, bit for bit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edgenet.clstm import schedule
from edgenet.errors import ConfigError
from edgenet.fixed.activation import SEGMENTS, PiecewiseLinear
from edgenet.fixed.layer_code import LayerCode, Schedule
from edgenet.fixed.lstm import FixedPointLSTM
from edgenet.fixed.product_code import Vector
from edgenet.fixed.transform import twiddle

_SUPPORT = Path(__file__).with_name("support.cpp")
_WIDTH = 20  # numbers a line


def generate(model: FixedPointLSTM, name: str = "lstm", scheduled: Schedule = schedule) -> str:
    """One C++ file without dependencies: weights, a function for every stage of every layer, and four C functions.

    The same model gives the same text. The C functions, which give 0, or 1 if a pointer is null or a number negative:

        int NAME_sizes(int64_t* sizes)      input, output, bytes of a state, fraction bits of x and of y, layers
        int NAME_reset(void* state)         a state of zeros
        int NAME_step(void* state, const int16_t* x, int16_t* y)                         one frame
        int NAME_run(void* state, const int16_t* x, int64_t frames, int16_t* y)          frames one behind the other

    A state is memory of the caller's; nothing else is written, so that several states may run at once.

    Args:
        model: its sequences run as their frames come, one at a time.
        name: of the functions.
        scheduled: gives the stages of an operator graph.

    Raises:
        ConfigError: if the name is no C identifier.
        PlanError: if a gate has no whole number of blocks, or stages cannot be run one after the other.

    Example:
        >>> lstm = edgenet.nn.LSTM(4, 8, structure=edgenet.structured.structure("block_circulant", block=4))
        >>> fixed = edgenet.fixed.FixedPointLSTM.from_lstm(lstm, [torch.randn(10, 2, 4)])
        >>> "speech_step" in edgenet.fixed.generate(fixed, "speech")
        True
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or len(name) > 100:
        raise ConfigError(
            f"C functions are named by a letter and at most 99 letters, digits or underscores, got {name!r}."
        )
    layers: list[LayerCode] = []
    x = Vector("x", model.input_size)
    for place, cell in enumerate(model.layers):
        layers.append(LayerCode(place, cell, x, scheduled))
        x = layers[-1].h
    functions = [function for layer in layers for function in layer.functions]
    constants = [array for layer in layers for array in layer.constants] + list(_lines(model))
    blocks = [
        part.block for cell in model.layers for part in (cell.products, cell.state_products, cell.projection) if part
    ]
    parts = [
        _head(model, name, layers),
        _SUPPORT.read_text(encoding="utf-8").replace("namespace {\n", f"namespace {{\n\n{_tables(max(blocks))}", 1),
        f"namespace {{\n\n{_state(layers, model.input_size)}",
        *(_array(*one) for one in constants),
        *functions,
        "}  // namespace\n",
        _interface(model, name, layers),
    ]
    return "\n\n".join(parts)


def _head(model: FixedPointLSTM, name: str, layers: list[LayerCode]) -> str:
    lines = [
        f"// {name}: an LSTM of 16-bit numbers, written by edgenet.fixed.generate. Do not edit.",
        "//",
        "//   g++ -std=c++17 -O3 -march=native -shared -fPIC FILE.cpp -o FILE.so",
        "//",
        "// A number q with f fraction bits is q / 2^f. Results are rounded half to even, and saturate.",
    ]
    for layer in layers:
        cell = layer.cell
        blocks = [part.block for part in (cell.products, cell.state_products, cell.projection) if part is not None]
        bits = ", ".join(f"{key} {value}" for key, value in cell.formats.items())
        lines.append(
            f"// Layer {layer.place}: {cell.input_size} numbers to {cell.output_size}, {cell.hidden_size} cells, in "
            f"blocks of {', '.join(map(str, dict.fromkeys(blocks)))}. Fraction bits: {bits}."
        )
        lines += [
            f"//   stage {number}, {stage.unit}: {', '.join(one.name for one in stage.operators)}"
            for number, stage in enumerate(layer.stages)
        ]
    return "\n".join(lines)


def _tables(block: int) -> str:
    half = max(1, block // 2)
    rows = ", ".join(f"{{{cos}, {sin}}}" for cos, sin in (twiddle(f, half) for f in range(half // 2 + 1)))
    return (
        f"constexpr int kSegments = {SEGMENTS};\n"
        f"constexpr int kTwiddleHalf = {half};  // cos and sin of pi f / {half}\n"
        f"constexpr int16_t kTwiddles[][2] = {{{rows}}};\n"
    )


def _lines(model: FixedPointLSTM) -> Iterator[tuple[str, str, list[int]]]:
    found: dict[str, PiecewiseLinear] = {}
    for cell in model.layers:
        for lines in (cell.sigmoid, cell.tanh, cell.tanh_of_cell):
            found.setdefault(f"{lines.function}{lines.fraction_bits}", lines)
    unused = [0] * (32 - SEGMENTS)
    for name, lines in found.items():
        yield f"{name}_slopes", "int32_t", lines.lines[:, 0].tolist() + unused
        yield f"{name}_intercepts", "int32_t", lines.lines[:, 1].tolist() + unused


def _array(name: str, kind: str, numbers: list[int]) -> str:
    rows = [", ".join(map(str, numbers[at : at + _WIDTH])) for at in range(0, len(numbers), _WIDTH)]
    body = ",\n    ".join(rows)
    return f"alignas(64) const {kind} {name}[{len(numbers)}] = {{\n    {body}}};"


def _state(layers: list[LayerCode], inputs: int) -> str:
    declared = [f"int16_t x[{inputs}];", *(line for layer in layers for line in layer.state)]
    return "\n".join(["struct State {", *(f"  {line}" for line in declared), "};"])


def _interface(model: FixedPointLSTM, name: str, layers: list[LayerCode]) -> str:
    calls = [f"  layer{layer.place}_stage{number}(s);" for layer in layers for number in range(len(layer.stages))]
    last, first = layers[-1].h, model.layers[0].formats["input"]
    x, y = f"x + t * {model.input_size}", f"y + t * {model.output_size}"
    return "\n".join([
        'extern "C" {',
        "",
        f"int {name}_sizes(int64_t* sizes) {{",
        "  if (!sizes) return 1;",
        f"  const int64_t found[] = {{{model.input_size}, {model.output_size}, int64_t(sizeof(State)), {first}, "
        f"{model.layers[-1].formats['output']}, {len(layers)}}};",
        "  std::memcpy(sizes, found, sizeof found);",
        "  return 0;",
        "}",
        "",
        f"int {name}_reset(void* state) {{",
        "  if (!state) return 1;",
        "  std::memset(state, 0, sizeof(State));",
        "  return 0;",
        "}",
        "",
        f"int {name}_step(void* state, const int16_t* x, int16_t* y) {{",
        "  if (!state || !x || !y) return 1;",
        "  State* s = static_cast<State*>(state);",
        "  std::memcpy(s->x, x, sizeof s->x);",
        *calls,
        f"  reorder<{last.size}, {last.order}, 1, {last.size}>(s->{last.array}, y);",
        "  return 0;",
        "}",
        "",
        f"int {name}_run(void* state, const int16_t* x, int64_t frames, int16_t* y) {{",
        "  if (!state || frames < 0 || (frames && (!x || !y))) return 1;",
        f"  for (int64_t t = 0; t < frames; ++t) {name}_step(state, {x}, {y});",
        "  return 0;",
        "}",
        "",
        '}  // extern "C"',
        "",
    ])  # fmt: skip
