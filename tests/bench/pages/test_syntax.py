"""What code does decides its hash, and what a module imports decides which files count."""

import sys

import pytest

from edgenet.bench.pages import syntax

CODE = 'import math\n\n\ndef area(r: float) -> float:\n    """A disc."""\n    return math.pi * r**2\n'


def the_hash(source, path="phi/disc.py"):
    return syntax.hashes([path], {path: source.encode()})[path]


@pytest.mark.parametrize(
    "other",
    [
        CODE.replace("A disc.", "Of a disc, in its own unit."),
        CODE.replace('    """A disc."""\n', ""),
        CODE.replace("return", "# as in school\n    return"),
        CODE.replace("math.pi * r**2", "(\n        math.pi * r ** 2\n    )"),
        '"""Of a module."""\n' + CODE,
    ],
)
def test_comments_docstrings_and_formatting_do_not_count(other):
    assert the_hash(other) == the_hash(CODE)


@pytest.mark.parametrize(
    "other",
    [
        CODE.replace("**2", "**3"),
        CODE.replace("**2", "**2.0"),
        CODE.replace("return", "r += 0\n    return"),
        CODE.replace("area", "volume"),
        CODE.replace("import math", "import cmath as math"),
        CODE + "NONE = None\n",
    ],
)
def test_everything_else_counts(other):
    assert the_hash(other) != the_hash(CODE)


def test_a_name_that_a_part_gains_does_not_count_but_a_rule_does():
    part = "from edgenet.phi.disc import area\n\n__all__ = ['area']\nDEFAULT = area\n"
    more = part.replace("['area']", "['area', 'Ring']").replace(
        "area\n", "area\nfrom edgenet.phi.ring import Ring\n", 1
    )
    assert the_hash(more, "phi/__init__.py") == the_hash(part, "phi/__init__.py")
    assert the_hash(more, "phi/disc.py") != the_hash(part, "phi/disc.py")
    assert the_hash(part.replace("= area", "= None"), "phi/__init__.py") != the_hash(part, "phi/__init__.py")


def test_comments_of_kernels_do_not_count():
    walk = "int f(int x) { return x + 1; }"
    same = "/* adds\n one */ int f(int x) {\n  return x + 1;  // here\n}"
    assert the_hash(walk.replace("{ ", "{\n").replace("; }", ";\n}"), "ops/a.cpp") == the_hash(same, "ops/a.cpp")
    assert the_hash(walk.replace("1", "2"), "ops/a.cpp") != the_hash(walk, "ops/a.cpp")


def test_files_are_reached_through_imports_of_every_form_and_kernels_through_their_folder():
    code = {
        "bench/results/disc.py": b"from edgenet import phi\ndef f():\n    import edgenet.train.loop",
        "phi/__init__.py": b"from .disc import area",
        "phi/disc.py": b"from ..ops.kernels import walk",
        "phi/unread.py": b"",
        "ops/kernels/walk/__init__.py": b"", "ops/kernels/walk/native.cpp": b"", "ops/native/other.cpp": b"",
        "train/__init__.py": b"", "train/loop.py": b"import torch\nfrom edgenet.errors import E", "errors.py": b"",
        "bench/__init__.py": b"from edgenet.bench.results import unread", "bench/results/__init__.py": b"",
    }  # fmt: skip
    found = syntax.reached(["bench/results/disc.py"], code)
    assert set(code) - found == {"phi/unread.py", "ops/native/other.cpp", "bench/__init__.py",
                                 "bench/results/__init__.py"}  # fmt: skip
    assert "errors.py" not in syntax.counted(found) and "phi/disc.py" in syntax.counted(found)


def test_registries_lead_nowhere_and_texts_of_pages_do_not_count():
    code = {"bench/__init__.py": b"from edgenet import phi", "phi/__init__.py": b""}
    assert syntax.reached(["bench/__init__.py"], code) == {"bench/__init__.py"}
    assert syntax.counted(["bench/results/additive_page.py", "bench/results/additive.py"]) == [
        "bench/results/additive.py"
    ]


def test_the_modules_of_this_process_are_files_of_the_package():
    code = syntax.sources()
    assert "bench/pages/syntax.py" in syntax.imported() <= set(code) and "ops/native/walk.cpp" in code
    assert "edgenet.clstm.never" not in sys.modules and "clstm/never.py" not in syntax.imported()
