"""The tolerances that a problem gives for its outputs: read when it is made, and matched to the outputs it turns out to
have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from typing import TypeAlias

from pytest_kgate.errors import UsageError
from pytest_kgate.errors import hint
from pytest_kgate.errors import real
from pytest_kgate.errors import shown
from pytest_kgate.problems.rounding.dtypes import dtype_name
from pytest_kgate.problems.rounding.dtypes import is_dtype

Tolerance: TypeAlias = "float | tuple[float, float] | tuple[float, float, float]"
"""atol, or (atol, rtol): |candidate - exact| <= atol + rtol |exact|; or (atol, rtol, factor): `allclose` says what that
is, with `math.inf` the tolerance alone is checked."""

_MOST_NUMBERS = 3
_FORM = "Write atol, (atol, rtol) or (atol, rtol, factor): finite numbers, 0 or more, and a factor above 0."


def read_tolerances(given: Any) -> Mapping[str, Tolerance]:
    """The tolerances with plain numbers, by names; raises `UsageError` where they make no sense.

    Whether there are outputs of these names is known only to `demand_known`.
    """
    if not isinstance(given, Mapping):
        raise UsageError(
            f"Problem(tolerance={shown(given)}) does not say of which output.",
            'Write Problem(tolerance={"output": 1e-3}), by an output or a dtype; or mark the test, for all outputs: '
            "@pytest.mark.allclose(1e-3).",
        )
    read = {_name(key): _tolerance(key, one) for key, one in given.items()}
    if len(read) != len(given):
        raise UsageError(
            f"Problem(tolerance={shown(dict(given))}) names one dtype twice.", "Name each once, as in 'float16'."
        )
    return MappingProxyType(read)


def tolerance_of(tolerances: Mapping[str, Tolerance], output: str, dtype: str) -> Tolerance | None:
    """The tolerance of an output, by its name before its dtype's; None where there is none."""
    return tolerances.get(output, tolerances.get(dtype))


def demand_known(tolerances: Mapping[str, Tolerance], outputs: Mapping[str, Any]) -> None:
    """Raise `UsageError` where a tolerance is of an output that there is not; `outputs` are tensors by name.

    One of a dtype that no output has is fine: a table of tolerances may serve several problems.
    """
    unknown = next((name for name in tolerances if name not in outputs and not _names_dtype(name)), None)
    if unknown is not None:
        known = ", ".join(f"{name!r} ({dtype_name(one.dtype)})" for name, one in outputs.items())
        raise UsageError(
            f"Problem(tolerance=...) names {unknown!r}, which is no output and no dtype.{hint(unknown, outputs)}",
            f"Name one of its outputs, {known}, or a dtype, such as 'float16'.",
        )


def _name(key: object) -> str:
    if isinstance(key, str):
        return key.removeprefix("torch.")
    if is_dtype(key):
        return dtype_name(key)
    raise UsageError(
        f"Problem(tolerance=...) has the key {shown(key)}, which is no name.",
        "Name an output ('output', 'output 1', 'input 0') or a dtype ('float16').",
    )


def _names_dtype(name: str) -> bool:
    import torch  # here, since problems are made without it

    return isinstance(getattr(torch, name, None), torch.dtype)


def _tolerance(key: object, given: object) -> Tolerance:
    numbers = given if isinstance(given, tuple) else (given,)
    allowed, factors = [real(one) for one in numbers[:2]], [real(one) for one in numbers[2:]]
    fits = 0 < len(numbers) <= _MOST_NUMBERS
    if not (fits and all(0 <= one < math.inf for one in allowed) and all(one > 0 for one in factors)):
        raise UsageError(f"Problem(tolerance={{{shown(key)}: ...}}) cannot be {shown(given)}.", _FORM)
    if not isinstance(given, tuple):
        return allowed[0]
    return (*allowed, *factors) if len(numbers) > 1 else allowed[0]  # type: ignore[return-value]  # of 2 or 3
