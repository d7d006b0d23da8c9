"""One `kbench` call: check, race, judge, and the record of it. Knows nothing of pytest."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from pytest_kgate import race
from pytest_kgate.calibrate.advice import too_tight
from pytest_kgate.calling import bind
from pytest_kgate.calling import blamed
from pytest_kgate.calling import ignored_params
from pytest_kgate.calling import raised_in_call
from pytest_kgate.device.base import Device
from pytest_kgate.device.base import Stopwatch
from pytest_kgate.device.lease import leased
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import TimingError
from pytest_kgate.errors import UsageError
from pytest_kgate.gate import ErrorGate
from pytest_kgate.gate import Judgement
from pytest_kgate.gate import SpeedGate
from pytest_kgate.gate import Verdict
from pytest_kgate.gate import with_evidence
from pytest_kgate.integrity.watch import Watch
from pytest_kgate.mutants.selftest import Selftest
from pytest_kgate.mutants.selftest import selftest
from pytest_kgate.oracle import CALLED
from pytest_kgate.oracle import Correctness
from pytest_kgate.oracle import check
from pytest_kgate.oracle import verify_timed_output
from pytest_kgate.oracle import workload_of
from pytest_kgate.probing import remembers
from pytest_kgate.problem import Problem
from pytest_kgate.processes import gather
from pytest_kgate.report import record as records
from pytest_kgate.stats import count_outliers
from pytest_kgate.trust import Trusted
from pytest_kgate.trust import trusted_race
from pytest_kgate.watchdog import deadline

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_kgate.build.kernel import Kernel
    from pytest_kgate.options import Options
    from pytest_kgate.reference import Reference
    from pytest_kgate.reference import ReferencePicker


_SEED_BITS = 48
"""More than anyone can try, and short enough to be copied."""


@dataclass(frozen=True)
class Job:
    """What one `kbench` call was asked to do."""

    test: str
    """The test's node id."""
    call: int
    """0 for a test's first `kbench` call."""
    candidate: Callable[..., Any]
    problem: Problem
    speed: tuple[SpeedGate, ...]
    error: ErrorGate | None
    options: Options
    name: str | None = None
    """The candidate's name in tables; None for its own."""
    check: bool = True
    """Whether a wrong answer fails a job that demands speed but names no tolerance."""
    precision: float | None = None
    attempt: int = 1
    """Which run of the test this is; above 1 where a plugin reruns failed tests."""
    own: bool | None = None
    """Whether the candidate claims to call no library; None: it does if it was built from a kernel's source."""
    process: int | None = None
    """Which of a gate's processes this is, from 1: it measures, and its parent judges. None where this one judges."""
    sanitizer: Mapping[str, Any] | None = None
    """What compute-sanitizer found in the test's kernels; a finding ends the job before its check."""

    @property
    def seed(self) -> int:
        """The problem's own, or the session's; of one of several processes, its own."""
        seed = self.session_seed if self.problem.seed is None else self.problem.seed
        return seed if self.process is None else gather.seed_of(seed, self.process)

    @functools.cached_property
    def session_seed(self) -> int:
        """Of --kgate-seed; else drawn for this call, so that no record that is written before it gives it away."""
        return secrets.randbits(_SEED_BITS) if self.options.seed is None else self.options.seed

    @property
    def claims_own(self) -> bool:
        """Whether a library's kernel in its place would be a lie."""
        return hasattr(self.candidate, "build") if self.own is None else self.own

    @property
    def in_processes(self) -> bool:
        """Whether other processes race, and this one checks and judges."""
        races = bool(self.speed) and not self.options.selftest
        return self.process is None and self.options.processes > 1 and races

    @property
    def must_be_right(self) -> bool:
        """Whether a wrong answer ends the job; a job that demands nothing only measures."""
        return self.error is not None or (self.check and bool(self.speed))


@dataclass(frozen=True)
class Outcome:
    """The record, and the exception behind an ERROR verdict."""

    record: records.Record
    cause: BaseException | None = None


