"""The inputs of a workload of flashinfer-bench: random ones by seed, numbers as they are, recorded ones from files."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Generator
from torch import Tensor

from pytest_kgate.errors import LibraryMissing
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.published.flashinfer_bench.definition import Definition
from pytest_kgate.problems.published.flashinfer_bench.definition import TensorSpec
from pytest_kgate.problems.published.flashinfer_bench.workload import Workload
from pytest_kgate.problems.published.hard_inputs import HardInputs
from pytest_kgate.problems.trees.foreign import said_by

_WHOLE = {torch.int8: 128, torch.int16: 1024, torch.int32: 1024, torch.int64: 1024}
"""Random whole numbers are drawn from -n up to n - 1, as flashinfer-bench draws them (bench/utils.py there)."""

_LARGEST_8_BITS = 2.0
"""Random numbers of 8 bits are normal ones, cut off here, in flashinfer-bench and here."""

_POINTER = b"version https://git-lfs"


class Inputs:
    """Draws a workload's inputs, in the definition's order."""

    def __init__(self, definition: Definition, workload: Workload, root: Path) -> None:
        """`root` is the folder that the paths of recorded tensors start from. Reads those."""
        self._definition, self._workload = definition, workload
        self._recorded = {
            one.name: _recorded(one, workload, root)
            for one in definition.inputs
            if workload.inputs[one.name]["type"] == "safetensors"
        }
        self._numbers = {one.name: _number(one, workload) for one in definition.inputs if one.axes is None}
        self.harder = HardInputs()
        self._checked = False

    def draw(self, generator: Generator) -> tuple[Any, ...]:
        """On the generator's device; raises `UsageError` where a constraint of the definition does not hold."""
        drawn = tuple(self._one(tensor, generator) for tensor in self._definition.inputs)
        if not self._checked:
            self._demand_constraints(drawn)
            self._checked = True
        return drawn

    def draw_hard(self, generator: Generator, reference: Callable[..., Any]) -> tuple[Any, ...]:
        """Draw inputs, the random ones made harder as far as `reference` has a finite answer to them."""
        places = [place for place, one in enumerate(self._definition.inputs) if one.name in self._recorded]
        return self.harder(self.draw(generator), generator, reference, kept=places)

    def _one(self, tensor: TensorSpec, generator: Generator) -> Any:
        if tensor.name in self._recorded:
            return self._recorded[tensor.name].to(generator.device, copy=True)
        if tensor.name in self._numbers:
            return self._numbers[tensor.name]
        values = _random(self._workload.shape(tensor), dtype_of(tensor), generator)
        if self._definition.op_type == "sampling" and tensor.name == "probs":
            return values.softmax(-1)
        return values

    def _demand_constraints(self, drawn: tuple[Any, ...]) -> None:
        tensors = {one.name: value for one, value in zip(self._definition.inputs, drawn, strict=True)}
        names = {**self._workload.axes, **tensors}
        for constraint in self._definition.constraints:
            try:
                holds = bool(eval(constraint, {"__builtins__": {}}, names))
                why = "does not hold for"
            except Exception as error:
                holds, why = False, f"raises {type(error).__name__} ({error}) with"
            if not holds:
                raise UsageError(
                    f"The constraint {constraint} of {self._definition.name} {why} the workload {self._workload.uuid}.",
                    "Give a workload that fits: recorded inputs where random ones mean nothing.",
                )


def dtype_of(tensor: TensorSpec) -> torch.dtype:
    """PyTorch's; raises `UsageError` where it has no such tensors that can be computed with."""
    found = getattr(torch, tensor.dtype, None)
    if not isinstance(found, torch.dtype):
        raise UsageError(
            f"{tensor.name} is of {tensor.dtype}, of which no tensors are drawn here.",
            "Take a definition whose packed values are integers.",
        )
    return found


def _random(shape: tuple[int, ...], dtype: torch.dtype, generator: Generator) -> Tensor:
    device = generator.device
    if dtype is torch.bool:
        return torch.randint(2, shape, generator=generator, device=device).bool()
    if dtype in _WHOLE:
        most = _WHOLE[dtype]
        return torch.randint(-most, most, shape, generator=generator, device=device, dtype=dtype)
    if dtype.itemsize == 1:
        values = torch.randn(shape, generator=generator, device=device)
        return values.clamp_(-_LARGEST_8_BITS, _LARGEST_8_BITS).to(dtype)
    return torch.randn(shape, generator=generator, device=device, dtype=dtype)


def _number(tensor: TensorSpec, workload: Workload) -> Any:
    """A workload's number; a random one is the same in all draws, since captured launches can't be given another."""
    source = workload.inputs[tensor.name]
    if source["type"] == "scalar":
        return source["value"]
    return _random((), dtype_of(tensor), Generator().manual_seed(0)).item()


def _recorded(tensor: TensorSpec, workload: Workload, root: Path) -> Tensor:
    """The tensor of a safetensors file, on the host; raises `UsageError` where it does not fit the definition."""
    source: Mapping[str, Any] = workload.inputs[tensor.name]
    path = root / source["path"]
    if not path.is_file():
        raise UsageError(
            f"There is no file {path}, which the workload {workload.uuid} takes {tensor.name} from.",
            "Fetch it, or give root=...: the folder that the paths in workloads start from.",
        )
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise UsageError(f"{path} is a pointer of Git LFS, not the file.", "Fetch it: git lfs pull.")
    try:
        from safetensors import safe_open
    except ImportError:
        raise LibraryMissing(
            f"{tensor.name} of the workload {workload.uuid} is in a file of safetensors, which is not installed.",
            "Install it (pip install safetensors), or take a workload of random inputs.",
        ) from None
    try:
        with safe_open(path, framework="pt") as file:
            if source["tensor_key"] not in file.keys():  # noqa: SIM118, it is no dict
                raise UsageError(f"{path} has no tensor {source['tensor_key']}.", f"It has {', '.join(file.keys())}.")
            found: Tensor = file.get_tensor(source["tensor_key"])
    except UsageError:
        raise
    except Exception as error:  # of safetensors' own kinds, which its stubs do not name
        raise UsageError(f"{path} can't be read as safetensors: {said_by(error)}.", "Fetch it again.") from None
    wanted = workload.shape(tensor), dtype_of(tensor)
    if (tuple(found.shape), found.dtype) != wanted:
        raise UsageError(
            f"{source['tensor_key']} in {path} is {found.dtype} of {tuple(found.shape)}, and {tensor.name} of the "
            f"workload {workload.uuid} is {wanted[1]} of {wanted[0]}.",
            "Give the file that belongs to the workload.",
        )
    return found
