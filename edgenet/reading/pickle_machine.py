"""The stack machine of the pickle format, less everything that calls.

A pickle is a program for a stack machine, and ``pickle.load`` runs it with every function of the interpreter at hand.
The machine here walks the same opcodes (``pickletools.genops`` splits them) but has nothing that could be called: a
name in the file is compared with a list of pairs, and the few calls that the list allows only put their arguments down
in a record. So there is no code in a file that could run.
"""

from __future__ import annotations

import pickletools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from edgenet.reading.budget import Refusal

#: (module, name) -> what it is called here. Old and new paths of numpy and scipy, of Python 2 and 3.
ARRAYS = {
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
class Name:
    """One of the admitted names, on the stack. Not callable."""

    name: str


@dataclass(eq=False)
class Record:
    """Something the file wants made: by which name, from which arguments, with which state. Made later, or never."""

    kind: str
    args: tuple[Any, ...]
    state: Any = None


class Machine:
    """The stack machine of the pickle format, less everything that calls.

    Args:
        where: what messages call the pickle.
        refuse: the class of its errors.
        admitted: the names that may be in it, and what they are called here.
        read: what is read from such files, in words.
        plain: of the names, as they are called here: those whose calls become a ``Record`` of their arguments.
        stored: whether what the file keeps outside the pickle may be named in it, which gives a ``Record`` "stored".
    """

    def __init__(
        self,
        where: str,
        refuse: Refusal,
        admitted: Mapping[tuple[str, str], str] = ARRAYS,
        read: str = "numpy arrays, scipy CSR matrices, lists and dicts",
        plain: tuple[str, ...] = (),
        stored: bool = False,
    ):
        self.where, self.refuse, self.admitted, self.read = where, refuse, admitted, read
        self.plain, self.stored = plain, stored
        self.stack: list[Any] = []
        self.memo: dict[Any, Any] = {}

    def run(self, content: bytes) -> Any:
        position = 0
        try:
            for opcode, argument, at in pickletools.genops(content):
                position = at or 0
                if opcode.name == "STOP":
                    return self._pop()
                self._step(opcode.name, argument)
        except self.refuse:
            raise
        except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:  # cut off, or a stack misused
            raise self.refuse(
                f"{self.where}: not a whole pickle: {error} (after byte {position} of {len(content)}). "
                f"The file is truncated or damaged; fetch it again."
            ) from error
        raise self.refuse(f"{self.where}: not a whole pickle: it ends without STOP, after {len(content)} bytes.")

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
            record = self._top(Record)
            if record.state is not None or record.kind not in ("ndarray", "dtype", "csr_matrix", *self.plain):
                self._refuse(f"a second or unknown state for a {record.kind}")
            record.state = state
        elif opcode == "BINPERSID" and self.stored:
            stack.append(Record("stored", (self._pop(),)))
        else:  # EXT1, PERSID, OBJ, NEWOBJ_EX, NEXT_BUFFER, ...
            self._refuse(f"the opcode {opcode}")

    def _name(self, module: Any, name: Any) -> Name:
        if not (isinstance(module, str) and isinstance(name, str)):
            self._refuse("a name that is no text")
        if (module, name) not in self.admitted:
            self._refuse(f"the name {module}.{name}")
        return Name(self.admitted[module, name])

    def _record(self, callee: Any, args: Any) -> Any:
        name = callee.name if isinstance(callee, Name) else None
        if name is None or not isinstance(args, tuple):
            self._refuse(f"a call of a {type(callee).__name__}")
        if name in self.plain:
            return Record(name, args)
        if name == "ordered_dict" and args == ():
            return {}
        if name == "reconstruct" and len(args) == 3 and isinstance(args[0], Name) and args[0].name == "ndarray":
            return Record("ndarray", ())  # its shape and content come as its state
        if name == "csr_matrix" and args == ():
            return Record("csr_matrix", ())
        if name == "dtype" and args and isinstance(args[0], str):
            return Record("dtype", args[:1])
        if name == "scalar" and len(args) == 2:
            return Record("scalar", args)
        if name == "defaultdict" and len(args) == 1 and isinstance(args[0], Name) and args[0].name == "list":
            return {}
        if name == "encode" and len(args) == 2 and isinstance(args[0], str) and args[1] in ("latin1", "latin-1"):
            return args[0]  # bytes and latin1 text are the same to _bytes below
        if name == "bytes" and args == ():
            return b""
        self._refuse(f"a call of {name} with other arguments than data has")

    def _refuse(self, what: str) -> NoReturn:
        raise self.refuse(
            f"{self.where}: refused, it holds {what[:200]}. Only {self.read} are read from a pickle, and nothing in it "
            f"was run. Fetch the file again from its source, or save anew what is read."
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
            raise TypeError(f"{type(self.stack[-1]).__name__} where a {kind.__name__.lower()} should be")
        return self.stack[-1]


def _pairs(values: list[Any]) -> dict[Any, Any]:
    if len(values) % 2:
        raise ValueError("a key without a value")
    # nothing else is hashed: hashing a tuple nested a million deep overflows the interpreter's stack
    if not all(isinstance(key, str | int) for key in values[::2]):
        raise TypeError("a key that is neither text nor a whole number")
    return dict(zip(values[::2], values[1::2], strict=True))
