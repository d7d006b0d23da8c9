"""Whether a problem's own work is a copy: a candidate that launches no kernel for it has left nothing out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.device.arm import bind
from pytest_kgate.device.protocol import Device
from pytest_kgate.integrity.launches.observed import observe

if TYPE_CHECKING:
    from pytest_kgate.problems.problem import Problem


def is_a_copy(device: Device, problem: Problem, call: Callable[[], Any], inputs: tuple[Any, ...]) -> bool:
    """Whether a reference launches no kernel either: to clone a tensor, the driver's copy is all there is to do.

    `call` is one of the candidate on `inputs`, for its answer.
    """
    known = problem.reference
    for function in known.values() if isinstance(known, Mapping) else (known,):
        reference = bind("reference", function, problem.params, problem.mutates)
        output = call() if reference.needs_output else None  # the candidate's answer has the right form
        seen = observe(device, functools.partial(reference.call, inputs, output))
        if not isinstance(seen, str) and seen.first and not seen.works:
            return True
    return False
