"""``edgenet doctor``: what runs on this machine, and why the rest does not."""

from __future__ import annotations

import argparse
from typing import Any

from edgenet.cli.command import Command
from edgenet.cli.printing import emit, facts_text
from edgenet.text import plain_table


def arguments(parser: argparse.ArgumentParser) -> None:
    """``doctor``."""


def run(options: argparse.Namespace) -> int:
    """Print versions, processor, kernels, GPUs and the table of backends."""
    from edgenet import doctor

    facts = doctor.facts()
    shown = {name: value for name, value in facts.items() if name not in ("backends", "memory")}
    shown["versions"] = {name: number or "not installed" for name, number in facts["versions"].items()}
    shown["cuda"], shown["switches"] = facts["cuda"] or "no device", facts["switches"] or "none set"
    shown["memory"] = _allocator(facts["memory"])
    emit(options, facts, facts_text(shown), "", _backends_table(facts["backends"]))
    return 0


def _allocator(memory: dict[str, Any]) -> str:
    """In a sentence, whether the memory of big tensors stays with the process."""
    cost = f"{memory['milliseconds']} ms"
    if memory["tuned"] is not None:
        cost += f" and {memory['page faults']:,} page faults"
        cost += ": tuned" if memory["tuned"] else ": not tuned, see edgenet.tune_malloc()"
    return f"filling a fresh block of {memory['fresh block, megabytes']} MB takes {cost}"


def _backends_table(table: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Ops x backends. Why one cannot run stands below, once."""
    reasons: dict[str, str] = {}

    def cell(state: dict[str, Any]) -> str:
        if state["why not"]:
            return reasons.setdefault(state["why not"], f"({len(reasons) + 1})")
        return ", ".join(state["runs by itself on"]) or "ready"

    rows = [[op, *map(cell, states.values())] for op, states in table.items()]
    lines = [plain_table(["float32 tensors on", *next(iter(table.values()))], rows)]
    lines.append("\nready: can be asked for, by edgenet.ops.use")
    return "\n".join(lines + [f"{number}: {reason}" for reason, number in reasons.items()])


COMMAND = Command("show what runs on this machine: versions, kernels, backends", arguments, run, json=True)
