"""Drawing neighbours and numbering nodes: compiled code gives the numbers of the definition, and these are fair."""

import pytest
import torch

from edgenet import ops
from edgenet.errors import EdgeIndexError, ShapeError
from edgenet.ops import native
from edgenet.ops.kernels.sample_neighbors import Numbering, sample_neighbors

FORMS = ["reference", *(["native"] if native.library() is not None else [])]
DEGREES = torch.tensor([0, 3, 1, 700, 12, 0, 40])


def ranges(degrees=DEGREES):
    end = degrees.cumsum(0)
    return end - degrees, end


@pytest.fixture(params=FORMS)
def form(request):
    with ops.use(request.param):
        yield request.param


@pytest.mark.skipif(len(FORMS) == 1, reason="no compiled kernels")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("count", [-1, 0, 1, 3, 35, 300, 2000])
@pytest.mark.parametrize("seed", [0, 7, 2**64 - 3])
def test_compiled_draws_are_those_of_the_definition(count, replace, weighted, seed):
    begin, end = ranges()
    weight = torch.rand(int(end[-1])) + 1e-3 if weighted else None
    drawn = {}
    for name in FORMS:
        with ops.use(name):
            drawn[name] = sample_neighbors(begin, end, count, replace, seed, weight)
    for a, b in zip(drawn["native"], drawn["reference"], strict=True):
        assert torch.equal(a, b)


@pytest.mark.skipif(len(FORMS) == 1, reason="no compiled kernels")
def test_draws_do_not_depend_on_threads():
    begin, end = ranges(torch.full((5000,), 60))
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(sample_neighbors(begin, end, 9, False, 3)[1])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@pytest.mark.parametrize("count", [1, 3, 35])
def test_draws_are_places_of_the_node_and_without_replacement_different(form, count):
    begin, end = ranges()
    ptr, place = sample_neighbors(begin, end, count, False, 5)
    assert ptr.diff().tolist() == DEGREES.clamp_max(count).tolist()
    for i in range(len(begin)):
        own = place[ptr[i] : ptr[i + 1]]
        assert ((own >= begin[i]) & (own < end[i])).all() and len(own.unique()) == len(own)
    ptr, place = sample_neighbors(begin, end, count, True, 5)
    assert ptr.diff().tolist() == torch.where(DEGREES > 0, count, 0).tolist()
    node = torch.repeat_interleave(ptr.diff())
    assert ((place >= begin[node]) & (place < end[node])).all()


@pytest.mark.parametrize("replace", [False, True])
def test_every_neighbour_is_as_likely_as_any_other(form, replace):
    """Of 6 neighbours 2 are drawn, 20,000 times: each is counted 6,667 times, within five standard deviations."""
    times = 20_000
    begin = torch.zeros(times, dtype=torch.long)
    _, place = sample_neighbors(begin, begin + 6, 2, replace, 11)
    counts = place.bincount(minlength=6).double()
    deviation = (2 * times / 6 * (5 / 6)) ** 0.5
    assert ((counts - 2 * times / 6).abs() < 5 * deviation).all()
    pairs = place.view(-1, 2)
    same = int((pairs[:, 0] == pairs[:, 1]).sum())
    assert same == 0 if not replace else abs(same - times / 6) < 5 * (times * 5 / 36) ** 0.5


def test_weights_are_the_chances_of_draws():
    """By weights 1, 2, 5: with replacement shares 1/8, 2/8, 5/8; without, the first draw has them, and the pair (a, b)
    comes with w_a / 8 * w_b / (8 - w_a)."""
    times, weight = 20_000, torch.tensor([1.0, 2.0, 5.0])
    begin = torch.zeros(times, dtype=torch.long)
    with ops.use(FORMS[-1]):
        _, place = sample_neighbors(begin, begin + 3, 2, True, 1, weight)
        shares = place.bincount(minlength=3) / (2 * times)
        torch.testing.assert_close(shares, weight / 8, atol=0.01, rtol=0)  # 4 standard deviations of 40,000 draws
        _, place = sample_neighbors(begin, begin + 3, 2, False, 1, weight)
    pairs = torch.zeros(3, 3).index_put_(tuple(place.view(-1, 2).T), torch.tensor(1.0 / times), accumulate=True)
    wanted = weight.unsqueeze(1) / 8 * weight / (8 - weight.unsqueeze(1))
    torch.testing.assert_close(pairs, wanted.fill_diagonal_(0), atol=0.015, rtol=0)  # likewise, of 20,000


@pytest.mark.parametrize("space", [50, 10**12])
def test_nodes_are_numbered_in_the_order_of_their_first_appearance(form, space):
    numbering = Numbering(torch.tensor([7, 3, 7]), space)
    number, first = numbering.add(torch.tensor([3, 9, 7, 1, 9]))
    assert number.tolist() == [1, 3, 0, 4, 3] and first.tolist() == [1, 3]
    more = torch.arange(49).repeat(2)
    number, first = numbering.add(more)
    dictionary = {7: 0, 3: 1, 9: 3, 1: 4}
    wanted = [dictionary.setdefault(int(node), len(dictionary) + 1) for node in more]
    assert number.tolist() == wanted and numbering.known == 50
    assert first.tolist() == [int(node) for node in range(49) if node not in (7, 3, 9, 1)]


def test_nodes_that_are_not_there_are_refused(form):
    with pytest.raises(EdgeIndexError, match=r"node 6 .* 0 to 5"):
        Numbering(torch.tensor([0, 6]), 6)
    with pytest.raises(EdgeIndexError, match="node -1"):
        Numbering(torch.tensor([0]), 6).add(torch.tensor([-1]))
    with pytest.raises(ShapeError, match="ranges"):
        sample_neighbors(torch.tensor([3]), torch.tensor([2]), 1, False, 0)
    with pytest.raises(ShapeError, match="inside the weights"):
        sample_neighbors(torch.tensor([0]), torch.tensor([4]), 1, False, 0, torch.ones(3))
