"""Measure what a device attains: large matrix products of each type, and copies of several sizes; a second or two.

They are timed as races are, by the device's own stopwatch, in rounds of new inputs: random normals, since zeros run
faster. Of a few rounds the fastest counts, and of several sizes the best.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_kgate.bench.race.disturbances import foreign
from pytest_kgate.bench.race.disturbances import loaded
from pytest_kgate.bench.race.speed_of_light.rates import TF32
from pytest_kgate.bench.race.speed_of_light.rates import MeasuredRates
from pytest_kgate.bench.race.speed_of_light.rates import Rate
from pytest_kgate.bench.race.speed_of_light.tf32 import rounding_to_tf32
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Round
from pytest_kgate.device.protocol import RoundSeeds
from pytest_kgate.device.protocol import Stopwatch
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import TimingError
from pytest_kgate.report.record.values import now
from pytest_kgate.statistics.wording import seconds as in_seconds

_MIB = 2**20

_SAMPLES = 2
"""Of each of the stopwatch's two arms, which are the same function, in a round."""

_SLOWEST = 4
"""A product that takes so many times the longest is not measured: in such a type nobody computes here."""

_OF_BYTES = 32
"""Standard deviation of integers of eight bits: all their bits vary, and hardly any is cut off."""

_WAITED = 0.05
"""Share of a call's time in which it waited for a core, above which what it attained was not the machine's best."""

_BLOCK = 2**18
"""Elements that are drawn for a copy; they are repeated, since a gigabyte of normals takes the host seconds."""


@dataclass(frozen=True)
class _Extents:
    """How large the products and copies are that are measured on one kind of device."""

    rows: tuple[int, ...]
    """Of square matrices, ascending: the next size is taken while its product would last no longer than `longest`."""
    longest: float
    """Seconds of one product."""
    copies: tuple[int, ...]
    """Bytes of both arrays of a copy, ascending."""
    rounds: int


