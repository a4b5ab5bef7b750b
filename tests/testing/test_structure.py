"""check_structure finds what is wrong with a family, and finds nothing where nothing is."""

import pytest
import torch
from torch import nn

from edgenet.errors import ConfigError, ContractError, PlanError
from edgenet.structured import Dense
from edgenet.testing import check_structure
from edgenet.testing.structure import CHECKS

from testing.parts import Diagonal  # isort: skip

GROUPS = list(dict.fromkeys(name.partition(",")[0] for name in CHECKS.checks))


def family(base=Diagonal, **methods):
    return type("Broken", (base,), methods)


class Detached(Diagonal):
    """Its products know nothing of its parameters."""

    def matmul(self, x):
        return super().matmul(x).detach() + 0 * x.sum()


class Stale(Diagonal):
    """Keeps its numbers for inference, and never looks again."""

    def matmul(self, x):
        if self.training:
            return super().matmul(x)
        if not hasattr(self, "seen"):
            self.seen = self.to_dense().detach().clone()
        return x @ self.seen.mT


class Twofold(Diagonal):
    """Gives twice the numbers of a weight, and of a member."""

    @classmethod
    def from_dense(cls, weight):
        return super().from_dense(2 * weight)


class Unchecked(Diagonal):
    @classmethod
    def from_dense(cls, weight):
        return cls(*weight.shape, torch.diagonal(torch.as_tensor(weight).detach()))


class Tied(Diagonal):
    """Holds on to the weight."""

    def __init__(self, height, width, numbers):
        super().__init__(height, width, numbers)
        self.numbers = nn.Parameter(numbers.detach())


class Whole(Dense):
    """Its dense form is the weight itself."""

    @classmethod
    def from_dense(cls, weight):
        matrix = super().from_dense(weight)
        matrix.weight.data = weight.detach()
        return matrix

    @classmethod
    def ladder(cls, shape):
        return [{}]


class Shared(Diagonal):
    """Has its numbers twice, in one place."""

    def __init__(self, height, width, numbers):
        super().__init__(height, width, numbers)
        self.register_buffer("again", self.numbers.data)


class Turned(Diagonal):
    def __init__(self, height, width, numbers):
        super().__init__(height, width, numbers)
        self.register_buffer("spare", torch.zeros(2, 3).t())


def strided_only(self, x):
    return Diagonal.matmul(self, x.view(x.shape[0], -1) if x.dim() == 2 and x.stride(-1) == 1 else 2 * x)


def in_single(self, x):
    return Diagonal.matmul(self, x.double()).to(torch.float64)


def draws(self, x):
    torch.rand(())
    return Diagonal.matmul(self, x)


def by_number(self, x):
    return Diagonal.matmul(self, x) * (1.0 if float(x.abs().sum()) >= 0 else 2.0)


def reset_to_others(self, dense=None):
    self.numbers = nn.Parameter(torch.randn_like(self.numbers))


def made_elsewhere(cls, config):
    return cls(*config["shape"], torch.zeros(min(config["shape"]), device="cpu"))


def widen(self, rows=None, columns=None):
    self.numbers = nn.Parameter(2 * self.numbers.detach())


