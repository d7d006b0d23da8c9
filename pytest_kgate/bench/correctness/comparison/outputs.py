"""The exact answer to one draw, output by output: what an answer of one tensor or of several is compared with."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace
from typing import Any
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from pytest_kgate.bench.correctness.comparison.findings import Comparison
from pytest_kgate.bench.correctness.comparison.findings import Limits
from pytest_kgate.bench.correctness.comparison.findings import Place
from pytest_kgate.bench.correctness.comparison.tolerance import ExactAnswer
from pytest_kgate.device.answer import outputs_of
from pytest_kgate.device.arm import InPlace
from pytest_kgate.device.arm import blame
from pytest_kgate.errors import ProblemRaised
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.equal import Calls
from pytest_kgate.problems.rounding.dtypes import dtype_name
from pytest_kgate.problems.rounding.tolerances import Tolerance
from pytest_kgate.problems.rounding.tolerances import tolerance_of
from pytest_kgate.statistics.gates import ErrorGate

Tolerances: TypeAlias = Mapping[str, Tolerance]
"""As `Problem.tolerance` has them."""


@dataclass(frozen=True)
class Said:
    """What a problem's `equal` says of an answer."""

    reason: str
    """Why it is wrong; empty where it is right."""
    right: Tensor | None
    """By element, where that was told."""


@dataclass(frozen=True)
class Equal:
    """A problem's `equal`, with all that it is told but the answer."""

    function: Callable[..., Any]
    exact: Any
    inputs: tuple[Any, ...]

    def __call__(self, answer: Any) -> Said:
        """Ask it of one answer; raises `UsageError` where it says nothing that is known."""
        answer = _parts(answer)
        called = "it is called as equal(answer, exact, *inputs)"
        with blame(
            "The problem's equal", called, skips=True, fault=ProblemRaised
        ):  # the answer may have code of its own
            said = self.function(answer, self.exact, *self.inputs)
        if isinstance(said, str):
            return Said(said, None)
        right = said if isinstance(said, Tensor) else None
        if right is not None and right.dtype is torch.bool:
            said = bool(right.all())
        if not isinstance(said, bool):
            raise UsageError(
                f"The problem's equal returned {type(said).__name__}.",
                "Return True or False, a tensor of bools by element, or a string: what is wrong, empty if nothing.",
            )
        return Said("" if said else "the problem's own `equal` refuses the answer", right)

    def beside(self, answer: Any, calls: Calls) -> Said:
        """Judge the next answer of `calls` with those before it: random ones say more together than each by itself."""
        said = self(answer)
        return said if said.reason else Said(calls.repeated(_parts(answer), self.inputs), None)


@dataclass(frozen=True)
class Found:
    """The comparison of one output, with what it was held to."""

    output: str
    """Its name, as `outputs_of` gives it."""
    comparison: Comparison
    limits: Limits
    truth: ExactAnswer
    by_equal: bool = False
    """Whether the problem's own `equal` has judged; the distance from the exact answer then says nothing."""

    @property
    def failed(self) -> bool:
        """Whether this output is wrong."""
        return bool(self.comparison.failed)


