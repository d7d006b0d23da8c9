"""What is made of arms that work on another stream than the one that they are called on; the streams are made up."""

from __future__ import annotations

import contextlib

import pytest

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.cuda.context import CudaContext
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.protocol import Workload
from pytest_kgate.integrity.side_effects import placement
from pytest_kgate.integrity.side_effects.placement import placed

WORKLOAD = Workload(lambda seed: (), lambda inputs: None)
ARMS = [Arm(name, lambda inputs, output: None, False) for name in ("candidate", "reference")]
FORKED = "the default stream, which waits for the stream of the call, and that not for it"
CURRENT, DEFAULT, OWN = "the stream of the call", "the default stream", "a stream that waits for none"


class TwoStreams(CudaContext):
    """A GPU that knows no more than which stream it runs on."""

    def __init__(self):
        self.runs_on = CURRENT

    @property
    def on_default_stream(self):
        return self.runs_on == DEFAULT

    @contextlib.contextmanager
    def running(self, doing):
        yield

    @contextlib.contextmanager
    def default_stream(self):
        self.runs_on = DEFAULT
        yield
        self.runs_on = CURRENT


@pytest.fixture
def launching(monkeypatch):
    """Let the arms launch on these streams, and tell where the race is run and what is said."""

    def launch(candidate, reference=CURRENT):
        streams = {"candidate": candidate, "reference": reference}

        def works_elsewhere(device, arm, workload, seeds):
            return streams[arm.name] not in (CURRENT, FORKED, device.runs_on)

        def ends_on_default_stream(device, arm, workload, seeds):
            return streams[arm.name] == FORKED

        monkeypatch.setattr(placement, "works_elsewhere", works_elsewhere)
        monkeypatch.setattr(placement, "ends_on_default_stream", ends_on_default_stream)
        device = TwoStreams()
        with placed(device, ARMS, WORKLOAD, lambda arm, number: 0) as found:
            where = device.runs_on
        assert device.runs_on == CURRENT
        return where, found

    return launch


def test_arms_that_keep_to_their_stream_are_raced_there(launching):
    where, found = launching(CURRENT)
    assert (where, found.warning, found.finding) == (CURRENT, None, None)


@pytest.mark.parametrize("streams", [(DEFAULT, CURRENT), (CURRENT, DEFAULT), (DEFAULT, DEFAULT), (FORKED, CURRENT)])
def test_arm_that_launches_on_the_default_stream_is_raced_there_and_told_how_to_leave_it(launching, streams):
    where, found = launching(*streams)
    assert (where, found.finding) == (DEFAULT, None)
    named = [name for name, stream in zip(("candidate", "reference"), streams, strict=True) if stream != CURRENT]
    assert f"the {' and the '.join(named)} launched on CUDA's default stream" in found.warning
    assert "torch.cuda.current_stream()" in found.warning


def test_arm_on_a_stream_that_waits_for_no_other_cannot_be_timed(launching):
    _, found = launching(OWN, DEFAULT)
    assert found.finding.startswith("the timer does not see the work of the candidate:")
    assert found.on_default_stream == ("reference",)


def test_other_devices_have_no_streams():
    with placed(FakeDevice({}), ARMS, WORKLOAD, lambda arm, number: 0) as found:
        assert (found.warning, found.finding) == (None, None)
