"""What others report of quantised networks on data that are not here."""

from __future__ import annotations

from pathlib import Path

from edgenet.text import markdown_table

LIMITS = (
    "Nothing here was measured: the pages on [digits](quantised_mnist.md), [Cora](quantised_cora.md) and "
    "[a network that others trained](quantised_pretrained.md) measure the same formats."
)
_BNN, _SHIFT = "BNN (Courbariaux et al. 2016, their code's page)", "DeepShift (Elhoushi et al. 2021, their code's page)"
#: (method, data and network, of floats, of the format)
PUBLISHED = (
    (_BNN, "CIFAR-10, error in %", "", "11.40"),
    (_BNN, "SVHN, error in %", "", "2.80"),
    (_SHIFT, "CIFAR-10, ResNet-18, Q and PS from scratch, %", "94.45", "94.42 and 93.20"),
    (_SHIFT, "CIFAR-10, ResNet-18, PS of 5, 4, 3, 2 bits, %", "94.45", "93.20, 94.12, 92.85, 92.80"),
    (_SHIFT, "ImageNet, ResNet-18, Q from scratch and from a trained one, %", "69.76", "65.32 and 69.56"),
    (_SHIFT, "ImageNet, ResNet-50, Q from a trained one, %", "76.13", "76.33"),
    (_SHIFT, "ImageNet, VGG-16, Q from a trained one, %", "71.59", "71.56"),
)


def results(seeds: int, runs: Path, processes: int, data_root: Path | None) -> tuple[tuple[str, ...], ...]:
    """The table; nothing is computed."""
    return PUBLISHED


def claim(found: tuple[tuple[str, ...], ...]) -> str:
    """What is quoted."""
    return (
        f"{len(found)} published results of quantised networks, on CIFAR-10, SVHN and ImageNet, are quoted and not "
        "reproduced, for want of these data."
    )


def parts(found: tuple[tuple[str, ...], ...]) -> list[str]:
    """The page's paragraph and table."""
    return [
        "Quantisers are structures that hold structures: signs, powers of two, integers and fixed-point numbers stand "
        "in the place of the numbers of any matrix, a dense one or one in factors. How they are written and trained: "
        "[structures](../structures.md#quantisers) and [compression](../compression.md).",
        markdown_table(
            ("method", "data and network", "float", "published", "here"),
            [(method, data, whole, small, "not measured: no data") for method, data, whole, small in found],
            right=(2, 3),
        ),
    ]
