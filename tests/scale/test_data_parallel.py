"""Trainings whose batches several processes share: fit_jobs.py says what each does."""

import pytest
import torch
from scale.processes import results

from edgenet.errors import ConfigError
from edgenet.train import data_parallel

pytestmark = pytest.mark.float32
CLOSE = {"rtol": 0, "atol": 2e-6}  # float32 sums of parts come in another order


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parallel")
    jobs = [f"in_one_go:{world}" for world in (1, 2, 3)] + ["graphs:1", "graphs:3", "command:1", "command:2"]
    jobs += [f"interrupted:{a}:{a}to{b}" for a, b in ((2, 1), (1, 2), (2, 3))]
    jobs += [f"gone_on:{b}:{a}to{b}" for a, b in ((2, 1), (1, 2), (2, 3))]
    return results(folder, *jobs, "a_loader:2", "unbound:2")


def result(told, job, rank=0):
    assert "result" in told[job][rank], told[job][rank].get("trace")
    return told[job][rank]["result"]


def same(some, others):
    assert len(some) == len(others) > 0
    for one, other in zip(some, others, strict=True):
        one, other = ({k: v for k, v in line.items() if k != "seconds"} for line in (one, other))
        assert one.keys() == other.keys()
        torch.testing.assert_close(torch.tensor(list(one.values())), torch.tensor(list(other.values())), **CLOSE)


@pytest.mark.parametrize("world", [2, 3])
def test_processes_that_share_a_graph_train_as_one(told, world):
    one = result(told, "in_one_go:1")
    for rank in range(world):
        same(result(told, f"in_one_go:{world}", rank)["history"], one["history"])
    assert result(told, f"in_one_go:{world}")["files"] == one["files"]
    assert "log.csv" in one["files"] or any(name.endswith(".csv") for name in one["files"])


def test_rows_are_shared_also_where_a_batch_has_fewer_than_there_are_processes(told):
    same(result(told, "graphs:3")["history"], result(told, "graphs:1")["history"])


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (2, 3)])
def test_a_run_goes_on_with_another_number_of_processes(told, before, after):
    name = f"{before}to{after}"
    assert result(told, f"interrupted:{before}:{name}") == {"stopped": True}
    same(result(told, f"gone_on:{after}:{name}")["history"], result(told, "in_one_go:1")["history"])


def test_the_command_trains_on_several_processes_and_writes_one_run(told):
    one, two = (result(told, f"command:{world}") for world in (1, 2))
    assert one["code"] == two["code"] == result(told, "command:2", 1)["code"] == 0
    same(two["records"], one["records"])


def test_a_table_that_is_not_bound_is_refused(told):
    for rank in told["unbound:2"]:
        assert (rank["error"], "bind first" in rank["text"]) == ("PlanError", True), rank


def test_batches_of_loaders_are_refused(told):
    for rank in told["a_loader:2"]:
        assert (rank["error"], "not split" in rank["text"]) == ("ConfigError", True), rank


def test_without_other_processes_there_is_nothing_to_share(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ConfigError, match=r"torch\.distributed\.run"), data_parallel():
        pass
