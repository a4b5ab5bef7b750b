"""Tables whose rows lie on several processes: jobs.py says what each process does."""

import json

import pytest
import torch
from scale.processes import results

from edgenet import EdgeNetConv, scale
from edgenet.errors import BackendError, CheckpointError, ConfigError, PlanError

pytestmark = pytest.mark.float32
needs_torchrec = pytest.mark.skipif(
    not scale.available(), reason="TorchRec or fbgemm cannot be imported; `make scale` installs them"
)
CLOSE = {"rtol": 0, "atol": 2e-6}  # float32 sums of three processes come in another order, over 40 steps


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scale")


@pytest.fixture(scope="module")
def told(folder):
    """All jobs in one launch: TorchRec takes seconds to import."""
    jobs = [f"train:{world}:{kind}" for kind in ("sgd", "rowwise_adagrad") for world in (1, 2, 3)]
    jobs += ["resume:1:rowwise_adagrad/2", "resume:2:rowwise_adagrad/1", "resume:3:rowwise_adagrad/2"]
    jobs += ["look_ups:1", "look_ups:3", "too_few_rows:3", "damage:2:sgd", "load_damaged:2:sgd", "killed:3:sgd"]
    return results(folder, *jobs, torchrec=True)


def result(told, job, rank=0):
    assert "result" in told[job][rank], told[job][rank].get("trace")
    return told[job][rank]["result"]


@needs_torchrec
@pytest.mark.parametrize("kind", scale.ROW_OPTIMIZERS)
def test_one_two_and_three_processes_train_alike(told, folder, kind):
    one = result(told, f"train:1:{kind}")
    for world in (2, 3):
        many = result(told, f"train:{world}:{kind}")
        torch.testing.assert_close(torch.tensor(many["losses"]), torch.tensor(one["losses"]), **CLOSE)
        tables = [scale.read_table(folder / f"{kind}-{n}", "phi.edge_table") for n in (1, world)]
        torch.testing.assert_close(*tables, **CLOSE)
        states = [torch.load(folder / f"{kind}-{n}.pt", weights_only=True) for n in (1, world)]
        torch.testing.assert_close(*states, **CLOSE)
    assert one["losses"][-1] < one["losses"][0] - 0.5


@needs_torchrec
def test_each_process_holds_its_part_and_no_optimizer_holds_any(told):
    whole = result(told, "train:1:sgd")
    parts = [result(told, "train:3:sgd", rank) for rank in range(3)]
    assert sum(part["rows"] for part in parts) == whole["rows"] and max(p["rows"] for p in parts) < whole["rows"] / 2.9
    assert whole["parameters"] == parts[0]["parameters"] < whole["rows"]


@needs_torchrec
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (2, 3)])
def test_a_checkpoint_goes_on_with_another_number_of_processes(told, before, after):
    went_on = result(told, f"train:{before}:rowwise_adagrad")["after"]
    resumed = result(told, f"resume:{after}:rowwise_adagrad/{before}")["after"]
    torch.testing.assert_close(torch.tensor(resumed), torch.tensor(went_on), **CLOSE)


@needs_torchrec
@pytest.mark.parametrize("world", [1, 3])
def test_look_ups_and_steps_are_those_of_one_table_at_every_width(told, world):
    for rank in range(world):
        found = result(told, f"look_ups:{world}", rank)
        assert "out of bounds" in found.pop("outside")
        assert len(found) == 10 and max(found.values()) < 1e-6  # float32 numbers of size 1


@needs_torchrec
def test_a_flipped_byte_of_one_process_is_refused_by_all(told):
    first, second = told["load_damaged:2:sgd"]
    assert (first["error"], second["error"]) == ("CheckpointError", "CheckpointError")
    assert "another process" in first["text"] and "checksum" in second["text"]


@needs_torchrec
def test_processes_are_told_within_the_time_out_that_one_was_killed(told):
    first, killed, last = told["killed:3:sgd"]
    assert killed == {}
    for rank in (first, last):
        assert rank["error"] == "RuntimeError" and rank["seconds"] < 50


@needs_torchrec
def test_a_process_without_rows_is_refused(told):
    assert {rank["error"] for rank in told["too_few_rows:3"]} == {"ShapeError"}


@needs_torchrec
def test_sharded_tables_want_a_process_group():
    with pytest.raises(PlanError, match="init_process_group"):
        scale.Sharded((4, 2))


# ---------------------------------------------------------------- without TorchRec
@pytest.fixture(scope="module")
def replicated(folder):
    return results(folder, "train:1:torch", "train:2:torch", "resume:1:torch/2", "killed:2:torch")


def test_replicated_tables_train_alike_on_one_and_two_processes(replicated, folder):
    one, two = result(replicated, "train:1:torch"), result(replicated, "train:2:torch")
    torch.testing.assert_close(torch.tensor(two["losses"]), torch.tensor(one["losses"]), **CLOSE)
    tables = [scale.read_table(folder / f"torch-{n}", "phi.edge_table") for n in (1, 2)]
    torch.testing.assert_close(*tables, **CLOSE)
    resumed = result(replicated, "resume:1:torch/2")["after"]
    torch.testing.assert_close(torch.tensor(resumed), torch.tensor(two["after"]), **CLOSE)
    assert replicated["killed:2:torch"][0]["error"] == "RuntimeError"


def test_every_flipped_byte_of_a_checkpoint_is_refused(replicated, folder):
    checkpoint = folder / "torch-1"
    whole = scale.read_table(checkpoint, "phi.edge_table")
    for file in checkpoint.iterdir():
        data = file.read_bytes()
        for place in range(0, len(data), max(1, len(data) // 40)):
            file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            space = file.suffix == ".json" and json.loads(data) == _json(file.read_bytes())
            if not space:
                with pytest.raises(CheckpointError):
                    scale.read_table(checkpoint, "phi.edge_table")
        file.write_bytes(data)
    assert torch.equal(scale.read_table(checkpoint, "phi.edge_table"), whole)


def _json(data):
    try:
        return json.loads(data)
    except ValueError:
        return None


def test_a_checkpoint_that_lacks_a_file_or_the_table_is_refused(replicated, folder, tmp_path):
    with pytest.raises(CheckpointError, match=r"phi\.edge_table"):
        scale.read_table(folder / "torch-2", "other")
    with pytest.raises(CheckpointError, match="save_tables"):
        scale.read_table(tmp_path, "phi.edge_table")


def test_a_table_that_is_not_bound_is_refused():
    with pytest.raises(PlanError, match="bind first"):
        scale.shard_tables_(EdgeNetConv(5, 4, phi="edge_varying"), engine="torch")
    with pytest.raises(PlanError, match="no tables"):
        scale.shard_tables_(torch.nn.Linear(2, 2), engine="torch")


@pytest.mark.parametrize("name", ["adam", "Adam", "adamw"])
def test_adam_is_refused_by_name(name):
    with pytest.raises(ConfigError, match="two numbers"):
        scale.RowOptimizer(name)


def test_an_unknown_engine_is_refused():
    with pytest.raises(BackendError, match="torchrec or torch"):
        scale.shard_tables_(torch.nn.Linear(2, 2), engine="dgl")


@pytest.mark.skipif(scale.available(), reason="TorchRec is installed")
def test_the_error_says_how_torchrec_is_installed():
    layer = EdgeNetConv(5, 4, phi="edge_varying").bind(torch.tensor([[0], [1]]), num_nodes=2)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        with pytest.raises(BackendError, match="make scale"):
            scale.shard_tables_(layer)
    finally:
        torch.distributed.destroy_process_group()
