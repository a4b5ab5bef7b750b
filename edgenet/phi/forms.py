"""The forms of factored matrices on edges: which options go with which, and what their tables are made of."""

from __future__ import annotations

from typing import Any

from edgenet.errors import RankError, ShapeError
from edgenet.structured import family

FORMS = ("cp", "node_bilinear", "kronecker", "tensor_train", "hashed", "shared", "doped")


def structures_of(
    base: str, columns: int, ratio: float, edge_rank: int, channel_rank: int
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Of the tables of edges and nodes, which have so many columns, and of the channels; None for dense ones."""
    if base == "hashed":
        return ({"structure": "hashed", "ratio": ratio},) * 2
    if base == "tensor_train":
        edges = {"structure": "tensor_train", "in_modes": [1, columns], "rank": edge_rank}
        return edges, {"structure": "tensor_train", "dims": 2, "rank": channel_rank}
    return None, None


def of_channels(structure: dict[str, Any] | None, entries: int) -> dict[str, Any] | None:
    """What a channel table of so many entries is made of: the structure, but dense where a hashed one is smaller than
    one hash at its ratio. Few channels have small tables, and these are a small part of all the numbers."""
    if structure is None or structure["structure"] != "hashed":
        return structure
    try:
        family("hashed").from_config({**structure, "shape": [1, entries]})
    except RankError:
        return None
    return structure


def check_sizes(form: str, bank: str, base: str, in_channels: int, out_channels: int, rank: int, order: int) -> None:
    """Refuse what is no form, and sizes that are none.

    Raises:
        ShapeError: with the option.
    """
    if form not in FORMS or bank not in ("siso", "mimo") or base not in FORMS[:-1]:
        raise ShapeError(
            f"form is one of {', '.join(FORMS)}, bank 'siso' or 'mimo', base a form other than 'doped'; got "
            f"{form!r}, {bank!r} and {base!r}."
        )
    if min(in_channels, out_channels, rank, order) < 1:
        raise ShapeError(
            f"matrices on edges have a known size, and rank and order of 1 at least: got {in_channels} to "
            f"{out_channels} channels, rank={rank}, order={order}."
        )


def check_sharing(
    form: str, weights: str, share: str, nodes: Any, times_edge_weight: bool, density: float | None
) -> None:
    """Refuse weights, sharing and corrections that do not go together; likewise."""
    if share == "edge_id":
        raise ShapeError("the edges of factored matrices are found by their ends: share='edge', not 'edge_id'.")
    if form != "node_bilinear" and (weights == "learned") == (form == "shared"):
        raise ShapeError(f"weights={weights!r} does not go with the form {form!r}.")
    if weights != "learned" and (share not in ("edge", "hash") or nodes is not None or times_edge_weight):
        raise ShapeError(f"weights={weights!r} are given, and take no share={share!r}, nodes or edge weights.")
    if density is not None and share != "edge":
        raise ShapeError(f"corrections belong to the edges of one graph: share must be 'edge', got {share!r}.")
