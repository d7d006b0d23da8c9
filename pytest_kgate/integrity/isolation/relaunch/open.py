"""From a candidate's process to a stopwatch that needs it no more."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.cuda.device import CudaDevice
from pytest_kgate.device.cuda.timers.capture import refusals
from pytest_kgate.device.protocol import Workload
from pytest_kgate.integrity.isolation.captured.device_code import DEVICE_CODE
from pytest_kgate.integrity.isolation.captured.device_code import images_in_folder
from pytest_kgate.integrity.isolation.captured.launches import NotRelaunchable
from pytest_kgate.integrity.isolation.kept_answers import fill
from pytest_kgate.integrity.isolation.process.parent import CandidateProcess
from pytest_kgate.integrity.isolation.reference_row import reference_row
from pytest_kgate.integrity.isolation.relaunch.sampling.plan import RowPlan
from pytest_kgate.integrity.isolation.relaunch.stopwatch import RelaunchStopwatch
from pytest_kgate.integrity.isolation.relaunch.stopwatch import Verify
from pytest_kgate.integrity.isolation.shared_memory.address_range import RELAUNCH_BYTES
from pytest_kgate.integrity.isolation.shared_memory.cuda import CudaBlock
from pytest_kgate.integrity.isolation.shared_memory.layout import Layout

if TYPE_CHECKING:
    from pytest_kgate.integrity.isolation.stopwatch import Seeds

_ESTIMATE_CALLS = 5


def relaunch_stopwatch(
    device: CudaDevice,
    process: CandidateProcess,
    reference: Arm,
    workload: Workload,
    values: Seeds,
    reference_values: Seeds,
    verify: Verify,
) -> RelaunchStopwatch:
    """Let the candidate's process say what it launches, end it, and have that launched by the timer's process.

    Raises `NotRelaunchable` where that can't be; the candidate's process may have ended then, too.
    """
    if reference.prepare is None and (refused := refusals(device, [reference], workload)):
        raise NotRelaunchable(f"the reference can't be captured in a CUDA graph ({refused[reference.name]})")
    with device.running("preparing the rows"):
        inputs = workload.draw(reference_values(0, 0))
        own_set = (inputs, [workload.output_for(reference, inputs)])
        with reference_row(device, reference, [own_set], _ESTIMATE_CALLS) as row:
            estimated = min(row.seconds() for _ in range(3)) / _ESTIMATE_CALLS
        output = workload.make_answer(inputs)
        plan = RowPlan.of(Layout.of(inputs, output, 1).slot_bytes, device.l2_bytes, estimated)
        layout = Layout.of(inputs, output, plan.slots)
        if layout.nbytes > RELAUNCH_BYTES:
            raise NotRelaunchable("the values of a row take more memory than is set apart")
        with contextlib.closing(CudaBlock(device.index, layout.nbytes)) as block:
            # No other process ever sees the block that is timed: who could read it could compute answers beforehand.
            fill(layout, block.bytes, workload, [reference_values(0, call) for call in range(layout.calls)])
            device.synchronize()
            calls = process.capture(layout, block)
    images = images_in_folder(process.folder / DEVICE_CODE)
    process.close()
    return RelaunchStopwatch(device, calls, images, plan, reference, workload, values, reference_values, verify)
