"""Settings that a candidate leaves changed are named and put back."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from pytest_kgate.device.host import HostDevice
from pytest_kgate.integrity.global_state.gpu_memory import held_bytes
from pytest_kgate.integrity.global_state.gpu_memory import left_behind
from pytest_kgate.integrity.global_state.state import GlobalState


@pytest.mark.parametrize(
    ("change", "named", "read"),
    [
        (lambda: torch.set_num_threads(torch.get_num_threads() + 1), "torch.get_num_threads", torch.get_num_threads),
        (lambda: torch.set_default_dtype(torch.float64), "torch.get_default_dtype", torch.get_default_dtype),
        (
            lambda: torch.set_float32_matmul_precision("medium"),
            "torch.get_float32_matmul_precision",
            torch.get_float32_matmul_precision,
        ),
        (
            lambda: torch.backends.cuda.enable_flash_sdp(False),
            "torch.backends.cuda.flash_sdp_enabled",
            torch.backends.cuda.flash_sdp_enabled,
        ),
        (
            lambda: torch.set_flush_denormal(True),
            "torch.set_flush_denormal",
            lambda: float(torch.tensor(1e-310).double()),
        ),
        (
            lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
            "torch.backends.cudnn.allow_tf32",
            lambda: torch.backends.cudnn.allow_tf32,
        ),
        (
            lambda: setattr(torch.backends.cudnn, "benchmark_limit", 1),
            "torch.backends.cudnn.benchmark_limit",
            lambda: torch.backends.cudnn.benchmark_limit,
        ),
        (
            lambda: setattr(torch.backends.cuda.matmul, "allow_fp16_accumulation", True),
            "torch.backends.cuda.matmul.allow_fp16_accumulation",
            lambda: torch.backends.cuda.matmul.allow_fp16_accumulation,
        ),
        (
            lambda: setattr(torch.backends.mkldnn, "deterministic", True),
            "torch.backends.mkldnn.deterministic",
            lambda: torch.backends.mkldnn.deterministic,
        ),
        (
            lambda: torch.backends.mha.set_fastpath_enabled(False),
            "torch.backends.mha.get_fastpath_enabled",
            torch.backends.mha.get_fastpath_enabled,
        ),
        (lambda: torch._C._set_nnpack_enabled(False), "torch.backends.nnpack", torch._C._get_nnpack_enabled),
        (gc.disable, "gc.isenabled", gc.isenabled),
        (  # a compiled reference then runs as if it were not
            lambda: torch.compiler.set_stance("force_eager"),
            "torch.compiler.set_stance",
            lambda: torch._dynamo.eval_frame._stance.stance,
        ),
    ],
)
def test_changed_setting_is_named_and_put_back(change, named, read):
    before = read()
    state = GlobalState(HostDevice())
    change()
    (told,) = state.restore()
    assert told.startswith(f"{named}: ")
    assert read() == before
    assert state.restore() == []


def test_working_directory_is_named_and_put_back_though_no_measurement_depends_on_it(tmp_path, monkeypatch):
    monkeypatch.chdir(os.getcwd())  # back again, whatever happens
    before, state = os.getcwd(), GlobalState(HostDevice())
    os.chdir(tmp_path)
    assert state.restore() == []
    assert state.restore_harmless() == [f"os.getcwd: {before} -> {tmp_path}; it was put back"]
    assert os.getcwd() == before
    assert state.restore_harmless() == []


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs signals of POSIX")
def test_handler_of_a_signal_is_named_and_put_back_and_that_of_a_deadline_is_left_to_it():
    before, state = signal.getsignal(signal.SIGUSR1), GlobalState(HostDevice())
    of_alarm = signal.getsignal(signal.SIGALRM)
    try:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        (told,) = state.restore_harmless()
        assert told.startswith("signal.getsignal(SIGUSR1): ")
        assert told.endswith("it was put back")
        assert signal.getsignal(signal.SIGUSR1) == before
    finally:
        signal.signal(signal.SIGUSR1, before)
        signal.signal(signal.SIGALRM, of_alarm)


def test_handlers_are_nothing_to_a_thread_that_may_not_set_them():
    state = GlobalState(HostDevice())
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(state.restore_harmless).result() == []


def test_transform_of_torch_func_that_is_left_open_is_named():
    state = GlobalState(HostDevice())
    torch._C._functorch._grad_increment_nesting()
    try:
        assert state.restore() == ["torch.func's open transforms: 0 -> 1; it can't be put back"]
    finally:
        torch._C._functorch._grad_decrement_nesting()


def test_setting_that_was_there_before_is_nobodys_fault():
    torch.use_deterministic_algorithms(True)
    try:
        assert GlobalState(HostDevice()).restore() == []
    finally:
        torch.use_deterministic_algorithms(False)


def segment(allocated, total, pool=(0, 0), device=0):
    return {"device": device, "allocated_size": allocated, "total_size": total, "segment_pool_id": pool}


def test_free_memory_is_anybodys_unless_it_lies_in_a_pool_of_its_own():
    segments = [segment(10, 100), segment(20, 200, (0, 7)), segment(1000, 1000, device=1)]
    assert held_bytes(segments, 0) == 10 + 200


def test_candidate_may_keep_some_memory_but_no_large_part_of_the_gpus():
    total = 80 * 2**30
    assert left_behind(2**30, 15 * 2**30, total) is None
    assert "24.0 of the GPU's 80.0 GiB" in str(left_behind(2**30, 25 * 2**30, total))


def test_hook_left_around_all_modules_is_found_and_removed():
    state = GlobalState(HostDevice())
    torch.nn.modules.module.register_module_forward_hook(lambda module, inputs, output: None)
    told = "torch.nn.modules.module's global hooks: _global_forward_hooks 0 -> 1; it was put back"
    assert state.restore() == [told]
    assert not torch.nn.modules.module._global_forward_hooks


NATIVE = """
import ctypes, json, signal, sys
import torch
from pytest_kgate.device.host import HostDevice
from pytest_kgate.integrity.global_state.state import GlobalState

