"""Costs of products in circulant blocks: multiply-adds, bytes, padding, and time on a machine."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from edgenet.clstm.operators import LstmShape, Operator, lstm_graph
from edgenet.errors import PlanError, ShapeError
from edgenet.structured import BlockCirculant, Dense
from edgenet.structured.given import is_whole

_FEW = 4  # rows of a batch up to which ``BlockCirculant`` transforms by products with matrices
_ITEM = 4  # bytes of a number in float32
_RATES = 5  # for every kind of product


@dataclass(frozen=True)
class Product:
    """A batch of rows times a matrix.

    Attributes:
        rows, columns: (m, n) of the matrix.
        block: of its circulant blocks; 1 is a dense matrix.
        batch: B, rows of the signal.

    Raises:
        ShapeError: if one of them is not a whole number from 1 up.

    Example:
        >>> edgenet.clstm.Product(rows=256, columns=64, block=8).block
        8
    """

    rows: int
    columns: int
    block: int
    batch: int = 1

    def __post_init__(self) -> None:
        for name in ("rows", "columns", "block", "batch"):
            value = getattr(self, name)
            if not is_whole(value) or value < 1:
                raise ShapeError(f"{name} of a product is a whole number from 1 up, got {value!r}.")

    @property
    def _blocks(self) -> tuple[int, int]:
        return -(-self.rows // self.block), -(-self.columns // self.block)

    @property
    def _frequencies(self) -> int:
        return self.block // 2 + 1

    @property
    def parameters(self) -> int:
        """Numbers that the matrix stores, those for its padding too."""
        p, q = self._blocks
        return p * q * self.block

    @property
    def padding(self) -> float:
        """The share of the padded matrix that lies outside of the matrix, in [0, 1)."""
        p, q = self._blocks
        return 1 - self.rows * self.columns / (p * q * self.block**2)

    @property
    def multiply_adds(self) -> int:
        """Of the whole batch: four for every product of two complex numbers, and 1.25 k log2 k for a transform; m n of
        a dense matrix."""
        one = Operator("", "circulant", ("",), self.rows, columns=self.columns, block=self.block)
        return self.batch * one.work

    @property
    def bytes(self) -> int:
        """What is read and written in float32: the matrix as it multiplies, which in blocks is its k // 2 + 1 complex
        spectra, and the signals before and after."""
        p, q = self._blocks
        matrix = self.rows * self.columns if self.block == 1 else 2 * self._frequencies * p * q
        return _ITEM * (matrix + self.batch * (self.rows + self.columns))

    def features(self) -> tuple[float, ...]:
        """What the time is a sum of: calls, transforms, their multiply-adds, those of products, bytes."""
        (p, q), f = self._blocks, self._frequencies
        if self.block == 1:
            return (1.0, 0.0, 0.0, float(self.multiply_adds), float(self.bytes))
        if self.batch <= _FEW:  # transforms are products with matrices there
            number, work = 0, 2 * f * self.block * (q + 2 * p)
        else:
            number, work = p + q, round(1.25 * self.block * math.log2(self.block) * (p + q))
        return (1.0, float(self.batch * number), float(self.batch * work), 4.0 * f * p * q * self.batch,
                float(self.bytes))  # fmt: skip


@dataclass(frozen=True)
class Rates:
    """Seconds of each feature of a product (``Product.features``)."""

    call: float
    transform: float
    in_transform: float
    in_product: float
    byte: float

    def seconds(self, product: Product) -> float:
        rates = (self.call, self.transform, self.in_transform, self.in_product, self.byte)
        return sum(rate * number for rate, number in zip(rates, product.features(), strict=True))


@dataclass(frozen=True)
class Machine:
    """How long products take, by what they consist of.

    The time of a product is taken to be a sum: so much for the call, for every transform, for every multiply-add of
    transforms and of products, and for every byte. Dense matrices, few rows and many rows run by different libraries,
    and have rates of their own.

    Attributes:
        dense: of matrices without blocks.
        few: of blocks, with 4 rows or fewer.
        many: of blocks, with more.

    Example:
        >>> machine = edgenet.clstm.Machine.__name__  # ``Machine.of`` fits one to products that were measured
    """

    dense: Rates
    few: Rates
    many: Rates

    def seconds(self, product: Product) -> float:
        """What a product is expected to take, in float32 and without gradients."""
        rates: Rates = getattr(self, kind(product))
        return rates.seconds(product)

    @classmethod
    def of(cls, measured: Iterable[tuple[Product, float]]) -> Machine:
        """The rates that come nearest to measured times: least squares of relative errors, rates from 0 up.

        Args:
            measured: products, and their seconds. Of each of the three kinds there are as many as rates, or more.

        Raises:
            PlanError: if there are too few of a kind.
            ShapeError: if a time is not above 0.
        """
        from scipy.optimize import nnls

        tables: dict[str, list[tuple[Product, float]]] = {"dense": [], "few": [], "many": []}
        for product, seconds in measured:
            if not 0 < seconds < math.inf:
                raise ShapeError(f"a product takes a time above 0, got {seconds} for {product}.")
            tables[kind(product)].append((product, seconds))
        rates = {}
        for name, rows in tables.items():
            if len(rows) < _RATES:
                raise PlanError(f"{_RATES} rates want as many products of the kind {name!r}, got {len(rows)}.")
            relative = np.array([[number / seconds for number in one.features()] for one, seconds in rows])
            scale = relative.max(0)  # bytes and calls differ by many orders
            scale[scale == 0] = 1.0
            rates[name] = Rates(*(nnls(relative / scale, np.ones(len(rows)))[0] / scale).tolist())
        return cls(**rates)


def kind(product: Product) -> str:
    """Which rates a product has: "dense", "few" or "many"."""
    return "dense" if product.block == 1 else "few" if product.batch <= _FEW else "many"


#: One thread of a server with AVX-512; ``Machine.of`` makes another
HERE = Machine(
    dense=Rates(2.3e-6, 0.0, 0.0, 1.9e-11, 2.9e-11),
    few=Rates(2.8e-5, 0.0, 8.2e-11, 8e-11, 5.2e-11),
    many=Rates(5.4e-5, 7.2e-8, 3.5e-10, 3.3e-12, 2.2e-10),
)


@torch.no_grad()
def measured(product: Product, shortest: float = 0.02, rounds: int = 5) -> float:
    """Seconds of a product in float32 on the threads of now: the least of several rounds, each of as many calls as take
    ``shortest`` seconds."""
    generator = torch.Generator().manual_seed(0)
    m, n, k = product.rows, product.columns, product.block
    draw = lambda *size: torch.randn(size, generator=generator, dtype=torch.float32)  # noqa: E731
    matrix = Dense(draw(m, n)) if k == 1 else BlockCirculant(draw(-(-m // k), -(-n // k), k), (m, n))
    matrix, x = matrix.eval(), draw(product.batch, n)
    matrix(x)
    start = time.process_time()
    matrix(x)
    calls = max(1, math.ceil(shortest / max(time.process_time() - start, 1e-6)))
    best = math.inf
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(calls):
            matrix(x)
        best = min(best, (time.process_time() - start) / calls)
    return best


@dataclass(frozen=True)
class Cost:
    """What one step of an LSTM takes, for a batch.

    Attributes:
        parameters: numbers that its matrices store.
        multiply_adds: of all operators; transforms that products share count once.
        bytes: that products read and write.
        padding: the share of stored matrices that is padding.
        seconds: that the products are expected to take.

    Example:
        >>> edgenet.clstm.lstm_cost(edgenet.clstm.LstmShape(input=32, cells=64, block=8)).parameters
        3072
    """

    parameters: int
    multiply_adds: int
    bytes: int
    padding: float
    seconds: float


def lstm_cost(shape: LstmShape, batch: int = 1, machine: Machine = HERE) -> Cost:
    """The cost of one step, with the four gates of a map as one product.

    Example:
        >>> edgenet.clstm.lstm_cost(edgenet.clstm.LstmShape(input=32, cells=64), batch=4).padding
        0.0
    """
    products = [Product(*size, shape.block_of(name), batch) for name, size in shape.matrices.items()]
    pointwise = sum(one.work for one in lstm_graph(shape) if one.kind != "circulant")
    stored = sum(one.parameters * one.block for one in products)
    return Cost(
        parameters=sum(one.parameters for one in products),
        multiply_adds=sum(one.multiply_adds for one in products) + batch * pointwise,
        bytes=sum(one.bytes for one in products),
        padding=1 - sum(one.rows * one.columns for one in products) / stored,
        seconds=sum(map(machine.seconds, products)),
    )


#: Products whose times tell the rates of a machine: of sizes other than those of the Google LSTM. 7 s of
#: processor time.
PROBES = tuple(
    Product(rows, columns, block, batch)
    for rows, columns in ((512, 96), (1024, 256), (768, 1024), (3072, 128), (2048, 512), (4096, 320))
    for block in (1, 2, 4, 8, 16, 32, 64)
    for batch in (1, 4, 16, 64)
)


def by_block(shape: LstmShape, blocks: Sequence[int], batch: int = 1, machine: Machine = HERE) -> dict[int, Cost]:
    """The cost at every block size, the same in all matrices.

    Example:
        >>> costs = edgenet.clstm.by_block(edgenet.clstm.LstmShape(input=32, cells=64), [1, 8])
        >>> costs[1].parameters > 4 * costs[8].parameters
        True
    """
    return {block: lstm_cost(replace(shape, block=block), batch, machine) for block in blocks}
