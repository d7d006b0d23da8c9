"""What is special about operators holds in timed launches, too: their answers are right in a round of a GPU's timer."""

from __future__ import annotations

import numpy as np
import pytest
from stand_in_gpu import stand_in_gpu

from pytest_kgate.bench.correctness.check import Verification
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.device.arm import bind
from pytest_kgate.device.cuda.timers.queue import QueueStopwatch
from pytest_kgate.device.host import HostDevice
from pytest_kgate.device.protocol import RoundSeeds
from pytest_kgate.validation.operators.table import OPERATORS

SPECIAL = ("in place", "gradient", "dict", "lists", "two", "module", "`out`", "zero sizes", "uint32")
TIMED = [one for one in OPERATORS if any(word in one.kind for word in SPECIAL)]


@pytest.mark.parametrize("operator", TIMED, ids=lambda one: one.problem(False).name.replace(" ", "-"))
def test_timed_launches_of_an_honest_candidate_are_right(monkeypatch, operator):
    host, problem = HostDevice(), operator.problem(False)
    functions = {"candidate": operator.candidate, "reference": problem.reference}
    arms = [bind(role, function, problem.params, problem.mutates) for role, function in functions.items()]
    checked = check(host, problem, *arms, None, 42)
    workload = workload_of(problem, host, checked.like)
    stopwatch = QueueStopwatch(stand_in_gpu(monkeypatch), arms, workload, "hot", reference_by_graph=False)
    found = stopwatch.round(RoundSeeds(1, 2, (3, 4, 5)), np.repeat(np.arange(2), 2))
    assert found.probe.answers
    for seed, answer in found.probe.answers:
        assert Verification(host, problem, checked)(workload.draw(seed), answer) is None
