"""What a `kbench` call does in a process that one of NVIDIA's tools watches: it launches, and judges nothing.

Nothing is imported here that only a race needs, nor by what this calls: such a process is started for a few launches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.bench.record.builder import not_judged
from pytest_kgate.profile.under_tool.variables import launches_are_counted

if TYPE_CHECKING:
    import pytest

    from pytest_kgate.bench.request import Request
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.report.record.record import Record


def launch(request: Request, item: pytest.Item, device: Device, environment: Mapping[str, Any]) -> Record:
    """Only call the candidate, or both arms to be counted; the record has no verdict on it.

    Skips the test where its candidate launches nothing on this device. `environment` is the session's.
    """
    __tracebackhide__ = True
    record = not_judged(request, device, environment)
    if launches_are_counted():
        from pytest_kgate.profile.nsight.collection import launches

        launches.launch(item, request, device)
        launches.tell_record(item, record)
    else:
        from pytest_kgate.profile.under_tool import launch_only

        launch_only.launch(item, request, device)
    return record
