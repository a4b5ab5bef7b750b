"""Dense: a plain weight, which may learn its size from the first signal or from a checkpoint."""

import copy
import json

import pytest
import torch

from edgenet.errors import ShapeError
from edgenet.structured import Dense


def test_dense_by_hand():
    weight = Dense(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    assert weight(torch.tensor([1.0, 10.0])).tolist() == [21.0, 43.0, 65.0]
    assert weight.rows(torch.tensor([2])).tolist() == [[5.0, 6.0]]
    assert (weight.num_parameters(), weight.bits()) == (6, 6 * 64)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4)])
def test_what_is_no_matrix_is_refused(shape):
    with pytest.raises(ShapeError, match=r"two axes"):
        Dense(torch.zeros(shape))


def test_a_declared_size_is_made_at_once_with_glorots_bound():
    weight = Dense.lazy(30, 20)
    assert not weight.is_lazy and weight.shape == (30, 20)
    bound = (6 / 50) ** 0.5
    assert 0.95 * bound < weight.to_dense().abs().max() <= bound


def test_an_unknown_width_is_read_off_the_first_signal():
    weight = Dense.lazy(4, -1)
    assert weight.is_lazy and weight.shape == (4, -1) and weight.num_parameters() == 0
    assert weight(torch.randn(5, 3)).shape == (5, 4)
    assert not weight.is_lazy and weight.shape == (4, 3)


def test_both_sizes_may_come_later():
    weight = Dense.lazy(-1, -1)
    weight.materialise(4, 3)
    assert weight.shape == (4, 3) and weight.to_dense().isfinite().all()


@pytest.mark.parametrize("declared, axis", [((5, -1), 0), ((-1, 2), 1)])
def test_a_size_other_than_the_declared_one_is_refused_with_both(declared, axis):
    with pytest.raises(ShapeError) as error:
        Dense.lazy(*declared).materialise(4, 3)
    assert f"axis {axis}" in str(error.value)
    assert str(declared[axis]) in str(error.value) and str((4, 3)[axis]) in str(error.value)


def test_an_optimizer_made_before_the_size_is_known_trains_the_weight():
    weight = Dense.lazy(4, -1)
    optimizer = torch.optim.Adam(weight.parameters(), lr=0.1)
    weight(torch.ones(2, 3)).sum().backward()
    before = weight.to_dense().detach().clone()
    optimizer.step()
    assert (weight.to_dense() < before).all()


def test_the_dtype_set_before_the_size_is_known_holds():
    weight = Dense.lazy(4, -1).float()
    assert weight(torch.ones(2, 3, dtype=torch.float32)).dtype == torch.float32


def test_a_matrix_without_a_size_is_reset_and_copied_without_one():
    weight = Dense.lazy(4, -1)
    weight.reset_parameters()
    twin = copy.deepcopy(weight)
    assert twin.is_lazy and twin.shape == (4, -1)
    twin.materialise(4, 3)
    assert weight.is_lazy


def test_a_checkpoint_gives_a_matrix_its_size():
    stored = Dense(torch.randn(4, 3))
    for lazy in (Dense.lazy(-1, -1), Dense.lazy(4, -1), Dense.lazy(-1, 3)):
        lazy.load_state_dict(stored.state_dict())
        assert torch.equal(lazy.to_dense(), stored.to_dense())


def test_a_checkpoint_of_another_size_than_declared_is_refused_and_nothing_is_made():
    lazy = Dense.lazy(5, -1)
    with pytest.raises(RuntimeError, match=r"weight.*\(4, 3\).*\(5, -1\)"):
        lazy.load_state_dict(Dense(torch.randn(4, 3)).state_dict())
    assert lazy.is_lazy


def test_a_matrix_without_a_size_is_marked_in_its_checkpoint():
    state = Dense.lazy(4, -1).state_dict()
    assert state["weight"].shape == (0, 0)
    other = Dense.lazy(4, -1)
    other.load_state_dict(state)
    assert other.is_lazy
    with pytest.raises(RuntimeError, match="size mismatch"):
        Dense(torch.zeros(4, 3)).load_state_dict(state)
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict({})


def test_the_config_of_a_matrix_without_a_size_rebuilds_it():
    twin = Dense.from_config(json.loads(json.dumps(Dense.lazy(4, -1).config())))
    assert twin.is_lazy and twin.shape == (4, -1)
