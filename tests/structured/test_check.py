"""Families of users: what they need, what is refused, and that they then go everywhere."""

import copy
import math

import pytest
import torch
from cases import STRUCTURE_CASES
from torch import nn
from torch.nn.utils import parametrize

from edgenet.compress import Budget, Plan, compress_, search
from edgenet.errors import PlanError
from edgenet.structured import STRUCTURES, Dense, Doped, LowRank, StructuredMatrix, family, name_of
from edgenet.structured.read import read, read_rows
from edgenet.testing.structure import check_family


class Scaled(StructuredMatrix):
    """One number times the matrix of ones: a family of one size."""

    def __init__(self, shape, scale):
        super().__init__()
        self._shape, self.scale = tuple(shape), nn.Parameter(scale.detach().clone())

    @property
    def shape(self):
        return self._shape

    def matmul(self, x):
        return self.scale * x.sum(-1, keepdim=True).expand(*x.shape[:-1], self.shape[0])

    def to_dense(self):
        return self.scale.expand(self.shape)

    @classmethod
    def from_dense(cls, weight):
        return cls(weight.shape, weight.mean())

    def draw_(self, std):
        self.scale.fill_(std)


@pytest.fixture
def registered():
    """Puts families under names until the test ends."""
    before = dict(STRUCTURES)

    def put(name, cls):
        check_family(name, cls)
        STRUCTURES[name] = cls

    yield put
    STRUCTURES.clear()
    STRUCTURES.update(before)


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_family_of_ours_passes_and_so_does_a_subclass(name):
    check_family(name, STRUCTURES[name])
    check_family("mine", type("Mine", (STRUCTURES[name],), {}))


def test_checking_draws_no_random_numbers_of_the_user():
    before = torch.random.get_rng_state()
    check_family("scaled", Scaled)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("case", STRUCTURE_CASES, ids=str)
def test_a_subclass_registered_under_its_own_name_has_that_name(case, registered):
    matrix = case.build()
    mine = type("Mine", (type(matrix),), {})
    with pytest.raises(PlanError, match="Mine is no family of structured matrices"):
        matrix.__class__ = mine
        name_of(matrix)
    STRUCTURES["mine"] = mine
    try:
        assert name_of(matrix) == "mine" and family("mine") is mine
        twin = mine.from_config(matrix.config())
        assert type(twin) is mine and name_of(twin) == "mine"
        twin.load_state_dict(matrix.state_dict())
        torch.testing.assert_close(read(twin), matrix.to_dense())
    finally:
        del STRUCTURES["mine"]


@pytest.mark.parametrize("case", STRUCTURE_CASES, ids=str)
def test_what_has_no_name_says_what_to_do(case):
    matrix = case.build()
    owner, name = next((m, n) for m in matrix.modules() for n, p in m._parameters.items() if p.numel())
    assert name_of(matrix) == case.name.split()[0]
    if owner is matrix and name not in dir(nn.ModuleDict):
        parametrize.register_parametrization(matrix, name, nn.Identity())  # for which torch makes a class of its own
        assert name_of(matrix) == case.name.split()[0]
    with pytest.raises(PlanError, match=r"torch\.nn\.modules\.linear\.Linear is no family"):
        name_of(nn.Linear(2, 2))


def test_a_subclass_inside_another_matrix_is_found_by_name(registered):
    mine = type("Mine", (LowRank,), {})
    registered("mine", mine)
    doped = Doped.from_dense(torch.randn(8, 6), base={"structure": "mine", "rank": 2}, density=0.1)
    assert type(doped.base) is mine and doped.config()["base"] == {"structure": "mine", "rank": 2}
    assert type(Doped.from_config(doped.config()).base) is mine


@pytest.mark.parametrize(
    ("name", "cls", "says"),
    [
        ("low_rank", Scaled, "taken by LowRank"),
        ("keep", Scaled, "no word that a plan can use"),
        ("my family", Scaled, "no word that a plan can use"),
        (3, Scaled, "no word that a plan can use"),
        ("mine", nn.Linear, "no subclass of StructuredMatrix"),
        ("mine", Scaled.from_dense, "no subclass of StructuredMatrix"),
        ("mine", type("Half", (StructuredMatrix,), {"matmul": 1}), "lacks draw_, from_dense, shape, to_dense"),
        ("mine", type("Bad", (Scaled,), {"ladder": classmethod(lambda cls, shape: [{"rank": 2}])}), "raises TypeError"),
        ("mine", type("Bad", (Scaled,), {"ladder": classmethod(lambda cls, shape: None)}), "no list of options"),
        ("mine", type("Bad", (Scaled,), {"config": lambda self: {"shape": {1}}}), "not JSON-able"),
        ("mine", type("Bad", (Scaled,), {"matmul": lambda self, x: 2 * Scaled.matmul(self, x)}), "matmul"),
        ("mine", type("Bad", (Scaled,), {"rows": lambda self, index: 0 * self.to_dense()[index]}), "rows"),
        ("mine", type("Bad", (Scaled,), {"pack": lambda self: Dense(0 * self.to_dense())}), "pack"),
        ("mine", type("Bad", (Scaled,), {"from_dense": classmethod(lambda cls, w: Dense(w))}), "makes a Dense"),
    ],
)
def test_what_cannot_be_a_family_is_refused_with_what_is_missing(name, cls, says):
    before = dict(STRUCTURES)
    with pytest.raises(PlanError, match=says):
        check_family(name, cls)
    assert before == STRUCTURES


def test_all_that_is_missing_is_told_at_once():
    with pytest.raises(PlanError, match=r"taken by Dense.*lacks draw_"):
        check_family("dense", StructuredMatrix)


def test_a_family_of_one_size_goes_everywhere(registered):
    registered("scaled", Scaled)
    assert Scaled.ladder((8, 6)) == [{}] and all(not STRUCTURES["dense"].ladder(shape) for shape in ((1, 1), (8, 8)))
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    data = torch.randn(20, 8)
    planned = copy.deepcopy(model)
    compress_(planned, {"0": "scaled"})
    assert type(planned[0].weight) is Scaled and planned[0].weight.num_parameters() == 1
    torch.testing.assert_close(planned[0].weight(data), data @ planned[0].weight.to_dense().mT)
    torch.testing.assert_close(read_rows(planned[0].weight, torch.tensor([1])), planned[0].weight.to_dense()[1:2])
    assert "scaled" in str(compress_(copy.deepcopy(model), {"0": "scaled"}))
    assert Plan.of({"0": "scaled"}).to_toml().count("scaled") == 1
    assert math.prod(Scaled.random((3, 2)).pack().shape) == 6
    found = search(model, budget=Budget(ratio=1.5), families=("scaled",), progress=False)
    assert "scaled" in str(found.plan)
