"""A contract: named checks that every part of a kind must pass, and sentences about those that one does not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from edgenet.errors import ConfigError, ContractError
from edgenet.text import did_you_mean

Case = TypeVar("Case")
#: Looks at a case. What it returns says why there is nothing to look at; None after a look.
Check = Callable[[Case], str | None]

#: How far two results in float64 may be apart that are equal but for the order of sums.
TOLERANCE = 1e-10


class Contract(Generic[Case]):
    """Checks by name, in the order in which they run.

    Args:
        *parts: contracts whose checks are all in this one.
    """

    def __init__(self, *parts: Contract[Case]) -> None:
        self.checks: dict[str, Check[Case]] = {name: check for part in parts for name, check in part.checks.items()}

    def some(self, *names: str) -> Contract[Case]:
        """A contract of these checks alone."""
        part: Contract[Case] = Contract()
        part.checks = {name: self.checks[name] for name in self.chosen(names)}
        return part

    def promise(self, name: str, **variants: Any) -> Callable[[Callable[..., str | None]], Callable[..., str | None]]:
        """Adds the decorated function as a check.

        Args:
            name: a few words, by which ``only`` and ``skip`` choose it.
            **variants: one name of an argument, and the values for each of which there is a check of its own,
                called "name, value"; a dict gives the values words of their own.
        """

        def add(function: Callable[..., str | None]) -> Callable[..., str | None]:
            if not variants:
                self.checks[name] = function
            for argument, values in variants.items():
                words = values if isinstance(values, dict) else {_word(value): value for value in values}
                for word, value in words.items():
                    self.checks[f"{name}, {word}"] = partial(function, **{argument: value})
            return function

        return add

    def chosen(self, only: Collection[str] | str | None = None, skip: Collection[str] | str = ()) -> list[str]:
        """The names of the checks to run. A name without its variant stands for all of them.

        Raises:
            ConfigError: if there is no check of such a name; the text lists them. Or if none is left to run.
        """
        groups = list(dict.fromkeys(name.partition(",")[0] for name in self.checks))
        only, skip = [only] if isinstance(only, str) else only, [skip] if isinstance(skip, str) else skip
        for name in (*(only or ()), *skip):
            if name not in self.checks and name not in groups:
                raise ConfigError(
                    f"no check is called {name!r}; there are {', '.join(groups)}.{did_you_mean(name, groups)}"
                )
        left = [
            name for name in self.checks
            if (only is None or {name, name.partition(",")[0]} & set(only))
            and not {name, name.partition(",")[0]} & set(skip)
        ]  # fmt: skip
        if not left:  # a test that looks at nothing would pass
            raise ConfigError(f"no check is left to run, with only={only!r} and skip={skip!r}.")
        return left

    def hold(self, name: str, case: Case) -> str | None:
        """Run one check, in float64 and from a fixed seed; what was set before is set again afterwards.

        Returns:
            Why there was nothing to look at; None after a look.

        Raises:
            ContractError: with the part, the check, what differs, and what was asked.
        """
        check = self.checks[name]
        asked = (inspect.getdoc(check.func if isinstance(check, partial) else check) or name).split("\n\n")[0]
        told = f"Asked of it: {' '.join(asked.split())}"
        try:
            with fair():
                return check(case)
        except ContractError as error:
            raise ContractError(f"{case}, check {name!r}: {str(error).rstrip('.')}. {told}") from None
        except Exception as error:  # whatever a part of somebody else raises is what is told of it
            words = f"raises {type(error).__name__}: {str(error).rstrip('.')}"
            raise ContractError(f"{case}, check {name!r}: {words}. {told}") from error

    def hold_all(
        self, case: Case, only: Collection[str] | str | None, skip: Collection[str] | str
    ) -> dict[str, str | None]:
        """Run the chosen checks, and tell of all that fail at once.

        Returns:
            By name, why there was nothing to look at; None after a look.

        Raises:
            ContractError: one line for each failed check.
        """
        failures, told = [], {}
        for name in self.chosen(only, skip):
            try:
                told[name] = self.hold(name, case)
            except ContractError as error:
                failures.append(error)
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise ContractError(f"{len(failures)} checks fail.\n" + "\n".join(map(str, failures))) from failures[0]
        return told


def check_maker(name: str, make: Any) -> None:
    """Refuse what makes nothing, for ``check_layer`` and ``check_model``.

    Raises:
        ConfigError: with what is wanted.
    """
    if isinstance(make, nn.Module) or not callable(make):
        kind = type(make).__name__
        raise ConfigError(
            f"{name} takes a function (in_channels, out_channels) or a class, for it looks at several sizes; got "
            f"{'one that is made already, a ' if isinstance(make, nn.Module) else ''}{kind}."
        )


def _word(value: Any) -> str:
    return getattr(value, "__name__", None) or str(value).removeprefix("torch.")


@contextmanager
def fair(dtype: torch.dtype = torch.float64, seed: int = 0) -> Iterator[None]:
    """New tensors of float64, gradients on, and random numbers from a seed, of which nothing remains."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices), torch.enable_grad():
        torch.manual_seed(seed)
        torch.set_default_dtype(dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


# --- what checks say --------------------------------------------------------------------------------------------------
def require(holds: bool, words: str) -> None:
    """Raise a ``ContractError`` of these words unless it holds."""
    if not holds:
        raise ContractError(words)


def same(got: Any, want: Tensor, what: str, tolerance: float = TOLERANCE) -> None:
    """Require that two tensors agree in shape, dtype and numbers.

    Args:
        what: a sentence about their difference, "rows(index) is not to_dense()[index]".
        tolerance: relative and absolute.
    """
    require(isinstance(got, Tensor), f"{what}: it is a {type(got).__name__}, no tensor")
    require(got.shape == want.shape, f"{what}: the shape is {tuple(got.shape)} instead of {tuple(want.shape)}")
    require(got.dtype == want.dtype, f"{what}: the dtype is {got.dtype} instead of {want.dtype}")
    got, want = got.detach(), want.detach()
    apart = ~torch.isclose(got, want, rtol=tolerance, atol=tolerance)
    if apart.any():
        gaps = (got - want).abs().where(apart, 0).nan_to_num(torch.inf)
        where = tuple(int(i) for i in torch.unravel_index(gaps.argmax(), gaps.shape))
        raise ContractError(
            f"{what}: {int(apart.sum())} of {got.numel()} entries differ, at {where} it is {got[where].item():.6g} "
            f"instead of {want[where].item():.6g}"
        )


def all_same(got: Sequence[Any], want: Sequence[Tensor], what: str, tolerance: float = TOLERANCE) -> None:
    """``same`` for two lists of tensors."""
    require(len(got) == len(want), f"{what}: there are {len(got)} instead of {len(want)}")
    for number, pair in enumerate(zip(got, want, strict=True)):
        same(*pair, f"{what} (number {number})", tolerance)


def leaves_no_trace(call: Callable[[], Any], module: nn.Module, inputs: Iterable[Any] = ()) -> None:
    """Require that a call draws no random number, and changes no setting, no input, and nothing that would be saved."""
    given = [value for value in inputs if isinstance(value, Tensor)]
    kept, copies = {name: t.clone() for name, t in module.state_dict().items()}, [value.clone() for value in given]
    drawn, dtype = torch.get_rng_state(), torch.get_default_dtype()
    call()
    require(torch.equal(torch.get_rng_state(), drawn), "in eval mode a call draws random numbers")
    require(torch.get_default_dtype() == dtype, f"a call makes {torch.get_default_dtype()} the default dtype")
    now = module.state_dict()
    changed = [name for name in kept.keys() | now.keys() if name not in kept or name not in now]
    changed += [name for name in kept.keys() & now.keys() if not torch.equal(now[name], kept[name])]
    require(not changed, f"in eval mode a call changes {', '.join(sorted(changed))}")
    alike = all(map(torch.equal, given, copies))
    require(alike, "a call changes what it is given")


@contextmanager
def refusal(errors: type[Exception] | tuple[type[Exception], ...], words: str, says: str = "") -> Iterator[None]:
    """Require that the block raises one of these errors, with ``says`` in its text; anything else that it raises goes
    through."""
    kinds = errors if isinstance(errors, tuple) else (errors,)
    try:
        yield
    except kinds as error:
        require(says in str(error), f"{words}: the error's text lacks {says!r}, it is {str(error)!r}")
        return
    raise ContractError(f"{words}: no {' or '.join(kind.__name__ for kind in kinds)} is raised")
