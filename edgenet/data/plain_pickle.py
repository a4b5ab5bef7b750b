"""Pickle files read as data: numpy arrays, scipy CSR matrices and plain containers, and nothing else.

A pickle is a program for a stack machine, and ``pickle.load`` runs it with every function of the interpreter at hand.
``read_pickle`` walks the same opcodes (``pickletools.genops`` splits them) but has nothing that could be called: a name
in the file is compared with a list of pairs, the few calls that the list allows only put their arguments down in a
record, and arrays are made from those records at the end, by this file. So there is no code in a file that could run.
"""

from __future__ import annotations

import math
import pickletools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import scipy.sparse as sp

from edgenet.data.files import read_bytes
from edgenet.errors import DataError

# (module, name) -> what it is called here. Old and new paths of numpy and scipy, of Python 2 and 3.
ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): "reconstruct",
    ("numpy._core.multiarray", "_reconstruct"): "reconstruct",
    ("numpy.core.multiarray", "scalar"): "scalar",
    ("numpy._core.multiarray", "scalar"): "scalar",
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("scipy.sparse.csr", "csr_matrix"): "csr_matrix",
    ("scipy.sparse._csr", "csr_matrix"): "csr_matrix",
    ("collections", "defaultdict"): "defaultdict",
    ("__builtin__", "list"): "list",
    ("builtins", "list"): "list",
    ("_codecs", "encode"): "encode",  # how protocol 2 spells bytes
    ("__builtin__", "bytes"): "bytes",  # and no bytes
}
MAX_DENSE = 2**26  # entries a sparse matrix may have when written out, 256 MiB as float32; PubMed: 1e7

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {  # opcodes that put the value they carry on the stack
    "INT",
    "BININT",
    "BININT1",
    "BININT2",
    "LONG",
    "LONG1",
    "LONG4",
    "FLOAT",
    "BINFLOAT",
    "STRING",
    "BINSTRING",
    "SHORT_BINSTRING",
    "UNICODE",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
    "BINBYTES",
    "SHORT_BINBYTES",
    "BINBYTES8",
}
_MARK = object()


@dataclass(frozen=True, eq=False)
class _Name:
    """One of the admitted names, on the stack. Not callable."""

    name: str


@dataclass(eq=False)
class _Record:
    """Something the file wants made: by which name, from which arguments, with which state. Made later, or never."""

    kind: str
    args: tuple[Any, ...]
    state: Any = None


def read_pickle(path: Path) -> np.ndarray | sp.csr_matrix | dict[Any, Any]:
    """The array, CSR matrix or dict of lists in a pickle file, without running anything from it.

    Args:
        path: a pickle of protocol 0 to 5, written by Python 2 or 3. Strings of Python 2 are read as latin1.

    Returns:
        An array of bools, integers or floats that owns its memory; or a CSR matrix whose indices have been checked; or
        a dict of plain values (a ``defaultdict`` becomes a dict).

    Raises:
        DataError: the file is cut off, holds a name or an opcode that is not admitted, an array of objects, or numbers
            that do not fit together. The message has the file and the name.
    """
    return loads(read_bytes(path), str(path))


def loads(content: bytes, where: str = "pickle") -> np.ndarray | sp.csr_matrix | dict[Any, Any]:
    """``read_pickle`` for bytes in memory."""
    value = _Machine(where).run(content)
    if isinstance(value, _Record):
        if value.kind == "ndarray":
            return _array(value, where)
        if value.kind == "csr_matrix":
            return _csr(value, where)
    if isinstance(value, dict):
        # one list entered under many keys: a small file that asks for a lot of memory
        if sum(len(row) for row in value.values() if isinstance(row, list)) > len(content):
            raise DataError(f"{where}: its lists hold more entries than the file has bytes; nothing honest does.")
        return {
            _plain(key, where): [_plain(entry, where) for entry in row] if isinstance(row, list) else _plain(row, where)
            for key, row in value.items()
        }
    kind = value.kind if isinstance(value, _Record) else type(value).__name__
    raise DataError(f"{where}: holds a {kind}; wanted a numpy array, a scipy CSR matrix or a dict.")


