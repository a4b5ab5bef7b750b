"""A pickle is read as data: arrays, CSR matrices and dicts come through, nothing else does and nothing runs."""

import collections
import copyreg
import functools
import io
import os
import pickle
import pickletools
import struct

import numpy as np
import pytest
import scipy.sparse as sp

from edgenet.data import plain_pickle
from edgenet.data.plain_pickle import loads, read_pickle
from edgenet.errors import DataError

PROTOCOLS = range(5)  # 5 stores arrays as buffers, which no Planetoid file does


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", ["?", "i1", "<i4", ">i4", "u8", "<f4", ">f8", "f2"])
def test_an_array_comes_back_as_it_was(protocol, dtype):
    array = np.arange(12).reshape(3, 4).astype(dtype)
    for given in (array, np.asfortranarray(array), array[:0], array[1, 2:]):
        back = loads(pickle.dumps(given, protocol))
        assert back.dtype == given.dtype.newbyteorder("=") and back.flags.writeable and back.flags.owndata
        np.testing.assert_array_equal(back, given)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_a_csr_matrix_comes_back_as_it_was(protocol):
    matrix = sp.random(7, 5, 0.4, format="csr", rng=0)
    back = loads(pickle.dumps(matrix, protocol))
    assert sp.issparse(back) and back.shape == (7, 5) and abs(back - matrix).sum() == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_neighbour_lists_come_back_as_a_dict(protocol):
    graph = collections.defaultdict(list, {0: [1, 2], 70000: [], 2: [2**40, -1]})
    back = loads(pickle.dumps(graph, protocol))
    assert type(back) is dict and back == dict(graph)


def test_numpy_numbers_in_a_dict_become_plain_numbers():
    back = loads(pickle.dumps({0: [np.int64(3)], 1: np.float32(0.5)}, 2))
    assert back == {0: [3], 1: 0.5} and type(back[0][0]) is int


def test_the_paths_of_old_and_new_numpy_and_scipy_are_both_read():
    array = pickle.dumps(np.arange(3), 2)
    old = array.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    new = old.replace(b"cnumpy.core.multiarray\n", b"cnumpy._core.multiarray\n")
    assert old != new and loads(old).tolist() == loads(new).tolist() == [0, 1, 2]
    matrix = pickle.dumps(sp.eye(2, format="csr"), 2)
    old = matrix.replace(b"cscipy.sparse._csr\n", b"cscipy.sparse.csr\n")
    assert old != matrix and loads(old).toarray().tolist() == loads(matrix).toarray().tolist() == [[1, 0], [0, 1]]


# --- files that want to run something ---------------------------------------------------------------------------------
class Calls:
    """Pickles as a call of ``function``, the way __reduce__ allows; with ``state`` as its BUILD."""

    def __init__(self, function, *args, state=None):
        self.reduced = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.reduced


def stack_global(module: str, name: str) -> bytes:
    def text(value: str) -> bytes:
        return b"\x8c" + bytes([len(value)]) + value.encode()

    return text(module) + text(name) + b"\x93"


def proto4(body: bytes) -> bytes:
    return b"\x80\x04" + body + b"."


ARGUMENT = b"\x8c\x04true\x85"  # ("true",)


def called(module: str, name: str) -> bytes:
    return proto4(stack_global(module, name) + ARGUMENT + b"R")


def dumps2(value) -> bytes:
    return pickle.dumps(value, 2)


SYSTEM = stack_global("os", "system")
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
ROT13 = b"X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86"

