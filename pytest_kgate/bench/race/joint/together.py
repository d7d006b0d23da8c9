"""Candidates whose answers are right, raced in the same rounds: from their requests to what each has come to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_kgate.bench.correctness.problem_calls import reference_output
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.bench.race import race
from pytest_kgate.bench.race.joint import rounds
from pytest_kgate.bench.race.retry import ValidRace
from pytest_kgate.bench.race.retry import measured
from pytest_kgate.bench.request import Request
from pytest_kgate.bench.seeds import Stream
from pytest_kgate.device.answer import finished
from pytest_kgate.device.arm import CALL_CONVENTION
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.arm import bind
from pytest_kgate.device.arm import blamed
from pytest_kgate.device.arm import ends
from pytest_kgate.device.arm import prepare
from pytest_kgate.device.arm import raised_in_call
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Stopwatch
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.integrity.side_effects.placement import placed
from pytest_kgate.integrity.tampering.exit_guard import no_successful_exit
from pytest_kgate.integrity.tampering.tracing import untraced
from pytest_kgate.system.clocks.deadline import deadline
from pytest_kgate.system.clocks.spent import spent
from pytest_kgate.system.gpu_lease import leased

if TYPE_CHECKING:
    from pytest_kgate.bench.race.reference import Reference
    from pytest_kgate.bench.race.reference import ReferencePicker


@dataclass(frozen=True)
class Means:
    """What a session lends to a joint race."""

    device: Device
    picker: ReferencePicker
    lease_name: str
    when_stuck: Callable[[str], None]
    progress: Callable[[race.Progress], None] | None = None
    waiting: Callable[[str], None] | None = None


@dataclass(frozen=True)
class Raced:
    """What a joint race has come to for one of its candidates."""

    candidate: Arm | None = None
    reference: Reference | None = None
    stopwatch: Stopwatch | None = None
    race: ValidRace | None = None
    invalid: str | None = None
    """Why nothing is known of its latency; None where something is."""


def run(requests: Sequence[Request], means: Means) -> list[Raced]:
    """Race the candidates of all these requests and one reference in the same rounds.

    The problem, its reference, the settings and the seed are those of the first. Where the race breaks off, nobody
    knows by whose fault, and nothing is known of any. Raises `UsageError` where they are no candidates for one problem.
    """
    _demand_one_problem(requests)
    try:
        return _raced(requests, means)
    except UsageError as error:
        raise requests[0].in_its_layer(error) from None
    except KgateError as error:
        found = error
    except BaseException as error:
        if ends(error) or not raised_in_call(error):
            raise
        found = blamed("A candidate or the reference", CALL_CONVENTION, error)
    why = f"the race that {len(requests)} candidates shared broke off: {found.what} {found.todo}"
    return [Raced(invalid=why)] * len(requests)


def _demand_one_problem(requests: Sequence[Request]) -> None:
    first = requests[0].problem
    for problem in (one.problem for one in requests):
        if (problem.name, dict(problem.params)) != (first.name, dict(first.params)):
            raise UsageError(
                f"A joint race has one problem, and the test made two: {first.name} and {problem.name}.",
                "Make the same problem whatever the knobs are.",
            )


def _raced(requests: Sequence[Request], means: Means) -> list[Raced]:
    first, device = requests[0], means.device
    settings, problem = first.settings, first.problem
    limit = settings.timeout + 2 * settings.budget
    with contextlib.ExitStack() as stack:
        if settings.integrity == "on":
            stack.enter_context(no_successful_exit())
        with spent("lease"):
            stack.enter_context(leased(means.lease_name, settings.timeout, means.waiting))
        stack.enter_context(spent("race"))
        stack.enter_context(deadline(limit, f"the joint race on {problem.name}", means.when_stuck))
        reference = means.picker.pick(problem, device, settings.timer, settings.cache)
        if device.kind == "host":
            reference = replace(reference, arm=finished(reference.arm))
        arms = [_arm(request, number, device) for number, request in enumerate(requests, start=1)]
        workload = workload_of(problem, device, reference_output(device, problem, reference.arm))
        seeds = first.book.numbered(Stream.PLACEMENT_VALUES)
        placement = stack.enter_context(placed(device, [*arms, reference.arm], workload, seeds))
        if reference.arm.name in placement.apart:
            return [Raced(arm, reference, invalid=placement.finding) for arm in arms]
        racing = [arm for arm in arms if arm.name not in placement.apart]
        found = {
            arm.name: Raced(arm, reference, invalid=replace(placement, apart=(arm.name,)).finding)
            for arm in arms
            if arm not in racing
        }
        if racing:
            both = [racing[0], reference.arm, *racing[1:]]
            stopwatch = device.stopwatch(both, workload, timer=settings.timer, cache=settings.cache)
            stopwatch.warnings += [placement.warning] if placement.warning else []
            plan = race.Plan(settings.budget, first.seed, rounds=settings.rounds)
            try:
                with untraced():
                    pairs = rounds.run(device, stopwatch, len(racing), plan, means.progress)
                device.synchronize()  # a stream of a candidate's own may lag behind, and write to what is freed
            finally:
                stopwatch.close()
                prepare(both, [])
            for arm, pair in zip(racing, pairs, strict=True):
                valid = measured(plan, pair.race, pair.found)
                found[arm.name] = Raced(arm, reference, stopwatch, valid, valid.invalid)
    return [found[arm.name] for arm in arms]


def _arm(request: Request, number: int, device: Device) -> Arm:
    """The candidate as an arm whose name tells it from the others."""
    problem = request.problem
    arm = bind("candidate", problem.called(request.candidate), problem.params, problem.mutates)
    arm = finished(arm) if device.kind == "host" else arm
    return replace(arm, name=f"candidate {number}")