_GPU = _Extents((2048, 4096, 8192), 8e-3, (*(size * _MIB for size in (4, 8, 16, 32, 64, 128)), 2048 * _MIB), 5)
_HOST = _Extents((256, 512, 1024, 2048, 4096), 30e-3, (_MIB // 4, _MIB, 4 * _MIB, 16 * _MIB, 64 * _MIB, 512 * _MIB), 3)
"""Of a GPU, caches end between 4 and 128 MiB; of a host, between 1 MiB a core and some hundred MiB."""


@dataclass(frozen=True)
class _Product:
    """The product of two square matrices of one type."""

    dtype: torch.dtype
    call: Callable[[tuple[Any, ...], Any], Any]
    tf32: bool = False
    allocates: bool = False
    """Whether the call allocates its result, which is of a wider type."""


def _mm(inputs: tuple[Any, ...], output: Any) -> Any:
    return torch.mm(inputs[0], inputs[1], out=output)


def _scaled_mm(inputs: tuple[Any, ...], output: Any) -> Any:
    return torch._scaled_mm(inputs[0], inputs[1].t(), inputs[2], inputs[2], out_dtype=torch.bfloat16)


def _int_mm(inputs: tuple[Any, ...], output: Any) -> Any:
    return torch._int_mm(inputs[0], inputs[1].t())


_PRODUCTS: Mapping[str, _Product] = {
    "float16": _Product(torch.float16, _mm),
    "bfloat16": _Product(torch.bfloat16, _mm),
    "float32": _Product(torch.float32, _mm),
    TF32: _Product(torch.float32, _mm, tf32=True),
    "float64": _Product(torch.float64, _mm),
    "float8_e4m3fn": _Product(torch.float8_e4m3fn, _scaled_mm, allocates=True),
    "int8": _Product(torch.int8, _int_mm, allocates=True),
}


def measured_rates(
    device: Device, identity: Mapping[str, Any], say: Callable[[str], None] | None = None
) -> MeasuredRates:
    """All rates of this device, which nobody else may use meanwhile; `say` is told what is measured as it begins.

    Raises `KgateError` where not even a copy can be timed.
    """
    start = time.perf_counter()
    watched = _Watched(device)
    extents = _HOST if device.kind == "host" else _GPU
    operations: dict[str, Rate] = {}
    refused: dict[str, str] = {}
    for name, product in _PRODUCTS.items():
        if product.tf32 and device.kind == "host":
            continue
        if say is not None:
            say(f"products of {name}")
        try:
            with rounding_to_tf32(product.tf32):
                operations[name] = _best_product(watched, name, product, extents)
        except (KgateError, RuntimeError, TypeError, AttributeError) as error:
            what = error.what if isinstance(error, KgateError) else str(error) or type(error).__name__
            refused[name] = what.strip().splitlines()[0].rstrip(".")
    if say is not None:
        say("copies")
    room = device.available_bytes()
    sizes = [size for size in extents.copies if room is None or 3 * size < room] or [extents.copies[0]]
    copies = tuple(_copy(watched, size, extents) for size in sizes)
    seconds, others = time.perf_counter() - start, watched.disturbed()
    return MeasuredRates(dict(identity), now(), seconds, operations, refused, copies, others)


class _Watched:
    """A device, with what was read in the rounds that were timed on it."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._rounds: list[Round] = []
        self._before = device.read_machine()

    def rounds(self, stopwatch: Stopwatch, count: int) -> list[float]:
        """The seconds of a call in each of so many rounds, the median of the round's samples."""
        order = np.repeat(np.arange(2), _SAMPLES)
        taken = [stopwatch.round(RoundSeeds(number, number), order) for number in range(count)]
        self._rounds += taken
        return [float(np.median(one.seconds)) for one in taken]

    def disturbed(self) -> str:
        """Other work that has taken what was to be measured, as a clause; empty where there was none."""
        readings = [one for one in (self._before, self.device.read_machine()) if one is not None]
        found = [reason.text for reason in foreign(enumerate(readings))]
        busy = [reason for reason in loaded(self._rounds) if min(reason.too_low, reason.too_high) > _WAITED]
        if busy:
            cores = np.mean([one.evidence["foreign_cpu"] + one.evidence.get("steal", 0.0) for one in self._rounds])
            found.append(f"other work took {cores:.2g} of the machine's cores")
        return "; ".join(found)


def _best_product(watched: _Watched, name: str, product: _Product, extents: _Extents) -> Rate:
    best: Rate | None = None
    for rows in extents.rows:
        work = 2.0 * rows**3
        if best is not None and work / best.per_second > extents.longest:
            break
        workload = Workload(_matrices(watched.device, product.dtype, rows), lambda inputs: torch.empty_like(inputs[0]))
        arm = Arm(f"product of {rows}x{rows} {name}", product.call, takes_output=not product.allocates)
        try:
            rate = _rate(watched, arm, workload, work, rows, extents)
        except TimingError:
            if best is None:
                raise
            break  # the smaller one will do
        best = rate if best is None or rate.per_second > best.per_second else best
    assert best is not None
    return best


def _copy(watched: _Watched, size: int, extents: _Extents) -> Rate:
    elements, where = size // 2 // 4, watched.device.torch_device

    def draw(seed: int) -> tuple[Tensor, ...]:
        generator = torch.Generator(device=where).manual_seed(seed)
        block = torch.randn(min(_BLOCK, elements), generator=generator, device=where)
        return (block.repeat(elements // len(block)),)

    def copy(inputs: tuple[Any, ...], output: Any) -> Any:
        return output.copy_(inputs[0])

    workload = Workload(draw, lambda inputs: torch.empty_like(inputs[0]))
    return _rate(watched, Arm(f"copy of {size} bytes", copy, takes_output=True), workload, float(size), size, extents)


def _matrices(device: Device, dtype: torch.dtype, rows: int) -> Callable[[int], tuple[Tensor, ...]]:
    """Two matrices of these elements, and the scale of their product."""

    def draw(seed: int) -> tuple[Tensor, ...]:
        generator = torch.Generator(device=device.torch_device).manual_seed(seed)
        extents = (rows, rows)
        pair = [torch.randn(extents, generator=generator, device=device.torch_device) for _ in range(2)]
        if dtype == torch.int8:
            pair = [(one * _OF_BYTES).clamp(-128, 127) for one in pair]
        pair = [one.to(dtype) for one in pair]
        return (*pair, torch.ones((), device=device.torch_device))

    return draw


def _rate(watched: _Watched, arm: Arm, workload: Workload, work: float, size: int, extents: _Extents) -> Rate:
    """So much work over the seconds of the fastest round, each the median of its samples."""
    stopwatch = watched.device.stopwatch((arm, arm), workload, timer="auto", cache="hot")
    try:
        if stopwatch.reference_seconds > _SLOWEST * extents.longest:
            raise TimingError(f"{arm.name} takes {in_seconds(stopwatch.reference_seconds)}", "")
        medians = [one for one in watched.rounds(stopwatch, extents.rounds) if one > 0]
        if not medians:
            raise TimingError(f"{arm.name} is as short as what the timer takes off", "Time on a quieter machine.")
    finally:
        stopwatch.close()
    return Rate(work / min(medians), 1 - min(medians) / max(medians), size)