def run(
    job: Job,
    device: Device,
    picker: ReferencePicker,
    environment: Mapping[str, Any],
    when_stuck: Callable[[str], None],
    progress: Callable[[race.Progress], None] | None = None,
    notice: Callable[[str], None] | None = None,
    spawn: gather.Spawn | None = None,
) -> Outcome:
    """Check, race and judge; whatever the candidate does wrong ends in the record, not in an exception.

    `notice` is handed what a user should know before the budget is spent. `spawn` starts one of several processes, and
    is needed where the job asks for them. Raises `UsageError` where the call itself makes no sense.
    """
    account = _Account(job, device, environment)
    if job.sanitizer is not None and job.sanitizer["verdict"] != "PASS":
        account.error = str(job.sanitizer["reason"])
        return Outcome(account.finish())
    try:
        _run(job, device, picker, account, when_stuck, progress, notice)
    except UsageError:
        raise
    except TimingError as error:
        account.invalid = f"{error.what} {error.todo}"
    except KgateError as error:
        account.error = f"{error.what} {error.todo}"
        return Outcome(account.finish(), error.__cause__)
    except Exception as error:
        if not raised_in_call(error):
            raise
        found = blamed("The candidate or the reference", CALLED, error)
        account.error = f"{found.what} {found.todo}"
        return Outcome(account.finish(), error)
    record = account.finish()
    if job.in_processes and record["verdict"] in ("PASS", "MEASURED"):
        assert spawn is not None
        record = gather.gather(record, job, spawn, progress)
    return Outcome(record)


def not_judged(job: Job, device: Device, environment: Mapping[str, Any]) -> records.Record:
    """The record of a job of which only the candidate was called, in a process that another tool watches."""
    return _Account(replace(job, speed=(), error=None), device, environment).finish()


def _run(
    job: Job,
    device: Device,
    picker: ReferencePicker,
    account: _Account,
    when_stuck: Callable[[str], None],
    progress: Callable[[race.Progress], None] | None,
    notice: Callable[[str], None] | None,
) -> None:
    options, problem = job.options, job.problem
    candidate = bind("candidate", job.candidate, problem.params)
    watch = account.watch = Watch(
        candidate, device, problem, on=options.integrity == "on", own=job.claims_own, name=account.candidate_name
    )
    with leased(account.lease_name, options.timeout):
        with deadline(options.timeout, f"the check of {problem.name}", when_stuck):
            account.reference = reference = picker.pick(problem, device, options.timer, options.cache)
            if options.selftest:
                account.selftest = selftest(device, problem, reference.arm, job.error, job.seed)
                return
            fenced_problem, fenced_candidate = watch.begin()
            try:
                account.correctness = check(
                    device, fenced_problem, fenced_candidate, reference.arm, job.error, job.seed
                )
            finally:
                watch.phase_over()
        if account.correctness.verdict is not Verdict.PASS and job.must_be_right:
            return
        if job.in_processes:
            return  # which take the device one after the other
        with deadline(options.timeout + 2 * options.budget, f"the race on {problem.name}", when_stuck):
            stopwatch = device.stopwatch(
                (candidate, reference.arm),
                workload_of(problem, device, account.correctness.like),
                timer=options.timer,
                cache=options.cache,
            )
            try:
                judges = job.process is None
                plan = race.Plan(options.budget, job.seed, job.precision if judges else gather.ALL_ROUNDS)
                account.stopwatch = stopwatch
                account.advice = too_tight(account.environment, stopwatch, job.speed)
                if notice is not None:
                    for warning in account.advice:
                        notice(warning)
                account.trusted = trusted_race(device, stopwatch, job.speed if judges else (), plan, progress)
                account.race = account.trusted.race
                if account.race.rounds and job.must_be_right:
                    account.invalid = _work_undone(device, problem, account.race, account.correctness)
                account.invalid = account.invalid or (account.trusted.invalid if job.speed else None)
            finally:
                stopwatch.close()
                watch.phase_over()
        if account.may_pass:
            with deadline(options.timeout, f"the integrity checks of {problem.name}", when_stuck):
                workload = workload_of(problem, device, account.correctness.like)
                verify = functools.partial(_verify, device, problem, account.correctness)
                try:
                    watch.observe(workload, job.seed, stopwatch.timer, options.cache, account.race.candidate, verify)
                finally:
                    watch.phase_over()


def _verify(
    device: Device, problem: Problem, correctness: Correctness, inputs: tuple[Any, ...], output: Any
) -> str | None:
    return verify_timed_output(device, problem, inputs, output, correctness)


