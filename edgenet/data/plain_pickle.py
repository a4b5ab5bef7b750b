"""Pickle files read as data: numpy arrays, scipy CSR matrices and plain containers, and nothing else.

Arrays are made by this file, from the records that ``reading.pickle_machine`` leaves in place of calls.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from edgenet.data.files import read_bytes
from edgenet.errors import DataError
from edgenet.reading.pickle_machine import Machine, Record

MAX_DENSE = 2**26  # entries a sparse matrix may have when written out, 256 MiB as float32; PubMed: 1e7


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
    value = Machine(where, DataError).run(content)
    if isinstance(value, Record):
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
    kind = value.kind if isinstance(value, Record) else type(value).__name__
    raise DataError(f"{where}: holds a {kind}; wanted a numpy array, a scipy CSR matrix or a dict.")


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, Record) and value.kind == "scalar":
        return _scalar(value, where)
    if value is None or isinstance(value, bool | float | str) or (_integer(value) and abs(value) < 2**63):
        return value
    raise DataError(
        f"{where}: holds a {getattr(value, 'kind', type(value).__name__)} inside a dict; wanted numbers below 2**63."
    )


def _dtype(record: Any, where: str) -> np.dtype:
    """bool, integers and floats of up to 8 bytes, in either byte order."""
    if not isinstance(record, Record) or record.kind != "dtype":
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
    if not isinstance(record, Record) or record.kind != "ndarray":
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


def _scalar(record: Record, where: str) -> bool | int | float:
    dtype, raw = _dtype(record.args[0], where), _bytes(record.args[1], where)
    if len(raw) != dtype.itemsize:
        raise DataError(f"{where}: a number of {len(raw)} bytes; its dtype {dtype} has {dtype.itemsize}.")
    return np.frombuffer(raw, dtype)[0].item()


def _csr(record: Record, where: str) -> sp.csr_matrix:
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
