"""Perturb: other inputs at half of the steps, of the form that the data have."""

import pytest
import torch
from torch import nn
from torch_geometric.data import Data, HeteroData

from edgenet.compress.perturb import Perturb
from edgenet.errors import PlanError, ShapeError
from edgenet.structured import SparseSignal
from edgenet.train.batches import Batch
from edgenet.train.calling import call_model

EDGES = torch.tensor([[0, 1], [1, 0]])


def test_features_of_nodes_are_dropped_and_the_rest_made_larger():
    batch = Batch(Data(x=torch.ones(200, 10), edge_index=EDGES), torch.zeros(200))
    x = Perturb(0.75, share=1)(batch).x
    assert set(x.unique().tolist()) == {0.0, 4.0} and abs((x > 0).double().mean() - 0.25) < 0.05
    assert torch.equal(batch.x, torch.ones(200, 10))


def test_sparse_features_stay_sparse_and_the_teacher_reads_the_same_ones():
    words = (torch.rand(300, 50) < 0.02).double()
    batch = Batch(Data(x=words, edge_index=EDGES), torch.zeros(300), kept={"every step": True})
    other = Perturb(0.5, share=1)(batch)
    assert isinstance(other.x, SparseSignal) and other.thin() is other.x and other.x.graph is batch.kept["signal"].graph
    dense = other.x.to_dense()
    assert set(dense.unique().tolist()) == {0.0, 2.0} and bool((words[dense > 0] == 1).all())


def test_half_of_the_steps_see_the_data_as_they_are():
    batch, random = Batch(Data(x=torch.ones(5, 3), edge_index=EDGES), torch.zeros(5)), torch.Generator().manual_seed(0)
    same = [Perturb(0.5)(batch, random) is batch for _ in range(400)]
    assert 160 < sum(same) < 240
    assert Perturb(None, share=1)(batch) is batch and Perturb(0.5, share=0)(batch) is batch


def test_inputs_without_a_perturbation_of_their_own_take_a_function():
    images, words = torch.ones(4, 3, 8, 8), torch.randint(9, (4, 7))
    for one in (images, words, words.double().unsqueeze(-1)):
        batch = Batch((one,), torch.zeros(4))
        assert Perturb(0.7, share=1)(batch) is batch
    flipped = Perturb(lambda x: x.flip(-1) + 1, share=1)
    assert torch.equal(flipped(Batch((images, words), torch.zeros(4))).whole[0], images + 1)
    one = (torch.ones(3, 2), torch.zeros(3))
    other = flipped(one)
    assert type(other) is tuple and torch.equal(other[0], one[0] + 1) and other[1] is one[1]


@pytest.mark.parametrize("how", [1.0, -0.1, "words", True])
def test_what_is_no_perturbation_is_refused(how):
    with pytest.raises(PlanError, match="a probability from 0 to below 1"):
        Perturb(how)


def test_shares_and_batches_that_are_none_are_refused():
    with pytest.raises(PlanError, match="the share of steps"):
        Perturb(0.5, share=2)
    with pytest.raises(ShapeError, match=r"is a tuple or has changed\(\), got int"):
        Perturb(0.5, share=1)(3)


def test_a_model_of_the_whole_data_reads_the_other_input_too():
    class Whole(nn.Module):
        def forward(self, data):
            return data.x, data.edge_index

    batch = Batch(Data(x=torch.ones(200, 10), edge_index=EDGES), torch.zeros(200), kept={"every step": True})
    x, edges = call_model(Whole(), Perturb(0.75, share=1)(batch))
    assert set(x.unique().tolist()) == {0.0, 4.0} and edges is EDGES
    assert torch.equal(call_model(Whole(), batch)[0], torch.ones(200, 10))


def test_a_graph_of_several_kinds_may_have_another_input():
    class Kinds(nn.Module):
        def forward(self, x_dict):
            return x_dict

    class Whole(nn.Module):
        def forward(self, data):
            return data.x_dict

    data = HeteroData({"a": {"x": torch.ones(3, 2)}, "b": {"x": torch.ones(4, 1)}})
    batch = Batch(data, torch.zeros(3))
    other = batch.changed(lambda x: {kind: 2 * one for kind, one in x.items()})
    for model in (Kinds(), Whole()):
        assert {kind: one.unique().item() for kind, one in call_model(model, other).items()} == {"a": 2.0, "b": 2.0}
        assert call_model(model, batch)["a"].unique().item() == 1.0