libc = ctypes.CDLL(None)
torch.set_num_threads(1)
freed = [torch.ones(1000, 1000) for _ in range(20)]
del freed
state = GlobalState(HostDevice())
told = {"nothing": state.restore()}
for name, change in {
    "limits": lambda: [libc.mallopt(*one) for one in ((-3, 65536), (-1, 0))],
    "filled": lambda: libc.mallopt(-6, 0x55),
    "slack": lambda: libc.prctl(29, 2000000, 0, 0, 0),
    "huge pages": lambda: libc.prctl(41, 1, 0, 0, 0),
    "rounding": lambda: libc.fesetround(0xC00),
    "timer": lambda: signal.setitimer(signal.ITIMER_VIRTUAL, 1000, 1000),
    "collector": lambda: __import__("gc").set_threshold(1),
    "allocations": lambda: __import__("tracemalloc").start(25),
    "gradients": lambda: torch._C._set_grad_enabled(False),
    "anomalies": lambda: torch.autograd.set_detect_anomaly(True),
    "profiler": lambda: torch.autograd.profiler.profile().__enter__(),
}.items():
    change()
    told[name] = state.restore()
told["nothing more"] = state.restore()
json.dump(told, sys.stdout)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="settings of Linux and of its C library")
def test_settings_of_native_code_are_named_and_put_back():
    run = subprocess.run([sys.executable, "-c", NATIVE], capture_output=True, text=True, check=True)
    told = json.loads(run.stdout)
    assert told.pop("nothing") == told.pop("nothing more") == []
    named = {name: one.partition(": ")[0] for name, (one, *more) in told.items() if not more}
    assert named == {
        "limits": "mallopt",
        "filled": "mallopt",
        "slack": "prctl",
        "huge pages": "prctl",
        "rounding": "fegetround",
        "timer": "signal.getitimer's intervals",
        "collector": "gc.get_threshold",
        "allocations": "tracemalloc.get_traceback_limit",
        "gradients": "torch.is_grad_enabled",
        "anomalies": "torch.is_anomaly_enabled",
        "profiler": "torch.autograd.profiler",
    }
    assert all(one.endswith("it was put back") for (one,) in told.values())
