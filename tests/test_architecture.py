"""The shape of the library, read from its syntax trees: imports point one way, every family has a case, docs run.

Each check is a function over the root of a checkout and returns sentences, one per violation. The tests run it on this
checkout, where it must return nothing, and on a small tree that breaks the rule, where it must say so.
"""

import ast
import importlib
import importlib.util
import pkgutil
import re
import subprocess
import sys
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import networkx
import pytest

ROOT = Path(__file__).resolve().parents[1]

# Which part of edgenet may import which. A part is a module or a folder, and a name stands for everything in it.
# Imports inside functions and under TYPE_CHECKING count like any other.
LOW = "errors shortcuts text graph gso ops structured phi"  # what every layer is made of
MAY_IMPORT = {
    "_version": "",
    "printable": "",
    "errors": "printable",
    "shortcuts": "",
    "plainly": "",
    "text": "errors printable",
    "writing": "errors",
    "malloc": "",
    "reading": "errors",  # what comes from outside, see READS
    "seen": "",
    "graph": "errors shortcuts seen",
    "gso": "errors graph",
    "ops": "errors shortcuts graph gso",
    "structured": "reading errors shortcuts text seen graph gso ops",
    "phi": "errors shortcuts text graph gso ops structured estimators.basis",
    "hub": "errors",
    "nn": f"{LOW} estimators.basis hub",
    "compress": "reading errors shortcuts text graph gso ops structured",  # never nn: it works on any nn.Module
    "convert": f"reading {LOW} nn models compress",
    "models": f"{LOW} nn hub",
    "sampling": "errors graph ops",
    "selection": f"reading {LOW} nn models",  # it takes whatever estimator is fitted
    "pretrained": f"reading {LOW} hub nn models compress convert fixed checkpoint writing _version",
    "export": f"{LOW} nn models writing",
    "clstm": f"{LOW} nn compress",
    "fixed": f"{LOW} nn clstm writing",
    "estimators": "errors text",
    "data": "reading errors text plainly writing",
    "tables": "errors",
    "config": "reading errors text tables",
    "presets": "config",
    "checkpoint": "reading errors writing _version",
    "testing": f"{LOW} hub nn models compress convert pretrained",  # anything below train, and no pytest
    "plots": f"{LOW} nn models compress writing",  # draws its reports
    "train": f"reading {LOW} sampling nn models compress convert pretrained data config checkpoint plainly printable "
    "writing",
    "bench": f"{LOW} sampling nn models compress clstm fixed selection convert pretrained data config presets "
    "checkpoint plots train estimators testing writing _version",
    "doctor": "ops malloc bench _version",
    "__main__": "cli",
    "demo": "errors compress convert data pretrained plots train",
    "registry": f"{LOW} nn models compress convert pretrained testing cli",
    # what runs past one machine; no part but the command line may need it
    "scale": "errors shortcuts phi structured checkpoint pretrained reading train writing",
    "cli": "reading errors text hub plainly nn compress convert export pretrained data config presets checkpoint plots "
    "train bench demo doctor printable writing _version",
}
# importer -> imported: allowed inside a function only, with the reason beside it
ONLY_INSIDE_FUNCTIONS: dict[str, str] = {}
# other packages a part may import; parts that are not named here may import any
THIRD_PARTY = {
    "_version": "",
    "errors": "",
    "printable": "",
    "writing": "",
    "malloc": "torch",
    "estimators": "numpy scipy sklearn matplotlib",  # the contract of scikit-learn; pictures, inside plot()
    "reading": "numpy torch",
    "data": "torch_geometric torch numpy scipy networkx sklearn tqdm",
    "compress": "torch numpy scipy tqdm",
    "testing": "torch torch_geometric safetensors",  # users run it, with any test runner or with none
}
# who may import modules of edgenet inside functions: commands, so that a line of help does not wait for torch
LATE = ("cli", "bench", "doctor")
# other packages that may be imported inside functions, for they are optional, or slow and seldom needed
SELDOM = (
    "onnxruntime onnxscript optuna torch_scatter triton huggingface_hub transformers matplotlib networkx scipy sklearn "
    "torchmetrics"
)
# packages that only one part may import
ONLY_FROM = {"torch_scatter": "ops"}

