"""One `kbench` call: check, race, judge. Knows nothing of pytest."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.check import verify_timed_output
from pytest_kgate.bench.correctness.check import workload_of
from pytest_kgate.bench.correctness.selftest import selftest
from pytest_kgate.bench.processes import gather
from pytest_kgate.bench.race import race
from pytest_kgate.bench.race.probes import overlaps
from pytest_kgate.bench.race.probes import remembers
from pytest_kgate.bench.race.resolution import too_tight
from pytest_kgate.bench.race.retry import trusted_race
from pytest_kgate.bench.record_builder import Account
from pytest_kgate.bench.request import Job
from pytest_kgate.bench.request import Outcome
from pytest_kgate.bench.seeds import Stream
from pytest_kgate.device.arm import CALL_CONVENTION
from pytest_kgate.device.arm import bind
from pytest_kgate.device.arm import blamed
from pytest_kgate.device.arm import raised_in_call
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Stopwatch
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import TimingError
from pytest_kgate.errors import UsageError
from pytest_kgate.integrity.checks import IntegrityChecks
from pytest_kgate.integrity.checks import Verify
from pytest_kgate.integrity.tampering.exit_guard import no_successful_exit
from pytest_kgate.report.record.record import Record
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.system.deadline import deadline
from pytest_kgate.system.gpu_lease import leased

if TYPE_CHECKING:
    from pytest_kgate.bench.race.reference import ReferencePicker


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
    account = Account(job, device, environment)
    if job.sanitizer is not None and job.sanitizer["verdict"] != "PASS":
        account.error = str(job.sanitizer["reason"])
        return Outcome(account.finish())
    try:
        with contextlib.ExitStack() as stack:
            if job.options.integrity == "on":
                stack.enter_context(no_successful_exit())
            if job.options.isolate:
                # Here, since it takes time to load, and most sessions isolate nothing.
                from pytest_kgate.integrity.isolation.candidate import Isolation

                isolation = Isolation(
                    job.candidate,
                    job.problem.params,
                    job.book.numbered(Stream.ISOLATED_VALUES),
                    job.book.numbered(Stream.ISOLATED_REFERENCE),
                    job.options.budget,
                    device,
                )
                account.isolation = stack.enter_context(isolation)
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
        found = blamed("The candidate or the reference", CALL_CONVENTION, error)
        account.error = f"{found.what} {found.todo}"
        return Outcome(account.finish(), error)
    record = account.finish()
    if job.in_processes and record["verdict"] in ("PASS", "MEASURED"):
        assert spawn is not None
        record = gather.gather(record, job, spawn, progress)
    return Outcome(record)


def not_judged(job: Job, device: Device, environment: Mapping[str, Any]) -> Record:
    """The record of a job of which only the candidate was called, in a process that another tool watches."""
    return Account(replace(job, speed=(), error=None), device, environment).finish()


def _run(
    job: Job,
    device: Device,
    picker: ReferencePicker,
    account: Account,
    when_stuck: Callable[[str], None],
    progress: Callable[[race.Progress], None] | None,
    notice: Callable[[str], None] | None,
) -> None:
    options, problem, isolation = job.options, job.problem, account.isolation
    candidate = isolation.arm if isolation else bind("candidate", job.candidate, problem.params)
    checks = account.integrity = IntegrityChecks(
        candidate,
        device,
        problem,
        on=options.integrity == "on",
        own=job.claims_own,
        says=(account.candidate_name, *job.declared_libraries),
        isolated=isolation is not None,
    )
    with leased(account.lease_name, options.timeout):
        with deadline(options.timeout, f"the check of {problem.name}", when_stuck):
            account.reference = reference = picker.pick(problem, device, options.timer, options.cache)
            if options.selftest:
                account.selftest = selftest(device, problem, reference.arm, job.error, job.seed)
                return
            guarded_problem, guarded_candidate = checks.begin()
            try:
                account.correctness = check(
                    device, guarded_problem, guarded_candidate, reference.arm, job.error, job.seed
                )
            finally:
                checks.phase_over()
        if account.correctness.verdict is not Verdict.PASS and job.must_be_right:
            return
        if job.in_processes:
            return  # which take the device one after the other
        with deadline(options.timeout + 2 * options.budget, f"the race on {problem.name}", when_stuck):
            workload = workload_of(problem, device, account.correctness.like)
            verify = functools.partial(verify_timed_output, device, problem, account.correctness)
            stopwatch: Stopwatch
            if isolation:
                stopwatch = isolation.stopwatch(reference.arm, workload)
            else:
                arms = (candidate, reference.arm)
                stopwatch = device.stopwatch(arms, workload, timer=options.timer, cache=options.cache)
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
                    undone = isolation.undone if isolation else functools.partial(_work_undone, device, account.race)
                    account.invalid = undone(workload, verify)
                account.invalid = account.invalid or (account.trusted.invalid if job.speed else None)
                if isolation and account.may_pass:
                    account.invalid = isolation.disturbed(account.race.reference, account.race.judgements)
            finally:
                stopwatch.close()
                checks.phase_over(slow=True)
        if account.may_pass:
            with deadline(options.timeout, f"the integrity checks of {problem.name}", when_stuck):
                try:
                    checks.observe(
                        workload,
                        job.book.numbered(Stream.OBSERVED_VALUES),
                        stopwatch.timer,
                        options.cache,
                        account.race.candidate,
                        verify,
                    )
                finally:
                    checks.phase_over()


def _work_undone(device: Device, result: race.Race, workload: Workload, verify: Verify) -> str | None:
    """Why the timed launches can't be trusted to have done the work, as one sentence."""
    with device.running("waiting for all that the candidate has launched"):
        device.synchronize()  # on a stream of its own it may lag behind, and write into the inputs that are drawn next
    for seed, answer in (pair for probe in result.probes.kept for pair in probe.answers):
        with device.running("verifying a timed launch"):
            inputs = workload.draw(seed)
        reason = verify(inputs, answer)
        if reason is not None:
            return reason
    remembered = remembers(result.probes.first_touch_excess_seconds, result.candidate)
    return remembered or overlaps(result.probes.overlap_seconds, float(np.median(result.candidate)))
