"""What a candidate does around its calls, on the host."""

from __future__ import annotations

import hashlib
import re
import threading
import time

import torch

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.host import HostDevice
from pytest_kgate.device.protocol import Workload
from pytest_kgate.integrity.side_effects import background
from pytest_kgate.integrity.side_effects import streams
from pytest_kgate.integrity.side_effects.memories import memoization

WORKLOAD = Workload(
    lambda seed: (torch.randn(64, generator=torch.Generator().manual_seed(seed)),),
    lambda inputs: torch.full_like(inputs[0], float("nan")),
)


def arm(call, takes_output=False):
    return Arm("candidate", call, takes_output)


def nth_seed(number):
    return 1 + number


def test_candidate_that_remembers_values_is_slow_on_new_ones_only():
    known = {}

    def call(inputs, output):
        key = float(inputs[0][0])
        if key not in known:
            time.sleep(2e-3)
            known[key] = inputs[0].relu()
        return known[key]

    calls, _, _ = memoization.time_calls(HostDevice(), arm(call), WORKLOAD, nth_seed, 1e-3)
    (told,) = calls.findings(on_host=True)
    assert re.match(
        r"the candidate remembers answers: a call on new values takes \d.* ms, on values that it has answered", told
    )


def test_honest_candidate_does_not_remember_and_its_last_answer_fits_its_inputs():
    call = arm(lambda inputs, output: output.copy_(inputs[0].relu()), takes_output=True)
    calls, inputs, answer = memoization.time_calls(HostDevice(), call, WORKLOAD, nth_seed, 1e-3)
    assert not list(calls.findings(on_host=False))
    assert torch.equal(answer, inputs[0].relu())


def test_answer_kept_by_address_does_not_fit_the_new_values():
    kept = {}

    def call(inputs, output):
        return kept.setdefault(inputs[0].data_ptr(), inputs[0].relu())

    _, inputs, answer = memoization.time_calls(HostDevice(), arm(call), WORKLOAD, nth_seed, 1e-3)
    assert not torch.equal(answer, inputs[0].relu())


def test_answer_that_comes_after_the_call_is_noticed(monkeypatch):
    returned = threading.Event()
    workers = []

    def call(inputs, output):
        workers.append(threading.Thread(target=lambda: returned.wait() and output.fill_(1.0)))
        workers[-1].start()
        return output

    def sleep(seconds):
        """The wait in which the answer comes, however busy the machine is."""
        returned.set()
        for worker in workers:
            worker.join()

    monkeypatch.setattr(streams.time, "sleep", sleep)
    assert streams.finishes_late(arm(call, takes_output=True), WORKLOAD, 1)
    honest = arm(lambda inputs, output: output.fill_(1.0), takes_output=True)
    assert streams.finishes_late(honest, WORKLOAD, 1) is None


def test_busy_thread_is_noticed_and_a_sleeping_one_is_not():
    stop = threading.Event()

    def burn():
        # In long calls, by one thread: between short ones it waits for the interpreter, and several threads wait for
        # each other, which on a busy machine looks like sleep.
        block = bytes(1 << 24)
        while not stop.is_set():
            hashlib.sha256(block)

    sleeping = threading.Thread(target=stop.wait)
    sleeping.start()
    try:
        assert background.busy_while_idle() is None
        before = background.python_threads()
        busy = threading.Thread(target=burn, name="burner")
        busy.start()
        said = background.busy_while_idle()
        assert "cores of this process are busy" in said
        assert "there before" not in said
        left = background.busy_while_idle({busy.native_id})  # as what an earlier candidate has started
        assert re.search(rf"\(threads, there before the candidate was called: [^,]* {busy.native_id}\)", left)
        assert background.new_threads(before) == ["burner"]
    finally:
        stop.set()
        sleeping.join()
        busy.join()