# registry -> its list of cases in tests/cases.py
REGISTRIES = {
    "edgenet.structured:STRUCTURES": "STRUCTURE_CASES",
    "edgenet.phi:PHIS": "PHI_CASES",
    "edgenet.nn.taps:TAPS": "TAPS_CASES",
    "edgenet.convert:CONVERTERS": "CONVERTER_CASES",
}
MACHINE_PATHS = tuple(f"/{folder}/" for folder in ("work", "root"))  # spelled so that this file passes its own test


# --- imports ----------------------------------------------------------------------------------------------------------
def imports(file: Path, package: Path) -> Iterator[tuple[str, int, bool]]:
    """(dotted name, line, inside a function?) of every import in a file; ``from a import b`` gives ``a.b``."""
    inside = set()
    tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            inside.update(id(node) for node in ast.walk(function))
    here = [package.name, *file.relative_to(package).parts[:-1]]  # the package that relative imports start from
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            names = [".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names]
        else:
            continue
        yield from ((name, node.lineno, id(node) in inside) for name in names)


def part_of(file: Path, package: Path) -> str:
    """The row of the table that a file belongs to: its folder or its name below the package."""
    first = file.relative_to(package).parts[0]
    return first.removesuffix(".py")


def import_problems(root: Path) -> list[str]:
    """Imports that point the wrong way."""
    package, problems = root / "edgenet", []
    for file in sorted(package.rglob("*.py")):
        part, where = part_of(file, package), file.relative_to(root)
        if part == "__init__":
            continue  # the public names come from everywhere
        if part not in MAY_IMPORT:
            problems.append(f"{where}: no row for {part!r} in MAY_IMPORT of tests/test_architecture.py; add one.")
            continue
        for name, line, inside in imports(file, package):
            top, _, rest = name.partition(".")
            if top == "edgenet":
                problem = _internal_problem(part, rest, package)
                if problem and not (inside and _covers(ONLY_INSIDE_FUNCTIONS.get(part, ""), rest)):
                    problems.append(f"{where}:{line}: {problem}")
            elif top not in sys.stdlib_module_names:
                if part in THIRD_PARTY and top not in THIRD_PARTY[part].split():
                    allowed = THIRD_PARTY[part] or "nothing"
                    problems.append(f"{where}:{line}: {part} imports {top}; it may import {allowed}.")
                if part != ONLY_FROM.get(top, part):
                    problems.append(f"{where}:{line}: {part} imports {top}; only {ONLY_FROM[top]} may.")
    return problems


def _internal_problem(part: str, name: str, package: Path) -> str | None:
    target = name.split(".")[0]
    if target == part or _covers(MAY_IMPORT[part], name):
        return None
    known = target in MAY_IMPORT or (package / target).is_dir() or (package / f"{target}.py").is_file()
    if not target or not known:
        return f"{part} imports {target or 'edgenet'} from edgenet itself, which imports everything; name the module."
    return f"{part} imports {target}; it may import {MAY_IMPORT[part] or 'nothing of edgenet'}."


def _covers(allowed: str, name: str) -> bool:
    return any(name == entry or name.startswith(f"{entry}.") for entry in allowed.split())


def circle_problems(root: Path) -> list[str]:
    """Modules that import each other, at the top of their files or inside functions."""
    package = root / "edgenet"
    names = {".".join(("edgenet", *f.relative_to(package).with_suffix("").parts)): f for f in package.rglob("*.py")}
    modules = {name.removesuffix(".__init__"): file for name, file in names.items()}
    imported: dict[str, set[str]] = {}
    for module, file in modules.items():
        whole = {name if name in modules else name.rpartition(".")[0] for name, _, _ in imports(file, package)}
        # the package's own __init__ imports everything, when it is asked for
        imported[module] = {name for name in whole if name in modules and "edgenet" not in (module, name)} - {module}
    graph = networkx.DiGraph((module, other) for module, others in imported.items() for other in others)
    circles = [sorted(circle) for circle in networkx.strongly_connected_components(graph) if len(circle) > 1]
    return [f"these import each other: {', '.join(circle)}." for circle in sorted(circles)]


def late_import_problems(root: Path) -> list[str]:
    """Imports inside functions that could stand at the top of the file."""
    package, problems = root / "edgenet", []
    for file in sorted(package.rglob("*.py")):
        part = part_of(file, package)
        if part in LATE or part == "__init__":
            continue
        for name, line, inside in imports(file, package):
            top = name.partition(".")[0]
            if inside and top not in SELDOM.split() and (part, top) != ("malloc", "torch"):
                problems.append(f"{file.relative_to(root)}:{line}: imports {name} inside a function; move it up.")
    return problems


# --- loops ------------------------------------------------------------------------------------------------------------
TRAINS = "edgenet/train/loop.py"
# other files that have gradients and move something, with the reason
STEPS = {
    "edgenet/bench/results/ecosystem.py": "a sweep and a step as one writes them without fit",
    "edgenet/bench/speed/epoch.py": "times one step, of every library's layers by the same lines",
    "edgenet/bench/results/scale_sampling.py": "times one step, beside what draws its batch",
    "edgenet/bench/speed/reference.py": "adds gradients up, that others are compared with",
    "edgenet/bench/speed/same_parameters.py": "gives models of two libraries the same parameters",
    "edgenet/compress/refit.py": "a solver: LBFGS fits matrices to matrices, without data, epochs or a model",
    "edgenet/structured/block_term_fit.py": "likewise, a decomposition to a tensor",
    "edgenet/structured/unitary.py": "likewise, a product of reflections to a matrix",
    "edgenet/testing/derivative.py": "central differences",
    "edgenet/testing/ecosystem/adapting.py": "changes factors of LoRA, to see that they count",
    "edgenet/testing/ecosystem/training.py": "takes the steps of other people's trainers, one or a few",
    "edgenet/testing/layer/lasting.py": "changes parameters, to see what is kept of them",
    "edgenet/testing/layer/shortcuts.py": "changes parameters, to see that shortcuts follow",
    "edgenet/testing/model.py": "sees that one step changes the scores",
    "edgenet/testing/structure/products.py": "sees that one step makes a loss smaller",
    "edgenet/testing/structure/storage.py": "sees that LBFGS can step",
}
MOVES = {"add_", "addcdiv_", "addcmul_", "copy_", "lerp_", "mul_", "sub_", "data"}


def takes_steps(source: str) -> bool:
    """Whether a file has gradients computed, and moves something: by ``step``, by hand, or by an optimizer it makes.

    Names count wherever they stand, called or handed on, so that neither an alias nor a function between hides a loop.
    """
    tree = ast.parse(source)
    found = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names = {name.rpartition(".")[2] for name in found}
    taken = {a.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module for a in node.names
             if node.module.startswith(("torch.autograd", "torch.optim"))}  # fmt: skip
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    gradients = (
        "backward" in names or any(name.endswith("autograd.grad") for name in found) or taken & {"grad", "backward"}
    )
    makes = any(ast.unparse(call).startswith(("torch.optim.", "optim.")) for call in called) or taken & {"Adam", "SGD"}
    return bool(gradients) and bool("step" in names or names & MOVES or makes)


def loop_problems(root: Path) -> list[str]:
    """Files with optimizer loops of their own, and exceptions that are none any more."""
    files = {str(file.relative_to(root)): file for file in sorted((root / "edgenet").rglob("*.py"))}
    found = {name for name, file in files.items() if takes_steps(file.read_text(encoding="utf-8"))}
    problems = [f"{name} trains by itself; call edgenet.fit." for name in sorted(found - {TRAINS, *STEPS})]
    gone = sorted((set(STEPS) | {TRAINS}) - found) if TRAINS in files else []
    return problems + [f"{name} takes no steps: take it off the list." for name in gone]


# --- names ------------------------------------------------------------------------------------------------------------
def shadow_problems(package: types.ModuleType) -> list[str]:
    """Modules that cannot be had by their name, for their package has something else under it."""
    problems = []
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if found.name.rpartition(".")[2] in ("__main__", "_base", "_v3", "_v4"):
            continue  # what runs when it is imported, and kernels that ctypes loads
        module = importlib.import_module(found.name)
        own = getattr(package, found.name.rpartition(".")[2])
        if own is not module:
            problems.append(f"{found.name} is hidden by {own!r}: give the file another name.")
        if found.ispkg:
            problems += shadow_problems(module)
    return problems


# --- files ------------------------------------------------------------------------------------------------------------
def file_problems(root: Path) -> list[str]:
    """Files that must not exist, and tests that must."""
    problems = [
        f"{file.relative_to(root)}: datasets/ is data, never a package; remove this file."
        for file in sorted((root / "datasets").rglob("__init__.py"))
    ]
    problems += [
        f"{file.relative_to(root)}: a helper lives with its user, or gets a name of its own."
        for folder in ("edgenet", "tests", "examples", "datasets")
        for file in sorted((root / folder).rglob("utils.py"))
    ]
    problems += [
        f"{file.relative_to(root)} is never read: the folder {file.stem}/ beside it is what Python imports."
        for folder in ("edgenet", "tests")
        for file in sorted((root / folder).rglob("*.py"))
        if file.with_suffix("").is_dir()
    ]
    problems += [
        f"{op.parent.relative_to(root)} has no test: tests/ops/test_{op.parent.name}.py is missing."
        for op in sorted((root / "edgenet" / "ops").rglob("*/__init__.py"))
        if op.parent.name not in ("ops", "kernels")
        and not (root / "tests" / "ops" / f"test_{op.parent.name}.py").is_file()
    ]
    return problems


def listed_files(root: Path) -> list[Path]:
    """What git tracks or would track; without git, everything that is not hidden."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        out = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return [f for f in root.rglob("*") if not any(part.startswith(".") for part in f.relative_to(root).parts)]
    return [root / name for name in out.split("\0") if name]


def machine_path_problems(root: Path) -> list[str]:
    """Text files that name a folder of the machine they were written on."""
    problems = []
    for file in sorted(listed_files(root)):
        if not file.is_file():
            continue
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # not text
        problems += [
            f"{file.relative_to(root)}:{number}: names a folder of one machine ({path})."
            for number, line in enumerate(lines, 1)
            for path in MACHINE_PATHS
            if re.search(rf"(?<![\w.~/]){re.escape(path)}", line)  # not the middle of some/work/folder
        ]
    return problems


# --- cases ------------------------------------------------------------------------------------------------------------
def load_cases(root: Path) -> Any:
    """tests/cases.py as a module."""
    file = root / "tests" / "cases.py"
    assert file.is_file(), "tests/cases.py is missing: the contract tests run over STRUCTURE_CASES and PHI_CASES."
    spec = importlib.util.spec_from_file_location("cases_of_architecture_test", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


def uncovered(names: Iterable[str | type], cases: Iterable[Any]) -> list[str]:
    """The names (of classes, too) without a case, whose name is its key, its ``name``, or the start of its ``str``."""
    names = [name if isinstance(name, str) else name.__name__ for name in names]
    labels = [case if isinstance(case, str) else str(getattr(case, "name", case)) for case in cases]
    return [name for name in names if not any(re.match(rf"{re.escape(name)}(?!\w)", label) for label in labels)]


# --- pages ------------------------------------------------------------------------------------------------------------
# whose Python runs; tutorials are scripts, which tests/docs/test_stories.py runs
PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(
    r"(?:^<!-- no-test:(?P<reason>[^\n]*)-->\n\s*)?^```python\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL
)


def page_blocks(root: Path, page: str = "README.md") -> list[tuple[int, str]]:
    """(first line, code) of a page's Python blocks, but for those below ``<!-- no-test: why -->``."""
    if not (root / page).is_file():
        return []
    text, blocks = (root / page).read_text(encoding="utf-8"), []
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        if match["reason"] is None:
            blocks.append((line, match["code"]))
        elif not match["reason"].strip():
            blocks.append((line, "raise AssertionError('<!-- no-test: --> gives no reason')"))
    return blocks


def run_block(line: int, code: str, root: Path, page: str = "README.md") -> None:
    """Runs a block in a namespace of its own; its traceback points into the page."""
    syntax = ast.increment_lineno(ast.parse(code), line - 1)
    exec(compile(syntax, str(root / page), "exec"), {"__name__": "__readme__"})


# --- this checkout ----------------------------------------------------------------------------------------------------
def _say(problems: list[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)


def test_imports_point_one_way():
    _say(import_problems(ROOT))


def test_no_module_imports_itself_by_way_of_others():
    _say(circle_problems(ROOT))


def test_imports_stand_at_the_top_of_files():
    _say(late_import_problems(ROOT))


def test_the_import_table_has_no_cycle_and_names_parts_only():
    order = {}

    def depth(part: str, path: tuple[str, ...] = ()) -> int:
        assert part not in path, f"{' -> '.join([*path, part])} is a cycle"
        if part not in order:
            below = {entry.split(".")[0] for entry in MAY_IMPORT[part].split()}
            order[part] = 1 + max((depth(other, (*path, part)) for other in below), default=0)
        return order[part]

    for part in MAY_IMPORT:
        depth(part)


def test_no_file_is_where_it_must_not_be_and_every_op_has_its_test():
    _say(file_problems(ROOT))


def test_no_file_names_a_folder_of_one_machine():
    _say(machine_path_problems(ROOT))


def test_models_are_trained_in_one_place():
    _say(loop_problems(ROOT))


def test_every_module_is_what_its_package_has_under_its_name():
    _say(shadow_problems(importlib.import_module("edgenet")))


def test_the_package_has_every_name_that_it_lists_and_every_piece_that_it_tells_of():
    package = importlib.import_module("edgenet")
    assert all(hasattr(package, name) for name in package.__all__)
    told = set(re.findall(r"``(\w+)``", package.__doc__))
    assert told <= set(package.__all__), f"edgenet has no {', '.join(sorted(told - set(package.__all__)))}"


@pytest.mark.parametrize("registry", REGISTRIES)
def test_every_entry_of_a_registry_has_a_case(registry):
    module, name = registry.split(":")
    if importlib.util.find_spec("edgenet") is None or importlib.util.find_spec(module) is None:
        pytest.skip(f"there is no {module} yet")
    entries, cases = getattr(importlib.import_module(module), name), load_cases(ROOT)
    listed = REGISTRIES[registry]
    assert hasattr(cases, listed), f"tests/cases.py has no {listed}, the cases of {registry}."
    missing = uncovered(entries, getattr(cases, listed))
    assert not missing, f"{registry} has entries without a case in {listed}: {', '.join(missing)}."


@pytest.mark.float32  # as a reader would run it
@pytest.mark.parametrize(
    "page, block",
    [(page, block) for page in PAGES for block in page_blocks(ROOT, page)],
    ids=lambda value: value if isinstance(value, str) else f"line {value[0]}",
)
def test_the_examples_of_pages_run(page, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_block(*block, ROOT, page)


# --- trees that break the rules ---------------------------------------------------------------------------------------
def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    "file, source, says",
    [
        ("ops/kernels/spmm/__init__.py", "from edgenet.nn import conv", "ops imports nn"),
        ("ops/kernels/spmm/__init__.py", "def f():\n    import edgenet.structured.dense", "ops imports structured"),
        ("graph.py", "from . import ops", "graph imports ops"),
        ("phi/shift.py", "from ..nn.conv import EdgeNetConv", "phi imports nn"),
        ("phi/shift.py", "from edgenet.estimators.spam import SpAM", "phi imports estimators"),
        ("compress/admm.py", "from edgenet.nn import EdgeNetConv", "compress imports nn"),
        ("compress/admm.py", "import torch_geometric", "compress imports torch_geometric"),
        ("structured/dense.py", "if TYPE_CHECKING:\n    from edgenet.phi import Phi", "structured imports phi"),
        ("data.py", "from edgenet.graph import Graph", "data imports graph"),
        ("data/planetoid.py", "import pandas", "data imports pandas"),
        ("estimators/spam.py", "import torch", "estimators imports torch"),
        ("testing.py", "import edgenet.train", "testing imports train"),
        ("testing.py", "import pytest", "testing imports pytest"),
        ("config.py", "from edgenet.train import fit", "config imports train"),
        ("plots/style.py", "from edgenet import cli", "plots imports cli"),
        ("train.py", "from edgenet.cli import main", "train imports cli"),
        ("models/node_classifier.py", "from edgenet import EdgeNetConv", "from edgenet itself"),
        ("nn/conv.py", "import edgenet", "from edgenet itself"),
        ("nn/conv.py", "import torch_scatter", "only ops may"),
        ("misc.py", "", "no row for 'misc'"),
    ],
)
def test_an_import_that_points_up_is_found(tmp_path, file, source, says):
    problems = import_problems(tree(tmp_path, {"edgenet/nn/x.py": "", f"edgenet/{file}": source}))
    assert len(problems) == 1 and says in problems[0] and f"edgenet/{file}" in problems[0], problems


def test_imports_that_point_down_pass(tmp_path):
    files = {
        "edgenet/__init__.py": "from edgenet.cli import main",
        "edgenet/cli/train.py": "from edgenet import train\nfrom edgenet._version import __version__",
        "edgenet/nn/conv.py": "import torch\nfrom edgenet import ops, phi\nfrom . import lift\nfrom ..gso import rw",
        "edgenet/phi/additive.py": "from edgenet.estimators.basis import splines",
        "edgenet/estimators/spam.py": "import math\nimport scipy.linalg\nfrom .basis import splines",
        "edgenet/ops/backend.py": "def f():\n    import torch_scatter",
    }
    assert import_problems(tree(tmp_path, files)) == []


def test_an_import_allowed_inside_functions_only_is_found_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setitem(ONLY_INSIDE_FUNCTIONS, "graph", "gso")
    tree(tmp_path, {"edgenet/gso.py": "", "edgenet/graph.py": "def f():\n    from edgenet import gso"})
    assert import_problems(tmp_path) == []
    tree(tmp_path, {"edgenet/graph.py": "from edgenet import gso"})
    assert len(import_problems(tmp_path)) == 1


@pytest.mark.parametrize(
    "file, says",
    [
        ("datasets/cora/__init__.py", "never a package"),
        ("edgenet/nn/utils.py", "a name of its own"),
        ("tests/utils.py", "a name of its own"),
        ("edgenet/ops/kernels/spmm/__init__.py", "tests/ops/test_spmm.py is missing"),
    ],
)
def test_a_file_in_the_wrong_place_or_a_missing_test_is_found(tmp_path, file, says):
    problems = file_problems(tree(tmp_path, {file: ""}))
    assert len(problems) == 1 and says in problems[0]


def test_a_file_that_a_folder_of_its_name_hides_is_found(tmp_path):
    problems = file_problems(tree(tmp_path, {"edgenet/phi.py": "", "edgenet/phi/rows.py": "", "edgenet/rows.py": ""}))
    assert problems == ["edgenet/phi.py is never read: the folder phi/ beside it is what Python imports."]


@pytest.mark.parametrize(
    "source",
    [
        "def train():\n    while True:\n        loss.backward()\n        self.optimizer.step()",
        "def one():\n    loss.backward()\ndef two():\n    optimizer.step()",
        "loss.backward()\nscaler.step(optimizer)",
        "def closure():\n    loss.backward()\noptimizer.step(closure)",
        "step, back = optimizer.step, loss.backward\nback()\nstep()",
        "for p, g in zip(ps, torch.autograd.grad(loss, ps)):\n    p.sub_(lr * g)",
        "from torch.autograd import grad\nfor p, g in zip(ps, grad(loss, ps)):\n    p.data -= lr * g",
        "torch.autograd.backward(loss)\ntorch.optim.SGD(ps)",
    ],
)
def test_a_second_optimizer_loop_is_found(tmp_path, source):
    files = {"edgenet/demo.py": source, "edgenet/rules.py": "scheduler.step()\ntraining.step += 1\np.add_(1)\n"}
    assert loop_problems(tree(tmp_path, files)) == ["edgenet/demo.py trains by itself; call edgenet.fit."]


def test_a_module_that_a_function_hides_is_found(tmp_path, monkeypatch):
    files = {
        "hidden_names/__init__.py": "from hidden_names.inner.search import search",
        "hidden_names/inner/__init__.py": "from hidden_names.inner.search import search",
        "hidden_names/inner/search.py": "def search(): ...",
        "hidden_names/inner/__main__.py": "raise SystemExit",
    }
    monkeypatch.syspath_prepend(tree(tmp_path, files))
    problems = shadow_problems(importlib.import_module("hidden_names"))
    assert len(problems) == 1 and problems[0].startswith("hidden_names.inner.search is hidden by <function search")


def test_a_machine_path_is_found(tmp_path):
    files = {"docs/a.md": f"one\nsee {MACHINE_PATHS[0]}shared\n", "docs/b.md": "https://host/x/work/y ~/work/z\n"}
    tree(tmp_path, files)
    assert [problem.split(": ")[0] for problem in machine_path_problems(tmp_path)] == ["docs/a.md:2"]


def test_an_entry_without_a_case_is_found():
    class Case:
        def __init__(self, name):
            self.name = name

    names = ["dense", "low_rank", "edge"]
    assert uncovered(names, [Case("dense"), Case("low_rank rank 3")]) == ["edge"]
    assert uncovered(names, ["dense-5x3", "low_rank", "edge_varying"]) == ["edge"]
    assert uncovered(names, {"dense": 1, "edge": 2}) == ["low_rank"]
    assert uncovered([Case, int], ["Case with options"]) == ["int"]


def test_missing_cases_are_said_in_a_sentence(tmp_path):
    with pytest.raises(AssertionError, match=r"cases\.py is missing"):
        load_cases(tmp_path)


def test_readme_blocks_are_found_skipped_with_a_reason_and_fail_at_their_line(tmp_path):
    fence = "```"
    text = (
        f"# Title\n{fence}python\nx = 1\n{fence}\n\n{fence}bash\nls\n{fence}\n"
        f"<!-- no-test: downloads -->\n{fence}python\nboom\n{fence}\n<!-- no-test: -->\n{fence}python\ny\n{fence}\n"
    )
    blocks = page_blocks(tree(tmp_path, {"README.md": text}))
    assert [line for line, _ in blocks] == [3, 15] and blocks[0][1] == "x = 1\n" and "no reason" in blocks[1][1]
    with pytest.raises(ZeroDivisionError) as error:
        run_block(3, "\n1 / 0", tmp_path)
    assert error.traceback[-1].lineno == 3  # counted from 0: the README's line 4
    assert page_blocks(tmp_path / "nowhere") == []


def test_circles_and_late_imports_are_found(tmp_path):
    files = {
        "edgenet/graph.py": "from edgenet.ops import spmm",
        "edgenet/ops/__init__.py": "def f():\n    from edgenet import graph\n    import pandas, networkx",
        "edgenet/cli/train.py": "def f():\n    from edgenet.graph import Graph",
    }
    root = tree(tmp_path, files)
    assert circle_problems(root) == ["these import each other: edgenet.graph, edgenet.ops."]
    assert [problem.split(" imports ")[1].split(" ")[0] for problem in late_import_problems(root)] == [
        "edgenet.graph",
        "pandas",
    ]
