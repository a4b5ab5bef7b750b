"""The model card: README.md of a saved model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from edgenet._version import __version__
from edgenet.compress.reports import Report
from edgenet.text import markdown_table


def card(model: nn.Module, report: Report, graphs: Mapping[str, Mapping[str, Any]], unknown: Mapping[str, str]) -> str:
    """What the model is, what it takes, and how to load it."""
    total, kind = report.total, type(model).__name__
    skeleton = ", model=model" if unknown else ""
    lines = [
        "---", "library_name: edgenet", "tags:", "- graph-neural-network", "- edgenet", "- pytorch", "---", "",
        f"# {kind}", "",
        f"A graph neural network, saved by edgenet {__version__}: {total.parameters:,} parameters in {total.bytes:,} "
        f"bytes. With every slot dense it would be {total.parameters_before:,} in {total.bytes_before:,}.", "",
        "## Load", "", "```python", "from edgenet.pretrained import from_pretrained", "",
        *(["model = ...  # built as it was, see below"] if unknown else []),
        f'model = from_pretrained("."{skeleton})', "```", "",
        "The `.safetensors` file holds plain tensors, `config.json` plain text; loading runs no code from either.", "",
    ]  # fmt: skip
    if unknown:
        lines += ["These modules are not edgenet's to make; build the model and hand it over:", ""]
        lines += [f"- `{path or 'the model'}`: {reason}" for path, reason in unknown.items()] + [""]
    if graphs:
        lines += [
            "## Graphs", "",
            "These tables belong to one graph, and the model runs on that one alone:", "",
            markdown_table(
                ("table", "nodes", "edges", "sha256 of the sorted target * N + source"),
                [(path or "the layer", f"{of['num_nodes']:,}", of.get("num_edges", ""), of.get("sha256", ""))
                 for path, of in graphs.items()],
                right=(1, 2),
            ), "",
        ]  # fmt: skip
    return "\n".join([*lines, "## What it takes", "", report.to_markdown(), ""])
