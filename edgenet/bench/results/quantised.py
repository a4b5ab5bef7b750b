"""``edgenet bench quantised``: binary, power-of-two, unified and fixed-point weights, inside structures of every kind.

Each part measures one section of the page, and leaves the others alone.
"""

from __future__ import annotations

from pathlib import Path

from edgenet.bench.harness import page
from edgenet.bench.results import sections
from edgenet.text import markdown_table

#: section: (its heading, the module whose ``parts(seeds, runs, processes, data_root)`` measures it)
PARTS = {
    "mnist": ("Digits", "edgenet.bench.results.quantised_digits"),
    "cora": ("Cora", "edgenet.bench.results.quantised_cora"),
    "pretrained": ("A network that others trained", "edgenet.bench.results.quantised_pretrained"),
    "speed": ("Speed", "edgenet.bench.speed.packed"),
}
TITLE = "Quantised networks"


def run(
    seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None, parts: str = ",".join(PARTS)
) -> None:
    """Measure the parts that are named, and rewrite their sections of the page.

    Raises:
        ConfigError: if a part is unknown, or the page has half a section.
    """
    names = sections.chosen(PARTS, parts)
    page.write_section(out, TITLE, "published", published())
    picture = {"mnist": {"page": out}}  # the picture of the digits stands beside the page
    sections.measure(out, TITLE, PARTS, names, seeds, runs, processes, data_root, more=picture)


def published() -> list[str]:
    """What others report on data that are not here."""
    return [
        "Quantisers are structures that hold structures: signs, powers of two, integers and fixed-point numbers stand "
        "in the place of the numbers of any matrix, a dense one or one in factors. How they are written and trained: "
        "[structures](../structures.md#quantisers) and [compression](../compression.md).",
        "What the papers report on CIFAR-10, SVHN and ImageNet is not reproducible here, for want of these data. "
        "Their numbers are quoted; the sections below measure the same formats on what is here.",
        markdown_table(
            ("method", "data and network", "float", "published", "here"),
            [(method, data, whole, small, "not measured: no data") for method, data, whole, small in _PUBLISHED],
            right=(2, 3),
        ),
    ]


_BNN, _SHIFT = "BNN (Courbariaux et al. 2016, their code's page)", "DeepShift (Elhoushi et al. 2021, their code's page)"
_PUBLISHED = (
    (_BNN, "CIFAR-10, error in %", "", "11.40"),
    (_BNN, "SVHN, error in %", "", "2.80"),
    (_SHIFT, "CIFAR-10, ResNet-18, Q and PS from scratch, %", "94.45", "94.42 and 93.20"),
    (_SHIFT, "CIFAR-10, ResNet-18, PS of 5, 4, 3, 2 bits, %", "94.45", "93.20, 94.12, 92.85, 92.80"),
    (_SHIFT, "ImageNet, ResNet-18, Q from scratch and from a trained one, %", "69.76", "65.32 and 69.56"),
    (_SHIFT, "ImageNet, ResNet-50, Q from a trained one, %", "76.13", "76.33"),
    (_SHIFT, "ImageNet, VGG-16, Q from a trained one, %", "71.59", "71.56"),
)
