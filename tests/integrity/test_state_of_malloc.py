"""What malloc does with large and with freed blocks is read by what it does, and differs only where it was set."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys

import pytest

from pytest_kgate.device.host import HostDevice
from pytest_kgate.integrity.global_state import of_malloc
from pytest_kgate.integrity.global_state import state
from pytest_kgate.integrity.global_state.setting import Setting
from pytest_kgate.integrity.global_state.state import GlobalState

WORK = """
import ctypes, json, random, sys, threading
import torch
from pytest_kgate.integrity.global_state.of_malloc import large_blocks

libc, random, found = ctypes.CDLL(None), random.Random(int(sys.argv[1])), []
for limit in (None, -3, -1):  # glibc's own; M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
    if limit is not None:
        libc.mallopt(-3, 32 << 20)
        libc.mallopt(-1, 64 << 20)
        libc.mallopt(limit, 65536)
    kinds, held = [], []
    for _ in range(40):  # an honest test's tensors come and go
        held += [torch.empty(1 << random.randrange(10, 26), dtype=torch.uint8) for _ in range(random.randrange(30))]
        random.shuffle(held)
        del held[random.randrange(len(held) + 1) :]
        kinds.append(large_blocks())
    found.append(sorted(set(kinds)))
elsewhere = []
thread = threading.Thread(target=lambda: elsewhere.append(large_blocks()))
thread.start()
thread.join()
json.dump([*found, elsewhere], sys.stdout)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc")
@pytest.mark.parametrize("seed", [1])
def test_what_malloc_does_with_large_blocks_does_not_depend_on_what_was_freed_before(seed):
    """An honest candidate would be told to have changed it."""
    run = subprocess.run([sys.executable, "-c", WORK, str(seed)], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == [["kept"], ["mapped"], ["trimmed"], [None]]


@pytest.mark.parametrize(("there", "accused"), [({"x": "kept"}, True), ({"x": "mapped"}, False), ({}, False)])
def test_malloc_that_costs_more_than_in_a_new_process_was_set_before(monkeypatch, there, accused):
    monkeypatch.setattr(of_malloc, "_in_new_process", lambda: there)
    assert (of_malloc.set_before({"x": "mapped"}) is not None) == accused


@pytest.mark.skipif(not of_malloc.of_malloc(), reason="needs glibc")
def test_new_process_has_malloc_as_it_was_built():
    assert of_malloc._in_new_process() == {
        "mallopt: large blocks are": "kept",
        "mallopt: freed memory is filled": False,
    }


def test_what_malloc_does_not_tell_this_time_is_no_change(monkeypatch):
    told = ["kept", None, "mapped", "mapped"]
    setting = Setting("mallopt: large blocks are", lambda: told.pop(0), None, may_be_untold=True)
    for others in ("of_python", "of_torch"):
        monkeypatch.setattr(state, others, list)
    monkeypatch.setattr(state, "of_process", lambda: [setting])
    monkeypatch.setattr(state, "_scheduling", lambda: None)
    compared = GlobalState(HostDevice())
    assert compared.restore() == []
    assert compared.restore() == ["mallopt: large blocks are: kept -> mapped; it can't be put back"]
