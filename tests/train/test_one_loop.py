"""There is one optimizer loop in the package: who else takes steps is named here, with the reason."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "edgenet"
STEPS = {
    "train/loop.py": "the loop",
    "compress/refit.py": "LBFGS fits matrices to matrices: a solver, without data, epochs or a model",
    "structured/unitary.py": "LBFGS fits a product of reflections to a matrix, likewise",
    "structured/block_term_fit.py": "LBFGS fits a block-term decomposition to a tensor, likewise",
    "bench/speed/epoch.py": "times a step of every library's layers by the same few lines",
    "testing/model.py": "a contract: one step moves every parameter",
    "testing/structure/products.py": "a contract: one small step makes a loss smaller",
    "testing/structure/storage.py": "a contract: a matrix that was read back goes on training",
}


def takes_steps(source):
    """Whether a file computes gradients by ``backward()`` and moves parameters by ``step()``."""
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    names = {func.attr for func in calls if isinstance(func, ast.Attribute)}
    return {"backward", "step"} <= names


def test_steps_are_taken_in_one_place():
    found = {str(p.relative_to(PACKAGE)) for p in PACKAGE.rglob("*.py") if takes_steps(p.read_text(encoding="utf-8"))}
    assert found - set(STEPS) == set(), "train with edgenet.fit instead of a loop of one's own"
    assert set(STEPS) - found == set(), "these take no steps any more: take them off the list"


def test_a_second_loop_would_be_found():
    assert takes_steps("for x in data:\n    loss(x).backward()\n    optimizer.step()\n")
    assert not takes_steps("loss.backward()\nscheduler = 3\n") and not takes_steps("scheduler.step()\n")
