"""Where the arms of a race work: what each look at them is made with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.cuda.context import CudaContext
from pytest_kgate.device.protocol import Workload
from pytest_kgate.integrity.side_effects import placement


class Context(CudaContext):
    """A context without a GPU, that can be put on the default stream."""

    launches_block = False
    on_default_stream = False

    def __init__(self) -> None:
        pass

    def running(self, doing: str) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def default_stream(self) -> Iterator[None]:
        self.on_default_stream = True  # type: ignore[misc]
        yield


def test_no_two_looks_share_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that is used again may hold the answer to an earlier look's, which then seems to be there too early."""
    used: list[int] = []

    def look(answer: Any) -> Any:
        def found(device: Any, arm: Arm, workload: Workload, both: tuple[int, int]) -> Any:
            used.extend(both)
            return answer

        return found

    monkeypatch.setattr(placement, "works_elsewhere", look(None))
    monkeypatch.setattr(placement, "ends_on_default_stream", look(True))
    arms = [Arm(name, lambda inputs, output: output, False) for name in ("candidate", "reference")]
    workload = Workload(lambda seed: (), lambda inputs: None)
    with placement.placed(Context(), arms, workload, lambda arm, number: 1000 * arm + number) as found:
        assert found.on_default_stream == ("candidate", "reference")
    assert len(used) == len(set(used)) == 12
