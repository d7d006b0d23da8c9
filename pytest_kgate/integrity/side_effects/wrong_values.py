"""Whether a wrong answer is the fault of how a call was made, or of the values that it was given.

What a race draws was not drawn by the check, and may have what the check's draws lacked: two equal elements, an
infinity. A candidate that is wrong there is wrong in any call, and nothing changes from launch to launch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pytest_kgate.device.answer import copied
from pytest_kgate.device.answer import demand_data
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import CandidateError
from pytest_kgate.integrity.side_effects.background import busy_while_idle
from pytest_kgate.integrity.side_effects.streams import Verify
from pytest_kgate.integrity.side_effects.streams import out_of_order


@dataclass(frozen=True)
class Cause:
    """Why a timed launch left a wrong answer."""

    reason: str
    """One sentence without its full stop."""
    unseen: bool = False
    """Whether some of the work runs where the timer does not see it."""


def why_wrong(
    wrong: str,
    device: Device,
    arm: Arm,
    workload: Workload,
    draw: Callable[[], tuple[Any, ...]],
    verify: Verify,
    order_seeds: Callable[[int], int] | None,
) -> Cause:
    """Why a timed launch left an answer that is `wrong` by so much: its stream, how it was launched, or its values.

    `draw` draws the values, each time anew. `order_seeds` tells the seeds of calls by which it is seen whether the
    candidate keeps to its stream, which None does not ask.

    Where values decide, two calls on them are wrong, one each on two draws of the check are right, and another one on
    them is wrong. What goes by the number of calls, such as work that is done every third time, comes out in another
    order, and one remembered answer is not right for two draws. What a thread writes after the call has returned is
    waited for: it is wrong or right as that thread was scheduled, and so never the values' fault.
    """

    def is_wrong(inputs: tuple[Any, ...]) -> bool:
        return verify(inputs, _answer(device, arm, workload, inputs)) is not None

    by_values = False
    with device.running("looking for what makes a timed launch wrong"):
        disorder = None if order_seeds is None else out_of_order(device, arm, workload, order_seeds, verify)
        if disorder:
            return Cause(f"the timer does not see all of the candidate's work: {disorder}", unseen=True)
        with contextlib.suppress(CandidateError):  # one that gives no answer any more has changed
            by_values = (
                is_wrong(draw())
                and is_wrong(draw())
                and not any(is_wrong(workload.draw(seed)) for seed in verify.checked[:2])
                and is_wrong(draw())
            )
    if by_values:
        return Cause(
            f"on values drawn for the race its answer is wrong, in a timed launch and in a call alone: {wrong}"
        )
    return Cause(f"a timed launch left another answer than the checked ones: {wrong}")


def _answer(device: Device, arm: Arm, workload: Workload, inputs: tuple[Any, ...]) -> Any:
    """A copy of the answer of one call that nothing runs beside. The inputs are what they were when this returns."""
    with workload.one_call(arm, inputs) as output:
        device.synchronize()
        result = arm.call(inputs, output)
        device.synchronize()
        busy_while_idle()  # a thread may still write
        demand_data(result)
        answer = copied(result)
        device.synchronize()
    return answer
