"""What comes from outside is read by one package, within a budget: a reader beside it is found."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: what opens or parses a file, as it is called
READS = ["open", "np.load", "numpy.load", "np.fromfile", "np.loadtxt", "np.genfromtxt", "np.memmap", "torch.load", "json.load", "json.loads", "tomllib.load", "tomllib.loads", "pickle.load", "pickle.loads", "pickle.Unpickler", "zipfile.ZipFile", "tarfile.open", "gzip.open", "gzip.decompress", "bz2.open", "lzma.open", "mmap.mmap", "safetensors.safe_open", "safe_open", "safetensors.torch.load", "safetensors.torch.load_file", "ElementTree.parse", "networkx.read_graphml", "csv.reader", "csv.DictReader"]  # noqa: E501
METHODS = ("read_text", "read_bytes", "open")  # of a path
#: other files that do so, with the reason
READ_ELSEWHERE = {
    "edgenet/bench": "reads its own pages and records, in a checkout",
    "edgenet/testing": "reads what it has just written",
    "edgenet/compress/restructuring.py": "parses what it has just made of options",
    "edgenet/cli/compress.py": "parses the report that it has just made",
    "edgenet/data/own/table.py": "splits rows of a text that was read within its budget",
    "edgenet/data/own/graphml.py": "likewise, whose tags were counted",
    "edgenet/train/log.py": "likewise; opens files to write",
    "edgenet/writing": "opens what it writes, and reads the text of its own lock",
    "edgenet/data/files.py": "opens a file to write",
    "edgenet/estimators/quantile_trace.py": "opens an interval",
    "edgenet/fixed/code.py": "reads C++ of the package",
    "edgenet/scale/row_files.py": "reads and checks rows of a table piece by piece, for it may be larger than memory",
    "edgenet/scale/mapped.py": "opens a file that it makes",
    "edgenet/ops/product.py": "asks the system for the kind of its processor",
}


def reader_problems(root: Path) -> list[str]:
    """Files that open or parse what comes from outside by themselves, and exceptions that are none any more."""
    found: dict[str, str] = {}
    for file in sorted((root / "edgenet").rglob("*.py")):
        where = file.relative_to(root).as_posix()
        if where.startswith("edgenet/reading/"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                method = called.rpartition(".")[2] if isinstance(node.func, ast.Attribute) else ""
                if (called in READS or method in METHODS) and not called.startswith("reading."):
                    found.setdefault(where, f"{where}:{node.lineno}: calls {called}")
    excused = {where for where in found for known in READ_ELSEWHERE if where == known or where.startswith(f"{known}/")}
    problems = [f"{text}; what comes from outside is read by edgenet.reading." for where, text in found.items()
                if where not in excused]  # fmt: skip
    gone = [known for known in READ_ELSEWHERE if not any(w == known or w.startswith(f"{known}/") for w in found)]
    return problems + [f"{known} reads nothing: take it off the list." for known in gone if (root / known).exists()]


def test_what_comes_from_outside_is_read_in_one_place():
    assert reader_problems(ROOT) == []


def test_a_reader_beside_the_budgeted_one_is_found(tmp_path):
    files = {
        "edgenet/reading/texts.py": "json.loads(path.read_bytes())",
        "edgenet/data/a.py": "np.load(path)",
        "edgenet/train/b.py": "def f():\n    return Path(p).read_text()",
        "edgenet/train/c.py": "with open(path) as file: ...\ncontent = reading.read_json(path)",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    problems = reader_problems(tmp_path)
    assert [problem.split(";")[0] for problem in problems] == [
        "edgenet/data/a.py:1: calls np.load",
        "edgenet/train/b.py:2: calls Path(p).read_text",
        "edgenet/train/c.py:1: calls open",
    ]
