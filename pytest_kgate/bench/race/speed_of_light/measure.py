"""Measure what a device attains: large matrix products of each type, and copies of several sizes; a few seconds.

They are timed as races are, by the device's own stopwatch, in rounds of new inputs: random normals, since zeros run
faster. The median of the rounds counts, and of several sizes the best. The first round of each is left out: while a
GPU's clock rises from idle, the difference of a long and a short row of launches can read half of what a launch takes
(of float16 on an H100, 1.67e15 operations a second, where its data sheet has 0.99e15).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_kgate.bench.race.evidence.disturbances import foreign
from pytest_kgate.bench.race.evidence.disturbances import loaded
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
from pytest_kgate.integrity.roofline import peaks_of
from pytest_kgate.report.record.values import now
from pytest_kgate.statistics.wording import seconds as in_seconds

_MIB = 2**20

_SAMPLES = 2
"""Of each of the stopwatch's two arms, which are the same function, in a round."""

_AGREE = 0.05
"""Rounds whose middle half lies within this, as a fraction, are enough; else as many are taken again, twice at most."""

_PATIENCE_SECONDS = 10.0
"""Of the whole measurement, after which no rounds are taken again."""

_SLOWEST = 4
"""A product that takes so many times the longest is not measured: in such a type nobody computes here."""

_OF_BYTES = 32
"""Standard deviation of integers of eight bits: all their bits vary, and hardly any is cut off."""

_WAITED = 0.05
"""Share of a call's time in which it waited for a core, above which what it attained was not the machine's best."""

_BEYOND_CACHES = 2**29
"""Bytes of a copy from which on no cache serves it."""

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


_GPU = _Extents((2048, 4096, 8192), 8e-3, (*(size * _MIB for size in (4, 16, 32, 64, 128, 512)), 2048 * _MIB), 5)
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
    device: Device,
    identity: Mapping[str, Any],
    say: Callable[[str], None] | None = None,
    *,
    accept_disturbed: bool = True,
) -> MeasuredRates:
    """All rates of this device, which nobody else may use meanwhile; `say` is told what is measured as it begins.

    Unless `accept_disturbed`, products are left out where other work has slowed down the copies before them. Raises
    `KgateError` where not even a large copy can be timed.
    """
    watched = _Watched(device)
    say = say or (lambda what: None)
    operations: dict[str, Rate] = {}
    refused: dict[str, str] = {}
    say("copies")
    copies = _copies(watched)
    for name, product in _PRODUCTS.items() if accept_disturbed or not watched.disturbed() else ():
        if product.tf32 and device.kind == "host":
            continue
        say(f"products of {name}")
        try:
            with rounding_to_tf32(product.tf32):
                operations[name] = _best_product(watched, name, product)
        except (KgateError, RuntimeError, TypeError, AttributeError) as error:
            what = error.what if isinstance(error, KgateError) else str(error) or type(error).__name__
            refused[name] = what.strip().splitlines()[0].rstrip(".")
    seconds, others = time.perf_counter() - watched.start, watched.disturbed()
    return MeasuredRates(dict(identity), now(), seconds, operations, refused, copies, others)


class _Watched:
    """A device, with what was read in the rounds that were timed on it."""

    def __init__(self, device: Device) -> None:
        self.start = time.perf_counter()
        self.device = device
        self.extents = _HOST if device.kind == "host" else _GPU
        self.peaks = peaks_of(device)
        self._rounds: list[Round] = []
        self._before = device.read_machine()

    def seconds(self, stopwatch: Stopwatch, count: int) -> list[float]:
        """The seconds of a call in each of so many rounds, or more where they disagree: medians of their samples."""
        order = np.repeat(np.arange(2), _SAMPLES)
        stopwatch.round(RoundSeeds(0, 0), order)
        found: list[float] = []
        while not found or (len(found) < 3 * count and _spread(found) > _AGREE and self._has_time()):
            for number in range(len(found) + 1, len(found) + count + 1):
                self._rounds.append(stopwatch.round(RoundSeeds(number, number), order))
                found.append(float(np.median(self._rounds[-1].seconds)))
        return found

    def _has_time(self) -> bool:
        return time.perf_counter() - self.start < _PATIENCE_SECONDS

    def disturbed(self) -> str:
        """Other work that has taken what was to be measured, as a clause; empty where there was none."""
        readings = [one for one in (self._before, self.device.read_machine()) if one is not None]
        found = [reason.text for reason in foreign(enumerate(readings))]
        busy = [reason for reason in loaded(self._rounds) if min(reason.too_low, reason.too_high) > _WAITED]
        if busy:
            cores = np.mean([one.evidence["foreign_cpu"] + one.evidence.get("steal", 0.0) for one in self._rounds])
            found.append(f"other work took {cores:.2g} of the machine's cores")
        return "; ".join(found)


