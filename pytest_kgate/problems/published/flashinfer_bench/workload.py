"""A workload of flashinfer-bench: the extents of a definition's variable axes, and where its inputs come from.

The format is that of docs/flashinfer-trace/workload.mdx in github.com/flashinfer-ai/flashinfer-bench: a line of a JSONL
file holds one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_kgate.errors import UsageError
from pytest_kgate.problems.published.checked import Checked
from pytest_kgate.problems.published.checked import text_of
from pytest_kgate.problems.published.flashinfer_bench.definition import Definition
from pytest_kgate.problems.published.flashinfer_bench.definition import TensorSpec
from pytest_kgate.problems.trees.foreign import said_by

_WHAT = "flashinfer-bench workload"

_SOURCES = {"random": (), "scalar": ("value",), "safetensors": ("path", "tensor_key")}
"""Where an input can come from, and what is said of it besides."""


@dataclass(frozen=True)
class Workload:
    """What a line of workloads says."""

    uuid: str
    axes: Mapping[str, int]
    """The extents of all axes, the constant ones too."""
    inputs: Mapping[str, Mapping[str, Any]]
    """For each of the definition's inputs, where it comes from; `random` where nothing is said."""
    data: Mapping[str, Any]
    """The line as it was read."""

    @classmethod
    def read(cls, source: str | Path | Mapping[str, Any], case: int | str, definition: Definition) -> Workload:
        """One line of a file, by its place from 0 or the beginning of its uuid; or what `json.loads` made of a line.

        Raises `UsageError` in a sentence, also where it does not fit the definition.
        """
        if isinstance(source, Mapping):
            return cls._of(Checked(source, "The workload", _WHAT), definition)
        lines = _lines(Path(source))
        place = int(case) if isinstance(case, int) or (case.isdecimal() and len(case) < 6) else None
        if place is None:
            found = [one for one in lines if str(_inner(one).get("uuid", "")).startswith(str(case))]
            wanted = f"whose uuid begins with {case}"
        else:
            found = lines[place : place + 1] if place >= 0 else []
            wanted = f"{place}"
        if not lines:
            raise UsageError(f"{source} has no workloads.", "A line holds one.")
        if len(found) != 1:
            how_many = "no workload" if not found else f"{len(found)} workloads"
            raise UsageError(
                f"{source} has {how_many} {wanted}.",
                f"It has {len(lines)}: give a place from 0 to {len(lines) - 1}, or the beginning of a uuid.",
            )
        return cls._of(Checked(found[0], f"The workload {case} of {source}", _WHAT), definition)

    @classmethod
    def _of(cls, line: Checked, definition: Definition) -> Workload:
        named = line.optional("definition", str, definition.name)
        if named != definition.name:
            raise UsageError(
                f"{line.where} is of the definition {named}, not of {definition.name}.", "Give the two that belong."
            )
        said = Checked(line.data["workload"], line.where, _WHAT) if "workload" in line.data else line
        said.demand("axes", "inputs")
        axes = _axes(said, definition)
        given = said.tables("inputs")
        unknown = [name for name in given if name not in {one.name for one in definition.inputs}]
        if unknown:
            raise said.wrong(f"{definition.name} has no input {unknown[0]}", "Leave it out.")
        inputs = {one.name: _source(one, given.get(one.name)) for one in definition.inputs}
        return cls(str(said.data.get("uuid", "")), axes, inputs, line.data)

    def shape(self, tensor: TensorSpec) -> tuple[int, ...]:
        """The extents of one input or output; none for a number."""
        return tuple(self.axes[axis] for axis in tensor.axes or ())


def _lines(path: Path) -> list[Any]:
    texts = [one for one in text_of(path, "Give the file of workloads.").splitlines() if one.strip()]
    found = []
    for number, text in enumerate(texts, 1):
        try:
            found.append(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise UsageError(
                f"{path} is no JSON in line {number}: {said_by(error)}.", "A line holds one workload."
            ) from None
    return found


def _inner(line: Any) -> Mapping[str, Any]:
    inner = line.get("workload", line) if isinstance(line, Mapping) else {}
    return inner if isinstance(inner, Mapping) else {}


def _axes(said: Checked, definition: Definition) -> dict[str, int]:
    given = Checked(said.data["axes"], f"axes of {said.where}", _WHAT).data
    variable = [name for name, extent in definition.axes.items() if extent is None]
    missing = [name for name in variable if name not in given]
    if missing:
        raise said.wrong(
            f"it gives no extent to {', '.join(missing)}", f"{definition.name} has the variable axes {_all(variable)}."
        )
    for name, extent in given.items():
        if name not in definition.axes:
            raise said.wrong(f"{definition.name} has no axis {name}", f"It has the variable axes {_all(variable)}.")
        if not isinstance(extent, int) or isinstance(extent, bool) or extent < 0:
            raise said.wrong(f"its axis {name} is {extent!r}", "An extent is a whole number.")
        if definition.axes[name] not in (None, extent):
            raise said.wrong(f"its axis {name} is {extent}", f"{definition.name} has {definition.axes[name]} there.")
    return {name: given[name] if extent is None else extent for name, extent in definition.axes.items()}


def _source(tensor: TensorSpec, said: Checked | None) -> Mapping[str, Any]:
    if said is None:
        return {"type": "random"}
    kind = said.text("type")
    if kind not in _SOURCES:
        raise said.wrong(f'its type is "{kind}"', f"The format knows {', '.join(_SOURCES)}.")
    said.demand("type", *_SOURCES[kind])
    if kind == "safetensors":
        for name in _SOURCES[kind]:
            said.text(name)
    if (kind == "scalar") != (tensor.axes is None) and kind != "random":
        what = "a number" if tensor.axes is None else "a tensor"
        raise said.wrong(f"its type is {kind}, and {tensor.name} is {what}", "Give numbers to numbers alone.")
    value = said.data.get("value")
    if kind == "scalar" and not isinstance(value, (bool, int, float)) and value is not None:
        raise said.wrong(f"its value is {value!r}", "It is a number, true or false.")
    return said.data


def _all(names: list[str]) -> str:
    return ", ".join(names) or "(none)"
