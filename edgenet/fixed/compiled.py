"""Compiled: generated C++, compiled here and called from Python."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgenet.errors import BackendError, ConfigError, ShapeError
from edgenet.ops.native import gate
from edgenet.writing import replaced, write_text

FLAGS = ("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC")
_SIZES = 6


def compile_(source: str, folder: str | Path, name: str = "lstm", flags: Sequence[str] = FLAGS) -> Compiled:
    """Write ``NAME.cpp`` into a folder, compile it with g++ to ``NAME.so`` and load that.

    Args:
        source: of ``generate``, with the same name.
        folder: where both files go; it is made.
        flags: of the compiler.

    Raises:
        BackendError: if there is no g++, or it does not take the source.

    Example:
        >>> compiled = edgenet.fixed.compile_(source, "build", "speech")  # where there is g++  # doctest: +SKIP
    """
    compiler = shutil.which("g++")
    if compiler is None:
        raise BackendError("there is no g++ on the PATH. Install it (Debian: apt install g++), or compile elsewhere.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written, library = folder / f"{name}.cpp", folder / f"{name}.so"
    write_text(written, source)
    with replaced(library) as temporary:
        done = subprocess.run([compiler, *flags, str(written), "-o", str(temporary)], capture_output=True, text=True)
        if done.returncode:
            raise BackendError(f"g++ does not take {written}: {done.stderr.strip()[:1000]}")
    return Compiled(library, name)


class Compiled:
    """A compiled fixed-point LSTM.

    Args:
        library: the shared object. It is run: load only what you made. A copy is loaded, so that the file may be made
            anew: the loader gives who asks for one path twice what it has from the first time.
        name: that it was generated with.

    Attributes:
        input_size, output_size, layers: of the LSTM.
        input_bits, output_bits: fraction bits of x and y.

    Raises:
        BackendError: if there is no such library, or it is of another name.

    Example:
        >>> edgenet.fixed.Compiled.__name__  # made by ``compile_``, where there is g++
        'Compiled'
    """

    def __init__(self, library: str | Path, name: str = "lstm") -> None:
        path = Path(library).resolve()
        try:
            with tempfile.TemporaryDirectory(prefix="edgenet-") as own:  # what is loaded stays when its file has gone
                loaded = ctypes.CDLL(shutil.copy(path, own))
            self._sizes, self._reset, self._run = (
                getattr(loaded, f"{name}_{part}") for part in ("sizes", "reset", "run")
            )
        except (OSError, AttributeError) as error:
            raise BackendError(f"{path} is no compiled LSTM called {name!r}: {error}") from error
        for function in (self._sizes, self._reset, self._run):
            function.restype = ctypes.c_int
        pointer = ctypes.c_void_p
        self._sizes.argtypes, self._reset.argtypes = [pointer], [pointer]
        self._run.argtypes = [pointer, pointer, ctypes.c_int64, pointer]
        sizes = torch.zeros(_SIZES, dtype=torch.int64)
        self._called(self._sizes, sizes.data_ptr())
        self.input_size, self.output_size, self._bytes, self.input_bits, self.output_bits, self.layers = sizes.tolist()

    def begin(self) -> Tensor:
        """A state of zeros, of which only this library knows what it holds: uint8."""
        state = torch.zeros(self._bytes, dtype=torch.uint8)
        self._called(self._reset, state.data_ptr())
        return state

    def run(self, x: Tensor, state: Tensor | None = None) -> Tensor:
        """(T, in) int16 -> (T, out) int16.

        Args:
            x: frames one behind the other, on the CPU.
            state: of ``begin``; it goes on in place. None: zeros.

        Raises:
            ShapeError: if a tensor has another shape, dtype or device.
            BackendError: if a tensor has no memory of its own, or its memory was freed.
        """
        if x.dim() != 2 or x.shape[1] != self.input_size or x.dtype != torch.int16 or x.device.type != "cpu":
            raise ShapeError(
                f"frames are (T, {self.input_size}) int16 on the CPU, got {tuple(x.shape)} {x.dtype} on {x.device}."
            )
        state = self.begin() if state is None else state
        if state.shape != (self._bytes,) or state.dtype != torch.uint8 or not state.is_contiguous() or state.is_cuda:
            raise ShapeError(
                f"a state is what begin() gives, {self._bytes} bytes, got {tuple(state.shape)} {state.dtype}."
            )
        frames, y = gate.plain(x), torch.zeros(len(x), self.output_size, dtype=torch.int16)
        memory = (state, self._bytes), (frames, frames.numel())
        places = [gate.address("the compiled LSTM", t, count, t.dtype) for t, count in memory]
        self._called(self._run, *places, len(frames), y.data_ptr())
        return y

    def _called(self, function: Any, *arguments: int | None) -> None:
        if function(*arguments):
            raise ConfigError("the compiled LSTM refuses its arguments.")
