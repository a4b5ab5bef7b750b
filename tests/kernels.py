"""Kernels of convolutions as structured matrices of every kind, which several files of tests convolve by."""

import torch

from edgenet.structured import structure

TT = {"out_modes": (2, 3, 1), "in_modes": (2, 2, 9), "rank": 3}
# of a (6, 4 x 9) kernel
KERNELS = {
    "dense": structure("dense"),
    "low_rank": structure("low_rank", rank=3),
    "kronecker": structure("kronecker", factor=(2, 2), terms=2),
    "kronecker padded": structure("kronecker", factors=[(2, 3), (4, 18)], terms=2),
    "kronecker across places": structure("kronecker", factor=(2, 8)),
    "tensor_train": structure("tensor_train", **TT),
    "block_term": structure("block_term", out_modes=(2, 3), in_modes=(2, 18), blocks=2, rank=2),
    "block_circulant": structure("block_circulant", block=3),
    "kronecker of channels": structure("kronecker", terms=3, places=9),
    "tensor_train of channels": structure("tensor_train", rank=3, places=9),
    "block_term of channels": structure("block_term", blocks=2, rank=2, places=9),
    "block_circulant of channels": structure("block_circulant", block=2, places=9),
    "block_circulant of channels, padded": structure("block_circulant", block=3, places=9),
    "csr": structure("csr", density=0.3),
    "doped": structure("doped", base={"structure": "low_rank", "rank": 1}, density=0.1),
    "hashed": structure("hashed", parameters=100),
    "low_rank of bytes": structure("uniform", base={"structure": "low_rank", "rank": 3}),
    "block_circulant of powers of two": structure(
        "power_of_two", base={"structure": "block_circulant", "block": 2, "places": 9}, bits=4
    ),
    "tensor_train of signs": structure("binary", base={"structure": "tensor_train", **TT}),
}


def near(got, want, tolerance=1e-10):
    torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)
