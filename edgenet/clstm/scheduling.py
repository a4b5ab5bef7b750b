"""Schedule: the operators of a graph in coarse stages, which a pipeline runs at once on frames one behind the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgenet.clstm.operators import Operator, OperatorGraph
from edgenet.errors import PlanError
from edgenet.structured.given import is_whole
from edgenet.text import plain_table


@dataclass(frozen=True)
class Stage:
    """Operators that run together, in the order in which they can.

    Attributes:
        operators: each after those of the stage that it takes its inputs from.
        unit: what runs them, "circulant" (products) or "pointwise" (everything else).

    Example:
        >>> shape = edgenet.clstm.LstmShape(input=32, cells=64, block=8)
        >>> stages = edgenet.clstm.schedule(edgenet.clstm.lstm_graph(shape))
        >>> stages[0].unit
        'circulant'
    """

    operators: tuple[Operator, ...]
    unit: str

    @property
    def work(self) -> int:
        """Multiply-adds of all its operators; a transform that several products share counts once."""
        seen: set[tuple[str, int]] = set()
        total = 0
        for one in self.operators:
            total += one.work
            if one.kind == "circulant":
                total -= transform_work(one) if (key := (one.inputs[0], one.block)) in seen else 0
                seen.add(key)
        return total


def transform_work(one: Operator) -> int:
    """Multiply-adds of a product that are the transforms of its input; the rest is of its own."""
    if one.kind != "circulant" or one.block == 1:
        return 0
    return round(1.25 * one.block * math.log2(one.block) * -(-one.columns // one.block))


def priorities(graph: OperatorGraph) -> dict[str, int]:
    """Of every operator the work on the longest way from it to an end, its own included.

    Example:
        >>> work = edgenet.clstm.lstm_graph(edgenet.clstm.LstmShape(input=32, cells=64))
        >>> set(edgenet.clstm.priorities(work)) == set(work.operators)
        True
    """
    found: dict[str, int] = {}
    for name in reversed(list(graph.operators)):
        found[name] = graph.operators[name].work + max((found[one] for one in graph.after(name)), default=0)
    return found


def critical_path(graph: OperatorGraph) -> list[Operator]:
    """The operators on the way with the most work: no schedule is done with a frame before them.

    Example:
        >>> work = edgenet.clstm.lstm_graph(edgenet.clstm.LstmShape(input=32, cells=64))
        >>> len(edgenet.clstm.critical_path(work)) > 2
        True
    """
    priority = priorities(graph)
    path: list[Operator] = []
    following = [one.name for one in graph if not graph.before(one.name)]
    while following:
        path.append(graph.operators[max(following, key=lambda name: priority[name])])
        following = list(graph.after(path[-1].name))
    return path


def schedule(graph: OperatorGraph) -> list[Stage]:
    """Stages by list scheduling (C-LSTM, Wang et al. 2018, section 5): of the operators whose inputs are there, the one
    with the most work from it to the end (``priorities``) comes first, and opens a stage; others join it in the same
    order while they run on the same unit.

    Products and pointwise operators differ in work by two orders, so that in one stage the one would wait for the
    other: a stage has one kind of unit. Between stages stand buffers. A Google LSTM has three: the products of the
    gates; everything between; the projection. An LSTM without projection has the first two.

    Returns:
        Stages in order; every operator is in one.

    Example:
        >>> work = edgenet.clstm.lstm_graph(edgenet.clstm.LstmShape(input=32, cells=64, block=8))
        >>> [stage.unit for stage in edgenet.clstm.schedule(work)]
        ['circulant', 'pointwise']
    """
    priority = priorities(graph)
    waiting = list(graph.operators)
    done: set[str] = set()
    stages = []
    while waiting:
        unit, members = "", list[Operator]()
        while ready := [
            name
            for name in waiting
            if done.issuperset(graph.before(name)) and unit in ("", _unit(graph.operators[name]))
        ]:
            first = max(ready, key=lambda name: priority[name])  # of equal ones that which the graph has first
            unit = _unit(graph.operators[first])
            members.append(graph.operators[first])
            waiting.remove(first)
            done.add(first)
        stages.append(Stage(tuple(members), unit))
    return stages


def _unit(one: Operator) -> str:
    return "circulant" if one.kind == "circulant" else "pointwise"


@dataclass(frozen=True)
class Pipeline:
    """Stages with hardware: how often each has its unit, and how fast frames pass.

    Attributes:
        stages: of a schedule.
        replicas: R, how many units every stage has.
        cycles: T of every stage for one frame: its work over what its units do in a cycle, rounded up.
        frequency: cycles a second.

    Example:
        >>> shape = edgenet.clstm.LstmShape(input=32, cells=64, block=8)
        >>> stages = edgenet.clstm.schedule(edgenet.clstm.lstm_graph(shape))
        >>> len(edgenet.clstm.pipeline(stages, multipliers=2760).replicas) == len(stages)
        True
    """

    stages: tuple[Stage, ...]
    replicas: tuple[int, ...]
    cycles: tuple[int, ...]
    frequency: float

    @property
    def frames_a_second(self) -> float:
        """f / max T: the slowest stage sets the pace."""
        return self.frequency / max(self.cycles)

    @property
    def latency(self) -> float:
        """Seconds from a frame to its output: every stage waits for the slowest."""
        return len(self.stages) * max(self.cycles) / self.frequency

    def __str__(self) -> str:
        rows = [
            (k, stage.unit, len(stage.operators), f"{stage.work:,}", copies, f"{cycles:,}")
            for k, (stage, copies, cycles) in enumerate(
                zip(self.stages, self.replicas, self.cycles, strict=True), start=1
            )
        ]
        return plain_table(("stage", "unit", "operators", "multiply-adds", "replicas", "cycles"), rows)


def pipeline(
    stages: Sequence[Stage], multipliers: int, lanes: int = 1, frequency: float = 2e8, buffers: int = 0
) -> Pipeline:
    """The replication of every stage that lets the most frames pass (the analytical model of C-LSTM, section 5).

    A unit of ``lanes`` multipliers does so many multiply-adds a cycle. Every stage has one unit at least. Units are
    given to the slowest stage for as long as there are multipliers: nothing else can make the whole faster, so that the
    result is the best one. In software this tells where time goes, and is what the FPGA design of the paper rests on;
    no hardware was measured.

    Args:
        stages: of ``schedule``.
        multipliers: of the device.
        lanes: of a unit.
        frequency: cycles a second; 2e8 is the paper's.
        buffers: cycles that a stage takes beside its work, for the memory between it and the next.

    Raises:
        PlanError: if there are no stages, a number is out of range or not whole (all but the frequency), or multipliers
            do not go round.

    Example:
        >>> shape = edgenet.clstm.LstmShape(input=32, cells=64, block=8)
        >>> stages = edgenet.clstm.schedule(edgenet.clstm.lstm_graph(shape))
        >>> edgenet.clstm.pipeline(stages, multipliers=2760).frequency
        200000000.0
    """
    stages = tuple(stages)
    whole = all(is_whole(number) for number in (multipliers, lanes, buffers))
    if not stages or not whole or lanes < 1 or not 0 < frequency < math.inf or buffers < 0:
        raise PlanError(
            f"a pipeline wants stages, whole numbers of multipliers, lanes from 1 up, a frequency above 0 and buffers "
            f"from 0 up; got {len(stages)} stages, {multipliers}, {lanes}, {frequency} and {buffers}."
        )
    left = multipliers // lanes - len(stages)
    if left < 0:
        raise PlanError(
            f"{multipliers} multipliers make {multipliers // lanes} units of {lanes}, and {len(stages)} stages want "
            f"one each. Take {len(stages) * lanes} or more."
        )
    replicas, work = [1] * len(stages), [stage.work for stage in stages]

    def cycles(k: int) -> int:
        return buffers + -(-work[k] // (replicas[k] * lanes))

    for _ in range(left):
        slowest = max(range(len(stages)), key=cycles)
        if cycles(slowest) == buffers + 1:
            break
        replicas[slowest] += 1
    return Pipeline(stages, tuple(replicas), tuple(map(cycles, range(len(stages)))), frequency)