def _work_undone(device: Device, problem: Problem, result: race.Race, correctness: Correctness) -> str | None:
    """Why the timed launches can't be trusted to have done the work, as one sentence."""
    workload = workload_of(problem, device, correctness.like)
    for seed, answer in (pair for probe in result.probes.kept for pair in probe.answers):
        with device.running("verifying a timed launch"):
            inputs = workload.draw(seed)
        reason = verify_timed_output(device, problem, inputs, answer, correctness)
        if reason is not None:
            return reason
    return remembers(result.probes.surprise_seconds, float(np.median(result.candidate)))


class _Account:
    """Gathers what is known so far, so that a race which breaks off still leaves a whole record."""

    def __init__(self, job: Job, device: Device, environment: Mapping[str, Any]) -> None:
        self.job = job
        self.started = records.now()
        self.environment = {**environment, **device.environment()}
        self.lease_name = self.environment.get("gpu", {}).get("uuid", device.kind)
        self.reference: Reference | None = None
        self.correctness: Correctness | None = None
        self.selftest: Selftest | None = None
        self.stopwatch: Stopwatch | None = None
        self.advice: list[str] = []
        self.trusted: Trusted | None = None
        self.race: race.Race | None = None
        self.watch: Watch | None = None
        self.error: str | None = None
        self.invalid: str | None = None

    @property
    def candidate_name(self) -> str:
        """As tables show it."""
        return str(candidate_facts(self.job.candidate, self.job.name, self.job.problem.params)["name"])

    @property
    def may_pass(self) -> bool:
        """Whether nothing speaks against the candidate so far, once the race is over."""
        if self.invalid or self.correctness is None or self.race is None or not self.race.rounds:
            return False
        judged = (self.correctness.verdict, *(one.verdict for one in self.race.judgements))
        return all(verdict is Verdict.PASS for verdict in judged)

    def finish(self) -> records.Record:
        """The record, in JSON's own types."""
        self.invalid = self.invalid or (self.watch.reason() if self.watch else None)
        judgements = self._judgements()
        gates = [one.to_dict() for one in judgements]
        correctness = self.correctness.to_dict() if self.correctness else None
        judged = correctness if self.job.must_be_right else None
        verdict = records.overall_verdict(gates, judged, ran=self.error is None)
        if self.invalid and verdict in ("PASS", "MEASURED"):
            verdict = "INVALID"
        if self.selftest:
            verdict = "FAIL" if self.selftest.lived else "PASS"
        reasons = [
            self.error,
            self.invalid,
            self.selftest.reason if self.selftest else "",
            judged["reason"] if judged else "",
            *(gate["reason"] for gate in gates),
        ]
        record = {
            "test": self.job.test,
            "call": self.job.call,
            "attempt": self.job.attempt,
            "started": self.started,
            "verdict": verdict,
            "reason": next((reason for reason in reasons if reason), ""),
            "problem": _problem_facts(self.job.problem),
            "candidate": candidate_facts(self.job.candidate, self.job.name, self.job.problem.params),
            "reference": _reference_facts(self.reference),
            "sanitizer": self.job.sanitizer,
            "correctness": correctness,
            **({"selftest": self.selftest.to_dict()} if self.selftest else {}),
            "gates": gates,
            "timing": self._timing(),
            "integrity": self.watch.to_dict() if self.watch else None,
            "seeds": {
                "session": self.job.session_seed,
                "race": self.trusted.seed if self.trusted else self.job.seed,
            },
            "environment": self.environment,
            "warnings": self._warnings(),
        }
        plain: records.Record = records.plain(record)
        return plain

    def _judgements(self) -> list[Judgement]:
        """The race's, with the bootstrap intervals that a reader may want beside the deciding one."""
        if self.race is None:
            return []
        result = self.race
        judgements = [
            with_evidence(one, result.candidate, result.reference, seed=self.job.seed) for one in result.judgements
        ]
        if self.invalid:
            return [replace(one, verdict=Verdict.INVALID, reason=self.invalid) for one in judgements]
        return judgements

    def _timing(self) -> dict[str, Any] | None:
        if self.race is None or self.stopwatch is None or not self.race.rounds:
            return None
        result = self.race
        overhead = np.median(result.overhead_seconds, axis=0)
        arms = {"candidate": result.candidate, "reference": result.reference}
        return {
            "timer": self.stopwatch.timer,
            "cache": self.stopwatch.cache,
            "rounds": result.rounds,
            "samples_per_round": result.candidate.shape[1],
            "budget_seconds": self.job.options.budget,
            "seconds_spent": result.spent_seconds,
            "tick_seconds": self.stopwatch.tick_seconds,
            "retaken": result.retaken,
            **{name: arm_facts(samples) for name, samples in arms.items()},
            "overhead_seconds": dict(zip(arms, overhead.tolist(), strict=True)),
            "ratio": result.ratio.to_dict() if result.ratio else None,
            "ratio_of_medians": float(np.median(result.candidate) / np.median(result.reference)),
            "evidence": {
                **{name: values.tolist() for name, values in result.evidence.items()},
                **(self.trusted.facts if self.trusted else {}),
            },
            "probes": result.probes.to_dict(),
            "outliers": {name: count_outliers(samples, self.stopwatch.tick_seconds) for name, samples in arms.items()},
        }

    def _warnings(self) -> list[str]:
        warnings = list(self.stopwatch.warnings) if self.stopwatch else []
        if self.watch:
            warnings += self.watch.warnings
        warnings += self.advice
        if self.trusted:
            warnings += self.trusted.warnings
            if self.trusted.invalid and not self.job.speed:
                warnings.append(f"not to be trusted: {self.trusted.invalid}")
        if self.correctness and self.correctness.verdict is not Verdict.PASS and not self.job.must_be_right:
            warnings.append(f"the answer was not judged, but {self.correctness.reason}")
        if self.correctness and self.correctness.weak:
            warnings.append(
                f"the check is weak: it would also let pass {', '.join(self.correctness.weak)}; "
                "`kgate selftest` says which draws and checks find what"
            )
        if self.selftest and self.selftest.honest:
            warnings.append(f"the reference itself would fail this check: {self.selftest.honest}")
        if self.job.speed and "-DKGATE_DEBUG" in getattr(getattr(self.job.candidate, "build", None), "flags", ()):
            warnings.append("the candidate is a debug build: its device asserts are timed too")
        if self.job.speed and self.job.options.rule == "classic":
            warnings.append(
                "judged by the classic rule, whose error rate is not controlled: of candidates that are exactly on a "
                "bound below 1, about half pass"
            )
        if self.job.speed and self.job.attempt > 1:
            warnings.append(
                "rerun of a test: each try may err half as often as the one before, so that this one needs a stronger "
                "result; a gate that is tried until it passes errs up to twice as often as promised"
            )
        return warnings