#: what breaks each check, and a few words of what is then said
BROKEN = {
    "shape": (family(shape=property(lambda self: (self.height, self.width + 1))), "was asked for"),
    "matmul": (family(matmul=lambda self, x: 2 * Diagonal.matmul(self, x)), "is not x @ to_dense"),
    "strided signals": (family(matmul=strided_only), "strided"),
    "other widths": (
        family(matmul=lambda self, x: x @ nn.functional.pad(self.to_dense(), (0, x.shape[-1] - self.width)).mT),
        "is taken for one of",
    ),
    "gradients": (Detached, "appears to not have been used|is not that of"),
    "inference": (Stale, "after its parameters have changed"),
    "no trace": (family(matmul=draws), "draws random numbers"),
    "multiply-adds": (family(multiply_adds=lambda self, batch=1: -batch), r"are \[-1, -8, -64\]"),
    "dtype": (family(matmul=in_single), "float64"),
    "compile": (family(matmul=by_number), "raises"),
    "export": (family(matmul=by_number), "raises"),
    "meta signals": (family(matmul=by_number), "raises"),
    "optimizer step": (Detached, "before a step|does not require grad|no grad"),
    "linear layer": (family(forward=lambda self, x: 2 * self.matmul(x)), "the layer is not"),
    "exact": (Diagonal, "full rank is not the weight"),
    "no weight": (Unchecked, "no matrix of finite numbers|raises"),
    "no entries": (Unchecked, "without entries"),
    "ends of a dtype": (
        family(from_dense=classmethod(lambda cls, w: Diagonal.from_dense.__func__(cls, w.double() * w.double()))),
        "it is of|is off by",
    ),
    "projection": (Twofold, "is another member"),
    "nearest": (family(from_dense=classmethod(lambda cls, w: cls(*w.shape, torch.ones(min(w.shape))))), "is off by"),
    "projection without gradient": (Whole, "shares memory"),
    "no hold on the weight": (Tied, "changes with the weight"),
    "reset": (family(reset_parameters=reset_to_others), "other parameters"),
    "variance": (family(draw_=lambda self, std: self.numbers.normal_()), "have one of"),
    "reset to a weight": (family(reset_parameters=lambda self, dense=None: None), "is not from_dense"),
    "ladder": (family(ladder=classmethod(lambda cls, shape: [{}] * 13)), "has 13 options"),
    "config and tensors": (family(config=lambda self: {"shape": [1 + n for n in self.shape]}), "size mismatch|another"),
    "made on the meta device": (family(from_config=classmethod(made_elsewhere)), "elsewhere"),
    "deep copy": (family(__deepcopy__=lambda self, memo: self), "changes with its deep copy"),
    "bits": (family(bits=lambda self: 32 * self.num_parameters()), "its packed tensors take"),
    "pack": (family(pack=lambda self: Dense(2 * self.to_dense())), "is another matrix"),
    "count of parameters": (family(num_parameters=lambda self: self.height * self.width), "its parameters have"),
    "repr": (family(extra_repr=lambda self: ""), "the shape is not in"),
    "state of another shape": (family(load_state_dict=lambda self, state, **options: None), "is taken"),
    "memory": (Turned, "are not contiguous"),
    "safetensors and quasi-newton": (Shared, "share memory"),
    "one size": (family(materialise=lambda self, rows, columns: None), "takes another size"),
    "rows": (family(rows=lambda self, index: 0 * self.to_dense()[index]), r"rows\(index\) is not"),
    "missing rows": (family(rows=lambda self, index: self.to_dense()[index % self.height]), "is read"),
    "keep": (family(keep_=widen), "after keep_"),
    "keep what is not there": (family(keep_=lambda self, rows=None, columns=None: None), "is kept"),
    "mix first": (family(mix_first=lambda self, blocks: (2 * self.to_dense(), None)), "mix_first is not"),
}  # fmt: skip


def test_every_check_has_something_that_it_finds():
    assert list(BROKEN) == GROUPS


@pytest.mark.parametrize("check", GROUPS)
def test_a_fault_is_found_by_its_check_and_told(check):
    kind, says = BROKEN[check]
    with pytest.raises(ContractError, match=says) as told:
        check_structure(kind, only=check, full={} if check == "exact" else None)
    assert kind.__name__ in str(told.value) and f"check '{check}" in str(told.value)


def test_a_family_of_a_users_own_keeps_its_contract():
    check_structure(Diagonal, skip=("compile", "export"))
    check_structure(Diagonal, shapes=[(3, 5)], only=("compile", "export"))


def test_all_that_fails_is_told_at_once():
    with pytest.raises(
        AssertionError, match=r"2 checks fail\.\nBroken-5x3.*'bits'.*\nBroken-5x3.*'count of parameters'"
    ):
        check_structure(
            family(bits=lambda self: 1, num_parameters=lambda self: 1), shapes=[(5, 3)], skip=("compile", "export")
        )


def test_a_ladder_that_is_none_and_a_family_that_fits_nowhere_are_told():
    with pytest.raises(ContractError, match="no list of options"):
        check_structure(family(ladder=classmethod(lambda cls, shape: None)))
    with pytest.raises(ContractError, match="fits none of the shapes"):
        check_structure(family(ladder=classmethod(lambda cls, shape: [])))


def test_a_check_that_there_is_not_is_refused_with_near_names():
    with pytest.raises(ConfigError, match=r"no check is called 'row'.*rows"):
        check_structure(Diagonal, skip="row")
    for nothing in ({"only": []}, {"only": "rows", "skip": "rows"}):
        with pytest.raises(ConfigError, match="no check is left to run"):
            check_structure(Diagonal, **nothing)
    assert CHECKS.chosen(only="dtype") == [f"dtype, {kind}" for kind in ("float32", "float64", "bfloat16", "float16")]
    assert CHECKS.chosen(only=("rows", "dtype, float16"), skip="rows") == ["dtype, float16"]


@pytest.mark.parametrize("part", [5, nn.Linear, Diagonal(2, 2, torch.ones(2))], ids=["number", "module", "matrix"])
def test_what_is_no_family_is_refused(part):
    with pytest.raises(ConfigError, match="check_structure takes a subclass of StructuredMatrix"):
        check_structure(part)


def test_a_check_changes_no_setting_and_draws_no_random_number_of_the_user():
    before, dtype = torch.random.get_rng_state(), torch.get_default_dtype()
    with torch.no_grad():
        check_structure(Diagonal, only=("matmul", "gradients"))
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.random.get_rng_state(), before) and torch.get_default_dtype() == dtype


def test_keep_is_beside_the_point_where_a_family_says_that_it_cannot():
    with pytest.raises(PlanError):
        Diagonal.random((4, 4)).keep_(torch.tensor([0]))
    check_structure(Diagonal, only="keep")
