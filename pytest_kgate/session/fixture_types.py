"""What the fixtures are to a type checker: annotate a test's arguments with these names of `pytest_kgate`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol

if TYPE_CHECKING:
    from pytest_kgate.build.kernel import Kernel
    from pytest_kgate.integrity.isolation.candidate_name import CandidateSource
    from pytest_kgate.problems.problem import Problem
    from pytest_kgate.problems.problem import Shape
    from pytest_kgate.report.record.record import Record


class Kbench(Protocol):
    """The fixture `kbench`."""

    def __call__(
        self,
        candidate: Callable[..., Any] | str,
        problem: Problem,
        *,
        name: str | None = None,
        check: bool = True,
        precision: float | None = None,
        own: bool | None = None,
        speedup: float = ...,
        allclose: float = ...,
        timer: str = ...,
        cache: str = ...,
        budget: float = ...,
        seed: int | str = ...,
        sdpa_backend: str = ...,
        inconclusive: str = ...,
        rule: str = ...,
        processes: int = ...,
        isolate: bool = ...,
        timeout: float = ...,
    ) -> Record:
        """Check, race, judge, record; raises `GateFailure`, or returns the record.

        The candidate is a callable, or named: "path/to/file.py:function", relative to the test's own folder or to where
        pytest was started, or "package.module:function".

        Args:
            candidate: What is tested. It takes the problem's inputs, and its params by name.
            problem: What it computes, with the reference that it races against and the exact answer.
            name: The candidate's, in tables; None for its own.
            check: Whether a wrong answer fails the test where it demands speed but names no tolerance.
            precision: Half-width of the interval, relative to the ratio, at which the race may stop.
            own: Whether the candidate claims to call no library; None: it does if it is built from a kernel's source.
            speedup: Bound of the latency ratio, in place of the markers'.
            allclose: Absolute tolerance, in place of the marker's.
            timer, cache, budget, seed, sdpa_backend, inconclusive, rule, processes, isolate, timeout:
                Options of this call, in place of the perf marker's and the session's.
        """
        ...


class SdpaOracle(Protocol):
    """The fixture `sdpa_oracle`."""

    def __call__(
        self, shape: Shape, dtype: str = "float16", backend: str | None = None, seed: int | None = None
    ) -> Problem:
        """Scaled dot-product attention of this shape; `backend` is what it races against; None for the session's."""
        ...


class Kernels(Protocol):
    """The fixture `kernels`."""

    def __call__(
        self, implementation: str | Path, *, debug: bool | None = None, **knobs: int
    ) -> Kernel | CandidateSource:
        """Compile (once, cached) and load a shipped implementation by its name, or a source file by its path.

        Knobs are the source's compile-time constants. `debug` builds it with what it asserts on the device; None for
        what the perf marker or --kgate-debug says.
        """
        ...