def arm_facts(samples: NDArray[np.float64]) -> dict[str, Any]:
    """One arm of a record, from all its samples, (rounds, samples) net seconds."""
    p10, median, p90 = np.quantile(samples, [0.1, 0.5, 0.9])
    return {
        "median_seconds": median,
        "p10_seconds": p10,
        "p90_seconds": p90,
        "samples": records.encode_samples(samples),
    }


def _problem_facts(problem: Problem) -> dict[str, Any]:
    shape = problem.shape
    return {
        "name": problem.name,
        "shape": [shape.batch, shape.heads, shape.seqlen, shape.head_dim] if shape else None,
        "causal": shape.causal if shape else None,
        "dtype": problem.dtype,
        "flops": problem.flops,
        "bytes": problem.bytes,
        "params": dict(problem.params),
    }


def candidate_facts(
    candidate: Callable[..., Any] | Kernel, name: str | None, params: Mapping[str, Any]
) -> dict[str, Any]:
    """What is known of the candidate's build; of a plain callable, its name and which of `params` it does not take."""
    build = getattr(candidate, "build", None)
    own_name = getattr(candidate, "name", None) or getattr(candidate, "__name__", type(candidate).__name__)
    return {
        "name": name or str(own_name),
        "implementation": getattr(candidate, "implementation", None) if build else None,
        "knobs": dict(getattr(candidate, "knobs", {})) if build else {},
        "source_hash": build.source_hash if build else None,
        "flags": list(build.flags) if build else [],
        "arch": build.arch if build else None,
        "resources": [one.to_dict() for one in build.resources] if build else [],
        "ignored_params": ignored_params(candidate, params),
    }


def _reference_facts(reference: Reference | None) -> dict[str, Any] | None:
    if reference is None:
        return None
    return {
        "name": reference.name,
        "backend": reference.backend,
        "choices": dict(reference.choices),
        "refused": dict(reference.refused),
    }