def _spread(seconds: Sequence[float]) -> float:
    """How far the middle half of the rounds reaches, as a share of their median."""
    low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75])
    return float((high - low) / middle) if middle > 0 else math.inf


def _best_product(watched: _Watched, name: str, product: _Product) -> Rate:
    best: Rate | None = None
    for rows in watched.extents.rows:
        work = 2.0 * rows**3
        if best is not None and work / best.per_second > watched.extents.longest:
            break
        workload = Workload(_matrices(watched.device, product.dtype, rows), lambda inputs: torch.empty_like(inputs[0]))
        arm = Arm(f"product of {rows}x{rows} {name}", product.call, takes_output=not product.allocates)
        peaks = watched.peaks
        most = math.inf if peaks is None else peaks.operations_per_second(str(product.dtype))
        try:
            rate = _rate(watched, arm, workload, work, rows, most)
        except TimingError:
            if best is None:
                raise
            break  # the smaller one will do
        best = rate if best is None or rate.per_second > best.per_second else best
    assert best is not None
    return best


def _copies(watched: _Watched) -> tuple[Rate, ...]:
    """Of all sizes that there is room for; those that could not be timed are left out, but the largest."""
    room = watched.device.available_bytes()
    sizes = [size for size in watched.extents.copies if room is None or 3 * size < room] or watched.extents.copies[:1]
    found: list[Rate] = []
    for size in sizes:
        try:
            found.append(_copy(watched, size))
        except TimingError:
            if size == sizes[-1]:
                raise
    return tuple(found)


def _copy(watched: _Watched, size: int) -> Rate:
    """The rate of a copy by PyTorch's own means, or that of an elementwise kernel, whichever is faster."""
    elements, where = size // 2 // 4, watched.device.torch_device

    def draw(seed: int) -> tuple[Tensor, ...]:
        generator = torch.Generator(device=where).manual_seed(seed)
        block = torch.randn(min(_BLOCK, elements), generator=generator, device=where)
        return (block.repeat(elements // len(block)),)

    def copy(inputs: tuple[Any, ...], output: Any) -> Any:
        return output.copy_(inputs[0])

    def negate(inputs: tuple[Any, ...], output: Any) -> Any:
        return torch.neg(inputs[0], out=output)

    workload, peaks = Workload(draw, lambda inputs: torch.empty_like(inputs[0])), watched.peaks
    most = math.inf if peaks is None else peaks.near_bytes_per_second
    if peaks is not None and peaks.far_bytes_per_second is not None and size >= _BEYOND_CACHES:
        most = peaks.far_bytes_per_second
    arms = [Arm(f"{what} of {size} bytes", call, True) for what, call in (("copy", copy), ("negation", negate))]
    return max((_rate(watched, arm, workload, float(size), size, most) for arm in arms), key=lambda one: one.per_second)


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


def _rate(watched: _Watched, arm: Arm, workload: Workload, work: float, size: int, most: float) -> Rate:
    """So much work over the median of the rounds; `most` is what no such device can reach in a second."""
    extents = watched.extents
    stopwatch = watched.device.stopwatch((arm, arm), workload, timer="auto", cache="hot")
    try:
        if stopwatch.reference_seconds > _SLOWEST * extents.longest:
            raise TimingError(f"{arm.name} takes {in_seconds(stopwatch.reference_seconds)}", "")
        found = watched.seconds(stopwatch, extents.rounds)
    finally:
        stopwatch.close()
    middle = float(np.median(found))
    if not middle > 0 or work / middle > most:
        raise TimingError(f"{arm.name} reads {in_seconds(middle)}, which can't be.", "Measure on a quieter machine.")
    return Rate(work / middle, _spread(found), size)
