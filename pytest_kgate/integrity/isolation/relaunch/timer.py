"""The main module of the timer's process: launches a candidate's kernels, by no code of the candidate's for the host.

It is told by the judging process what to launch, and does not need PyTorch. A kernel that faults takes this process's
CUDA context with it and no other; one that does not end is ended with this process.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_kgate.device.cuda import driver
from pytest_kgate.errors import KgateError
from pytest_kgate.integrity.isolation.captured.graphs import CallGraphs
from pytest_kgate.integrity.isolation.captured.graphs import functions_in
from pytest_kgate.integrity.isolation.captured.launches import KernelLaunch
from pytest_kgate.integrity.isolation.captured.launches import NotRelaunchable
from pytest_kgate.integrity.isolation.process.channel import Channel
from pytest_kgate.integrity.isolation.process.confinement.landlock import apply_landlock
from pytest_kgate.integrity.isolation.relaunch.sampling.plan import RowPlan
from pytest_kgate.integrity.isolation.relaunch.sampling.sampler import RowGraphs
from pytest_kgate.integrity.isolation.relaunch.sampling.sampler import Sampler
from pytest_kgate.integrity.isolation.relaunch.sampling.sampler import ValueKernels
from pytest_kgate.integrity.isolation.shared_memory.address_range import RELAUNCH_ADDRESS
from pytest_kgate.integrity.isolation.shared_memory.address_range import SCRATCH_ADDRESS
from pytest_kgate.integrity.isolation.shared_memory.address_range import SCRATCH_BYTES
from pytest_kgate.integrity.isolation.shared_memory.address_range import AddressRange
from pytest_kgate.integrity.isolation.shared_memory.address_range import reserve_early
from pytest_kgate.system.child_process import end_with_parent


class Timer:
    """Answers the judging process's messages, one after the other."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._plan: RowPlan
        self._index: int
        self._encrypted: AddressRange
        self._graphs: CallGraphs
        self._rows: RowGraphs
        self._sampler: Sampler
        self._stream: Any

    def serve(self) -> None:
        """Answer messages until the judging process closes the channel."""
        for message, fd in self._channel.messages():
            try:
                answer = getattr(self, f"_{message['do']}")(message, fd) or {}
            except NotRelaunchable as clause:
                answer = {"refused": str(clause)}
            except driver.DriverError as error:
                answer = {"fault": str(error)}
            except KgateError as error:
                answer = {"fault": f"{error.what} {error.todo}"}
            self._channel.send(answer)

    def _block(self, message: Mapping[str, Any], fd: int) -> None:
        """Map the block of slots where the candidate's process had its own when it captured the calls.

        Memory for what calls allocate is made where it had that.
        """
        self._plan = RowPlan.from_dict(message["plan"])
        self._index = message["index"]
        if not reserve_early(self._index):
            raise NotRelaunchable("the address that its calls were captured with can't be had")
        AddressRange(self._index, self._plan.slots * self._plan.slot_bytes, RELAUNCH_ADDRESS).show(fd)
        os.close(AddressRange(self._index, SCRATCH_BYTES, SCRATCH_ADDRESS).make())
        os.close(fd)

    def _values(self, message: Mapping[str, Any], fd: int) -> None:
        """Map the memory where the values of each sample come, encrypted."""
        self._encrypted = AddressRange(self._index, self._plan.timed * self._plan.slot_bytes)
        self._encrypted.show(fd)
        os.close(fd)

    def _load(self, message: Mapping[str, Any], fd: int) -> dict[str, Any]:
        """Load device code and launches, which the file holds: in JSON, then the images."""
        with os.fdopen(fd, "rb") as file:
            calls = json.loads(file.read(message["calls_bytes"]))
            images = [file.read(size) for size in message["image_bytes"]]
        launches = [[KernelLaunch.from_dict(launch) for launch in call] for call in calls]
        self._graphs = CallGraphs(functions_in(images), launches)
        self._stream = driver.call("cuStreamCreate", driver.bindings().CUstream_flags.CU_STREAM_NON_BLOCKING)
        kernels = ValueKernels(self._index)
        addresses = (RELAUNCH_ADDRESS, self._encrypted.address)
        self._sampler = Sampler(kernels, self._stream, self._plan, *addresses)
        self._rows = self._made()
        device = driver.call("cuDeviceGet", self._index)
        reaches = driver.bindings().CUdevice_attribute.CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS
        return {"reaches_host_memory": bool(driver.call("cuDeviceGetAttribute", reaches, device))}

    def _renew(self, message: Mapping[str, Any], fd: int | None) -> None:
        """Make the graphs anew: kept ones carry an offset for their lifetime."""
        for graph in (self._rows.warm, self._rows.short, self._rows.long):
            driver.call("cuGraphExecDestroy", graph)
        self._rows = self._made()
        self._sampler.replay_once(self._rows)
        driver.call("cuStreamSynchronize", self._stream)

    def _made(self) -> RowGraphs:
        short, long = self._plan.rows
        make = self._graphs.instantiate
        return RowGraphs(make(self._plan.warm_row), make(short), make(long))

    def _sample(self, message: Mapping[str, Any], fd: int | None) -> dict[str, Any]:
        """Take one sample."""
        in_time = self._sampler.enqueue(self._rows, tuple(message["key"]))
        driver.call("cuStreamSynchronize", self._stream)
        short, long = self._sampler.elapsed()
        return {"short": short, "long": long, "in_time": in_time}


def main(channel: str, parent_pipe: str, folder: str) -> None:
    """Run the process that `TimerProcess` starts; arguments are file descriptors and the own folder."""
    apply_landlock(Path(folder), cuda=True)
    threading.Thread(target=end_with_parent, args=(int(parent_pipe),), daemon=True).start()
    Timer(Channel.of(int(channel))).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
