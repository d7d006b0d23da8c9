"""The cases of a calibration: kernels raced against themselves, and kernels whose true ratio is known. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_kgate.errors import UsageError

AA_BOUND = 1.0
"""The true ratio of a kernel raced against itself, so every PASS and every FAIL is false. At a bound of 0.95 all such
gates should fail, and would show nothing."""

TRUTH_BOUND = 0.95
"""The bound of the gates on kernels of known ratio: the one that users write most."""

UNAVAILABLE = "UNAVAILABLE"
"""The verdict of a case that can't be made on the device: an SDPA backend that it lacks. It counts nowhere."""

TRUE_RATIOS = (0.93, 0.945, 0.95, 0.955, 0.97)
"""Two that should pass, the bound itself (accuracy only), and two that must fail."""

SPIN_SECONDS = (2e-6, 10e-6, 100e-6)
"""Reference latencies of the spin kernels, launch floor included."""


@dataclass(frozen=True)
class Case:
    """One kind of race in a calibration: which kernels, at which bound, with which true ratio."""

    name: str
    """`aa-spin-10us`, `truth-spin-10us-0.955`."""

    group: str
    """`aa` (a kernel against itself), `truth` (a known ratio) or `side` (only to compare other rules)."""

    kernel: str
    """The kernel of which a rig makes the arms: `spin`, `sdpa-fastest`, `gemm`."""

    bound: float

    true_ratio: float | None = None
    """Candidate over reference, wanted; the truth of each gate is computed from what was measured beside it."""

    seconds: float | None = None
    """Wanted latency of a spin kernel's reference arm."""


def _micro(seconds: float) -> str:
    return f"{seconds * 1e6:g}us"


def _aa(kernel: str) -> Case:
    return Case(f"aa-{kernel}", "aa", kernel, AA_BOUND, 1.0)


def _spins(group: str) -> tuple[Case, ...]:
    if group == "aa":
        return tuple(
            Case(f"aa-spin-{_micro(seconds)}", "aa", "spin", AA_BOUND, 1.0, seconds) for seconds in SPIN_SECONDS
        )
    return tuple(
        Case(f"truth-spin-{_micro(seconds)}-{ratio:g}", "truth", "spin", TRUTH_BOUND, ratio, seconds)
        for seconds in SPIN_SECONDS
        for ratio in TRUE_RATIOS
    )


# A large gemm takes the power that a GPU may draw, so that its clock steps down and up in the middle of a race.
_CASES = {
    "cuda": (
        *_spins("aa"),
        *map(_aa, ("sdpa-fastest", "sdpa-flash", "gemm", "gemm-large", "layernorm")),
        *_spins("truth"),
    ),
    "host": (_aa("matmul"), _aa("sort")),
    "fake": (*_spins("aa"), *map(_aa, ("sdpa-fastest", "gemm")), *_spins("truth")),
}

BEHIND_A_GRAPH = Case("same-kernel-behind-graph", "side", "behind-graph", TRUTH_BOUND, 1.0)
"""The candidate is the reference's own kernel, launched by a CUDA graph: cheaper for the host, no faster on the device.
At 0.95, because the two ways to launch may differ by a little on the device too."""

_SIDE_BY_SIDE = ("aa-spin-10us", "aa-sdpa-fastest", "aa-matmul")


def catalogue(kind: str) -> tuple[Case, ...]:
    """All cases of a device kind: `cuda`, `host` or `fake`."""
    return _CASES[kind]


def side_by_side(kind: str) -> tuple[Case, ...]:
    """The cases on which our rule and other ones are compared."""
    chosen = tuple(case for case in _CASES[kind] if case.name in _SIDE_BY_SIDE)
    return chosen if kind == "host" else (*chosen, BEHIND_A_GRAPH)


def named(kind: str, name: str) -> Case:
    """The case of this name; KeyError where there is none."""
    return {case.name: case for case in (*catalogue(kind), *side_by_side(kind))}[name]


def select(cases: Iterable[Case], wanted: str) -> tuple[Case, ...]:
    """Cases by group, name or pattern, separated by commas: `aa`, `truth-spin-10us-*`; all where nothing is wanted."""
    cases = tuple(cases)
    chosen: set[str] = set()
    for pattern in (part.strip() for part in wanted.split(",") if part.strip()):
        found = {case.name for case in cases if case.group == pattern or fnmatch.fnmatchcase(case.name, pattern)}
        if not found:
            raise UsageError(
                f"There is no calibration case {pattern!r} on this device.",
                f"Name some of: {', '.join(case.name for case in cases)}.",
            )
        chosen |= found
    return tuple(case for case in cases if not wanted.strip() or case.name in chosen)