class _Machine:
    """The stack machine of the pickle format, less everything that calls."""

    def __init__(self, where: str):
        self.where, self.stack, self.memo = where, [], {}

    def run(self, content: bytes) -> Any:
        position = 0
        try:
            for opcode, argument, at in pickletools.genops(content):
                position = at
                if opcode.name == "STOP":
                    return self._pop()
                self._step(opcode.name, argument)
        except DataError:
            raise
        except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:  # cut off, or a stack misused
            raise DataError(
                f"{self.where}: not a whole pickle: {error} (after byte {position} of {len(content)}). "
                f"The file is truncated or damaged; fetch it again."
            ) from error
        raise DataError(f"{self.where}: not a whole pickle: it ends without STOP, after {len(content)} bytes.")

    def _step(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        if opcode in _VALUES:
            stack.append(argument)
        elif opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode])
        elif opcode in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[argument] = stack[-1]
        elif opcode in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self.memo[argument])
        elif opcode == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif opcode in ("PROTO", "FRAME"):
            pass
        elif opcode == "MARK":
            stack.append(_MARK)
        elif opcode in ("EMPTY_LIST", "EMPTY_DICT", "EMPTY_TUPLE"):
            stack.append({"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}[opcode]())
        elif opcode in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(opcode[-1])
            stack.append(tuple(reversed([self._pop() for _ in range(count)])))
        elif opcode == "TUPLE":
            stack.append(tuple(self._pop_to_mark()))
        elif opcode == "LIST":
            stack.append(self._pop_to_mark())
        elif opcode == "DICT":
            stack.append(_pairs(self._pop_to_mark()))
        elif opcode == "APPEND":
            value = self._pop()
            self._top(list).append(value)
        elif opcode == "APPENDS":
            values = self._pop_to_mark()
            self._top(list).extend(values)
        elif opcode == "SETITEM":
            value, key = self._pop(), self._pop()
            self._top(dict).update(_pairs([key, value]))
        elif opcode == "SETITEMS":
            pairs = _pairs(self._pop_to_mark())
            self._top(dict).update(pairs)
        elif opcode == "GLOBAL":
            stack.append(self._name(*argument.split(" ", 1)))
        elif opcode == "STACK_GLOBAL":
            name, module = self._pop(), self._pop()
            stack.append(self._name(module, name))
        elif opcode == "INST":  # a call as well, and one that no data file needs
            self._refuse(f"the name {argument.replace(' ', '.', 1)}")
        elif opcode in ("REDUCE", "NEWOBJ"):
            args, name = self._pop(), self._pop()
            stack.append(self._record(name, args))
        elif opcode == "BUILD":
            state = self._pop()
            record = self._top(_Record)
            if record.state is not None or record.kind not in ("ndarray", "dtype", "csr_matrix"):
                self._refuse(f"a second or unknown state for a {record.kind}")
            record.state = state
        else:  # EXT1, PERSID, OBJ, NEWOBJ_EX, NEXT_BUFFER, ...
            self._refuse(f"the opcode {opcode}")

    def _name(self, module: Any, name: Any) -> _Name:
        if not (isinstance(module, str) and isinstance(name, str)):
            self._refuse("a name that is no text")
        if (module, name) not in ADMITTED:
            self._refuse(f"the name {module}.{name}")
        return _Name(ADMITTED[module, name])

    def _record(self, callee: Any, args: Any) -> Any:
        name = callee.name if isinstance(callee, _Name) else None
        if name is None or not isinstance(args, tuple):
            self._refuse(f"a call of a {type(callee).__name__}")
        if name == "reconstruct" and len(args) == 3 and isinstance(args[0], _Name) and args[0].name == "ndarray":
            return _Record("ndarray", ())  # its shape and content come as its state
        if name == "csr_matrix" and args == ():
            return _Record("csr_matrix", ())
        if name == "dtype" and args and isinstance(args[0], str):
            return _Record("dtype", args[:1])
        if name == "scalar" and len(args) == 2:
            return _Record("scalar", args)
        if name == "defaultdict" and len(args) == 1 and isinstance(args[0], _Name) and args[0].name == "list":
            return {}
        if name == "encode" and len(args) == 2 and isinstance(args[0], str) and args[1] in ("latin1", "latin-1"):
            return args[0]  # bytes and latin1 text are the same to _bytes below
        if name == "bytes" and args == ():
            return b""
        self._refuse(f"a call of {name} with other arguments than data has")

    def _refuse(self, what: str) -> NoReturn:
        raise DataError(
            f"{self.where}: holds {what[:200]}. Only numpy arrays, scipy CSR matrices, lists and dicts are read from a "
            f"pickle, and nothing in it was run. This is no file of this data set: fetch it again from its source."
        )

    def _pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value should be")
        return value

    def _pop_to_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ValueError("no mark on the stack")
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def _top(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise TypeError(f"{type(self.stack[-1]).__name__} where a {kind.__name__.strip('_').lower()} should be")
        return self.stack[-1]


def _pairs(values: list[Any]) -> dict[Any, Any]:
    if len(values) % 2:
        raise ValueError("a key without a value")
    # nothing else is hashed: hashing a tuple nested a million deep overflows the interpreter's stack
    if not all(isinstance(key, str | int) for key in values[::2]):
        raise TypeError("a key that is neither text nor a whole number")
    return dict(zip(values[::2], values[1::2], strict=True))


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, _Record) and value.kind == "scalar":
        return _scalar(value, where)
    if value is None or isinstance(value, bool | float | str) or (_integer(value) and abs(value) < 2**63):
        return value
    raise DataError(
        f"{where}: holds a {getattr(value, 'kind', type(value).__name__)} inside a dict; wanted numbers below 2**63."
    )


def _dtype(record: Any, where: str) -> np.dtype:
    """bool, integers and floats of up to 8 bytes, in either byte order."""
    if not isinstance(record, _Record) or record.kind != "dtype":
        raise DataError(f"{where}: an array without a dtype.")
    (code,) = record.args
    if code.startswith("O"):
        raise DataError(f"{where}: an array of Python objects (dtype {code!r}) is not data; nothing in it was run.")
    if not re.fullmatch("b1|[iu][1248]|f[248]", code):
        raise DataError(f"{where}: an array of dtype {code[:20]!r}; wanted bools, integers or floats.")
    order = record.state[1] if isinstance(record.state, tuple) and len(record.state) > 1 else "="
    if order not in ("<", ">", "=", "|"):
        raise DataError(f"{where}: an array with an unknown byte order.")
    return np.dtype(code).newbyteorder(order)


def _bytes(value: Any, where: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return value.encode("latin1")
        except UnicodeEncodeError:
            pass
    raise DataError(f"{where}: an array whose content is a {type(value).__name__}; wanted bytes.")


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _size(value: Any) -> bool:
    return _integer(value) and 0 <= value < 2**48  # so that it can be multiplied, and printed


def _array(record: Any, where: str) -> np.ndarray:
    if not isinstance(record, _Record) or record.kind != "ndarray":
        raise DataError(f"{where}: holds a {type(record).__name__} where an array should be.")
    state = record.state
    if not (isinstance(state, tuple) and len(state) == 5 and isinstance(state[1], tuple)):
        raise DataError(f"{where}: an array without shape and content.")
    _, shape, dtype_record, fortran, content = state
    # a size of 0 makes the array empty, yet numpy multiplies the others
    if not all(map(_size, shape)) or len(shape) > 8 or not _size(math.prod(size for size in shape if size)):
        raise DataError(f"{where}: an array whose shape is no list of sizes below 2**48 together.")
    dtype, raw = _dtype(dtype_record, where), _bytes(content, where)
    if math.prod(shape) * dtype.itemsize != len(raw):
        raise DataError(
            f"{where}: an array of shape {shape} and dtype {dtype} needs {math.prod(shape) * dtype.itemsize} bytes, "
            f"{len(raw)} are there."
        )
    values = np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")
    return values.astype(dtype.newbyteorder("="), order="C")  # a copy: bytes are read-only


def _scalar(record: _Record, where: str) -> bool | int | float:
    dtype, raw = _dtype(record.args[0], where), _bytes(record.args[1], where)
    if len(raw) != dtype.itemsize:
        raise DataError(f"{where}: a number of {len(raw)} bytes; its dtype {dtype} has {dtype.itemsize}.")
    return np.frombuffer(raw, dtype)[0].item()


def _csr(record: _Record, where: str) -> sp.csr_matrix:
    state = record.state
    if not isinstance(state, dict):
        raise DataError(f"{where}: a CSR matrix without content.")
    shape = state.get("_shape", state.get("shape"))
    if not (isinstance(shape, tuple) and len(shape) == 2 and all(map(_size, shape))):
        raise DataError(f"{where}: a CSR matrix without a shape of two sizes.")
    rows, columns = shape
    if rows * columns > MAX_DENSE:
        raise DataError(f"{where}: a CSR matrix of shape {shape}: more than {MAX_DENSE} entries when written out.")
    parts = {}
    for name in ("data", "indices", "indptr"):
        if name not in state:
            raise DataError(f"{where}: a CSR matrix without {name}.")
        parts[name] = _array(state[name], f"{where} ({name})")
    data, indices, indptr = parts["data"], parts["indices"], parts["indptr"]
    for name in ("indices", "indptr"):
        if parts[name].dtype.kind not in "iu":
            raise DataError(f"{where}: a CSR matrix whose {name} are {parts[name].dtype}; wanted integers.")
    if indptr.shape != (rows + 1,) or data.shape != indices.shape or data.ndim != 1:
        raise DataError(
            f"{where}: a CSR matrix of shape {shape} with indptr {indptr.shape}, indices {indices.shape} and data "
            f"{data.shape}; wanted ({rows + 1},) and two of one length."
        )
    indptr, indices = indptr.astype(np.int64), indices.astype(np.int64)
    if indptr[0] != 0 or indptr[-1] != len(indices) or (np.diff(indptr) < 0).any():
        raise DataError(f"{where}: a CSR matrix whose indptr does not climb from 0 to {len(indices)}.")
    if len(indices) and not (indices.min() >= 0 and indices.max() < columns):
        raise DataError(f"{where}: a CSR matrix with column {indices.max()} (lowest {indices.min()}) of {columns}.")
    return sp.csr_matrix((data, indices, indptr), shape=shape)
