"""The rig of a GPU: spin kernels of known cycles, and PyTorch's own kernels raced against themselves."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (torch's own convention)

from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.bench.race.reference import ReferencePicker
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.cuda.device import CudaDevice
from pytest_kgate.device.protocol import Workload
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.problems.problem import Problem
from pytest_kgate.problems.shape import Shape
from pytest_kgate.validation.calibrate.cases import Case
from pytest_kgate.validation.calibrate.rigs.rig import Contest

_SHAPE = Shape(1, 8, 512, 64)

_SHORT_SPIN = 400_000
_LONG_SPIN = 4_000_000
"""0.2 and 2 ms at 2 GHz: of their difference, the 0.03 us step of an event is a fifty-thousandth."""

_CLOCK_READINGS = 3

_SPENT_READINGS = 64

_GOLDEN = 0.6180339887498949
"""Its multiples, modulo 1, cover the unit interval evenly however many are taken, from wherever one begins."""


def _gemm(n: int) -> Problem:
    def inputs(generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        return _normal((n, n), generator), _normal((n, n), generator)

    return Problem(f"gemm {n}x{n}x{n} float16", inputs, torch.mm, exact=lambda a, b: a.double() @ b.double())


def _layer_norm() -> Problem:
    def layer_norm(x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, (1024,))

    return Problem(
        "layer norm 4096x1024 float16",
        lambda generator: (_normal((4096, 1024), generator),),
        layer_norm,
        exact=lambda x: F.layer_norm(x.double(), (1024,)),
    )


def _normal(extents: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return torch.randn(extents, generator=generator, device=generator.device, dtype=torch.float16)


class CudaRig:
    """The rig of one GPU, with the device and the kernels that its cases race."""

    kind = "cuda"

    def __init__(self, index: int) -> None:
        self.device = CudaDevice(index)
        self.lease_name = str(self.device.environment()["gpu"]["uuid"])
        self._picker = ReferencePicker()
        self._problems: dict[str, Callable[[], Problem]] = {
            "sdpa-fastest": lambda: sdpa_problem(_SHAPE),
            "sdpa-flash": lambda: sdpa_problem(_SHAPE, backend="flash"),
            "gemm": lambda: _gemm(1024),
            "gemm-large": lambda: _gemm(6144),
            "layernorm": _layer_norm,
            "behind-graph": lambda: sdpa_problem(_SHAPE, backend="flash"),
        }

    def contest(self, case: Case, timer: str, cache: str, seed: int) -> Contest:
        """Make both arms of a problem's reference, one of them launched by a CUDA graph where the case asks for it."""
        problem = self._problems[case.kernel]()
        workload = workload_of(problem, self.device)
        picked = self._picker.pick(problem, self.device, "auto" if timer == "eager" else timer, cache)
        reference = picked.arm
        if case.kernel == "behind-graph":
            candidate, reference = self._behind_graph(reference, workload)
            return Contest(self.device, (candidate, reference), workload, picked.backend)
        candidate = Arm("candidate", reference.call, reference.takes_output)
        return Contest(self.device, (candidate, reference), workload, picked.backend)

    def spins(self, candidate: int | None, reference: int, seed: int, spread: int = 0) -> Contest:
        """Make two spin kernels, launched through the driver. They read no inputs, but timers ask for some."""

        def spin(cycles: int | None) -> Callable[..., Any]:
            instruments, stream = self.device.instruments, self.device.stream
            launches = itertools.count(seed % 1000)

            def call(inputs: tuple[Any, ...], output: Any) -> Any:
                if cycles is None:
                    instruments.null(stream)
                else:
                    instruments.spin(stream, _spread_out(cycles, spread, next(launches) * _GOLDEN))
                return inputs[0]

            return call

        def draw(seed: int) -> tuple[torch.Tensor, ...]:
            return (torch.randn(1024, device=self.device.torch_device),)

        arms = (Arm("candidate", spin(candidate), False), Arm("reference", spin(reference), False))
        return Contest(self.device, arms, Workload(draw, lambda inputs: torch.empty_like(inputs[0])))

    def spent_cycles(self, cycles: int, spread: int = 0) -> float:
        """Mean cycles of 64 launches, as the kernel itself counts them."""
        device = self.device
        with device.running("counting the cycles of a spin kernel"):
            spent = torch.zeros(_SPENT_READINGS, dtype=torch.int64, device=device.torch_device)
            for turn, reading in enumerate(spent.unbind()):
                length = _spread_out(cycles, spread, (turn + 0.5) / _SPENT_READINGS)
                device.instruments.spin(device.stream, length, reading)
            device.wait()
            return float(spent.double().mean())

    def clock_hz(self) -> float:
        """The SM clock: cycles over seconds of a long spin less a short one, median of three readings; takes 10 ms."""
        device = self.device
        readings = []
        with device.running("measuring the SM clock"):
            device.instruments.spin(device.stream, _LONG_SPIN)  # the clock rises from idle
            for _ in range(_CLOCK_READINGS):
                seconds = []
                for cycles in (_SHORT_SPIN, _LONG_SPIN):
                    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                    start.record()
                    device.instruments.spin(device.stream, cycles)
                    end.record()
                    device.wait()
                    seconds.append(float(start.elapsed_time(end)) * 1e-3)
                readings.append((_LONG_SPIN - _SHORT_SPIN) / (seconds[1] - seconds[0]))
        return float(np.median(readings))

    def _behind_graph(self, arm: Arm, workload: Workload) -> tuple[Arm, Arm]:
        """Two arms of one kernel on the same inputs: replayed by a CUDA graph of one launch, and launched as usual."""
        device = self.device
        with device.running("capturing"):
            inputs = workload.draw(0)
            arm.call(inputs, None)  # loads modules, which a capture must not
            device.wait()
            graph = torch.cuda.CUDAGraph()
            graph.capture_begin(capture_error_mode="thread_local")
            captured = arm.call(inputs, None)
            graph.capture_end()

        def replayed(_: tuple[Any, ...], output: Any) -> Any:
            graph.replay()
            return captured

        def launched(_: tuple[Any, ...], output: Any) -> Any:
            return arm.call(inputs, None)

        return Arm("candidate", replayed, False), Arm("reference", launched, False)


def _spread_out(cycles: int, spread: int, turn: float) -> int:
    """The length of launch number `turn`: within `spread` of `cycles`, evenly spread over many launches."""
    return round(cycles + spread * (2 * (turn % 1) - 1))