# name -> (content of the file, what the error must name); ``mark`` is a path the file would write to if it ran
MALICIOUS = {
    "os.system by REDUCE": (lambda mark: dumps2(Calls(os.system, f"touch {mark}")), "posix.system"),
    "builtins.eval": (lambda mark: dumps2(Calls(eval, f"open({mark!r}, 'w')")), "eval"),
    "exec inside a dict": (lambda mark: pickle.dumps({0: [Calls(exec, f"open({mark!r}, 'w')")]}, 4), "exec"),
    "object array": (lambda mark: dumps2(np.array([Calls(os.system, f"touch {mark}")], dtype=object)), "system"),
    "getattr": (lambda _: dumps2(Calls(getattr, "", "join")), "getattr"),
    "__import__": (lambda _: dumps2(Calls(__import__, "os")), "__import__"),
    "functools.partial": (lambda _: dumps2(Calls(functools.partial, print)), "functools.partial"),
    "copyreg._reconstructor": (lambda _: dumps2(Calls(copyreg._reconstructor, dict, object, None)), "_reconstructor"),
    "copyreg.add_extension": (lambda _: dumps2(Calls(copyreg.add_extension, "os", "system", 7)), "add_extension"),
    "numpy.load": (lambda _: dumps2(Calls(np.load, "file.npy")), "numpy.load"),
    "numpy.f2py": (lambda _: b"\x80\x02cnumpy.f2py.crackfortran\nmyeval\nU\x04true\x85R.", "numpy.f2py"),
    "numpy.testing": (lambda _: called("numpy.testing._private.utils", "runstring"), "runstring"),
    "dotted name": (lambda _: called("numpy", "ndarray.__class__.__base__"), "numpy.ndarray.__class__"),
    "dotted module": (lambda _: called("numpy.os", "system"), "numpy.os.system"),
    "dotted name of a builtin": (lambda _: called("builtins", "list.__init__"), "list.__init__"),
    "name through the memo": (lambda _: proto4(SYSTEM.replace(b"\x93", b"\x94\x93") + ARGUMENT + b"R"), "os.system"),
    "name that is no text": (lambda _: proto4(b"K\x01K\x02\x93"), "no text"),
    "INST": (lambda _: b"(S'true'\nios\nsystem\n.", "os.system"),
    "OBJ": (lambda _: b"(cnumpy\nndarray\nK\x01o.", "OBJ"),
    "NEWOBJ_EX": (lambda _: proto4(stack_global("numpy", "ndarray") + b")}\x92"), "NEWOBJ_EX"),
    "EXT1": (lambda _: b"\x80\x02\x82\x01.", "EXT1"),
    "EXT2": (lambda _: b"\x80\x02\x83\x01\x00.", "EXT2"),
    "EXT4": (lambda _: b"\x80\x02\x84\x01\x00\x00\x00.", "EXT4"),
    "persistent id": (lambda _: b"\x80\x02Pfile:thing\n.", "PERSID"),
    "binary persistent id": (lambda _: b"\x80\x02U\x01aQ.", "BINPERSID"),
    "out-of-band buffer": (lambda _: b"\x80\x05\x97.", "NEXT_BUFFER"),
    "call of list": (lambda _: called("builtins", "list"), "a call of list"),
    "call of ndarray": (lambda _: b"\x80\x02cnumpy\nndarray\nK\x7f\x85R.", "a call of ndarray"),
    "call of a text": (lambda _: b"\x80\x02U\x04true)R.", "a call of a str"),
    "defaultdict of a call": (lambda _: b"\x80\x02ccollections\ndefaultdict\ncnumpy\nndarray\n\x85R.", "defaultdict"),
    "encode by a codec": (lambda _: b"\x80\x02c_codecs\nencode\n" + ROT13 + b"R.", "a call of encode"),
    "array of another class": (
        lambda _: b"\x80\x02" + RECONSTRUCT + b"cscipy.sparse.csr\ncsr_matrix\nK\x00\x85U\x01b\x87R.",
        "a call of reconstruct",
    ),
    "two states": (lambda _: dumps2(np.arange(2))[:-1] + b"}b.", "second or unknown state"),
}
LEAVE_A_FILE = [case for case, (make, _) in MALICIOUS.items() if b"/mark" in make("/mark")]


