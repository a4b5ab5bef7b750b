"""How many calls of the package's functions a layer takes: on small graphs they are most of its time."""

import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

import edgenet
from edgenet.nn import specializations as nets
from edgenet.ops import native

PACKAGE = str(Path(edgenet.__file__).parent)
MOST = 74  # PyG's GATConv has 62 in its own package; a dozen of ours ask whether compiled code may follow a pointer


def calls(function):
    """Calls of functions of the package, by name, comprehensions and generators among them."""
    counts = Counter()

    def count(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            counts[f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_qualname}"] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return counts


@pytest.mark.skipif(native.library() is None, reason="no compiled kernels here")
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_attention_takes_few_calls(training):
    layer = nets.gat(1433, 8, heads=8).float().train(training)
    x, edge_index = torch.randn(2708, 1433, dtype=torch.float32), torch.randint(0, 2708, (2, 10556))
    for _ in range(3):  # what is made once is made
        layer(x, edge_index)
    found = calls(lambda: layer(x, edge_index))
    assert found.total() <= MOST, "\n".join(f"{count} {name}" for name, count in sorted(found.items()))
