"""What every structured matrix promises. A family joins with one entry in STRUCTURE_CASES."""

import copy
import io
import json

import pytest
import torch
from cases import STRUCTURE_CASES
from torch.nn.utils import prune

from edgenet.errors import PlanError, ShapeError
from edgenet.structured import STRUCTURES, Sparse, StructuredLinear, project

cases = pytest.mark.parametrize("case", STRUCTURE_CASES, ids=str)


def near(got, want):
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def saved_and_loaded(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_family_has_a_case_of_its_type(name):
    mine = [case for case in STRUCTURE_CASES if case.name.split()[0] == name]
    assert mine, f"{name} has no entry in STRUCTURE_CASES"
    assert all(type(case.build()) is STRUCTURES[name] for case in mine)


@cases
def test_its_shape_is_that_of_its_dense_form(case):
    matrix = case.build()
    assert matrix.shape == tuple(matrix.to_dense().shape) == (case.m, case.n)


@cases
@pytest.mark.parametrize("lead", [(), (1,), (6,), (2, 5), (0,), (3, 0, 2)])
def test_matmul_is_multiplication_by_the_dense_matrix(case, lead):
    matrix, x = case.build(), case.signals(*lead)
    near(matrix.matmul(x), x @ matrix.to_dense().mT)
    near(matrix(x), matrix.matmul(x))


@cases
def test_matmul_takes_strided_signals(case):
    matrix = case.build()
    every_other, transposed = torch.randn(6, 2 * case.n, dtype=case.dtype), torch.randn(case.n, 6, dtype=case.dtype)
    for x in (transposed.t(), every_other[:, ::2], case.signals(1).expand(6, -1)):
        near(matrix.matmul(x), x @ matrix.to_dense().mT)


@cases
@pytest.mark.parametrize("train", [True, False])
def test_signals_of_another_width_are_refused(case, train):
    matrix = case.build().train(train)
    for width in {case.n - 1, case.n + 1, 2 * case.n, 3 * case.n} - {0}:
        with pytest.raises((RuntimeError, ValueError)), torch.set_grad_enabled(train):
            matrix(torch.randn(4, width, dtype=case.dtype))


@cases
def test_gradients_are_those_of_the_dense_product(case):
    matrix, x = case.build(), case.signals(4).requires_grad_()
    direction = torch.randn(4, case.m)
    inputs = [x, *matrix.parameters()]
    got = torch.autograd.grad((matrix.matmul(x) * direction).sum().real, inputs)
    want = torch.autograd.grad((x @ matrix.to_dense().mT * direction).sum().real, inputs)
    for a, b in zip(got, want, strict=True):
        near(a, b)


@cases
def test_a_dense_weight_is_met_exactly_at_full_rank(case):
    if not case.exact:
        pytest.skip(f"{case.name} has no full rank: no member equals every matrix")
    weight = case.weight()
    near(case.structure(weight).to_dense(), weight)


@cases
@pytest.mark.parametrize(
    "spoil",
    [
        lambda w: w.index_fill(0, torch.tensor([0]), torch.nan),
        lambda w: w.index_fill(0, torch.tensor([0]), torch.inf),
        lambda w: w[0],
        lambda w: w.to_sparse(),
        lambda w: w.real.long(),
        lambda w: w.real.to(torch.float8_e4m3fn),
        lambda w: w.numpy(),
    ],
)
def test_what_is_no_matrix_of_finite_numbers_is_refused(case, spoil):
    with pytest.raises(ShapeError):
        case.structure(spoil(case.weight()))


@cases
def test_a_weight_without_entries_is_refused_or_met(case):
    for weight in (case.weight()[:0], case.weight()[:, :0]):
        if case.name == "dense":  # the table of a graph without edges
            assert case.structure(weight).shape == tuple(weight.shape)
        else:
            with pytest.raises(ShapeError, match="no entries"):
                case.structure(weight)


@cases
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("end", ["largest", "smallest"])
def test_weights_at_the_ends_of_a_dtype_are_fitted(case, dtype, end):
    if case.dtype is not None and case.dtype.is_complex:
        pytest.skip("a unitary matrix has a size of its own")
    info = torch.finfo(dtype)
    weight = torch.randn(case.m, case.n).clamp(-2, 2) * (info.max / 4 if end == "largest" else 64 * info.tiny)
    dense = case.structure(weight.to(dtype)).to_dense()
    assert dense.dtype == dtype and dense.isfinite().all()
    error = (dense.double() - weight).norm() / weight.norm()
    assert error <= (0.02 if case.exact else 1)


@cases
def test_a_member_is_its_own_projection(case):
    member = case.structure(case.weight()).to_dense()
    near(project(member, case.structure), member)


@cases
def test_a_projection_carries_no_gradient_and_leaves_the_weight_alone(case):
    weight = case.weight().requires_grad_()
    before = weight.detach().clone()
    projected = project(weight, case.structure)
    assert not projected.requires_grad
    projected.add_(1)
    assert torch.equal(weight.detach(), before)


@cases
def test_it_keeps_no_hold_on_the_weight_that_it_was_made_of(case):
    weight = case.weight()
    matrix = case.structure(weight)
    before = matrix.to_dense().detach().clone()
    weight.zero_()
    assert torch.equal(matrix.to_dense(), before)


@cases
def test_its_config_and_its_tensors_rebuild_it(case):
    matrix = case.build()
    config = json.loads(json.dumps(matrix.config()))
    state = saved_and_loaded(matrix.state_dict())
    twin = type(matrix).from_config(config)
    twin.load_state_dict(state)
    near(twin.to_dense(), matrix.to_dense())
    assert twin.config() == matrix.config()


@cases
def test_a_matrix_of_the_meta_device_takes_stored_tensors(case):
    matrix = case.build()
    with torch.device("meta"):
        twin = type(matrix).from_config(matrix.config())
    assert all(t.is_meta for t in twin.state_dict().values()) and str([case.m, case.n]) in repr(twin)
    twin.load_state_dict(matrix.state_dict(), assign=True)
    x = case.signals(3)
    near(twin(x), matrix(x))
    near(twin.to_dense(), matrix.to_dense())


@cases
@pytest.mark.parametrize("batch", [1, 3, 40])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_for_inference_it_gives_the_same_numbers_and_follows_its_parameters(case, batch, mode):
    matrix, x = case.build().eval(), case.signals(batch)
    for _ in range(2):
        with mode():
            for _ in range(2):  # the second time from what was kept
                near(matrix(x), x @ matrix.to_dense().mT)
        with torch.no_grad():
            for parameter in matrix.parameters():
                parameter.mul_(1.5)
    near(matrix(x), x @ matrix.to_dense().mT)  # with gradients again


@cases
def test_a_deep_copy_is_equal_and_apart(case):
    matrix = case.build()
    twin = copy.deepcopy(matrix)
    assert torch.equal(twin.to_dense(), matrix.to_dense())
    before = matrix.to_dense().detach().clone()
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(2).add_(1)
    assert torch.equal(matrix.to_dense(), before) and not torch.equal(twin.to_dense(), before)


@cases
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_it_follows_a_change_of_dtype(case, dtype):
    if dtype not in case.dtypes:
        pytest.skip(f"{case.name} has no {dtype}")
    matrix, x = case.build(), case.signals(3)
    wanted = x @ matrix.to_dense().mT
    of_signals = dtype.to_complex() if x.is_complex() else dtype
    y = matrix.to(dtype)(x.to(of_signals))
    assert y.dtype == of_signals and matrix.to_dense().dtype == of_signals
    digits = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}[dtype]
    torch.testing.assert_close(y.to(wanted.dtype), wanted, rtol=digits, atol=digits)  # what the dtype's mantissa leaves


