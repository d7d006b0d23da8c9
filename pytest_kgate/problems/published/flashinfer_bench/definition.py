"""A definition of flashinfer-bench: what a JSON file says of a kernel's axes, tensors and reference.

The format is that of docs/flashinfer-trace/definition.mdx in github.com/flashinfer-ai/flashinfer-bench.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_kgate.problems.published.checked import Checked
from pytest_kgate.problems.published.checked import json_of

_DTYPES = (
    *("float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float4_e2m1"),
    *("int64", "int32", "int16", "int8", "bool"),
)

_NAMES = ("name", "op_type", "axes", "inputs", "outputs", "reference")

RUN = "run"
"""The function that a reference defines."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output."""

    name: str
    axes: tuple[str, ...] | None
    """The names of its dimensions; None for a number."""
    dtype: str
    """As torch names it, but for `float4_e2m1`."""


@dataclass(frozen=True)
class Definition:
    """What a definition says."""

    name: str
    op_type: str
    axes: Mapping[str, int | None]
    """The extents of the constant ones; None for those that a workload gives."""
    constraints: tuple[str, ...]
    """Expressions of axes and inputs, which hold for a workload's."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    reference: str
    """Python source that defines `run`."""
    data: Mapping[str, Any]
    """The JSON document as it was read."""

    @classmethod
    def read(cls, source: str | Path | Mapping[str, Any]) -> Definition:
        """Read a file, or what `json.load` made of one; raises `UsageError` in a sentence."""
        if isinstance(source, Mapping):
            return cls._of(Checked(source, "The definition", "flashinfer-bench definition"))
        path = Path(source)
        found = json_of(path, "Give the file of a definition.")
        return cls._of(Checked(found, str(path), "flashinfer-bench definition"))

    @classmethod
    def _of(cls, said: Checked) -> Definition:
        said.demand(*_NAMES)
        axes = {name: _extent(one) for name, one in said.tables("axes").items()}
        constraints = said.optional("constraints", list, [])
        found = cls(
            name=said.text("name"),
            op_type=said.text("op_type"),
            axes=axes,
            constraints=tuple(_expression(one, said) for one in constraints),
            inputs=tuple(_tensor(name, one, axes) for name, one in said.tables("inputs").items()),
            outputs=tuple(_tensor(name, one, axes) for name, one in said.tables("outputs").items()),
            reference=said.text("reference"),
            data=said.data,
        )
        _demand_run(found.reference, said)
        for what, several in (("inputs", found.inputs), ("outputs", found.outputs)):
            if not several:
                raise said.wrong(f"its {what} are empty", "A kernel has some.")
        twice = {one.name for one in found.inputs} & {one.name for one in found.outputs}
        if twice:
            raise said.wrong(f"{min(twice)} is both an input and an output", "Give each a name of its own.")
        return found


def _extent(axis: Checked) -> int | None:
    kind = axis.text("type")
    if kind == "var":
        return None
    if kind != "const":
        raise axis.wrong(f'its type is "{kind}"', 'It is "const", with a value, or "var".')
    axis.demand("value")
    value = axis.data["value"]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise axis.wrong(f"its value is {value!r}", "It is a whole number.")
    return value


def _tensor(name: str, said: Checked, axes: Mapping[str, int | None]) -> TensorSpec:
    said.demand("shape", "dtype")
    shape, dtype = said.data["shape"], said.text("dtype")
    if dtype not in _DTYPES:
        raise said.wrong(f'its dtype is "{dtype}"', f"The format knows {', '.join(_DTYPES)}.")
    if shape is None:
        return TensorSpec(name, None, dtype)
    if not isinstance(shape, list):
        raise said.wrong(f"its shape is {shape!r}", "It is a list of names of axes, or null for a number.")
    unknown = [one for one in shape if not isinstance(one, str) or one not in axes]
    if unknown:
        raise said.wrong(f"its axis {unknown[0]!r} is not among the axes", f"These are {', '.join(axes)}.")
    return TensorSpec(name, tuple(shape), dtype)


def _expression(text: Any, said: Checked) -> str:
    try:
        ast.parse(text, mode="eval")
    except (SyntaxError, TypeError):
        raise said.wrong(
            f"its constraint {text!r} is no expression of Python", "Write `len_indptr == batch_size + 1`."
        ) from None
    return str(text)


def _demand_run(reference: str, said: Checked) -> None:
    try:
        parsed = ast.parse(reference)
    except SyntaxError as error:
        raise said.wrong(
            f"its reference is no Python: {error.msg} in line {error.lineno}", "It is the source of a module."
        ) from None
    if not any(isinstance(one, ast.FunctionDef) and one.name == RUN for one in parsed.body):
        raise said.wrong(f"its reference does not define {RUN}", f"Its source has a function {RUN} of all inputs.")
