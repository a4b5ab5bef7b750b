"""What a structured matrix promises of its storage: it is saved, rebuilt, copied, packed and counted."""

from __future__ import annotations

import copy
import io
import json
from typing import Any

import safetensors.torch as safetensors
import torch
from torch import Tensor

from edgenet.errors import ContractError, ShapeError
from edgenet.structured import Sparse
from edgenet.testing.contract import Contract, refusal, require, same
from edgenet.testing.structure.case import StructureCase

STORAGE: Contract[StructureCase] = Contract()


def saved_and_loaded(state: dict[str, Any]) -> dict[str, Any]:
    """A state after a file, which is read without running any code of it."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def clone(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()


@STORAGE.promise("config and tensors")
def config(case: StructureCase) -> None:
    """Its config, which is JSON-able, and its tensors, read with weights_only, rebuild it."""
    matrix = case.build()
    try:
        told = json.loads(json.dumps(matrix.config()))
    except (TypeError, ValueError) as error:
        raise ContractError(f"its config() is not JSON-able: {error}") from error
    twin = type(matrix).from_config(told)
    require(type(twin) is type(matrix), f"from_config(config()) makes a {type(twin).__name__}")
    twin.load_state_dict(saved_and_loaded(matrix.state_dict()))
    same(twin.to_dense(), matrix.to_dense(), "from_config(config()) with its tensors is another matrix")
    require(
        twin.config() == matrix.config(), f"the config of what is rebuilt is {twin.config()}, not {matrix.config()}"
    )


@STORAGE.promise("made on the meta device")
def on_meta(case: StructureCase) -> None:
    """from_config works on the meta device, and stored tensors are assigned to it."""
    matrix = case.build()
    with torch.device("meta"):
        twin = type(matrix).from_config(matrix.config())
    stray = [name for name, tensor in twin.state_dict().items() if not tensor.is_meta]
    require(not stray, f"made on the meta device, it has {stray} elsewhere")
    require(str([case.m, case.n]) in repr(twin), f"made on the meta device, it does not print its shape: {twin!r}")
    twin.load_state_dict(matrix.state_dict(), assign=True)
    x = case.signals(3)
    same(twin(x), matrix(x), "with tensors assigned, it gives other products")
    same(twin.to_dense(), matrix.to_dense(), "with tensors assigned, it is another matrix")


@STORAGE.promise("deep copy")
def deep_copy(case: StructureCase) -> None:
    """A deep copy is equal, and apart."""
    matrix = case.build()
    twin, before = copy.deepcopy(matrix), clone(matrix.to_dense())
    require(torch.equal(twin.to_dense(), before), "a deep copy is another matrix")
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(2).add_(1)
    require(torch.equal(matrix.to_dense(), before), "it changes with its deep copy")
    require(not torch.equal(twin.to_dense(), before), "a deep copy does not follow its own parameters")


@STORAGE.promise("bits")
def bits(case: StructureCase) -> None:
    """bits() are the bytes, times eight, that the tensors of pack() take on disk."""
    matrix = case.build()
    packed = matrix.pack()
    tensors = [t.clone(memory_format=torch.contiguous_format) for t in packed.state_dict().values()]
    on_disk = 8 * sum(len(t.reshape(-1).view(torch.uint8).numpy().tobytes()) for t in tensors)
    require(matrix.bits() == on_disk, f"bits() is {matrix.bits()}, and its packed tensors take {on_disk}")
    require(packed.bits() == on_disk, f"bits() of the packed form is {packed.bits()}, and its tensors take {on_disk}")


@STORAGE.promise("pack")
def pack(case: StructureCase) -> None:
    """Packed it multiplies as before."""
    matrix, x = case.build(), case.signals(3)
    same(matrix.pack()(x), matrix(x), "pack() is another matrix")


@STORAGE.promise("count of parameters")
def count(case: StructureCase) -> None:
    """num_parameters counts its trainable numbers, of which there are some."""
    matrix = case.build()
    masked = sum(int((~part.mask).sum()) for part in matrix.modules() if isinstance(part, Sparse))
    trainable = sum(p.numel() for p in matrix.parameters()) - masked
    require(trainable > 0, "it has no trainable numbers")
    got = matrix.num_parameters()
    require(got == trainable, f"num_parameters() is {got}, and its parameters have {trainable} numbers")


@STORAGE.promise("repr")
def printed(case: StructureCase) -> None:
    """It prints its shape."""
    require(str([case.m, case.n]) in repr(case.build()), f"the shape is not in {case.build()!r}")


@STORAGE.promise("state of another shape")
def other_state(case: StructureCase) -> None:
    """A state_dict of another shape is refused."""
    other = {name: torch.zeros(*t.shape, 2) for name, t in case.build().state_dict().items()}
    with refusal(RuntimeError, "a state_dict of another shape is taken", "size mismatch"):
        case.build().load_state_dict(other)


@STORAGE.promise("memory")
def memory(case: StructureCase) -> None:
    """Its tensors lie in memory in their own order, however it was made."""
    drawn, fitted = case.build(), case.structure(case.weight())
    drawn.reset_parameters()
    ways = {
        "random": case.build(), "from_dense": fitted, "from_config": type(drawn).from_config(drawn.config()),
        "reset_parameters": drawn, "deepcopy": copy.deepcopy(fitted), "pack": fitted.pack(),
    }  # fmt: skip
    for way, matrix in ways.items():
        strided = [name for name, tensor in matrix.state_dict().items() if not tensor.is_contiguous()]
        require(not strided, f"after {way}, these are not contiguous: {', '.join(strided)}")


@STORAGE.promise("safetensors and quasi-newton")
def flat(case: StructureCase) -> None:
    """safetensors saves it, its parameters are flattened and put back, and L-BFGS steps on them."""
    matrix = case.structure(case.weight())
    twin = type(matrix).from_config(matrix.config())
    twin.load_state_dict(safetensors.load(safetensors.save(matrix.state_dict())))
    same(twin.to_dense(), matrix.to_dense(), "after safetensors it is another matrix")
    vector = torch.nn.utils.parameters_to_vector(matrix.parameters())
    torch.nn.utils.vector_to_parameters(vector, matrix.parameters())
    same(matrix.to_dense(), twin.to_dense(), "flattened and put back, it is another matrix")
    optimizer = torch.optim.LBFGS(matrix.parameters(), max_iter=2)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = matrix(case.signals(3)).abs().square().sum()
        value.backward()
        return value

    optimizer.step(loss)


@STORAGE.promise("one size")
def one_size(case: StructureCase) -> None:
    """It is not lazy, and asked to be of another size it refuses with a ShapeError."""
    matrix = case.build()
    require(not matrix.is_lazy, "it is lazy, though it has a size")
    before = clone(matrix.to_dense())
    with refusal(ShapeError, "it takes another size"):
        matrix.materialise(case.m + 1, case.n)
    require(torch.equal(matrix.to_dense(), before), "it has changed as it refused another size")
