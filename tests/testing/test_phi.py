"""check_phi finds what is wrong with edge weights, and finds nothing where nothing is."""

import pytest
import torch
from torch import nn

from edgenet.errors import ConfigError, ContractError
from edgenet.phi import Attention, EdgeVarying
from edgenet.testing import check_phi
from edgenet.testing.phi import CHECKS

from testing.parts import Averaging  # isort: skip

GROUPS = list(dict.fromkeys(name.partition(",")[0] for name in CHECKS.checks))


def phi(change=None, **members):
    """An averaging phi with some members of its own; ``change(self, weight, x, z, graph, edge_attr)`` is the weight."""

    def forward(self, x, z, graph, edge_weight=None, edge_attr=None):
        return change(self, Averaging.forward(self, x, z, graph, edge_weight), x, z, graph, edge_attr)

    return type("Broken", (Averaging,), {**members, **({"forward": forward} if change else {})})


def by_features(self, weight, x, z, graph, edge_attr):
    return weight if edge_attr is None else (weight[0] * edge_attr.sum(1, keepdim=True)).expand_as(weight)


class Untouched(Averaging):
    """Has a number that nothing reads."""

    def __init__(self, order=1, heads=1):
        super().__init__(order, heads)
        self.spare = nn.Parameter(torch.ones(3))


class Forgets(Averaging):
    """Its number is no parameter, and no buffer."""

    def forward(self, x, z, graph, edge_weight=None, edge_attr=None):
        if not hasattr(self, "drawn"):
            self.drawn = torch.rand(())
        return self.drawn * super().forward(x, z, graph, edge_weight)


class DrawsBadly(Averaging):
    def reset_parameters(self):
        self.scale = nn.Parameter(torch.randn_like(self.scale))


class Doubles(Averaging):
    """Computes in float64 whatever comes."""

    def forward(self, x, z, graph, edge_weight=None, edge_attr=None):
        return super().forward(x, z, graph, edge_weight).double()


#: what breaks each check, and a few words of what is then said
BROKEN = {
    "weights": (phi(lambda self, w, *_: w[..., :1].expand(-1, -1, 5)), "the weights have the shape"),
    "hop": (phi(hop=lambda self, graph, weight, diagonal, z, **_: z[:1]), "a hop makes|index"),
    "shared hops": (phi(lambda self, w, *_: w.clone()), "has not stride 0"),
    "follows signal": (phi(lambda self, w, x, *_: w * x.sum()), "follows_signal is False"),
    "edge features": (phi(by_features), "reads_edge_attr is False, and its weights change"),
    "diagonals": (phi(has_initial=True), r"has_initial is True, and initial\(graph\) is None"),
    "shuffled edges": (phi(lambda self, w, *_: w * torch.arange(w.shape[1]).unsqueeze(-1)), "on a shuffled edge list"),
    "relabelled nodes": (phi(lambda self, w, x, z, graph, _: w * graph.target.unsqueeze(-1)), "are numbered anew"),
    "gradients": (Untouched, "not have been used|no gradient reaches spare"),
    "no trace": (phi(lambda self, w, x, *_: (x.mul_(1.0), torch.rand(()), w)[2]), "draws random numbers"),
    "deep copy": (phi(__deepcopy__=lambda self, memo: self), "changes with its deep copy"),
    "state dict": (Forgets, "gives other weights"),
    "reset": (DrawsBadly, "of which an optimizer does not know|differ"),
    "dtype": (Doubles, "its weights are of torch.float64"),
}


def test_every_check_has_something_that_it_finds():
    assert list(BROKEN) == GROUPS


@pytest.mark.parametrize("check", GROUPS)
def test_a_fault_is_found_by_its_check_and_told(check):
    kind, says = BROKEN[check]
    with pytest.raises(ContractError, match=says) as told:
        check_phi(kind, only=check)
    assert kind.__name__ in str(told.value) and f"check '{check}" in str(told.value)


def test_a_wrong_gradient_is_found():
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, scale):
            return scale.clone()

        @staticmethod
        def backward(ctx, gradient):
            return 2 * gradient

    with pytest.raises(ContractError, match=r"along a direction of scale the output grows by .*the gradient says"):
        check_phi(phi(lambda self, w, *_: w / self.scale * Wrong.apply(self.scale)), only="gradients")


def test_hops_that_differ_only_in_their_stride_are_found():
    with pytest.raises(ContractError, match="the first two hops have the same weights"):
        check_phi(phi(lambda self, w, *_: w.clone(), shares_hops=False), only="shared hops")


def test_phis_that_keep_their_contract_pass_as_class_function_and_object():
    check_phi(Averaging)
    check_phi(Averaging, columns=0)
    check_phi(lambda: Attention(2, 2, 4, share_hops=False))
    check_phi(EdgeVarying(2, 3))
    check_phi(lambda: Attention(1, 2, 4, edge_dim=6), edge_attr=6)


def test_weights_with_dropout_keep_their_contract():
    check_phi(phi(lambda self, w, *_: nn.functional.dropout(w[0], 0.5, self.training).expand_as(w)))


@pytest.mark.parametrize("part", [5, nn.Linear], ids=["number", "module"])
def test_what_is_no_phi_is_refused(part):
    with pytest.raises(ConfigError, match="check_phi takes a subclass of Phi"):
        check_phi(part)
