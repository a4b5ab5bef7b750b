"""Errors of other libraries in words."""

import numpy as np
import pytest
import torch

from edgenet.plainly import words


def fails(function):
    try:
        function()
    except Exception as error:
        return words(error)
    raise AssertionError("it did not fail")


@pytest.mark.parametrize(
    "function, says",
    [
        (lambda: torch.zeros(5, 2) @ torch.zeros(3, 4), "the signal has 2 features, and the map that reads it takes 3"),
        (
            lambda: torch.nn.Linear(3, 4)(torch.zeros(5, 2)),
            "the signal has 2 features, and the map that reads it takes 3",
        ),
        (lambda: torch.zeros(3) + torch.zeros(4), "two tensors meet that have 3 and 4 entries along one axis"),
        (lambda: np.zeros(3) + np.zeros(4), "arrays of (3,) and (4,) meet"),
        (lambda: torch.cat([torch.zeros(2, 3), torch.zeros(2, 4)]), "tensors of different sizes are put side by side"),
        (lambda: torch.zeros(2, 2) @ torch.zeros(2, 2).float(), "numbers of two dtypes meet"),
        (lambda: torch.zeros(3)[torch.tensor([7])], "it looks at place 7 of 3"),
        (lambda: torch.zeros(3).sum().backward(), "the loss depends on no parameter that wants a gradient"),
        (lambda: torch.nn.Linear(3), "it is called without 'out_features'"),
        (lambda: torch.nn.Linear(3, 4, width=2), "it takes no argument 'width'"),
        (lambda: torch.empty(2**45), "there is no memory for"),
    ],
)
def test_what_torch_and_numpy_say_is_put_into_words(function, says):
    assert says in fails(function)


def test_what_somebody_wrote_is_said_as_it_is_and_an_unknown_message_is_not():
    def refuses():
        raise ValueError("heads are 1 or more\nand so on")

    assert fails(refuses) == "heads are 1 or more"
    assert fails(lambda: torch.zeros(3).view(2, 2)) == "a RuntimeError inside torch"
    assert fails(lambda: {}["a"]) == "'a'"