@pytest.mark.parametrize("case", MALICIOUS)
def test_a_file_that_wants_to_run_something_is_refused_by_name(case, tmp_path):
    mark, file = tmp_path / "mark", tmp_path / "ind.cora.graph"
    make, named = MALICIOUS[case]
    file.write_bytes(make(str(mark)))
    before = dict(copyreg._extension_registry)
    with pytest.raises(DataError) as error:
        read_pickle(file)
    assert named in str(error.value) and str(file) in str(error.value)
    assert not mark.exists() and copyreg._extension_registry == before


@pytest.mark.parametrize("case", LEAVE_A_FILE)
def test_the_standard_reader_would_have_run_it(case, tmp_path):
    assert len(LEAVE_A_FILE) == 4
    mark = tmp_path / "mark"
    pickle.loads(MALICIOUS[case][0](str(mark)))
    assert mark.exists()


@pytest.mark.parametrize(
    "state",
    [{"__class__": 1}, {"factory": os.system}, (None, {"__setstate__": "x"}), (None, {"stack": []}), [1, 2]],
    ids=str,
)
@pytest.mark.parametrize("thing", [b"cnumpy\nndarray\n", b"}", b"]", b"ccollections\ndefaultdict\n"], ids=str)
def test_a_state_sets_no_attribute_of_anything(thing, state):
    if state == {"factory": os.system}:
        body = b"\x80\x02" + thing + b"}U\x0fdefault_factorycos\nsystem\nsb."
    else:
        body = b"\x80\x02" + thing + pickle.dumps(state, 2)[2:-1] + b"b."
    with pytest.raises(DataError):
        loads(body)


def test_an_array_of_objects_without_any_call_is_refused_too():
    body = pickle.dumps(np.array([None, 1], dtype=object), 2)
    with pytest.raises(DataError, match="Python objects"):
        loads(body, "ind.cora.x")


@pytest.mark.parametrize("dtype", ["S3", "U2", "M8[s]", "c16", [("a", "i4")]], ids=str)
def test_an_array_that_is_not_of_numbers_is_refused(dtype):
    with pytest.raises(DataError, match=r"ind\.cora\.x"):
        loads(pickle.dumps(np.zeros(2, dtype), 2), "ind.cora.x")


# --- files that do not fit together -----------------------------------------------------------------------------------
def csr_with(**changes) -> bytes:
    """A CSR matrix of shape (3, 4) with some of its parts replaced."""
    matrix = sp.csr_matrix(np.array([[1.0, 0, 0, 2], [0, 0, 0, 0], [0, 3, 0, 0]]))
    state = {"_shape": (3, 4), "data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr} | changes
    state = {name: value for name, value in state.items() if value is not None}
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, 2)
    pickler.dump(state)
    return b"\x80\x02cscipy.sparse.csr\ncsr_matrix\n)\x81" + buffer.getvalue()[2:-1] + b"b."


def test_the_crafted_matrix_is_read_when_nothing_is_changed():
    assert loads(csr_with()).toarray().tolist() == [[1, 0, 0, 2], [0, 0, 0, 0], [0, 3, 0, 0]]


@pytest.mark.parametrize(
    "changes",
    [
        {"indices": np.array([0, 3, 4])},
        {"indices": np.array([0, 3, -1])},
        {"indices": np.array([0, 3])},
        {"indices": np.array([0.0, 3.0, 1.0])},
        {"indices": [0, 3, 1]},
        {"indptr": np.array([0, 2, 2, 9])},
        {"indptr": np.array([0, 3, 2, 3])},
        {"indptr": np.array([1, 2, 2, 3])},
        {"indptr": np.array([0, 3])},
        {"indptr": np.array([0, 2**63, 2, 3], dtype=np.uint64)},
        {"data": np.ones((3, 1))},
        {"data": None},
        {"_shape": None},
        {"_shape": (3, -4)},
        {"_shape": (3, 4, 1)},
        {"_shape": (3, 2**40)},
        {"_shape": (10**5000, 1)},
        {"_shape": "wide"},
    ],
    ids=lambda changes: ",".join(changes),
)
def test_a_crafted_matrix_is_refused_before_anything_reads_it(changes):
    with pytest.raises(DataError, match=r"ind\.cora\.x"):
        loads(csr_with(**changes), "ind.cora.x")


