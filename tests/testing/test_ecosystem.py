"""check_ecosystem finds what is wrong with a layer, does nothing where a tool is missing, and passes good layers."""

import random

import pytest
import torch
from torch import nn
from torch_geometric.nn import GATConv, SAGEConv

from edgenet import EdgeNetConv
from edgenet.errors import ConfigError, ContractError
from edgenet.testing import check_ecosystem
from edgenet.testing.ecosystem import JOBS, tools

GROUPS = list(dict.fromkeys(name.partition(",")[0] for name in JOBS.checks))


class Plain(EdgeNetConv):
    """A layer with attention."""

    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels, phi="attention", add_self_loops=False)


def layer(change=None, **members):
    """A layer with members of its own; ``change(self, y)`` is its output."""

    def forward(self, x, edge_index, **given):
        return change(self, Plain.forward(self, x, edge_index, **given))

    return type("Broken", (Plain,), {**members, **({"forward": forward} if change else {})})


class Counts(Plain):
    """Counts in a buffer of a kind that no collective sends."""

    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels)
        self.register_buffer("calls", torch.zeros(2, dtype=torch.int16))


class Holds(Plain):
    """Holds its bias by another name, too."""

    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels)
        self.held = [self.bias]

    def forward(self, x, edge_index, **given):
        return super().forward(x, edge_index, **given) + self.held[0]


class Reads(nn.Module):
    """Reads the weight of its linear map past torch, and never calls it."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)

    def forward(self, x, edge_index):
        return x @ self.linear.weight.mT + 0 * self.linear.weight.detach().numpy().sum()


def clamped(self, y):
    if y.requires_grad:
        y.register_hook(lambda slope: slope.clamp(-1e-3, 1e-3))
    return y


def jumps(self, y):
    """By 10 where nodes differ, as they do of any signal but zeros."""
    return y + 10 * (y.detach().std(-2, keepdim=True) > 1e-6)


#: what breaks each job, and a few words of what is then said
BROKEN = {
    "message hooks": (layer(is_looked_at=lambda self: False), "is never called"),
    "AttentionExplainer": (
        layer(propagated=lambda self, graph, weight, x: Plain.propagated(self, graph, 2 * weight, x) / 2),
        "not the largest of its weights",
    ),
    "GNNExplainer": (layer(lambda self, y: 2 * y if "_edge_mask" in self._parameters else y), "after an explanation"),
    "GraphMaskExplainer": (layer(_gated_width=lambda self, x: 3), "raises"),
    "CaptumExplainer": (layer(jumps), "the attributions add up to"),
    "captum": (layer(jumps), "the attributions add up to"),
    "summary": (layer(lambda self, y: y if torch.is_grad_enabled() else y[:, 1:]), r"lacks '\[7, 8\]'"),
    "vmap ensemble": (layer(lambda self, y: y + 0 * y.detach().numpy().sum()), "raises"),
    "autocast": (layer(lambda self, y: 3 * y if torch.is_autocast_enabled("cpu") else y), "under autocast"),
    "GradScaler": (layer(clamped), "it has other numbers"),
    "checkpointing": (layer(lambda self, y: random.random() * y), "computed again, it has other gradients"),
    "Lightning": (layer(state_dict=lambda self, *_, **__: {}), "raises"),
    "DDP": (Counts, "Invalid scalar type"),
    "FSDP2": (Holds, "raises|something else|other numbers"),
    "LoRA": (Reads, "raises"),
    "torchao": (Reads, "raises"),
}


def test_every_job_has_something_that_it_finds():
    assert sorted(BROKEN) == sorted(GROUPS)


@pytest.mark.parametrize("job", BROKEN)
def test_a_fault_is_found_by_its_job_and_told(job):
    for tool in tools.missing(job):
        pytest.skip(f"{tool} is not installed")
    kind, says = BROKEN[job]
    with pytest.raises(ContractError, match=says) as told:
        check_ecosystem(kind, only=job)
    assert kind.__name__ in str(told.value) and f"check '{job}" in str(told.value)


@pytest.mark.slow  # each imports its packages
def test_every_job_is_done_with_a_good_layer_and_says_with_what():
    told = check_ecosystem(Plain)
    done = {name for name, words in told.items() if not words.startswith("not done")}
    assert done == {name for name in JOBS.checks if not tools.missing(name)}
    assert told["DDP"] == f"torch {torch.__version__}"


@pytest.mark.parametrize("make", [GATConv, SAGEConv])
def test_layers_of_pyg_are_looked_at(make):
    told = check_ecosystem(make, batches=False, only=("message hooks", "GNNExplainer", "checkpointing", "autocast"))
    assert not any(words.startswith("not done") for words in told.values())


def test_a_tool_that_is_missing_is_told_of_and_refused_where_it_was_asked_for(monkeypatch):
    monkeypatch.setitem(tools.TOOLS, "DDP", ("no-such-package",))
    assert check_ecosystem(Plain, skip=[name for name in GROUPS if name not in ("DDP", "GradScaler")])["DDP"] == (
        "not done: no-such-package is not installed"
    )
    with pytest.raises(ConfigError, match="'DDP' needs no-such-package: pip install no-such-package"):
        check_ecosystem(Plain, only="DDP")


def test_a_layer_that_is_made_already_is_refused():
    with pytest.raises(ConfigError, match="check_ecosystem takes a function"):
        check_ecosystem(Plain(4, 8))
