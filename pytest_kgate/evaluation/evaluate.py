"""`evaluate`: the check, the race and the verdict of `kbench`, for programs that are no pytest session."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.bench import call
from pytest_kgate.bench.request import Request
from pytest_kgate.evaluation.arguments import demand_plain
from pytest_kgate.evaluation.arguments import demand_problem
from pytest_kgate.evaluation.arguments import limits_of
from pytest_kgate.evaluation.arguments import positive
from pytest_kgate.evaluation.arguments import settings_of
from pytest_kgate.evaluation.arguments import share
from pytest_kgate.evaluation.candidates import Unusable
from pytest_kgate.evaluation.candidates import candidate_named
from pytest_kgate.evaluation.judge import judge
from pytest_kgate.evaluation.judge import say_stuck
from pytest_kgate.evaluation.judged import Judged
from pytest_kgate.evaluation.options.override import from_environment
from pytest_kgate.evaluation.options.override import override
from pytest_kgate.problems.trees.foreign import attribute
from pytest_kgate.profile.resources.judge import judge_resources
from pytest_kgate.report.record.verdicts import with_limits
from pytest_kgate.statistics.gates import ErrorGate
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import SpeedOfLightGate

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.problems.problem import Problem

OPTIONS = (
    *("device", "timer", "cache", "budget", "seed", "weak", "rule", "isolate", "timeout"),
    *("foreign_load", "integrity", "clean", "arch", "debug", "percentile"),
)
"""Those that a call may set; an environment variable (`KGATE_BUDGET`) sets one that it does not."""


def evaluate(
    candidate: Callable[..., Any] | str,
    problem: Problem,
    speedup: float | None = 0.95,
    *,
    allclose: float | None = None,
    speed_of_light: float | None = None,
    resources: Mapping[str, float | str] | None = None,
    percentile: float | None = None,
    device: str | Device | None = None,
    name: str | None = None,
    check: bool = True,
    precision: float | None = None,
    own: bool | None = None,
    timer: str | None = None,
    cache: str | None = None,
    budget: float | None = None,
    seed: int | str | None = None,
    weak: str | None = None,
    rule: str | None = None,
    isolate: bool | None = None,
    timeout: float | None = None,
    foreign_load: str | None = None,
    integrity: str | None = None,
    clean: str | None = None,
    arch: str | None = None,
    debug: bool | None = None,
    say: Callable[[str], None] | None = None,
) -> Judged:
    """Check the candidate's answers, race it against the problem's reference, judge, and return the record of it all.

    Whatever the candidate does wrong is in the record: `record.passed`, `record["verdict"]`, `record["reason"]`. It can
    be called from any thread; calls of several threads come one after the other. Nothing is printed.

    Args:
        candidate: A callable that takes the problem's inputs, and its params by name. Or named, relative to the current
            folder: "file.py:function", "package.module:function", "kernel.cu"; "new.py" for a problem of KernelBench.
        problem: What it computes, with the reference that it races against and the exact answer.
        speedup: Bound of candidate latency / reference latency; None to check its answers only.
        allclose: Absolute tolerance; None for one that follows from the reference's own error.
        speed_of_light: Share of the device's measured roofline that the candidate must attain: 0.8.
        resources: Limits on what each of its kernels takes, as the marker's: {"registers": 72, "spills": 0}.
        percentile: The race goes on until both arms' latency has an interval at it: 0.99.
        device: "auto", "host", "cuda", "cuda:1", or a device of your own.
        name: The candidate's, in tables; None for its own.
        check: Whether a wrong answer ends the call where no tolerance is named; else it is raced all the same.
        precision: Half-width of the interval, relative to the ratio, at which the race may stop.
        own: Whether the candidate claims to call no library; None: it does if it is built from a kernel's source.
        isolate: Run the candidate, which must be named, in a process of its own: for code that you don't trust.
        timer, cache, budget, seed, weak, rule, timeout, foreign_load, integrity, clean, arch, debug:
            As pytest's options of these names, `budget` and `timeout` in seconds; None for what the environment says
            (`KGATE_BUDGET`), or the default.
        say: Is told whom the call waits for, and what is known ahead of the race, a sentence each: `print`, perhaps.

    Raises:
        UsageError: An argument makes no sense, or a file is not there.
        KgateError: A compiler, a library or the device is missing.
    """
    demand_problem("evaluate", candidate, problem)
    demand_plain("evaluate", name, check, own, precision)
    given: dict[str, Any] = {
        "timer": timer,
        "cache": cache,
        "budget": budget,
        "seed": seed,
        "weak": weak,
        "rule": rule,
        "isolate": isolate,
        "timeout": timeout,
        "foreign_load": foreign_load,
        "integrity": integrity,
        "clean": clean,
        "arch": arch,
        "debug": debug,
        "percentile": percentile,
        "device": device if isinstance(device, str) else None,
    }
    given = {option: value for option, value in given.items() if value is not None}
    options = override(from_environment(OPTIONS), "evaluate", allowed=OPTIONS, **given)
    speed = () if speedup is None else (SpeedGate(positive("evaluate", "speedup", speedup), rule=options.rule),)
    error = None if allclose is None else ErrorGate(positive("evaluate", "allclose", allclose))
    light = None if speed_of_light is None else SpeedOfLightGate(share("evaluate", "speed_of_light", speed_of_light))
    limits = limits_of("evaluate", resources or {})
    races = bool(speed or light or percentile)
    own_state = judge()
    with own_state.alone():
        if device is None or isinstance(device, str):
            device = own_state.device(options.device, options.timeout)
        if isinstance(candidate, str):
            candidate = candidate_named(candidate, problem, options, (Path.cwd(),), device.kind)
        if attribute(candidate, "device_kind", str) == "host" and device.kind == "cuda":
            device = own_state.device("host", options.timeout)
        request = Request(
            test="evaluate",
            call=0,
            candidate=candidate,
            problem=problem,
            speed=speed,
            error=error,
            light=light,
            settings=settings_of(options, until="time" if races else "check"),
            name=name,
            check=check,
            precision=precision,
            own=own,
            unusable=candidate.error if isinstance(candidate, Unusable) else None,
            asked={"command": [], "sources": dict(options.sources)},
        )
        outcome = call.run(
            request, device, own_state.picker, own_state.environment, say_stuck, None, say, say, None, own_state.room
        )
        record = outcome.record
        if limits:
            record = with_limits(record, judge_resources(request, device, limits, record, say_stuck, say))
    return Judged(record)