class ExactOutputs:
    """The exact answer to one draw with the reference's error, of each output."""

    def __init__(
        self, outputs: Mapping[str, ExactAnswer], reference: Any, tolerances: Tolerances, equal: Equal | None = None
    ) -> None:
        """`outputs` by name; `reference` is the reference's answer; `equal` judges in their stead."""
        self.equal = equal
        self._outputs = dict(outputs)
        self.reference = reference
        self._tolerances = tolerances

    def each(self, gate: ErrorGate | None) -> Iterator[tuple[str, ExactAnswer, ErrorGate | None]]:
        """Name, exact answer and gate of each output: its own tolerance before the call's."""
        for name, truth in self._outputs.items():
            yield name, truth, self._gate(name, truth.dtype, gate)

    def judge(self, answer: Any, gate: ErrorGate | None, calls: Calls | None = None) -> list[Found]:
        """Compare each output of an answer that is built like the reference's; where `equal` judges, all together.

        `equal` may hold the answer against those of the `calls` before, too.
        """
        tensors = outputs_of(answer)
        if self.equal is not None:
            return [self._judged(answer, tensors, self.equal, calls)]
        found = []
        for name, truth, own in self.each(gate):
            limits = replace(truth.limits(own), of_problem=own is not gate)
            found.append(Found(name, truth.compare(tensors[name], limits), limits, truth))
        return found

    @property
    def in_pieces(self) -> bool:
        """Whether it was made in pieces."""
        return any(truth.in_pieces for truth in self._outputs.values())

    @property
    def on_host(self) -> bool:
        """Whether it lies in the host's memory and the answers on a GPU, which has no room for it."""
        return any(truth.exact.device != truth.device for truth in self._outputs.values())

    def forget_reference(self) -> None:
        """Free the reference's answer, once its errors are known; where `equal` judges, it is a right one to change."""
        if self.equal is not None:
            return
        vars(self).pop("reference", None)
        for truth in self._outputs.values():
            vars(truth).pop("reference", None)

    def _judged(self, answer: Any, tensors: Mapping[str, Tensor], equal: Equal, calls: Calls | None) -> Found:
        """What `equal` says of an answer; of several outputs the first is shown, with no error: none is judged."""
        name, truth = next(iter(self._outputs.items()))
        said = equal(answer) if calls is None else equal.beside(answer, calls)
        shown = truth.compare(tensors[name], Limits(math.inf, 0.0, math.inf))
        place = shown.place
        if said.right is not None and said.right.shape == truth.shape and said.right.numel():
            index = np.unravel_index(int(said.right.int().argmin()), tuple(truth.shape))
            place = Place(
                index=tuple(map(int, index)),
                answer=truth.arithmetic.number(truth.arithmetic.widened(tensors[name][index])),
                exact=truth.arithmetic.number(truth.arithmetic.widened(truth.exact[index])),
                wrong_fraction=1 - float(said.right.double().mean()),
                not_finite_fraction=0.0,
            )
        excess = math.inf if said.reason else 0.0
        comparison = Comparison(0.0, 0.0, excess, 0.0, "equal" if said.reason else "", said.reason, place)
        return Found(name, comparison, Limits(0.0, 0.0, math.inf), truth, by_equal=True)

    def same(self, one: Any, other: Any) -> bool:
        """Whether two answers hold the same values."""
        ones, others = outputs_of(one), outputs_of(other)
        return all(truth.same(ones[name], others[name]) for name, truth in self._outputs.items())

    def _gate(self, name: str, dtype: torch.dtype, gate: ErrorGate | None) -> ErrorGate | None:
        own = tolerance_of(self._tolerances, name, dtype_name(dtype))
        if own is None:
            return gate
        atol, *others = own if isinstance(own, tuple) else (own,)
        rtol = others[0] if others else 0.0
        return ErrorGate(atol, rtol, others[1] if len(others) > 1 else None if gate is None else gate.factor)


def _parts(answer: Any) -> Any:
    """An answer as `equal` is given it: what a call in place returned and then what it changed, without their names."""
    if not isinstance(answer, InPlace):
        return answer
    parts = [*([] if answer.returned is None else [answer.returned]), *answer.changed.values()]
    return parts[0] if len(parts) == 1 else tuple(parts)


def the_worst(found: list[Found]) -> Found:
    """The output to tell of: of those that fail, the one furthest beyond its tolerance; else the first."""
    failed = [one for one in found if one.failed]
    if not failed:
        return found[0]
    return max(failed, key=lambda one: (one.comparison.failed == "tolerance", one.comparison.excess))


def near_enough(found: Found, rounding_factor: float) -> bool:
    """Whether an output is no further off than the exact one in its own type."""
    return found.comparison.rms_error <= rounding_factor * found.truth.rounding


def tensors_by_name(answer: Any, like: Any) -> dict[str, Tensor] | None:
    """The tensors of what a problem's function returned, by the names of those in `like`; None where they don't fit.

    Several may come in any order of keys, or in other containers in the order of `like`.
    """
    wanted, found = outputs_of(like), outputs_of(answer)
    if wanted.keys() == found.keys():
        return {name: found[name] for name in wanted}
    if len(wanted) == len(found):
        return dict(zip(wanted, found.values(), strict=True))
    return None