@cases
def test_compiled_whole_it_gives_the_same_numbers_and_gradients(case):
    matrix, x = case.build(), case.signals(4)
    torch._dynamo.reset()
    compiled = torch.compile(matrix, fullgraph=True, backend="aot_eager")
    near(compiled(x), matrix(x))
    parameters = list(matrix.parameters())
    got = torch.autograd.grad(compiled(x).square().sum().real, parameters)
    want = torch.autograd.grad(matrix(x).square().sum().real, parameters)
    for a, b in zip(got, want, strict=True):
        near(a, b)


@cases
def test_exported_with_a_dynamic_batch_it_gives_the_same_numbers(case):
    matrix = case.build()
    program = torch.export.export(matrix, (case.signals(4),), dynamic_shapes=({0: torch.export.Dim("batch", min=2)},))
    x = case.signals(9)
    near(program.module()(x), matrix(x))


@cases
def test_its_bits_are_the_bytes_of_its_packed_tensors_on_disk(case, tmp_path):
    matrix = case.build()
    packed = matrix.pack()
    for name, tensor in packed.state_dict().items():
        (tmp_path / name).write_bytes(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    assert matrix.bits() == packed.bits() == 8 * sum(file.stat().st_size for file in tmp_path.iterdir())


@cases
def test_packed_it_multiplies_as_before(case):
    matrix, x = case.build(), case.signals(3)
    near(matrix.pack()(x), matrix(x))


@cases
def test_rows_are_rows_of_the_dense_matrix_and_so_are_their_gradients(case):
    matrix = case.build()
    index = torch.tensor([case.m - 1, 0, 0, case.m // 2])
    near(matrix.rows(index), matrix.to_dense()[index])
    direction, parameters = case.signals(4), list(matrix.parameters())
    got = torch.autograd.grad((matrix.rows(index) * direction).sum().real, parameters)
    want = torch.autograd.grad((matrix.to_dense()[index] * direction).sum().real, parameters)
    for a, b in zip(got, want, strict=True):
        near(a, b)
    assert matrix.rows(index[:0]).shape == (0, case.n)


@cases
@pytest.mark.parametrize("train", [True, False])
def test_a_row_that_is_not_there_is_refused(case, train):
    matrix = case.build().train(train)
    for row in (case.m, case.m + 1, -case.m - 1):
        with pytest.raises(IndexError):
            matrix.rows(torch.tensor([0, row]))
    try:
        last = matrix.rows(torch.tensor([-1]))
    except IndexError:  # as index_select has it
        return
    near(last, matrix.to_dense()[-1:])


@cases
def test_it_tells_shapes_on_the_meta_device(case):
    matrix, x = case.build().to("meta"), case.signals(3).to("meta")
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            assert matrix(x).shape == (3, case.m) and matrix.eval()(x).shape == (3, case.m)


@cases
def test_num_parameters_counts_its_trainable_numbers(case):
    matrix = case.build()
    masked = sum(int((~part.mask).sum()) for part in matrix.modules() if isinstance(part, Sparse))
    assert matrix.num_parameters() == sum(p.numel() for p in matrix.parameters()) - masked > 0


@cases
def test_reset_draws_anew_into_the_same_parameters(case):
    matrix = case.build()
    before, parameters = matrix.to_dense().detach().clone(), list(matrix.parameters())
    torch.manual_seed(1)
    matrix.reset_parameters()
    first = matrix.to_dense().detach().clone()
    assert first.isfinite().all() and not torch.equal(first, before)
    assert all(a is b for a, b in zip(parameters, matrix.parameters(), strict=True))  # an optimizer holds them
    torch.manual_seed(1)
    matrix.reset_parameters()
    assert torch.equal(matrix.to_dense(), first)
    assert all(p.requires_grad and p.is_leaf for p in matrix.parameters())


@cases
def test_reset_to_a_dense_weight_is_its_projection(case):
    weight = case.weight()
    matrix = case.structure(case.weight())
    matrix.reset_parameters(weight)
    near(matrix.to_dense(), project(weight, case.structure))


@cases
def test_an_optimizer_step_moves_it(case):
    matrix, x, wanted = case.build(), case.signals(8), torch.randn(8, case.m)
    optimizer = torch.optim.SGD(matrix.parameters(), lr=1e-3)
    first = (matrix(x) - wanted).abs().square().mean()
    first.backward()
    optimizer.step()
    assert (matrix(x) - wanted).abs().square().mean() < first


@cases
def test_it_stands_in_a_linear_layer(case):
    bias = torch.randn(case.m)
    layer, x = StructuredLinear(case.build(), bias), case.signals(2, 3)
    near(layer(x), x @ layer.weight.to_dense().mT + bias)


@cases
def test_it_prints_its_shape(case):
    assert str([case.m, case.n]) in repr(case.build())


@cases
def test_a_state_dict_of_another_shape_is_refused(case):
    other = {name: torch.zeros(*t.shape, 2) for name, t in case.build().state_dict().items()}
    with pytest.raises(RuntimeError, match="size mismatch"):
        case.build().load_state_dict(other)


# --- what layers ask --------------------------------------------------------------------------------------------------
@cases
def test_its_tensors_lie_in_memory_in_their_own_order(case):
    made = [case.build(), case.structure(case.weight()), type(case.build()).from_config(case.build().config())]
    drawn = case.build()
    drawn.reset_parameters()
    for matrix in (*made, drawn, copy.deepcopy(made[1]), made[1].pack()):
        strided = [name for name, tensor in matrix.state_dict().items() if not tensor.is_contiguous()]
        assert not strided


@cases
def test_it_is_saved_by_safetensors_and_flattened_and_stepped_by_quasi_newton(case, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    matrix = case.structure(case.weight())
    safetensors.save_file(matrix.state_dict(), tmp_path / "m.safetensors")
    twin = type(matrix).from_config(matrix.config())
    twin.load_state_dict(safetensors.load_file(tmp_path / "m.safetensors"))
    near(twin.to_dense(), matrix.to_dense())
    vector = torch.nn.utils.parameters_to_vector(matrix.parameters())
    torch.nn.utils.vector_to_parameters(vector, matrix.parameters())
    near(matrix.to_dense(), twin.to_dense())
    optimizer = torch.optim.LBFGS(matrix.parameters(), max_iter=2)

    def loss():
        optimizer.zero_grad()
        value = matrix(case.signals(3)).abs().square().sum()
        value.backward()
        return value

    optimizer.step(loss)


@cases
def test_it_is_not_lazy_and_takes_no_other_size(case):
    matrix = case.build()
    assert not matrix.is_lazy and matrix.is_dense == (case.name == "dense")
    before = matrix.to_dense().detach().clone()
    with pytest.raises(ShapeError):
        matrix.materialise(case.m + 1, case.n)
    assert torch.equal(matrix.to_dense(), before)


@cases
@pytest.mark.parametrize("what", ["rows", "columns", "both", "all", "one"])
def test_it_keeps_rows_and_columns_without_loss_or_says_that_it_cannot(case, what):
    matrix = case.build()
    rows = torch.randperm(case.m)[: 1 if what == "one" else max(1, case.m // 2)]
    columns = torch.randperm(case.n)[: 1 if what == "one" else max(1, case.n // 2)]
    if what == "all":
        rows, columns = torch.arange(case.m), torch.arange(case.n)
    rows, columns = rows if what != "columns" else None, columns if what != "rows" else None
    before, state = matrix.to_dense().detach().clone(), copy.deepcopy(matrix.state_dict())
    next(matrix.parameters()).requires_grad_(False)
    frozen = {name: p.requires_grad for name, p in matrix.named_parameters()}
    try:
        matrix.keep_(rows, columns)
    except PlanError as error:
        assert case.name.split()[0] not in ("dense", "low_rank", "sparse", "csr") and "remove first" in str(error)
        assert what != "columns" or not case.name.startswith("row_split")
        assert all(torch.equal(t, state[name]) for name, t in matrix.state_dict().items())
        return
    wanted = before if rows is None else before[rows]
    wanted = wanted if columns is None else wanted[:, columns]
    near(matrix.to_dense(), wanted)
    assert matrix.shape == tuple(wanted.shape)
    x = torch.randn(3, matrix.shape[1])
    near(matrix.eval()(x), x @ wanted.mT)
    near(matrix.rows(torch.tensor([0])), wanted[:1])
    assert {name: p.requires_grad for name, p in matrix.named_parameters()} == frozen
    assert all(tensor.is_contiguous() for tensor in matrix.state_dict().values())
    twin = type(matrix).from_config(json.loads(json.dumps(matrix.config())))
    twin.load_state_dict(matrix.state_dict())
    near(twin.to_dense(), wanted)


@cases
def test_what_it_cannot_keep_leaves_it_as_it_was(case):
    matrix = case.build()
    before = matrix.to_dense().detach().clone()
    with pytest.raises((PlanError, IndexError)):
        matrix.keep_(torch.tensor([case.m]))
    if case.name != "dense":
        with pytest.raises(PlanError):
            matrix.keep_(None, torch.tensor([], dtype=torch.long))
    assert torch.equal(matrix.to_dense(), before)


@pytest.mark.parametrize("name", ["dense", "low_rank", "sparse", "csr", "row_split"])
def test_of_a_pruned_matrix_no_rows_are_taken(name):
    matrix = next(case for case in STRUCTURE_CASES if case.name == name).build()
    prune.l1_unstructured(matrix, next(iter(matrix._parameters)), amount=0.5)
    before = matrix.to_dense().detach().clone()
    with pytest.raises(PlanError, match=r"prune\.remove"):
        matrix.keep_(columns=torch.tensor([0]))
    assert torch.equal(matrix.to_dense(), before)


@cases
def test_mixed_first_it_is_the_same_matrix_through_fewer_numbers(case):
    matrix = case.build()
    inner, outer = matrix.mix_first(1)
    near(inner if outer is None else outer @ inner, matrix.to_dense())
    assert inner.shape[1] == case.n and (inner.shape[0] == case.m if outer is None else inner.shape[0] < case.m)
    parameters = list(matrix.parameters())
    direction = torch.randn(case.m, case.n)
    mixed = inner if outer is None else outer @ inner
    got = torch.autograd.grad((mixed * direction).sum().real, parameters)
    want = torch.autograd.grad((matrix.to_dense() * direction).sum().real, parameters)
    for a, b in zip(got, want, strict=True):
        near(a, b)


@pytest.mark.parametrize(
    ("name", "options", "width"),
    [
        ("low_rank", {"rank": 3}, 3),
        ("row_split", {"rows": 2, "blocks": 3}, 5),
        ("hashed", {"ratio": 4, "aligned": True}, None),
    ],
)
def test_families_of_low_rank_mix_first_into_that_many_signals(name, options, width):
    matrix = STRUCTURES[name].random((32, 24), **options)
    inner, outer = matrix.mix_first(4)
    assert outer is not None and inner.shape[0] == (width or inner.shape[0]) < 32
    near(outer @ inner, matrix.to_dense())


@cases
def test_a_ladder_is_a_list_of_its_own_options_from_few_to_many(case):
    kind = STRUCTURES[case.name.split()[0]]
    sizes = []
    for options in kind.ladder((16, 16)):
        with torch.device("meta"):
            sizes.append(kind.from_config({"shape": [16, 16], **options}).num_parameters())
    assert sizes == sorted(sizes) and len(sizes) <= 12
