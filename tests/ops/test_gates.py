"""The work at the gates: compiled code and the definition give the same numbers, and the definition's are the cells'."""

import pytest
import torch

from edgenet import ops
from edgenet.nn.recurrent.cells import gru_step, lstm_step
from edgenet.ops import native
from edgenet.ops.kernels.gates import forms, reference

SIZES = [(1, 1), (3, 5), (2, 16), (4, 37), (70, 64)]  # of all widths beside those of vectors


def lstm_buffers(batch, width, peep):
    z, cell = torch.randn(batch, 4 * width) * 3, torch.randn(batch, width)
    return z, cell, *(torch.empty(batch, width) for _ in range(3)), torch.randn(3, width) if peep else None


@pytest.mark.parametrize("peep", [False, True])
@pytest.mark.parametrize("batch, width", SIZES)
def test_the_definition_is_the_cells_with_its_gradients(batch, width, peep):
    z, cell, made, tangents, out, peepholes = lstm_buffers(batch, width, peep)
    leaves = [z.clone().requires_grad_(), cell.clone().requires_grad_()]
    hidden, new = lstm_step(leaves[0], torch.zeros_like(z), (out, leaves[1]), peepholes, None)
    d_out, d_cell = torch.randn_like(out), torch.randn_like(cell)
    wanted = torch.autograd.grad((hidden, new), leaves, (d_out, d_cell))
    reference.lstm(z, cell, made, tangents, out, peepholes)
    torch.testing.assert_close((out, made, tangents), (hidden, new, new.tanh()), rtol=1e-12, atol=1e-12)
    d_z = torch.empty_like(z)
    reference.lstm_backward(d_out, z, tangents, cell, d_cell, d_z, peepholes)
    torch.testing.assert_close((d_z, d_cell), wanted, rtol=1e-12, atol=1e-12)

    inputs, mapped, before = (torch.randn(batch, size, requires_grad=True) for size in (3 * width, 3 * width, width))
    (hidden,) = gru_step(inputs, mapped, (before,))
    wanted = torch.autograd.grad(hidden, (inputs, mapped, before), d_out)
    found = gru_of(reference, inputs.detach(), mapped.detach(), before.detach(), d_out)
    torch.testing.assert_close(found, (hidden, *wanted), rtol=1e-12, atol=1e-12)


def gru_of(form, inputs, mapped, before, d_out):
    mapped, made, out, straight = mapped.clone(), *(torch.empty_like(before) for _ in range(3))
    form.gru(inputs, mapped, made, before, out)
    d_inputs, d_mapped = torch.empty_like(inputs), torch.empty_like(mapped)
    form.gru_backward(d_out, mapped, made, before, d_inputs, d_mapped, straight)
    return out, d_inputs, d_mapped, straight


@pytest.mark.float32
@pytest.mark.skipif(native.library() is None, reason="no compiled kernels")
@pytest.mark.parametrize("batch, width", SIZES)
def test_compiled_code_agrees_with_the_definition(batch, width):
    compiled = forms(torch.empty(1))
    assert compiled is not reference
    near = {"rtol": 2e-6, "atol": 1e-6}  # float32, with exp and tanh of our own
    for peep in (False, True):
        buffers = lstm_buffers(batch, width, peep)
        buffers[0][0, 0], buffers[0][-1, -1] = 200.0, -200.0
        others = [None if t is None else t.clone() for t in buffers]
        reference.lstm(*buffers)
        compiled.lstm(*others)
        torch.testing.assert_close(others, list(buffers), **near)
        d_out, d_cell = torch.randn(batch, width), torch.randn(batch, width)
        z, cell, _, tangents, _, peepholes = buffers
        found = []
        for form in (reference, compiled):
            d_before, d_z = d_cell.clone(), torch.empty_like(z)
            form.lstm_backward(d_out, z, tangents, cell, d_before, d_z, peepholes)
            found.append((d_before, d_z))
        torch.testing.assert_close(found[1], found[0], **near)
    arguments = [torch.randn(batch, size) for size in (3 * width, 3 * width, width, width)]
    torch.testing.assert_close(gru_of(compiled, *arguments), gru_of(reference, *arguments), **near)


@pytest.mark.float32
@pytest.mark.skipif(native.library() is None, reason="no compiled kernels")
def test_functions_keep_their_digits_near_0_and_spread_nan():
    compiled = forms(torch.empty(1))
    small = torch.tensor([1e-30, -1e-7, 3e-4, 0.1, -0.624, 0.626, 5.0, torch.nan])
    z, cell, made, tangents, out, _ = lstm_buffers(1, 8, False)
    z[:] = torch.cat([torch.full((8,), 100.0), torch.full((8,), -100.0), small, torch.zeros(8)])
    compiled.lstm(z, cell, made, tangents, out, None)
    torch.testing.assert_close(made[0], small.tanh(), rtol=1e-6, atol=0, equal_nan=True)
    assert out[0, -1].isnan() and not out[0, :-1].isnan().any()


def test_what_has_no_compiled_form_runs_the_definition():
    wide = torch.empty(2, 4, dtype=torch.float32)
    assert forms(wide.double()) is reference and forms(wide.t()) is reference and forms(wide.bfloat16()) is reference
    with ops.use("reference"):
        assert forms(wide) is reference
