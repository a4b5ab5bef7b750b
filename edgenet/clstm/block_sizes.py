"""Block sizes of an LSTM, chosen so that it loses no more quality than allowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from edgenet.clstm.cost import HERE, Cost, Machine, lstm_cost
from edgenet.clstm.from_cell import shape_of
from edgenet.clstm.operators import MATRICES
from edgenet.compress import SearchResult, search, slots
from edgenet.compress.slot import Slot
from edgenet.errors import PlanError
from edgenet.nn.recurrent import LSTM, Columns
from edgenet.structured import BlockCirculant
from edgenet.structured.given import is_whole
from edgenet.text import plain_table

_SIZES = (2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class BlockSizes:
    """What was chosen.

    Attributes:
        model: a copy with block-circulant matrices in its LSTMs, fine-tuned where that was asked.
        blocks: {slot: block size}; 1 where the matrix stays dense.
        together: the groups of slots that share an input, and so were given one block size.
        before, after: cost of one step of every cell, by the cell's name.
        search: everything the search found, its Pareto list among that.

    Example:
        >>> edgenet.clstm.BlockSizes.__annotations__["blocks"]  # the block size of every slot, by its name
        'dict[str, int]'
    """

    model: nn.Module
    blocks: dict[str, int]
    together: tuple[tuple[str, ...], ...]
    before: dict[str, Cost]
    after: dict[str, Cost]
    search: SearchResult

    @property
    def satisfied(self) -> bool:
        """Whether the model loses no more than allowed."""
        return self.search.satisfied

    def __str__(self) -> str:
        rows = [(name, size, self._shape(name)) for name, size in self.blocks.items()]
        costs = [
            (name, f"{old.parameters:,}", f"{new.parameters:,}", f"{old.multiply_adds:,}", f"{new.multiply_adds:,}",
             f"{1e3 * old.seconds:.3f}", f"{1e3 * new.seconds:.3f}")
            for (name, old), new in zip(self.before.items(), self.after.values(), strict=True)
        ]  # fmt: skip
        head = ("cell", "weights", "now", "multiply-adds", "now", "ms expected", "now")
        return "\n\n".join(
            [plain_table(("matrix", "block", "shape"), rows), plain_table(head, costs), self.search.text]
        )

    def _shape(self, name: str) -> str:
        return " x ".join(map(str, slots(self.model)[name].shape))


def shared_inputs(model: nn.Module) -> list[tuple[str, ...]]:
    """The slots of the LSTMs in a model whose matrices multiply the same vector, two or more each, in order.

    The maps of a layer's directions read one input. What a layer puts out is the input of the next layer, and of its
    own state map a step later: with one block size the transform of it serves both. (A layer that reads both ways puts
    out two vectors side by side, and the next layer reads them as one.) Maps that are no slots are in no group. In
    dropout between layers the two differ in training, not afterwards.

    Example:
        >>> edgenet.clstm.shared_inputs(edgenet.nn.LSTM(32, 64, num_layers=2))
        [('cells.0.state_map.weight', 'cells.1.input_map.weight')]
    """
    groups = []
    for name, lstm in _lstms(model):
        for layer in range(lstm.num_layers):
            places = [layer * lstm.directions + k for k in range(lstm.directions)]
            readers = [f"{name}cells.{place}.input_map.weight" for place in places]
            if layer and lstm.directions == 1:
                readers.insert(0, f"{name}cells.{layer - 1}.state_map.weight")
            groups.append(tuple(readers))
    known = {each: slot.name for slot in slots(model).values() for each in slot.names}
    joined = [tuple(dict.fromkeys(known[each] for each in group if each in known)) for group in groups]
    return [group for group in joined if len(group) > 1]


def choose_block_sizes(
    model: nn.Module,
    max_drop: float,
    judge: Callable[[nn.Module], float],
    *,
    blocks: Sequence[int] = _SIZES,
    share: bool = True,
    fine_tune: Callable[[nn.Module], Any] | None = None,
    points: int = 8,
    machine: Machine = HERE,
    seed: int = 0,
    progress: bool = True,
) -> BlockSizes:
    """The smallest LSTM in circulant blocks that ``judge`` rates no more than ``max_drop`` below the one given.

    Every matrix of every ``LSTM`` in the model is tried at every block size, and ``compress.search`` chooses: the error
    of each, weighed by what it costs in the whole model, for the fewest parameters. Matrices that share an input
    (``shared_inputs``) take one size; those that are in blocks already stay. Block sizes are those that divide the
    rows of a gate, so that the model has an operator graph. A trained dense LSTM is far from any in blocks:
    ``fine_tune`` trains what is tried, the smallest first; ``ADMM`` beforehand draws its weights there.

    Args:
        model: any, with LSTMs of ``nn.recurrent`` in it, ``models.Sequence`` say. It stays as it is.
        max_drop: how much lower than that of the given model the judgement may be; from 0 up.
        judge: quality of a model in evaluation mode, higher is better; on data that are not for testing.
        blocks: sizes to try, from 2 up.
        share: whether matrices that share an input must have one size.
        fine_tune: trains a model in place.
        points: how many models are listed, and may be fine-tuned, about.
        machine: for the times in the report.
        seed: of what is random in the search.
        progress: show bars on stderr.

    Raises:
        PlanError: if there is no LSTM, block sizes are not whole numbers, or none of them divides the rows of all
            gates; if some of the matrices that share an input can be changed and others cannot; and as of ``search``.

    Example:
        >>> lstm, steps = edgenet.nn.LSTM(8, 16), torch.randn(5, 2, 8)
        >>> wanted = lstm(steps)[0].detach()
        >>> found = edgenet.clstm.choose_block_sizes(
        ...     lstm, max_drop=0.1, judge=lambda net: -float((net(steps)[0] - wanted).abs().mean()), blocks=(2, 4),
        ...     points=2, progress=False,
        ... )
        >>> set(found.blocks.values()) <= {1, 2, 4}
        True
    """
    found = list(_lstms(model))
    if not found:
        raise PlanError(
            f"a {type(model).__name__} has no LSTM of edgenet.nn.recurrent in it: convert it by from_torch."
        )
    before = _costs(model, machine)
    ends = sorted({end for _, lstm in found for end in _ends(lstm)})
    if not isinstance(blocks, Sequence) or not all(is_whole(k) for k in blocks):
        raise PlanError(f"block sizes to try are a list of whole numbers from 2 up, got {blocks!r}.")
    sizes = [k for k in sorted(set(map(int, blocks))) if k > 1 and all(end % k == 0 for end in ends)]
    if not sizes:
        told = ", ".join(map(str, ends))
        raise PlanError(
            f"none of the block sizes {list(blocks)} is above 1 and divides {told}, where gates or maps end."
        )
    groups = _free(model) if share else []
    result = search(
        model, judge, max_drop=max_drop, families=("block_circulant",),
        pattern="|".join(f"{re.escape(name)}$" for name in _slots(model)),
        together=["|".join(f"{re.escape(one)}$" for one in group) for group in groups],
        ladders={"block_circulant": [{"block": k} for k in reversed(sizes)]},
        fine_tune=fine_tune, points=points, seed=seed, progress=progress,
    )  # fmt: skip
    return BlockSizes(
        result.model, _blocks(result.model), tuple(groups), before, _costs(result.model, machine), result
    )  # fmt: skip


def _free(model: nn.Module) -> list[tuple[str, ...]]:
    """The groups of ``shared_inputs`` whose sizes are to be chosen: not those that are in blocks already."""
    found, known = [], slots(model)
    for group in shared_inputs(model):
        free = [name for name in group if known[name].is_dense and known[name].refusal() is None]
        if free and len(free) < len(group):
            rest = next(name for name in group if name not in free)
            raise PlanError(
                f"{' and '.join(group)} share an input, and {rest} cannot get the block size of {free[0]}: it is "
                f"compressed already, or can take no matrix. Decompress it, or let them choose apart with share=False."
            )
        found += [group] if free else []
    return found


def _lstms(model: nn.Module) -> Iterator[tuple[str, LSTM]]:
    """("rnn.", the LSTM there) of every LSTM."""
    for name, module in model.named_modules():
        if isinstance(module, LSTM):
            yield f"{name}." if name else "", module


def _ends(lstm: LSTM) -> Iterator[int]:
    """Where no block may reach beyond: the rows of a gate, and of stacked maps the columns of the input."""
    yield lstm.hidden_size
    for cell in lstm.cells:
        if isinstance(cell.state_map, Columns):
            yield cell.state_map.start


def _slots(model: nn.Module) -> dict[str, Slot]:
    """The slots of the maps of all LSTMs."""
    heads = "|".join(re.escape(name) for name, _ in _lstms(model))
    maps = re.compile(rf"({heads})cells\.\d+\.({'|'.join(MATRICES)})\.")
    return {name: slot for name, slot in slots(model).items() if maps.match(name)}


def _blocks(model: nn.Module) -> dict[str, int]:
    matrices = {name: slot.matrix for name, slot in _slots(model).items()}
    return {name: matrix.block if isinstance(matrix, BlockCirculant) else 1 for name, matrix in matrices.items()}


def _costs(model: nn.Module, machine: Machine) -> dict[str, Cost]:
    return {
        f"{name}cells.{place}": lstm_cost(shape_of(cell), machine=machine)
        for name, lstm in _lstms(model)
        for place, cell in enumerate(lstm.cells)
    }
