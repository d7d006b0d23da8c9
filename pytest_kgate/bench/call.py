"""One `kbench` call from request to record: check the answers, race against the reference, judge the gates.

Nothing here knows of pytest.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.bench.correctness.check import Verification
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.check import on_small
from pytest_kgate.bench.correctness.problem_calls import demand_repeatable
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.bench.correctness.selftest import selftest
from pytest_kgate.bench.memory.measured import memory_plan
from pytest_kgate.bench.processes import gather
from pytest_kgate.bench.processes.clean import look
from pytest_kgate.bench.race import race
from pytest_kgate.bench.race.calibration.resolution import too_tight
from pytest_kgate.bench.race.probes import work_undone
from pytest_kgate.bench.race.retry import race_with_retry
from pytest_kgate.bench.race.speed_of_light.limit import light_of
from pytest_kgate.bench.record.builder import RecordBuilder
from pytest_kgate.bench.request import Outcome
from pytest_kgate.bench.request import Request
from pytest_kgate.bench.seeds import Stream
from pytest_kgate.device.answer import finished
from pytest_kgate.device.arm import bind
from pytest_kgate.device.arm import error_of
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Stopwatch
from pytest_kgate.errors import ProblemError
from pytest_kgate.errors import ProblemRaised
from pytest_kgate.errors import TimingError
from pytest_kgate.errors import UsageError
from pytest_kgate.integrity.checks.of_call import IntegrityChecks
from pytest_kgate.integrity.side_effects.memories.memoization import turned
from pytest_kgate.integrity.side_effects.memories.new_values import NewValues
from pytest_kgate.integrity.side_effects.placement import placed
from pytest_kgate.integrity.tampering.exit_guard import no_successful_exit
from pytest_kgate.integrity.tampering.tracing import untraced
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.system.clocks.deadline import deadline
from pytest_kgate.system.clocks.spent import ledger
from pytest_kgate.system.clocks.spent import spent
from pytest_kgate.system.gpu_lease import leased

if TYPE_CHECKING:
    from pytest_kgate.bench.race.reference import ReferencePicker


def run(
    request: Request,
    device: Device,
    picker: ReferencePicker,
    environment: Mapping[str, Any],
    when_stuck: Callable[[str], None],
    progress: Callable[[race.Progress], None] | None = None,
    notice: Callable[[str], None] | None = None,
    waiting: Callable[[str], None] | None = None,
    spawn: gather.Spawn | None = None,
    room: look.CleanRoom | None = None,
    step: Callable[[str], None] | None = None,
) -> Outcome:
    """Check the candidate's answers, race it against the reference, judge the gates, and return the record of it all.

    Whatever the candidate does wrong becomes a verdict in the record, not an exception. `picker` chooses among several
    references. `when_stuck` is told what was under way when a step hangs in native code. `progress` is called after
    each round; `notice` with warnings that a user should see before the budget is spent; `waiting` with whom the call
    waits for. `spawn` starts one of several processes, and is needed where the request asks for them. `room` has the
    session's clean process. `step` is told of `wait` (for the device), `check` and `time` as they begin. Raises
    `UsageError` where the call itself makes no sense.
    """
    builder = RecordBuilder(request, device, environment)
    step = step or (lambda name: None)
    if request.sanitizer is not None and request.sanitizer["verdict"] != "PASS":
        builder.error = request.sanitizer["reason"]
        return Outcome(builder.finish())
    if request.unusable is not None:
        builder.error = f"{request.unusable.what} {request.unusable.todo}"
        return Outcome(builder.finish(), request.unusable.__cause__)
    if request.settings.until == "build":
        return Outcome(builder.finish())
    try:
        with contextlib.ExitStack() as stack:
            builder.seconds = stack.enter_context(ledger()).seconds
            if request.settings.integrity == "on":
                stack.enter_context(no_successful_exit())
            if request.settings.isolate:
                # Here, since it takes time to load, and most sessions isolate nothing.
                from pytest_kgate.integrity.isolation.candidate import Isolation

                isolation = Isolation(
                    request.candidate,
                    request.problem.params,
                    request.book.numbered(Stream.ISOLATED_VALUES),
                    request.book.numbered(Stream.ISOLATED_REFERENCE),
                    request.settings.budget,
                    device,
                    request.settings.timer,
                    request.problem.mutates,
                )
                builder.isolation = stack.enter_context(isolation)
            clean = stack.enter_context(look.clean_look(room, request, device))
            _run(request, device, picker, builder, when_stuck, progress, notice, waiting, clean, step)
        if builder.isolation is not None:
            builder.invalid = builder.invalid or builder.isolation.invalid  # known once its process has ended
    except BaseException as error:
        found = error_of(error)
        if found is None:
            raise
        if isinstance(found, UsageError):
            raise request.in_its_layer(found) from None
        if not isinstance(found, TimingError):
            builder.error = f"{found.what} {found.todo}"
            builder.problem_at_fault = isinstance(found, (ProblemError, ProblemRaised))
            return Outcome(builder.finish(), found.__cause__)
        builder.invalid = f"{found.what} {found.todo}"
    record = builder.finish()
    if request.in_processes and VERDICTS[record["verdict"]].passes:
        assert spawn is not None
        record = gather.gather(record, request, spawn, progress, builder.light)
    return Outcome(record)


def _run(
    request: Request,
    device: Device,
    picker: ReferencePicker,
    builder: RecordBuilder,
    when_stuck: Callable[[str], None],
    progress: Callable[[race.Progress], None] | None,
    notice: Callable[[str], None] | None,
    waiting: Callable[[str], None] | None,
    clean: look.CleanLook | None,
    step: Callable[[str], None],
) -> None:
    settings, problem, isolation = request.settings, request.problem, builder.isolation
    called = problem.called(request.candidate)
    candidate = isolation.arm if isolation else bind("candidate", called, problem.params, problem.mutates)
    on_host = device.kind == "host"
    candidate = finished(candidate) if on_host and isolation is None else candidate
    builder.candidate = candidate
    checks = builder.integrity = IntegrityChecks(
        candidate,
        device,
        problem,
        on=settings.integrity == "on",
        own=request.claims_own,
        says=(builder.candidate_name, *request.declared_libraries),
        gates=(request.speed, request.error, request.light),
        isolated=isolation is not None,
    )
    with contextlib.ExitStack() as stack:
        step("wait")
        with spent("lease"):
            stack.enter_context(leased(builder.lease_name, settings.timeout, waiting))
        with spent("roofline"), deadline(settings.timeout, "the measurement of the device's roofline", when_stuck):
            builder.light = light_of(request, device)
        step("check")
        with spent("check"), deadline(settings.timeout, f"the check of {problem.name}", when_stuck):
            demand_repeatable(problem, device)
            reference = picker.pick(problem, device, settings.timer, settings.cache)
            builder.reference = reference = replace(reference, arm=finished(reference.arm)) if on_host else reference
            if settings.selftest:
                builder.selftest = selftest(device, problem, reference.arm, request.error, request.seed)
                return
            builder.memory, like = memory_plan(device, problem, candidate, reference.arm)
            builder.memory.demand_room(problem.name, races=isolation is None)
            known: dict[str, object] = {"candidate's arm": candidate, "reference's arm": reference.arm}
            checks.objects.add_all(known | {"call's request": request, "call's settings": settings, "device": device})
            guarded_problem, guarded_candidate = checks.begin()
            try:
                keep = clean.kept.checked if clean else None
                builder.correctness = check(
                    device, guarded_problem, guarded_candidate, reference.arm, request.error, request.seed, like, keep
                )
            finally:
                del guarded_problem, guarded_candidate  # which hold the latest inputs
                checks.phase_over()
        if builder.correctness.verdict is not Verdict.PASS and request.must_be_right:
            if on_host and isolation is None and problem.small is not None:  # on a GPU it might fault there
                try:
                    with deadline(settings.timeout, f"the check of {problem.small.name}", when_stuck):
                        small = on_small(device, request, reference.backend)
                finally:
                    checks.phase_over()
                builder.correctness = replace(builder.correctness, on_small=small)
            return
        if settings.until == "check":
            return
        if request.in_processes:
            return  # which take the device one after the other
        step("time")
        with spent("race"), deadline(settings.timeout + 2 * settings.budget, f"the race on {problem.name}", when_stuck):
            workload = workload_of(problem, device, builder.correctness.like)
            verify = Verification(device, problem, builder.correctness)
            checks.objects.add("what draws the race's values", workload)
            stopwatch: Stopwatch
            arms = (candidate, reference.arm)

            def compared(new: NewValues) -> str | None:
                judgements = builder.race.judgements if builder.race else ()
                return turned(device, new, judgements, arms, workload, request.book.numbered(Stream.COMPARED_VALUES))

            seeds = request.book.numbered(Stream.PLACEMENT_VALUES)
            placement = stack.enter_context(placed(device, () if isolation else arms, workload, seeds))
            if placement.finding and settings.integrity == "on":
                checks.findings.report("stream", placement.finding)
                return
            if isolation:
                stopwatch = isolation.stopwatch(reference.arm, workload, verify)
            else:
                stopwatch = device.stopwatch(arms, workload, timer=settings.timer, cache=settings.cache)
            checks.objects.add("the stopwatch", stopwatch)
            stopwatch.warnings += [placement.warning] if placement.warning else []
            try:
                judges, demand = request.process is None, builder.light.demand if builder.light else None
                on_host = isolation is None and builder.memory.keeps_answers_on_host
                plan = race.Plan(settings.budget, request.seed, request.precision, not judges, demand, on_host)
                plan = replace(plan, percentile=settings.percentile, rounds=settings.rounds)
                builder.stopwatch = stopwatch
                builder.advice = too_tight(builder.environment, stopwatch, request.speed)
                if notice is not None:
                    for warning in builder.advice:
                        notice(warning)
                with untraced() as tracers:
                    builder.valid_race = race_with_retry(
                        device,
                        stopwatch,
                        request.speed if judges else (),
                        plan,
                        progress,
                        accept_foreign_load=settings.foreign_load == "warn",
                    )
                if isolation is None:
                    device.synchronize()  # a stream of the candidate's own may lag behind, and write to what is freed
                    stopwatch.close()  # whose graphs hold memory
                for name in tracers if settings.integrity == "on" else ():
                    checks.findings.report("state", f"a tracer was turned on by {name} while calls were timed.")
                builder.race = builder.valid_race.race
                if builder.race.rounds and request.must_be_right and settings.verify_timed_launches:
                    undone = (
                        isolation.undone
                        if isolation
                        else functools.partial(
                            work_undone,
                            device,
                            candidate,
                            builder.race.probes,
                            (builder.race.candidate, builder.race.reference),
                            request.book.numbered(Stream.OBSERVED_VALUES),
                            compared,
                            clean.kept.timed if clean else None,
                            builder.race.overhead_seconds,
                        )
                    )
                    with spent("verify"):
                        builder.undone = builder.invalid = undone(workload, verify)
                builder.invalid = builder.invalid or (builder.valid_race.invalid if request.judged_by_race else None)
                if isolation and builder.may_pass:
                    builder.invalid = isolation.disturbed(builder.race.reference, builder.race.judgements)
            finally:
                stopwatch.close()
                for arm in arms:
                    if arm.prepare is not None:
                        arm.prepare([])
                checks.phase_over(slow=True)
        if builder.may_pass:
            with spent("integrity"), deadline(settings.timeout, f"the integrity checks of {problem.name}", when_stuck):
                new = builder.race.new_values
                try:
                    checks.observe(
                        workload,
                        request.book.numbered(Stream.OBSERVED_VALUES),
                        stopwatch.timer,
                        settings.cache,
                        builder.race.candidate,
                        verify,
                        doubt=compared(new) if new is not None and new.doubtful else None,
                    )
                finally:
                    checks.phase_over()
        if clean is not None:
            clean.run(builder, when_stuck)