def test_a_file_cut_off_anywhere_is_refused_with_its_name(tmp_path):
    file = tmp_path / "ind.cora.tx"
    for content in (
        pickle.dumps(np.arange(6.0), 2),
        pickle.dumps(sp.eye(3, format="csr"), 2),
        pickle.dumps(collections.defaultdict(list, {0: [1], 1: [0, 2]}), 2),
    ):
        for length in range(len(content)):
            file.write_bytes(content[:length])
            with pytest.raises(DataError, match=r"ind\.cora\.tx"):
                read_pickle(file)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")  # from the damaged text itself
def test_any_changed_byte_gives_a_value_or_a_data_error():
    content = pickle.dumps(sp.random(4, 5, 0.5, format="csr", rng=0), 2)
    rng = np.random.default_rng(0)
    for _ in range(3000):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] = rng.integers(256)
        try:
            value = loads(bytes(damaged))
        except DataError:
            continue
        assert isinstance(value, np.ndarray | dict) or value.toarray().shape == value.shape


def test_an_array_with_too_few_bytes_is_refused():
    content = pickle.dumps(np.arange(4, dtype="i1"), 2)
    shorter = content.replace(b"K\x04\x85", b"K\x05\x85")
    assert shorter != content
    with pytest.raises(DataError, match=r"needs 5 bytes, 4 are there"):
        loads(shorter)


def test_small_files_cannot_ask_for_much_memory():
    shared = list(range(100))
    with pytest.raises(DataError, match="more entries than the file has bytes"):
        loads(pickle.dumps(dict.fromkeys(range(1000), shared), 2))
    with pytest.raises(DataError, match="entries when written out"):
        loads(csr_with(_shape=(2**20, 2**20), indptr=np.zeros(4, dtype=int)))
    with pytest.raises(DataError, match="entries when written out"):
        loads(csr_with(_shape=(2**15, 2**12), indptr=np.zeros(2**15 + 1, dtype=int)))  # 512 MiB from 256 KiB


def test_the_matrices_of_the_citation_graphs_fit():
    assert max(19717 * 500, 3327 * 3703, 2708 * 1433) < plain_pickle.MAX_DENSE


def test_an_empty_array_with_sizes_that_overflow_is_refused():
    content = pickle.dumps(np.zeros((7, 9, 0), dtype="i1"), 2)
    huge = b"\x8a\x07" + (2**47).to_bytes(7, "little")  # LONG1
    crafted = content.replace(b"K\x07K\x09K\x00\x87", huge + huge + b"K\x00\x87")
    assert crafted != content
    with pytest.raises(DataError, match="no list of sizes"):
        loads(crafted)


def test_a_key_is_bounded_as_a_value_is():
    for crafted in ({10**5000: [0]}, {0: [10**5000]}, {0: -(2**63)}):
        with pytest.raises(DataError, match=r"numbers below 2\*\*63"):
            loads(pickle.dumps(crafted, 2))


def test_a_deeply_nested_key_does_not_overflow_the_stack():
    with pytest.raises(DataError, match="neither text nor a whole number"):
        loads(b"\x80\x02})" + b"\x85" * 500_000 + b"K\x01s.")


def test_what_is_no_pickle_at_all_is_refused(tmp_path):
    for content in (b"", b".", b"<html>404</html>", b"\x80\x02N.", struct.pack("<q", 5), b"\x80\x02(K\x01K\x02u."):
        with pytest.raises(DataError):
            loads(content)
    with pytest.raises(DataError, match="cannot be read"):
        read_pickle(tmp_path)


def test_every_opcode_is_either_read_or_refused_with_its_name():
    """Each opcode alone, on an empty stack: a DataError, never a crash of another kind."""
    for opcode in pickletools.opcodes:
        with pytest.raises(DataError):
            loads(opcode.code.encode("latin1") + b"0\n0\n.")
