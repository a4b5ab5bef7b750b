"""Costs are those of the matrices that multiply, and rates of a machine are found again."""

import pytest
import torch

from edgenet.clstm import LstmShape, Machine, Product, by_block, lstm_cost, lstm_graph, schedule
from edgenet.clstm.cost import HERE, PROBES, Rates, kind, measured
from edgenet.errors import PlanError, ShapeError
from edgenet.structured import BlockCirculant

GOOGLE = LstmShape(153, 1024, 512, peepholes=True)


@pytest.mark.parametrize("block", [1, 2, 3, 8, 16])
def test_a_product_counts_as_the_matrix_does(block):
    product, matrix = Product(24, 10, block, batch=3), BlockCirculant.from_dense(torch.randn(24, 10), block=block)
    assert product.parameters == matrix.num_parameters()
    if block > 1:
        assert product.multiply_adds == 3 * matrix.multiply_adds(1)
        spectra = matrix._spectra()
        assert product.bytes == 4 * (2 * spectra.numel() + 3 * 34)
    else:
        assert (product.multiply_adds, product.bytes) == (720, 4 * (240 + 102))
    p, q, k = matrix.generators.shape
    assert product.padding == pytest.approx(1 - 240 / (p * q * k * k))


def test_padding_is_nothing_where_blocks_divide_and_grows_to_a_third_for_153_columns_in_blocks_of_64():
    assert Product(1024, 512, 64).padding == 0
    assert Product(4096, 153, 64).padding == pytest.approx(1 - 153 / 192)
    assert by_block(GOOGLE, [8])[8].padding == pytest.approx(1 - 3_248_128 / (409_600 * 8))


def test_the_cost_of_a_step_is_that_of_its_products_and_pointwise_operators():
    shape = LstmShape(153, 1024, 512, peepholes=True, block=8)
    cost = lstm_cost(shape)
    assert cost.parameters == 409_600
    assert cost.multiply_adds == sum(stage.work for stage in schedule(lstm_graph(shape)))
    assert lstm_cost(shape, batch=5).multiply_adds == 5 * cost.multiply_adds
    products = [Product(4096, 153, 8), Product(4096, 512, 8), Product(512, 1024, 8)]
    assert cost.bytes == sum(one.bytes for one in products)
    assert cost.seconds == pytest.approx(sum(map(HERE.seconds, products)))


def test_larger_blocks_cost_fewer_multiply_adds_and_bytes_and_by_the_default_machine_less_time():
    costs = list(by_block(GOOGLE, [4, 8, 16]).values())
    for what in ("parameters", "multiply_adds", "bytes", "seconds"):
        values = [getattr(cost, what) for cost in costs]
        assert values == sorted(values, reverse=True)


def test_rates_that_made_the_times_are_found_again():
    truth = Machine(
        Rates(1e-6, 0.0, 0.0, 2e-11, 3e-11),
        Rates(3e-5, 0.0, 5e-11, 9e-11, 2e-11),
        Rates(6e-5, 7e-8, 3e-10, 4e-11, 2e-10),
    )
    found = Machine.of((product, truth.seconds(product)) for product in PROBES)
    for product in [Product(4096, 153, k, batch) for k in (1, 2, 8, 64) for batch in (1, 16)]:
        assert found.seconds(product) == pytest.approx(truth.seconds(product), rel=1e-6)
    assert min(found.many.call, found.many.byte, found.dense.byte) > 0


def test_no_rate_is_below_nothing():
    times = {product: 1e-4 / product.batch for product in PROBES}  # more work in less time
    found = Machine.of(times.items())
    for rates in (found.dense, found.few, found.many):
        assert min(rates.call, rates.transform, rates.in_transform, rates.in_product, rates.byte) >= 0


def test_few_rows_and_many_have_rates_of_their_own():
    assert [kind(Product(8, 8, k, batch)) for k, batch in ((1, 1), (1, 99), (2, 4), (2, 5))] == [
        "dense", "dense", "few", "many",
    ]  # fmt: skip
    with pytest.raises(PlanError, match="5 rates want as many products of the kind 'few', got 0"):
        Machine.of((product, 1.0) for product in PROBES if kind(product) != "few")
    with pytest.raises(ShapeError, match=r"a time above 0, got 0\.0"):
        Machine.of([(PROBES[0], 0.0)])


@pytest.mark.parametrize("product", [Product(64, 64, 1, 2), Product(64, 60, 8, 2)], ids=str)
def test_a_product_is_measured(product):
    assert 0 < measured(product, shortest=1e-4, rounds=1) < 0.1


@pytest.mark.parametrize("name", ["rows", "columns", "block", "batch"])
def test_sizes_of_a_product_are_whole_numbers_from_1(name):
    sizes = {"rows": 4, "columns": 4, "block": 2, "batch": 1}
    for wrong in (0, 1.5, True):
        with pytest.raises(ShapeError, match=f"{name} of a product"):
            Product(**{**sizes, name: wrong})
