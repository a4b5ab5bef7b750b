"""Tables in files."""

import pytest
import torch
from safetensors.torch import load_file
from scale.jobs import graph, layer
from torch.nn import functional as F

from edgenet import scale
from edgenet.errors import CheckpointError, PlanError, ShapeError

pytestmark = pytest.mark.float32


@pytest.mark.parametrize("name", scale.ROW_OPTIMIZERS)
def test_steps_are_those_of_torch_on_a_dense_table(tmp_path, name):
    start = torch.randn(7, 3)
    table = scale.Mapped((7, 3), tmp_path / "t.safetensors", scale.RowOptimizer(name, 0.1, 1e-3), start)
    dense, state = start.clone().requires_grad_(), torch.zeros(7)
    for _ in range(3):
        index, gradient = torch.randint(-7, 7, (12,)), torch.randn(12, 3)
        (table.rows(index) * gradient).sum().backward()
        (dense[index] * gradient).sum().backward()
        with torch.no_grad():
            step = dense.grad
            if name == "rowwise_adagrad":
                state += step.square().mean(1)
                step = step / (state.sqrt() + 1e-3)[:, None]
            dense -= 0.1 * step
        dense.grad = None
    torch.testing.assert_close(table.held().weight, dense.detach())


def test_a_layer_trains_as_with_a_dense_table_and_goes_on_from_the_file(tmp_path):
    edges, x, y = graph()
    dense, mapped = layer(2), layer(2)
    assert scale.map_tables_(mapped, tmp_path, scale.RowOptimizer("sgd", lr=0.1)) == ["phi.edge_table"]

    def losses(net, steps):
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        found = []
        for _ in range(steps):
            loss = F.cross_entropy(net(x, edges), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return torch.tensor(found)

    expected = losses(dense, 6)
    torch.testing.assert_close(losses(mapped, 4), expected[:4])
    mapped.phi.edge_table.flush()
    again = layer(2)
    again.load_state_dict(dense.state_dict())  # the table comes from the file, not from here
    scale.map_tables_(again, tmp_path, scale.RowOptimizer("sgd", lr=0.1))
    again.load_state_dict(scale.dense_state(mapped))
    torch.testing.assert_close(losses(again, 2), expected[4:])
    stored = load_file(tmp_path / "phi.edge_table.safetensors")["weight"]
    torch.testing.assert_close(stored, dense.phi.edge_table.to_dense().detach())


def test_without_gradients_nothing_is_trained(tmp_path):
    table = scale.Mapped((4, 2), tmp_path / "t.safetensors", start=torch.randn(4, 2))
    with torch.no_grad():
        assert not table.rows(torch.tensor([1])).requires_grad


def test_a_file_of_another_table_is_refused(tmp_path):
    path, sgd = tmp_path / "t.safetensors", scale.RowOptimizer("sgd")
    scale.Mapped((4, 2), path, sgd)
    with pytest.raises(CheckpointError, match="no table of 5 rows"):
        scale.Mapped((5, 2), path, sgd)
    with pytest.raises(CheckpointError, match="not trained by rowwise_adagrad"):
        scale.Mapped((4, 2), path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError):
        scale.Mapped((4, 2), path, sgd)


def test_rows_that_are_not_there_are_refused(tmp_path):
    table = scale.Mapped((4, 2), tmp_path / "t.safetensors")
    for index in (4, -5):
        with pytest.raises(IndexError):
            table.rows(torch.tensor([index]))


def test_what_wants_all_rows_is_refused(tmp_path):
    table = scale.Mapped((4, 2), tmp_path / "t.safetensors")
    for call in (table.to_dense, table.state_dict, lambda: table(torch.ones(1, 2)), lambda: table.draw_(1.0)):
        with pytest.raises(PlanError, match="save_tables"):
            call()
    with pytest.raises(ShapeError, match="rows 0 to 3"):
        table.fill_(torch.zeros(3, 2))


def test_checkpoints_of_files_are_read_by_replicated_tables(tmp_path):
    mapped, other = layer(2), layer(2, seed=3)
    scale.map_tables_(mapped, tmp_path / "mapped")
    scale.save_tables(mapped, tmp_path / "saved")
    scale.save_tables(mapped, tmp_path / "saved")  # over the first
    scale.shard_tables_(other, engine="torch")
    scale.load_tables(other, tmp_path / "saved")
    assert torch.equal(other.phi.edge_table.to_dense(), mapped.phi.edge_table.held().weight)
    assert len(list((tmp_path / "saved").glob("rows-*"))) == 1
