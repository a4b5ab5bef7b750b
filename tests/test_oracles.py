"""Every file of arrays that independent implementations made is read by a test: a new file is a new case, or fails."""

import fnmatch
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent

#: files of a folder of oracles -> the test that reads them. A test that lists a folder reads all of its files.
READERS = {
    "alegnn/grnn*.npz": "models/test_graph_recurrent_alegnn.py",
    "alegnn/*.npz": "nn/test_alegnn.py",
    "compression/blockcirc_forward.npz": "structured/test_block_circulant.py",
    "compression/bt_*.npz": "structured/test_block_term.py",
    "compression/clstm.npz": "structured/test_recurrent.py",
    "compression/copying_example.npz": "data/test_drawn_sequences.py",
    "compression/doped_kron.npz": "structured/test_doped.py",
    "compression/fixed16.npz": "structured/test_quantised.py",
    "compression/kron_*.npz": "structured/test_kronecker.py",
    "compression/lmf_hmd.npz": "structured/test_low_rank.py",
    "compression/smh_*.npz": "structured/test_hashed.py",
    "compression/t*.npz": "structured/test_tensor_train.py",
    "compression/urnn.npz": "nn/test_unitary_rnn.py",
    "estimators/prox_linf.npz": "estimators/test_quantile_oracles.py",
    "estimators/qr_l1*.npz": "estimators/test_quantile_oracles.py",
    "estimators/sim_spam_sp.json": "estimators/test_spam_recovery.py",
    "estimators/spam_*.npz": "estimators/test_spam.py",
    "quantised/binary_gemm.npz": "ops/test_xnor.py",
    "quantised/binary_ste.npz": "nn/test_sign.py",
    "quantised/deepshift_tables.npz": "structured/test_quantised.py",
    "quantised/unify_projection.npz": "structured/test_unified.py",
}
NOT_ARRAYS = ("README.md", "alegnn/index.json")


def unread(names: list[str], tests: Path) -> list[str]:
    """A sentence for each file that no test reads."""
    problems = []
    for name in names:
        reader = next((test for pattern, test in READERS.items() if fnmatch.fnmatch(name, pattern)), None)
        if reader is None:
            problems.append(f"{name} is read by no test: write one, and name it in READERS.")
        elif not (tests / reader).is_file():
            problems.append(f"{name} is to be read by {reader}, which is not there.")
        elif not _mentions((tests / reader).read_text(encoding="utf-8"), name):
            problems.append(f"{name} is to be read by {reader}, which neither names it nor lists its folder.")
    return problems


def _mentions(text: str, name: str) -> bool:
    """Whether a test names the file, or puts its name together, or lists its folder by a pattern that it fits."""
    folder, file, stem = name.split("/")[0], name.split("/")[-1], Path(name).stem
    patterns = re.findall(r"glob\(\"([^\"]+)\"\)", text) if folder in text else []
    listed = any(fnmatch.fnmatch(file, pattern) for pattern in patterns)
    return listed or re.search(rf"\b{re.escape(stem)}\b", text) is not None or _made_up(text, stem)


def _made_up(text: str, stem: str) -> bool:
    """Whether the name is put together of a beginning and a parameter that the test has: f"qr_l1inf_{name}"."""
    pieces = stem.split("_")
    for cut in range(1, len(pieces)):
        begins, ends = "_".join(pieces[:cut]) + "_{", "_".join(pieces[cut:])
        if begins in text and re.search(rf"\b{re.escape(ends)}\b", text):
            return True
    return False


def test_every_file_is_read_by_a_test(oracle_root):
    names = sorted(path.relative_to(oracle_root).as_posix() for path in oracle_root.rglob("*") if path.is_file())
    problems = unread([name for name in names if name not in NOT_ARRAYS], TESTS)
    assert not problems, "\n".join(problems)


def test_every_line_of_the_table_is_of_a_file(oracle_root):
    names = [path.relative_to(oracle_root).as_posix() for path in oracle_root.rglob("*")]
    for pattern in READERS:
        assert fnmatch.filter(names, pattern), f"no file of the oracles is called {pattern}."


@pytest.mark.parametrize(
    "name, text, says",
    [
        ("alegnn/new_kind.npz", '(ROOT / "alegnn").glob("*.npz")', None),
        ("alegnn/new_kind.npz", 'load("lsigf_und_E1")', "neither names it nor lists"),
        ("alegnn/new_kind.npz", '(ROOT / "alegnn").glob("grnn*.npz")', "neither names it nor lists"),
        ("compression/urnn.npz", 'np.load(root / "urnn.npz")', None),
        ("compression/urnn.npz", "a turnnnn of words", "neither names it nor lists"),
        ("estimators/qr_l1inf_p_gt_n.npz", 'params=["p_gt_n"]; f"qr_l1inf_{request.param}.npz"', None),
        ("estimators/qr_l1inf_other.npz", 'params=["p_gt_n"]; f"qr_l1inf_{request.param}.npz"', "neither names it"),
        ("compression/fixed16.npz", None, "is not there"),
        ("compression/novelty.npz", "", "is read by no test"),
    ],
)
def test_what_is_not_read_is_found(tmp_path, name, text, says):
    reader = next((test for pattern, test in READERS.items() if fnmatch.fnmatch(name, pattern)), "other.py")
    (tmp_path / reader).parent.mkdir(parents=True, exist_ok=True)
    if text is not None:
        (tmp_path / reader).write_text(text, encoding="utf-8")
    problems = unread([name], tmp_path)
    assert not problems if says is None else len(problems) == 1 and says in problems[0], problems
